package steer

import (
	"context"
	"fmt"
	"slices"

	"github.com/gomlx/compute"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"
	. "github.com/gomlx/gomlx/support/exceptions"

	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/reward"
	"github.com/gomfm/gomfm/mfm/solver"
)

// programmed is a method that can be run step by step.
type programmed interface {
	program(ip interpolant.Schedule) program
}

// NewHosted is [New] for a reward in plain Go. The network's work is compiled as ever, but each step stops where it needs rewards, and asks the host for them: two calls a step in place of one for the whole run.
// Methods are those that need no gradient of the reward: [Guided] with [MFMGF], [BestOf], [SMC] with [MFMGF] or no twist, [Search]. Others, and Heun's steps, which would ask twice, are errors of
// [Steerer.Sample].
func NewHosted(b compute.Backend, store *model.Store, m Model, r reward.Host, shape []int, method Method) (*Steerer, error) {
	s, err := newSteerer(b, store, m, shape, method)
	if err != nil {
		return nil, err
	}
	steps, ok := method.(programmed)
	if !ok {
		return nil, fmt.Errorf("%v: a method of your own cannot stop for a reward in Go: give it one that is a graph", method)
	}
	h := &hosted{steerer: s, reward: r, program: steps.program(m.Interpolant)}
	h.phases = map[string]*hostedPhase{"start": {}, "step": {}, "end": {}}
	s.hosted = h
	return s, nil
}

// hosted runs a method's program with a reward on the host.
type hosted struct {
	steerer *Steerer
	reward  reward.Host
	program program
	phases  map[string]*hostedPhase
	known   bool // the end returns the samples' rewards beside them
}

// hostedPhase is a part of a program as two graphs: the first returns the samples whose rewards the part asks for, the second is given the rewards and does the part. Samples of the model's
// posterior are drawn in the first alone, and handed to the second with the state that drawing them left the random generator in.
type hostedPhase struct {
	ask, tell *model.Exec
	asks      bool // for rewards
	draws     bool // posterior samples
}

func (h *hosted) finalize() {
	for _, p := range h.phases {
		if p.ask != nil {
			p.ask.Finalize()
			p.tell.Finalize()
		}
	}
}

// call draws a microbatch; what it returns is in the order of [Steerer.build].
func (h *hosted) call(ctx context.Context, rng, like *tensors.Tensor) ([]*tensors.Tensor, error) {
	state, err := h.run("start", h.started, []any{rng, like})
	for i := 0; err == nil && i < h.program.steps; i++ {
		if ctx.Err() != nil {
			return nil, fmt.Errorf("stopped after %d of %d steps: %w", i, h.program.steps, context.Cause(ctx))
		}
		state, err = h.run("step", func(p Problem, in []*Node) []*Node { return h.program.step(p, in[0], in[1:]) }, append([]any{int32(i)}, anys(state)...))
	}
	if err != nil {
		return nil, err
	}
	out, err := h.run("end", h.ended, anys(state))
	if err != nil {
		return nil, err
	}
	if h.known {
		return out, nil
	}
	rewards, err := h.ask(out[0])
	if err != nil {
		return nil, err
	}
	return slices.Insert(out, 1, rewards), nil
}

func (h *hosted) started(p Problem, in []*Node) []*Node {
	rng := &solver.RNG{State: in[0]}
	noise := rng.Normal(in[1].Shape())
	return h.program.start(p, rng, NewLedger(noise.Graph()), noise)
}

func (h *hosted) ended(p Problem, state []*Node) []*Node {
	o := h.program.end(p, state)
	if h.known = o.Rewards != nil; h.known {
		return slices.Insert(o.nodes(), 1, o.Rewards)
	}
	return o.nodes()
}

// run does a part: it asks for its rewards, and goes on with them.
func (h *hosted) run(name string, part func(p Problem, in []*Node) []*Node, in []any) (out []*tensors.Tensor, err error) {
	phase := h.phases[name]
	if phase.ask == nil {
		if err := h.compile(phase, part); err != nil {
			return nil, err
		}
	}
	if panicked := Try(func() { out, err = phase.ask.Call(in...) }); panicked != nil {
		return nil, fmt.Errorf("building the graph: %v", panicked)
	}
	if err != nil {
		return nil, err
	}
	if phase.asks {
		rewards, err := h.ask(out[0])
		if err != nil {
			return nil, err
		}
		in = append(in, rewards)
		if phase.draws {
			in = append(in, out[1], out[2])
		}
	}
	if panicked := Try(func() { out, err = phase.tell.Call(in...) }); panicked != nil {
		return nil, fmt.Errorf("building the graph: %v", panicked)
	}
	return out, err
}

// compile prepares the graphs of a part.
func (h *hosted) compile(phase *hostedPhase, part func(p Problem, in []*Node) []*Node) error {
	m := h.steerer.model
	var err error
	phase.ask, err = model.NewExec(h.steerer.backend, h.steerer.store, func(_ *model.Scope, in []*Node) []*Node {
		var samples, draws, state *Node
		p := Problem{Model: m, Reward: func(x *Node) *Node {
			if samples != nil {
				Panicf("a step asks twice for a reward in Go: take a method that asks once, and steps of Euler")
			}
			samples = MulScalar(x, 1) // a node of its own: the pure-Go backend does not return an input
			return withoutGradient(x)
		}}
		if m.Posterior != nil {
			p.Model.Posterior = func(rng *solver.RNG, eps, t, x *Node) *Node {
				draws = m.Posterior(rng, eps, t, x)
				state = rng.State
				return draws
			}
		}
		part(p, in)
		phase.asks, phase.draws = samples != nil, draws != nil
		switch {
		case phase.draws:
			return []*Node{samples, draws, state}
		case phase.asks:
			return []*Node{samples}
		}
		return []*Node{Const(in[0].Graph(), int32(0))} // a graph has an output
	})
	if err != nil {
		return fmt.Errorf("preparing the graph: %w", err)
	}
	phase.tell, err = model.NewExec(h.steerer.backend, h.steerer.store, func(_ *model.Scope, in []*Node) []*Node {
		p := Problem{Model: m}
		if phase.draws {
			draws, state := in[len(in)-2], in[len(in)-1]
			p.Model.Posterior = func(rng *solver.RNG, _, _, _ *Node) *Node {
				rng.State = state
				return draws
			}
			in = in[:len(in)-2]
		}
		if phase.asks {
			rewards := in[len(in)-1]
			p.Reward = func(*Node) *Node { return rewards }
			in = in[:len(in)-1]
		}
		return part(p, in)
	})
	if err != nil {
		return fmt.Errorf("preparing the graph: %w", err)
	}
	phase.ask.SetMaxCache(-1)
	phase.tell.SetMaxCache(-1)
	return nil
}

// withoutGradient stands for the rewards of x while it is found out whose rewards are asked for; it panics where a gradient is.
func withoutGradient(x *Node) *Node {
	zeros := MulScalar(ReduceSum(Reshape(x, x.Shape().Dim(0), -1), 1), 0)
	return IdentityWithCustomGradient(zeros, func(*Node, *Node) *Node {
		Panicf("this method needs the gradient of the reward, which one in Go does not have: use mfm-gf, best-of-n, smc with mfm-gf, or a search")
		return nil
	})
}

// ask returns the host's rewards of samples, float32 [n].
func (h *hosted) ask(samples *tensors.Tensor) (*tensors.Tensor, error) {
	flat, err := tensors.CopyFlatData[float32](samples)
	if err != nil {
		return nil, fmt.Errorf("reading samples: %w", err)
	}
	shape := samples.Shape().Dimensions
	rewards, err := h.reward(flat, append([]int(nil), shape...))
	if err != nil {
		return nil, fmt.Errorf("the reward: %w", err)
	}
	if len(rewards) != shape[0] {
		return nil, fmt.Errorf("the reward returns %d numbers for %d samples", len(rewards), shape[0])
	}
	narrow := make([]float32, len(rewards))
	for i, r := range rewards {
		narrow[i] = float32(r)
	}
	return tensors.FromFlatDataAndDimensions(narrow, len(narrow)), nil
}

func anys(ts []*tensors.Tensor) []any {
	out := make([]any, len(ts))
	for i, t := range ts {
		out[i] = t
	}
	return out
}
