package steer

import (
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/internal/batch"
)

// The series that a run keeps, a column each: means over the particles at each step.
const (
	ratioColumn     = iota // |steering|/|base|: root mean squares
	effectiveColumn        // how many of a particle's draws count, see [Estimate].Effective
	spreadColumn           // of a particle's draws
	rewardColumn           // of its draws
	valueColumn            // the estimate of V
	badColumn              // rewards that were no numbers, a particle
	columns
)

// state is what a run carries from step to step.
type state struct {
	x      *Node // particles, [n, ...]
	rng    *mfm.RNG
	ledger *Ledger
	series *Node // float32 [steps, columns]
}

func (s state) nodes() []*Node { return []*Node{s.x, s.rng.State, s.ledger.counts, s.series} }

func stateOf(nodes []*Node) state {
	return state{x: nodes[0], rng: &mfm.RNG{State: nodes[1]}, ledger: &Ledger{counts: nodes[2]}, series: nodes[3]}
}

// along carries n particles from noise along the steps of c, in one compiled loop, with the steering that e estimates; without one where e is nil.
func (c Config) along(p Problem, e Estimator, rng *mfm.RNG, ledger *Ledger, noise *Node) state {
	steps := c.steps(p.Model.Interpolant)
	g := noise.Graph()
	s := state{x: noise, rng: rng, ledger: ledger, series: Zeros(g, shapes.Make(dtypes.Float32, len(steps), columns))}
	table := make([][]float64, len(steps))
	for k, s := range steps {
		table[k] = s.row()
	}
	rows := ConstAsDType(g, noise.DType(), table)
	body := func(solver mfm.Solver, from int) func(i *Node, nodes []*Node) []*Node {
		return func(i *Node, nodes []*Node) []*Node {
			s := stateOf(nodes)
			i = AddScalar(i, float64(from))
			r := batch.Of(rows, i)
			p.Lambda = r[6]
			move, figures := c.move(p, e, s, r)
			if solver == mfm.Heun {
				// The step's end is the next row's start; drift and steer are h and h σ²/2 there.
				next := batch.Of(rows, OnePlus(i))
				h := r[2]
				second := []*Node{next[0], next[1], h, next[3], Mul(h, Div(next[4], next[2])), next[5], next[6]}
				p.Lambda = next[6]
				ahead := s
				ahead.x = Add(s.x, move)
				again, _ := c.move(p, e, ahead, second)
				move = MulScalar(Add(move, again), 0.5)
			}
			s.x = Add(s.x, move)
			if c.Dynamics == SDE {
				s.x = Add(s.x, Mul(r[5], s.rng.Normal(s.x.Shape())))
			}
			s.series = withRow(s.series, i, figures)
			return s.nodes()
		}
	}
	if c.Solver == mfm.Heun { // the last step is Euler's: ∇V and b are not evaluated at 1
		s = stateOf(mfm.Loop(len(steps)-1, s.nodes(), body(mfm.Heun, 0)))
		return stateOf(mfm.Loop(1, s.nodes(), body(mfm.Euler, len(steps)-1)))
	}
	return stateOf(mfm.Loop(len(steps), s.nodes(), body(mfm.Euler, 0)))
}

// move returns what a step without noise adds to the particles, and the step's row of the series, [1, columns]. It moves on the state's ledger and random numbers.
func (c Config) move(p Problem, e Estimator, s state, r []*Node) (move, figures *Node) {
	n := s.x.Shape().Dim(0)
	t, at := batch.Every(r[0], s.x), batch.Every(r[1], s.x)
	b := p.Model.Drift(t, s.x, nil)
	s.ledger.Network(n, 0)
	base := Add(Mul(r[2], b), Mul(r[3], s.x))
	if e == nil {
		return base, Zeros(b.Graph(), shapes.Make(dtypes.Float32, 1, columns))
	}
	estimate := e.Estimate(p, s.rng, s.ledger, at, s.x, b, true)
	steering := c.renormalized(Mul(r[4], estimate.Gradient), base)
	return Add(base, steering), estimate.row(base, steering)
}

// row returns the means over the particles, float32 [1, columns].
func (e Estimate) row(base, steering *Node) *Node {
	rms := func(x *Node) *Node { return Sqrt(ReduceAllMean(Square(x))) }
	values := make([]*Node, columns)
	for i, v := range []*Node{effectiveColumn: e.Effective, spreadColumn: e.Spread, rewardColumn: e.Reward, valueColumn: e.Value, badColumn: e.Bad} {
		values[i] = ScalarZero(base.Graph(), base.DType())
		if v != nil {
			values[i] = ReduceAllMean(v)
		}
	}
	values[ratioColumn] = Div(rms(steering), MaxScalar(rms(base), 1e-20))
	return ConvertDType(InsertAxes(Stack(values, 0), 0), dtypes.Float32)
}

// withRow returns a table, [rows, columns], with row i replaced by one of [1, columns].
func withRow(table, i, row *Node) *Node {
	here := Equal(Iota(table.Graph(), shapes.Make(dtypes.Int32, table.Shape().Dim(0), 1), 0), ConvertDType(i, dtypes.Int32))
	return Where(BroadcastToDims(here, table.Shape().Dimensions...), BroadcastToDims(row, table.Shape().Dimensions...), table)
}

// scalarsOf returns the numbers of a step as scalars.
func scalarsOf(g *Graph, dtype dtypes.DType, s step) []*Node {
	var out []*Node
	for _, v := range s.row() {
		out = append(out, Scalar(g, dtype, v))
	}
	return out
}
