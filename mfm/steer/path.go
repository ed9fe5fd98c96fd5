package steer

import (
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"

	"github.com/gomfm/gomfm/mfm/internal/batch"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/solver"
)

// The series that a run keeps, a column each: means over the particles at each step.
const (
	ratioColumn     = iota // |steering|/|base|: root mean squares
	effectiveColumn        // how many of a particle's draws count, see [Estimate].Effective
	spreadColumn           // of a particle's draws
	rewardColumn           // of its draws
	valueColumn            // the estimate of V
	badColumn              // rewards that were no numbers, a particle
	particlesColumn        // effective sample size of a filter's set, as a share
	columns
)

// state is what a run carries from step to step.
type state struct {
	x      *Node // particles, [n, ...]
	rng    *solver.RNG
	ledger *Ledger
	series *Node // float32 [steps, columns]
}

func (s state) nodes() []*Node { return []*Node{s.x, s.rng.State, s.ledger.counts, s.series} }

func stateOf(nodes []*Node) state {
	return state{x: nodes[0], rng: &solver.RNG{State: nodes[1]}, ledger: &Ledger{counts: nodes[2]}, series: nodes[3]}
}

// program is a method cut into what comes before its steps, a step, and what comes after: on a device the steps are one compiled loop, with a reward on the host each is a call.
type program struct {
	start func(p Problem, rng *solver.RNG, ledger *Ledger, noise *Node) (state []*Node)
	steps int
	step  func(p Problem, i *Node, state []*Node) []*Node // i is an int32 scalar
	end   func(p Problem, state []*Node) Outcome
}

// build is the whole on one graph.
func (r program) build(p Problem, rng *solver.RNG, ledger *Ledger, noise *Node) Outcome {
	state := solver.Loop(r.steps, r.start(p, rng, ledger, noise), func(i *Node, state []*Node) []*Node { return r.step(p, i, state) })
	return r.end(p, state)
}

// along carries particles from noise along the steps of c, with the steering that e estimates; without one where e is nil.
func (c Config) along(ip interpolant.Schedule, e Estimator) program {
	steps := c.steps(ip)
	table := make([][]float64, len(steps))
	for k, s := range steps {
		table[k] = s.row()
	}
	euler := func(p Problem, i *Node, nodes []*Node) []*Node {
		s := stateOf(nodes)
		r := batch.Of(ConstAsDType(s.x.Graph(), s.x.DType(), table), i)
		p.Lambda = r[6]
		move, figures := c.move(p, e, s, r)
		s.x = Add(s.x, move)
		if c.Dynamics == SDE {
			s.x = Add(s.x, Mul(r[5], s.rng.Normal(s.x.Shape())))
		}
		s.series = batch.SetRow(s.series, i, figures)
		return s.nodes()
	}
	heun := func(p Problem, i *Node, nodes []*Node) []*Node {
		s := stateOf(nodes)
		rows := ConstAsDType(s.x.Graph(), s.x.DType(), table)
		r := batch.Of(rows, i)
		p.Lambda = r[6]
		move, figures := c.move(p, e, s, r)
		// The step's end is the next row's start; drift and steer are h and h σ²/2 there.
		next := batch.Of(rows, OnePlus(i))
		h := r[2]
		second := []*Node{next[0], next[1], h, next[3], Mul(h, Div(next[4], next[2])), next[5], next[6]}
		p.Lambda = next[6]
		ahead := s
		ahead.x = Add(s.x, move)
		again, _ := c.move(p, e, ahead, second)
		s.x = Add(s.x, MulScalar(Add(move, again), 0.5))
		s.series = batch.SetRow(s.series, i, figures)
		return s.nodes()
	}
	run := program{steps: len(steps), step: euler}
	run.start = func(_ Problem, rng *solver.RNG, ledger *Ledger, noise *Node) []*Node {
		return state{x: noise, rng: rng, ledger: ledger, series: Zeros(noise.Graph(), shapes.Make(dtypes.Float32, len(steps), columns))}.nodes()
	}
	run.end = func(_ Problem, nodes []*Node) Outcome {
		s := stateOf(nodes)
		return Outcome{X: s.x, Series: s.series, Rng: s.rng, Ledger: s.ledger}
	}
	if c.Solver == solver.Heun { // the last step is Euler's: ∇V and b are not evaluated at 1
		finish, last := run.end, len(steps)-1
		run.steps, run.step = last, heun
		run.end = func(p Problem, nodes []*Node) Outcome {
			return finish(p, euler(p, Const(nodes[0].Graph(), int32(last)), nodes))
		}
	}
	return run
}

// move returns what a step without noise adds to the particles, and the step's row of the series, [columns]. It moves on the state's ledger and random numbers.
func (c Config) move(p Problem, e Estimator, s state, r []*Node) (move, figures *Node) {
	n := s.x.Shape().Dim(0)
	t, at := batch.Every(r[0], s.x), batch.Every(r[1], s.x)
	b := p.Model.Drift(t, s.x, nil)
	s.ledger.Network(n, 0)
	base := Add(Mul(r[2], b), Mul(r[3], s.x))
	if e == nil {
		return base, Zeros(b.Graph(), shapes.Make(dtypes.Float32, columns))
	}
	estimate := e.Estimate(p, s.rng, s.ledger, at, s.x, b, true)
	steering := c.renormalized(Mul(r[4], estimate.Gradient), base)
	return Add(base, steering), estimate.row(base, steering)
}

// row returns the means over the particles, float32 [columns].
func (e Estimate) row(base, steering *Node) *Node {
	rms := func(x *Node) *Node { return Sqrt(ReduceAllMean(Square(x))) }
	values := make([]*Node, columns)
	for i, v := range []*Node{effectiveColumn: e.Effective, spreadColumn: e.Spread, rewardColumn: e.Reward, valueColumn: e.Value, badColumn: e.Bad, particlesColumn: nil} {
		values[i] = ScalarZero(base.Graph(), base.DType())
		if v != nil {
			values[i] = ReduceAllMean(v)
		}
	}
	if e.Rewarded != nil {
		values[rewardColumn] = Div(ReduceAllSum(e.Reward), MaxScalar(ReduceAllSum(e.Rewarded), 1))
	}
	values[ratioColumn] = Div(rms(steering), MaxScalar(rms(base), 1e-20))
	return ConvertDType(Stack(values, 0), dtypes.Float32)
}

// addBad adds to the last step's row of a series what is bad among rewards at the end, [n].
func addBad(series, bad *Node) *Node {
	steps := series.Shape().Dim(0)
	g, dtype := series.Graph(), series.DType()
	at := make([][]float64, steps)
	for i := range at {
		at[i] = make([]float64, columns)
	}
	at[steps-1][badColumn] = 1
	return Add(series, Mul(ConstAsDType(g, dtype, at), ConvertDType(ReduceAllMean(bad), dtype)))
}

// scalarsOf returns the numbers of a step as scalars.
func scalarsOf(g *Graph, dtype dtypes.DType, s step) []*Node {
	var out []*Node
	for _, v := range s.row() {
		out = append(out, Scalar(g, dtype, v))
	}
	return out
}
