package steer

import (
	"fmt"

	. "github.com/gomlx/gomlx/core/graph"

	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/solver"
)

// Method is a way to draw samples of the tilted law: steering, or what it is compared with.
type Method interface {
	// Build carries noise, [n, ...], to n samples. p.Lambda is not set yet.
	Build(p Problem, rng *solver.RNG, ledger *Ledger, noise *Node) Outcome
	// Configuration returns how particles move.
	Configuration() Config
	// Rows returns the number of rows that the network sees at a time for one sample.
	Rows() int
	// Together returns the number of samples that are drawn together, as the particles of a filter are; 1 where each is independent.
	Together() int
	// Validate returns an error that names the first option that makes no sense.
	Validate() error
	// String returns the name under which results go.
	String() string
}

// Outcome is what a method draws, as nodes.
type Outcome struct {
	X          *Node // samples, [n, ...]
	LogWeights *Node // of the samples, [n]; nil: all alike
	LogZ       *Node // estimate of log E[e^{λ r}], a scalar, unbiased before the logarithm; nil with LogWeights, and only with them
	Rewards    *Node // r of the samples as it came, λ left out, [n]; nil where the method has not asked for it: whoever reports it asks then
	Series     *Node // float32 [steps, columns]
	Rng        *solver.RNG
	Ledger     *Ledger
}

// Guided is a steered run: each particle follows the dynamics with the drift that Estimator gives. With a nil estimator it is the unsteered model.
type Guided struct {
	Config
	Estimator Estimator
}

// String returns the estimator's name, or "unsteered".
func (m Guided) String() string {
	if m.Estimator == nil {
		return "unsteered"
	}
	return m.Estimator.String()
}

// Configuration returns the configuration.
func (m Guided) Configuration() Config { return m.Config }

// Rows returns the estimator's draws, at least 1.
func (m Guided) Rows() int {
	if m.Estimator == nil {
		return 1
	}
	return max(m.Estimator.DrawCount(), 1)
}

// Together returns 1.
func (m Guided) Together() int { return 1 }

// Validate returns an error that names the first option that makes no sense.
func (m Guided) Validate() error {
	if m.Estimator != nil {
		if err := m.Estimator.Validate(); err != nil {
			return err
		}
	}
	if _, exact := m.Estimator.(Exact); exact && m.LambdaPower != 0 {
		return fmt.Errorf("lambda_power = %g: the exact value is that of one λ, use 0", m.LambdaPower)
	}
	return m.Config.Validate()
}

// Build builds the run; see [Method].
func (m Guided) Build(p Problem, rng *solver.RNG, ledger *Ledger, noise *Node) Outcome {
	return m.program(p.Model.Interpolant).build(p, rng, ledger, noise)
}

func (m Guided) program(ip interpolant.Schedule) program { return m.along(ip, m.Estimator) }

// BestOf draws N unsteered samples for each one that it returns, that with the largest reward λ r. Its law is not the tilted one: it has no parameter λ but N.
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

// Together returns 1.
func (BestOf) Together() int { return 1 }

// Validate returns an error that names the first option that makes no sense.
func (m BestOf) Validate() error {
	if m.N < 1 || m.N > 1<<16 {
		return fmt.Errorf("n = %d samples to choose from: must lie in [1, 65536]", m.N)
	}
	return m.Config.Validate()
}

// Build builds the run; see [Method].
func (m BestOf) Build(p Problem, rng *solver.RNG, ledger *Ledger, noise *Node) Outcome {
	return m.program(p.Model.Interpolant).build(p, rng, ledger, noise)
}

func (m BestOf) program(ip interpolant.Schedule) program {
	run := m.along(ip, nil)
	start, end := run.start, run.end
	run.start = func(p Problem, rng *solver.RNG, ledger *Ledger, noise *Node) []*Node {
		many := noise
		if m.N > 1 {
			shape := noise.Shape().Clone()
			shape.Dimensions[0] *= m.N - 1
			many = Concatenate([]*Node{noise, rng.Normal(shape)}, 0)
		}
		return start(p, rng, ledger, many)
	}
	run.end = func(p Problem, state []*Node) Outcome {
		o := end(p, state)
		p.Lambda = Scalar(o.X.Graph(), o.X.DType(), m.Lambda) // of which the choice takes the sign
		plain, r, bad := rewardsOf(p, o.Ledger, o.X)
		o.Series = addBad(o.Series, bad)
		// Candidates of sample i are rows i, n+i, 2n+i and so on.
		n := o.X.Shape().Dim(0) / m.N
		best := ArgMax(Transpose(Reshape(r, m.N, n), 0, 1), 1)
		o.X, o.Rewards = chosen(o.X, best, n), chosen(plain, best, n)
		return o
	}
	return run
}

// chosen returns, for each i of n, row best_i n + i of x.
func chosen(x, best *Node, n int) *Node {
	rows := Add(MulScalar(best, float64(n)), Iota(x.Graph(), best.Shape(), 0))
	return Gather(x, InsertAxes(rows, -1))
}
