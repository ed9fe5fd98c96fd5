package steer

import (
	"fmt"

	. "github.com/gomlx/gomlx/core/graph"

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
		candidates := noise
		if m.N > 1 {
			shape := noise.Shape().Clone()
			shape.Dimensions[0] *= m.N - 1
			candidates = Concatenate([]*Node{noise, rng.Normal(shape)}, 0)
		}
		return start(p, rng, counter, candidates)
	}
	run.end = func(p Problem, state []*Node) Outcome {
		o := end(p, state)
		p.Lambda = Scalar(o.X.Graph(), o.X.DType(), m.Lambda)
		plain, r, bad := rewardsOf(p, o.Counter, o.X)
		o.Series = addBad(o.Series, bad)
		// The candidates of sample i are the rows i, n+i, 2n+i and so on.
		n := o.X.Shape().Dim(0) / m.N
		best := ArgMax(Transpose(Reshape(r, m.N, n), 0, 1), 1)
		o.X, o.Rewards = chosen(o.X, best, n), chosen(plain, best, n)
		return o
	}
	return run
}

// chosen returns row best_i n + i of x for each i in [0, n).
func chosen(x, best *Node, n int) *Node {
	rows := Add(MulScalar(best, float64(n)), Iota(x.Graph(), best.Shape(), 0))
	return Gather(x, InsertAxes(rows, -1))
}
