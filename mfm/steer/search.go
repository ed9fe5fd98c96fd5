package steer

import (
	"fmt"
	"math"
	"slices"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
	. "github.com/gomlx/gomlx/support/exceptions"

	"github.com/gomfm/gomfm/mfm/internal/batch"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/solver"
)

// Selection says how the particles of a search select posterior samples.
type Selection string

// The selections.
const (
	// Greedy selects for each particle the best of its own samples: max_per_particle in the paper's
	// code.
	Greedy Selection = "greedy"
	// MaxOverall selects for all particles the best of the samples of all of them: max_overall in
	// the paper's code, its default.
	MaxOverall Selection = "max-overall"
	// SoftmaxSelection resamples the samples of all particles together with weights e^{λ r}.
	SoftmaxSelection Selection = "softmax"
)

// Transition says how a particle goes from the selected posterior sample x₁ to the next time.
type Transition string

// The transitions.
const (
	// Renoise adds fresh noise: x_{t'} = α_{t'} ε + β_{t'} x₁.
	Renoise Transition = "renoise"
	// DDPM keeps a part of the noise that x_t and x₁ imply, as the reverse process of a diffusion
	// does; see [interpolant.DDPMCorrelation].
	DDPM Transition = "ddpm"
)

// Search is MFM-Search (Algorithm 4 of arXiv 2601.14430): each of M particles draws N posterior
// samples with the map, samples with large rewards are selected, and noise takes them to the next
// time. It needs neither drift nor gradient. A sample costs 2MNK evaluations. [SearchConfig] has
// the paper's time grid, and [MaxOverall] with [Renoise] are the defaults of its code.
//
// Samples do not follow the tilted distribution: the reward grows with M and N. An exception is
// [SoftmaxSelection] with M = 1. It draws x₁ from the posterior tilted by e^{λ r} as N grows, and
// the transitions carry that to the tilted distribution at the next time. This is posterior
// resampling.
type Search struct {
	Config
	Particles  int // M for each returned sample, which is the best particle
	N          int // posterior samples of each particle
	Selection  Selection
	Transition Transition
}

// SearchConfig returns [DefaultConfig] with the time grid of the paper's search: times grow as
// (k/K)^2.5 from t_0 = 1e-5. The paper's code takes s_k^2.5 for uniform s_k in [0.01, 1].
func SearchConfig() Config {
	c := DefaultConfig()
	c.Power, c.Start = 2.5, 1e-5
	return c
}

// String returns "search" with selection and transition.
func (m Search) String() string { return fmt.Sprintf("search-%s-%s", m.Selection, m.Transition) }

// Configuration returns the configuration, of which a search uses the grid, Start and λ.
func (m Search) Configuration() Config { return m.Config }

// Rows returns M N.
func (m Search) Rows() int { return m.Particles * m.N }

// Group returns 1.
func (m Search) Group() int { return 1 }

// Validate returns an error that names the first option that is out of range.
func (m Search) Validate() error {
	switch {
	case m.Particles < 1 || m.N < 1 || m.Particles > 1<<16 || m.N > 1<<16 || m.Particles*m.N > 1<<16:
		return fmt.Errorf("%d particles with %d posterior samples each: both must be positive, and their product at "+
			"most 65536",
			m.Particles, m.N)
	case !slices.Contains([]Selection{Greedy, MaxOverall, SoftmaxSelection}, m.Selection):
		return fmt.Errorf("selection %q is unknown: use %s, %s or %s",
			m.Selection, Greedy, MaxOverall, SoftmaxSelection)
	case m.Transition != Renoise && m.Transition != DDPM:
		return fmt.Errorf("transition %q is unknown: use %s or %s", m.Transition, Renoise, DDPM)
	}
	return m.Config.Validate()
}

// Build builds the run; see [Method].
func (m Search) Build(p Problem, rng *solver.RNG, counter *Counter, noise *Node) Outcome {
	return m.program(p.Model.Interpolant).build(p, rng, counter, noise)
}

func (m Search) program(ip interpolant.Schedule) program {
	table := m.table(ip)
	return program{
		steps: len(table),
		start: func(_ Problem, rng *solver.RNG, counter *Counter, noise *Node) []*Node {
			x := noise
			if m.Particles > 1 {
				shape := noise.Shape().Clone()
				shape.Dimensions[0] *= m.Particles
				x = rng.Normal(shape)
			}
			series := Zeros(x.Graph(), shapes.Make(dtypes.Float32, len(table), columns))
			s := state{x: x, rng: rng, counter: counter, series: series}
			return append(s.nodes(), Zeros(x.Graph(), shapes.Make(x.DType(), x.Shape().Dim(0))))
		},
		step: func(p Problem, i *Node, nodes []*Node) []*Node {
			s := stateOf(nodes)
			r := batch.Of(ConstAsDType(s.x.Graph(), s.x.DType(), table), i)
			p.Lambda = r[4]
			samples, rewards, bad := PosteriorSamples{N: m.N}.Draw(p, s.rng, s.counter, batch.Every(r[0], s.x), s.x)
			e := Estimate{Value: batch.LogMeanExp(rewards)}
			e.describe(samples, rewards, bad)
			best, from, reward := m.selected(s.rng, samples, s.x, rewards)
			moved := Add(Mul(r[1], best), Mul(r[2], from))
			s.x = Add(moved, Mul(r[3], s.rng.Normal(s.x.Shape())))
			s.series = batch.SetRow(s.series, i, e.means(s.x, ZerosLike(s.x)))
			return append(s.nodes(), reward)
		},
		end: func(_ Problem, nodes []*Node) Outcome {
			s := stateOf(nodes)
			winners := ArgMax(Reshape(nodes[4], -1, m.Particles), 1)
			x := pick(s.x, InsertAxes(winners, -1), m.Particles)
			return Outcome{X: x, Series: s.series, Rng: s.rng, Counter: s.counter}
		},
	}
}

// table returns a row for each step: t, the factors of the selected sample, of x_t and of the noise
// in x_{t'}, and λ_t.
func (m Search) table(ip interpolant.Schedule) [][]float64 {
	times := m.Times()
	table := make([][]float64, 0, len(times)-1)
	for k := 1; k < len(times); k++ {
		t, to := times[k-1], times[k]
		alpha, beta, _, _ := ip.At(t)
		alphaTo, betaTo, _, _ := ip.At(to)
		rho := 0.0
		if m.Transition == DDPM {
			rho = interpolant.DDPMCorrelation(ip, t, to)
		}
		if k == len(times)-1 {
			alphaTo, betaTo, rho = 0, 1, 0
		}
		// x_{t'} = β' x₁ + ρ α'/α (x_t - β x₁) + α' √(1-ρ²) ε
		keep := rho * alphaTo / alpha
		fresh := alphaTo * math.Sqrt((1-rho)*(1+rho))
		table = append(table, []float64{t, betaTo - keep*beta, keep, fresh, m.lambda(max(t, m.Start))})
	}
	return table
}

// selected returns a posterior sample for each particle, the state from which it was drawn, both
// [n·M, ...], and its reward, [n·M]. samples are [n·M·N, ...], drawn from the states x with rewards
// [n·M, N].
func (m Search) selected(rng *solver.RNG, samples, x, rewards *Node) (best, from, reward *Node) {
	if m.Selection == Greedy {
		indices := InsertAxes(ArgMax(rewards, 1), -1)
		return pick(samples, indices, m.N), x, pick(Reshape(rewards, -1), indices, m.N)
	}
	pool := m.Particles * m.N
	pooled := Reshape(rewards, -1, pool)
	var indices *Node
	if m.Selection == MaxOverall {
		indices = BroadcastToDims(InsertAxes(ArgMax(pooled, 1), -1), pooled.Shape().Dim(0), m.Particles)
	} else {
		indices = Multinomial.ancestors(rng, pooled, m.Particles)
	}
	parents := Div(indices, Scalar(x.Graph(), indices.DType(), m.N)) // integer division
	return pick(samples, indices, pool), pick(x, parents, m.Particles), pick(Reshape(rewards, -1), indices, pool)
}

// BestOf is Best-of-N: of N unsteered samples it returns the one with the largest λ r. Only the
// sign of λ matters, so the distribution of the samples is not the tilted one.
type BestOf struct {
	Config
	N int `json:"n"`
}

// String returns "best-of-n".
func (BestOf) String() string { return "best-of-n" }

// Configuration returns the configuration.
func (m BestOf) Configuration() Config { return m.Config }

// Rows returns N.
func (m BestOf) Rows() int { return m.N }

// Group returns 1.
func (BestOf) Group() int { return 1 }

// Validate returns an error that names the first option that is out of range.
func (m BestOf) Validate() error {
	if m.N < 1 || m.N > 1<<16 {
		return fmt.Errorf("n = %d candidates: must lie in [1, 65536]", m.N)
	}
	return m.Config.Validate()
}

// Build builds the run; see [Method].
func (m BestOf) Build(p Problem, rng *solver.RNG, counter *Counter, noise *Node) Outcome {
	return m.program(p.Model.Interpolant).build(p, rng, counter, noise)
}

func (m BestOf) program(ip interpolant.Schedule) program {
	run := m.along(ip, nil)
	start, end := run.start, run.end
	run.start = func(p Problem, rng *solver.RNG, counter *Counter, noise *Node) []*Node {
		return start(p, rng, counter, candidates(rng, noise, m.N))
	}
	run.end = func(p Problem, state []*Node) Outcome { return bestOf(p, m.Lambda, m.N, end(p, state)) }
	return run
}

// bestOf reduces an outcome with n samples for each one to the best of them by λ r.
func bestOf(p Problem, lambda float64, n int, o Outcome) Outcome {
	p.Lambda = Scalar(o.X.Graph(), o.X.DType(), lambda)
	plain, r, bad := rewardsOf(p, o.Counter, o.X)
	o.Series = addBad(o.Series, bad)
	// The candidates of sample i are the rows i, k+i, 2k+i and so on.
	k := o.X.Shape().Dim(0) / n
	best := ArgMax(Transpose(Reshape(r, n, k), 0, 1), 1)
	o.X, o.Rewards = chosen(o.X, best, k), chosen(plain, best, k)
	return o
}

// candidates returns noise of n candidates for each row of noise: the rows themselves, followed by
// n - 1 times as many others.
func candidates(rng *solver.RNG, noise *Node, n int) *Node {
	if n == 1 {
		return noise
	}
	shape := noise.Shape().Clone()
	shape.Dimensions[0] *= n - 1
	return Concatenate([]*Node{noise, rng.Normal(shape)}, 0)
}

// OneStepBestOf is Best-of-N from samples of the map in one step, X_{0,1}(ε; 0, ·), instead of a
// path of K steps: posterior samples at t = 0, where x carries no information. A sample costs 2N
// evaluations if a posterior sample costs one. Steps must be 1; of the other options only λ has an
// effect.
type OneStepBestOf struct {
	Config
	N int `json:"n"`
}

// String returns "best-of-n-one-step".
func (OneStepBestOf) String() string { return "best-of-n-one-step" }

// Configuration returns the configuration.
func (m OneStepBestOf) Configuration() Config { return m.Config }

// Rows returns N.
func (m OneStepBestOf) Rows() int { return m.N }

// Group returns 1.
func (OneStepBestOf) Group() int { return 1 }

// Validate returns an error that names the first option that is out of range.
func (m OneStepBestOf) Validate() error {
	if m.Steps != 1 {
		return fmt.Errorf("steps = %d: one-step samples take 1 step, use 1", m.Steps)
	}
	path := BestOf(m)
	path.Steps = DefaultConfig().Steps
	return path.Validate()
}

// Build builds the run; see [Method].
func (m OneStepBestOf) Build(p Problem, rng *solver.RNG, counter *Counter, noise *Node) Outcome {
	return m.program(p.Model.Interpolant).build(p, rng, counter, noise)
}

func (m OneStepBestOf) program(interpolant.Schedule) program {
	run := m.stepping(nil)
	run.steps = 0
	start, end := run.start, run.end
	run.start = func(p Problem, rng *solver.RNG, counter *Counter, noise *Node) []*Node {
		return start(p, rng, counter, candidates(rng, noise, m.N))
	}
	run.end = func(p Problem, nodes []*Node) Outcome {
		if p.Model.Posterior == nil {
			Panicf("%v: the model has no posterior samples: use a map", m)
		}
		o := end(p, nodes)
		t := Zeros(o.X.Graph(), shapes.Make(o.X.DType(), 1))
		o.X = p.Model.Posterior(o.Rng, o.X, t, ZerosLike(o.X), nil)
		o.Counter.Network(o.X.Shape().Dim(0)*p.Model.PosteriorNFE, 0)
		return bestOf(p, m.Lambda, m.N, o)
	}
	return run
}

// chosen returns row best_i n + i of x for each i in [0, n).
func chosen(x, best *Node, n int) *Node {
	rows := Add(MulScalar(best, float64(n)), Iota(x.Graph(), best.Shape(), 0))
	return Gather(x, InsertAxes(rows, -1))
}
