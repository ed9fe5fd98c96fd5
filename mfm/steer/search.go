package steer

import (
	"fmt"
	"math"

	"github.com/gomfm/gomfm/mfm/internal/batch"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/solver"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
)

// Selection says which of their posterior samples particles of a search go on from.
type Selection string

// The selections.
const (
	Greedy Selection = "greedy"  // each particle from the best of its own draws
	Pooled Selection = "softmax" // all from draws of all particles together, resampled with weights e^{λ r}
)

// Transition says how a particle gets from a chosen draw of the data back to the next time.
type Transition string

// The transitions.
const (
	Renoise Transition = "renoise" // fresh noise: x_{t'} = α_{t'} ε + β_{t'} x₁
	Keep    Transition = "ddpm"    // the noise that x_t implies is kept as far as that of a diffusion run backwards is, see [interpolant.DDPM]
)

// Search is MFM-Search: M particles each draw N posterior samples with the map, those with large rewards are chosen, and noise takes them to the next time. It needs neither drift nor gradient. Its law
// is not the tilted one: the more it searches the larger is the reward.
type Search struct {
	Config
	Particles  int // M, for each sample that is returned, the best of them
	N          int // draws of a particle
	Selection  Selection
	Transition Transition
}

// String returns "search" with selection and transition.
func (m Search) String() string { return fmt.Sprintf("search-%s-%s", m.Selection, m.Transition) }

// Configuration returns the configuration, of whose values the search takes grid and λ.
func (m Search) Configuration() Config { return m.Config }

// Rows returns M N.
func (m Search) Rows() int { return m.Particles * m.N }

// Together returns 1.
func (m Search) Together() int { return 1 }

// Validate returns an error that names the first option that makes no sense.
func (m Search) Validate() error {
	switch {
	case m.Particles < 1 || m.N < 1 || m.Particles > 1<<16 || m.N > 1<<16 || m.Particles*m.N > 1<<16:
		return fmt.Errorf("%d particles with %d draws each: both must be positive, and their product at most 65536", m.Particles, m.N)
	case m.Selection != Greedy && m.Selection != Pooled:
		return fmt.Errorf("selection %q is unknown: use %s or %s", m.Selection, Greedy, Pooled)
	case m.Transition != Renoise && m.Transition != Keep:
		return fmt.Errorf("transition %q is unknown: use %s or %s", m.Transition, Renoise, Keep)
	}
	return m.Config.Validate()
}

// Build builds the run; see [Method].
func (m Search) Build(p Problem, rng *solver.RNG, ledger *Ledger, noise *Node) Outcome {
	return m.program(p.Model.Interpolant).build(p, rng, ledger, noise)
}

func (m Search) program(ip interpolant.Schedule) program {
	table := m.table(ip)
	return program{
		steps: len(table),
		start: func(_ Problem, rng *solver.RNG, ledger *Ledger, noise *Node) []*Node {
			x := noise
			if m.Particles > 1 {
				shape := noise.Shape().Clone()
				shape.Dimensions[0] *= m.Particles
				x = rng.Normal(shape)
			}
			s := state{x: x, rng: rng, ledger: ledger, series: Zeros(x.Graph(), shapes.Make(dtypes.Float32, len(table), columns))}
			return append(s.nodes(), Zeros(x.Graph(), shapes.Make(x.DType(), x.Shape().Dim(0))))
		},
		step: func(p Problem, i *Node, nodes []*Node) []*Node {
			s := stateOf(nodes)
			r := batch.Of(ConstAsDType(s.x.Graph(), s.x.DType(), table), i)
			p.Lambda = r[4]
			samples, rewards, bad := Draws{N: m.N}.Draw(p, s.rng, s.ledger, batch.Every(r[0], s.x), s.x)
			e := Estimate{Value: batch.LogMeanExp(rewards)}
			e.summary(samples, rewards, bad)
			best, from, chosen := m.choose(s.rng, samples, s.x, rewards)
			moved := Add(Mul(r[1], best), Mul(r[2], from))
			s.x = Add(moved, Mul(r[3], s.rng.Normal(s.x.Shape())))
			s.series = batch.SetRow(s.series, i, e.row(s.x, ZerosLike(s.x)))
			return append(s.nodes(), chosen)
		},
		end: func(_ Problem, nodes []*Node) Outcome {
			s := stateOf(nodes)
			winners := ArgMax(Reshape(nodes[4], -1, m.Particles), 1)
			return Outcome{X: pick(s.x, InsertAxes(winners, -1), m.Particles), Series: s.series, Rng: s.rng, Ledger: s.ledger}
		},
	}
}

// table returns a row for each step: t, the factors of the chosen draw, of x_t and of the noise in x_{t'}, and λ.
func (m Search) table(ip interpolant.Schedule) [][]float64 {
	times := m.Times()
	table := make([][]float64, 0, len(times)-1)
	for k := 1; k < len(times); k++ {
		t, to := times[k-1], times[k]
		alpha, beta, _, _ := ip.At(t)
		alphaTo, betaTo, _, _ := ip.At(to)
		rho := 0.0
		if m.Transition == Keep {
			rho = interpolant.DDPMCorrelation(ip, t, to)
		}
		if k == len(times)-1 {
			alphaTo, betaTo, rho = 0, 1, 0
		}
		// x_{t'} = β' x₁ + ρ α'/α (x_t - β x₁) + α' √(1-ρ²) ε
		keep := rho * alphaTo / alpha
		table = append(table, []float64{t, betaTo - keep*beta, keep, alphaTo * sqrt1m(rho), m.lambda(max(t, m.Start))})
	}
	return table
}

// sqrt1m returns √(1-ρ²).
func sqrt1m(rho float64) float64 { return math.Sqrt((1 - rho) * (1 + rho)) }

// choose returns a draw for each particle, [n·M, ...], the state that it is a posterior sample of, and its reward, [n·M], from samples [n·M·N, ...] of states x with rewards [n·M, N].
func (m Search) choose(rng *solver.RNG, samples, x, rewards *Node) (best, from, chosen *Node) {
	if m.Selection == Greedy {
		indices := InsertAxes(ArgMax(rewards, 1), -1)
		return pick(samples, indices, m.N), x, pick(Reshape(rewards, -1), indices, m.N)
	}
	pool := m.Particles * m.N
	indices := Multinomial.ancestors(rng, Reshape(rewards, -1, pool), m.Particles)
	parents := Div(indices, Scalar(x.Graph(), indices.DType(), m.N)) // of whole numbers
	return pick(samples, indices, pool), pick(x, parents, m.Particles), pick(Reshape(rewards, -1), indices, pool)
}
