package steer

import (
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"

	"github.com/gomfm/gomfm/mfm/internal/batch"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/solver"
)

// The columns of the series that a run keeps: means over the particles at each step, see [Series].
const (
	ratioColumn = iota
	effectiveColumn
	stdColumn
	rewardColumn
	valueColumn
	badColumn
	particlesColumn
	speedColumn
	columns
)

// state is what a run carries from step to step.
type state struct {
	x       *Node // particles, [n, ...]
	rng     *solver.RNG
	counter *Counter
	series  *Node // float32 [steps, columns]
}

func (s state) nodes() []*Node { return []*Node{s.x, s.rng.State, s.counter.counts, s.series} }

func stateOf(nodes []*Node) state {
	return state{
		x: nodes[0], rng: &solver.RNG{State: nodes[1]}, counter: &Counter{counts: nodes[2]}, series: nodes[3],
	}
}

// program is a method in three parts: before its steps, a step, and after its steps. With a reward
// on the device the steps are one compiled loop; with a black-box reward each step is a call.
type program struct {
	start func(p Problem, rng *solver.RNG, counter *Counter, noise *Node) (state []*Node)
	steps int
	step  func(p Problem, i *Node, state []*Node) []*Node // i is an int32 scalar
	end   func(p Problem, state []*Node) Outcome
}

// build builds the whole program in one graph.
func (r program) build(p Problem, rng *solver.RNG, counter *Counter, noise *Node) Outcome {
	step := func(i *Node, state []*Node) []*Node { return r.step(p, i, state) }
	return r.end(p, solver.Loop(r.steps, r.start(p, rng, counter, noise), step))
}

// along returns the program that moves particles from noise along the steps of c with the steering
// that e estimates; a nil e means no steering.
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
		move, means := c.move(p, e, s, r)
		s.x = Add(s.x, move)
		if c.Dynamics == SDE {
			s.x = Add(s.x, Mul(r[5], s.rng.Normal(s.x.Shape())))
		}
		s.series = batch.SetRow(s.series, i, means)
		return s.nodes()
	}
	heun := func(p Problem, i *Node, nodes []*Node) []*Node {
		s := stateOf(nodes)
		rows := ConstAsDType(s.x.Graph(), s.x.DType(), table)
		r := batch.Of(rows, i)
		p.Lambda = r[6]
		move, means := c.move(p, e, s, r)
		// The end of the step is the start of the next row, whose drift and steer are h and h σ²/2
		// there.
		next := batch.Of(rows, OnePlus(i))
		h := r[2]
		second := []*Node{next[0], next[1], h, next[3], Mul(h, Div(next[4], next[2])), next[5], next[6]}
		p.Lambda, p.DriftInX = next[6], true
		ahead := s
		ahead.x = Add(s.x, move)
		again, _ := c.move(p, e, ahead, second)
		s.x = Add(s.x, MulScalar(Add(move, again), 0.5))
		s.series = batch.SetRow(s.series, i, means)
		return s.nodes()
	}
	run := c.stepping(euler)
	if c.Solver == solver.Heun { // the last step is Euler's: ∇V and b are not evaluated at 1
		finish, last := run.end, len(steps)-1
		run.steps, run.step = last, heun
		run.end = func(p Problem, nodes []*Node) Outcome {
			return finish(p, euler(p, Const(nodes[0].Graph(), int32(last)), nodes))
		}
	}
	if _, reuses := e.(interface{ reusesDrift() }); reuses {
		return run.reusingDrift()
	}
	return run
}

// stepping returns the program that takes the given step as often as c has steps.
func (c Config) stepping(step func(p Problem, i *Node, state []*Node) []*Node) program {
	return program{
		steps: c.Steps, step: step,
		start: func(_ Problem, rng *solver.RNG, counter *Counter, noise *Node) []*Node {
			series := Zeros(noise.Graph(), shapes.Make(dtypes.Float32, c.Steps, columns))
			return state{x: noise, rng: rng, counter: counter, series: series}.nodes()
		},
		end: func(_ Problem, nodes []*Node) Outcome {
			s := stateOf(nodes)
			return Outcome{X: s.x, Series: s.series, Rng: s.rng, Counter: s.counter}
		},
	}
}

// reusingDrift returns the program with [Problem].DriftInX in all steps but the first, which it
// takes before the loop: there alone drift and estimate have different times.
func (r program) reusingDrift() program {
	start, step, end := r.start, r.step, r.end
	r.start = func(p Problem, rng *solver.RNG, counter *Counter, noise *Node) []*Node {
		return step(p, Const(noise.Graph(), int32(0)), start(p, rng, counter, noise))
	}
	r.steps--
	r.step = func(p Problem, i *Node, state []*Node) []*Node {
		p.DriftInX = true
		return step(p, OnePlus(i), state)
	}
	r.end = func(p Problem, state []*Node) Outcome {
		p.DriftInX = true
		return end(p, state)
	}
	return r
}

// move returns what a step adds to the particles, without noise, and its row of the series,
// [columns]. r has the coefficients of the step. The counter and the random state of s advance.
func (c Config) move(p Problem, e Estimator, s state, r []*Node) (move, means *Node) {
	n := s.x.Shape().Dim(0)
	t, at := batch.Every(r[0], s.x), batch.Every(r[1], s.x)
	b := p.Model.Drift(t, s.x, nil)
	s.counter.Network(n*p.Model.driftNFE(), 0)
	base := Add(Mul(r[2], b), Mul(r[3], s.x))
	if e == nil {
		return base, Zeros(b.Graph(), shapes.Make(dtypes.Float32, columns))
	}
	estimate := e.Estimate(p, s.rng, s.counter, at, s.x, b, true)
	steering := c.renormalized(Mul(r[4], estimate.Gradient), base)
	return Add(base, steering), estimate.means(base, steering)
}

// means returns a row of the series, float32 [columns]: means over the particles.
func (e Estimate) means(base, steering *Node) *Node {
	rms := func(x *Node) *Node { return Sqrt(ReduceAllMean(Square(x))) }
	values := make([]*Node, columns)
	for i, v := range []*Node{
		effectiveColumn: e.Effective, stdColumn: e.Std, rewardColumn: e.Reward, valueColumn: e.Value,
		badColumn: e.Bad, speedColumn: nil,
	} {
		values[i] = ScalarZero(base.Graph(), base.DType())
		if v != nil {
			values[i] = ReduceAllMean(v)
		}
	}
	if e.Rewarded != nil {
		values[rewardColumn] = Div(ReduceAllSum(e.Reward), MaxScalar(ReduceAllSum(e.Rewarded), 1))
	}
	length := MaxScalar(rms(base), 1e-20)
	values[ratioColumn] = Div(rms(steering), length)
	values[speedColumn] = Div(rms(Add(base, steering)), length)
	return ConvertDType(Stack(values, 0), dtypes.Float32)
}

// addBad adds the mean of bad, [n], to the last row of a series: the final rewards that are NaN or
// +Inf.
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

// scalarsOf returns the coefficients of a step as scalars.
func scalarsOf(g *Graph, dtype dtypes.DType, s step) []*Node {
	var out []*Node
	for _, v := range s.row() {
		out = append(out, Scalar(g, dtype, v))
	}
	return out
}
