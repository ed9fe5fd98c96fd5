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

// NewBlackBox is [New] for a black-box reward: a function in plain Go without a gradient. The work
// of the network is compiled as usual, but each step stops where it needs rewards and calls the
// function. A microbatch is then two calls a step instead of one call.
//
// Methods must be of this package and need no gradient of the reward: [Guided] with [MFMGF],
// [BestOf], [OneStepBestOf], [SMC] with [MFMGF] or without a twist, and [Search]. A method of
// another type is an error. One that needs the gradient, or that needs rewards twice in a step as
// Heun's steps do, is an error of [Steerer.Sample].
func NewBlackBox(b compute.Backend, m Model, r reward.Host, method Method) (*Steerer, error) {
	s, err := newSteerer(b, m, method)
	if err != nil {
		return nil, err
	}
	switch method.(type) { // a type that embeds one of these may have another Build
	case Guided, BestOf, OneStepBestOf, SMC, Search:
	default:
		return nil, fmt.Errorf("%v: methods of type %T cannot stop for a black-box reward: use a reward that "+
			"is a graph",
			method, method)
	}
	stepwise := method.(interface {
		program(ip interpolant.Schedule) program
	})
	s.blackBox = &blackBox{
		steerer: s, reward: r, program: stepwise.program(m.Interpolant),
		parts: map[string]*part{"start": {}, "step": {}, "end": {}},
	}
	return s, nil
}

// blackBox runs a method's program with a black-box reward.
type blackBox struct {
	steerer *Steerer
	reward  reward.Host
	program program
	parts   map[string]*part
	known   bool // the end returns the rewards of the samples
}

// part is a part of a program, compiled as two graphs. The first returns the samples whose rewards
// the part needs; the second gets the rewards and does the work. Posterior samples are drawn by the
// first graph alone, which hands them to the second with the random state after them.
type part struct {
	request, resume *model.Exec
	needsRewards    bool
	drawsPosterior  bool
}

// builder builds a part of a program from the nodes of its inputs.
type builder func(p Problem, in []*Node) []*Node

func (b *blackBox) finalize() {
	for _, p := range b.parts {
		if p.request != nil {
			p.request.Finalize()
			p.resume.Finalize()
		}
	}
}

// call draws a microbatch. Its results are in the order of [Steerer.build].
func (b *blackBox) call(ctx context.Context, rng, like *tensors.Tensor) ([]*tensors.Tensor, error) {
	step := func(p Problem, in []*Node) []*Node { return b.program.step(p, in[0], in[1:]) }
	state, err := b.run("start", b.start, []any{rng, like})
	for i := 0; err == nil && i < b.program.steps; i++ {
		if ctx.Err() != nil {
			return nil, fmt.Errorf("stopped after %d of %d steps: %w", i, b.program.steps, context.Cause(ctx))
		}
		state, err = b.run("step", step, append([]any{int32(i)}, anys(state)...))
	}
	if err != nil {
		return nil, err
	}
	out, err := b.run("end", b.end, anys(state))
	if err != nil {
		return nil, err
	}
	if b.known {
		return out, nil
	}
	rewards, err := b.rewards(out[0])
	if err != nil {
		return nil, err
	}
	return slices.Insert(out, 1, rewards), nil
}

func (b *blackBox) start(p Problem, in []*Node) []*Node {
	rng := &solver.RNG{State: in[0]}
	noise := rng.Normal(in[1].Shape())
	return b.program.start(p, rng, NewCounter(noise.Graph()), noise)
}

func (b *blackBox) end(p Problem, state []*Node) []*Node {
	o := b.program.end(p, state)
	if b.known = o.Rewards != nil; b.known {
		return slices.Insert(o.nodes(), 1, o.Rewards)
	}
	return o.nodes()
}

// run runs a part: it requests the samples, evaluates their rewards, and resumes with them.
func (b *blackBox) run(name string, build builder, in []any) (out []*tensors.Tensor, err error) {
	part := b.parts[name]
	in = append([]any{b.steerer.label()}, in...)
	if part.request == nil {
		if err := b.compile(part, build); err != nil {
			return nil, err
		}
	}
	if panicked := Try(func() { out, err = part.request.Call(in...) }); panicked != nil {
		return nil, fmt.Errorf("building the graph: %v", panicked)
	}
	if err != nil {
		return nil, err
	}
	if part.needsRewards {
		rewards, err := b.rewards(out[0])
		if err != nil {
			return nil, err
		}
		in = append(in, rewards)
		if part.drawsPosterior {
			in = append(in, out[1], out[2])
		}
	}
	if panicked := Try(func() { out, err = part.resume.Call(in...) }); panicked != nil {
		return nil, fmt.Errorf("building the graph: %v", panicked)
	}
	return out, err
}

// compile prepares the graphs of a part.
func (b *blackBox) compile(part *part, build builder) error {
	m := b.steerer.model
	request, err := model.NewExec(b.steerer.backend, b.steerer.model.Store, func(_ *model.Scope, in []*Node) []*Node {
		var samples, posterior, state *Node
		in, class := b.steerer.split(in)
		given := m.Given(class)
		p := Problem{Model: given, Class: class, Reward: reward.Func(func(x *Node) *Node {
			if samples != nil {
				Panicf("one step needs black-box rewards twice: use Euler steps, and a method that needs them once")
			}
			samples = MulScalar(x, 1) // a copy, since the pure-Go backend does not return an input
			return withoutGradient(x)
		})}
		if m.Posterior != nil {
			p.Model.Posterior = func(rng *solver.RNG, eps, t, x, class *Node) *Node {
				posterior = given.Posterior(rng, eps, t, x, class)
				state = rng.State
				return posterior
			}
		}
		requireWeights(m.Store, in[0], func() []*Node { return build(p, in) })
		part.needsRewards, part.drawsPosterior = samples != nil, posterior != nil
		switch {
		case part.drawsPosterior:
			return []*Node{samples, posterior, state}
		case part.needsRewards:
			return []*Node{samples}
		}
		return []*Node{Const(in[0].Graph(), int32(0))} // a graph needs an output
	})
	if err != nil {
		return fmt.Errorf("preparing the graph: %w", err)
	}
	resume, err := model.NewExec(b.steerer.backend, b.steerer.model.Store, func(_ *model.Scope, in []*Node) []*Node {
		in, class := b.steerer.split(in)
		p := Problem{Model: m}.Conditioned(class)
		if part.drawsPosterior {
			posterior, state := in[len(in)-2], in[len(in)-1]
			p.Model.Posterior = func(rng *solver.RNG, _, _, _, _ *Node) *Node {
				rng.State = state
				return posterior
			}
			in = in[:len(in)-2]
		}
		if part.needsRewards {
			rewards := in[len(in)-1]
			p.Reward = reward.Func(func(*Node) *Node { return rewards })
			in = in[:len(in)-1]
		}
		return requireWeights(m.Store, in[0], func() []*Node { return build(p, in) })
	})
	if err != nil {
		return fmt.Errorf("preparing the graph: %w", err)
	}
	part.request, part.resume = request.SetMaxCache(-1), resume.SetMaxCache(-1)
	return nil
}

// withoutGradient returns zeros instead of the rewards of x, [n], and panics if their gradient is
// taken.
func withoutGradient(x *Node) *Node {
	zeros := MulScalar(ReduceSum(Reshape(x, x.Shape().Dim(0), -1), 1), 0)
	return IdentityWithCustomGradient(zeros, func(*Node, *Node) *Node {
		Panicf("this method needs the gradient of the reward, which a black-box reward does not have: use mfm-gf, " +
			"best-of-n, smc with mfm-gf, or a search")
		return nil
	})
}

// rewards evaluates the black-box reward of samples, float32 [n].
func (b *blackBox) rewards(samples *tensors.Tensor) (*tensors.Tensor, error) {
	flat, err := tensors.CopyFlatData[float32](samples)
	if err != nil {
		return nil, fmt.Errorf("reading samples: %w", err)
	}
	shape := samples.Shape().Dimensions
	rewards, err := b.reward(flat, append([]int(nil), shape...))
	if err != nil {
		return nil, fmt.Errorf("black-box reward: %w", err)
	}
	if len(rewards) != shape[0] {
		return nil, fmt.Errorf("the black-box reward returns %d numbers for %d samples: want one for each",
			len(rewards), shape[0])
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
