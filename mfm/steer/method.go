package steer

import (
	"fmt"

	. "github.com/gomlx/gomlx/core/graph"

	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/solver"
)

// Method draws samples of the tilted distribution, or of one that it is compared with.
type Method interface {
	// Build carries noise, [n, ...], to n samples. p.Lambda is nil: the method sets it from its
	// configuration.
	Build(p Problem, rng *solver.RNG, counter *Counter, noise *Node) Outcome
	// Configuration returns how particles move.
	Configuration() Config
	// Rows returns the number of rows in a batch of the network for each sample.
	Rows() int
	// Group returns the number of samples that are drawn together, as the particles of a filter
	// are; 1 if samples are independent.
	Group() int
	// Validate returns an error that names the first option that is out of range.
	Validate() error
	// String returns the name under which results are stored.
	String() string
}

// Outcome has the nodes that a method returns.
type Outcome struct {
	X *Node // samples, [n, ...]
	// LogWeights are the logarithms of the samples' weights, [n]; nil means equal weights.
	LogWeights *Node
	// LogZ is an estimate of log E[e^{λ r}], a scalar, unbiased before the logarithm. It is nil if
	// and only if LogWeights is.
	LogZ *Node
	// Rewards are r of the samples, without λ, [n]; nil if the method did not evaluate them.
	Rewards *Node
	// Series has the means over the particles at each step, float32 [steps, 7], in the order Ratio,
	// Effective, Std, Reward, Value, Bad, Particles of [Series].
	Series  *Node
	Rng     *solver.RNG
	Counter *Counter
}

// Guided is a steered run: each particle follows the dynamics with the gradient that Estimator
// returns. A nil Estimator means the unsteered model.
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

// Rows returns the number of the estimator's posterior samples, at least 1.
func (m Guided) Rows() int {
	if m.Estimator == nil {
		return 1
	}
	return max(m.Estimator.Samples(), 1)
}

// Group returns 1.
func (m Guided) Group() int { return 1 }

// Validate returns an error that names the first option that is out of range.
func (m Guided) Validate() error {
	if m.Estimator != nil {
		if err := m.Estimator.Validate(); err != nil {
			return err
		}
	}
	if _, exact := m.Estimator.(Exact); exact && m.LambdaPower != 0 {
		return fmt.Errorf("lambda_power = %g: the exact value holds for a constant λ, use 0", m.LambdaPower)
	}
	return m.Config.Validate()
}

// Build builds the run; see [Method].
func (m Guided) Build(p Problem, rng *solver.RNG, counter *Counter, noise *Node) Outcome {
	return m.program(p.Model.Interpolant).build(p, rng, counter, noise)
}

func (m Guided) program(ip interpolant.Schedule) program { return m.along(ip, m.Estimator) }
