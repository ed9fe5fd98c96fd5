package steer

import (
	"fmt"

	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
	. "github.com/gomlx/gomlx/support/exceptions"

	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/solver"
)

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
