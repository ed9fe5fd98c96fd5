package steer

import (
	"fmt"

	. "github.com/gomlx/gomlx/core/graph"

	"github.com/gomfm/gomfm/mfm/gmm"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/solver"
)

// Exact is the value in closed form, for distributions and rewards that have one: the limit of the
// other estimators. Its evaluations are not counted. It holds for one λ, which its author includes
// in it: the λ of [Config] has no effect.
type Exact struct {
	Value    func(t, x *Node) *Node // V_t(x), [n]
	Gradient func(t, x *Node) *Node // ∇V_t(x), of x's shape; nil means that of Value
}

// String returns "exact".
func (Exact) String() string { return "exact" }

// Samples returns 0.
func (Exact) Samples() int { return 0 }

// Validate returns an error if Value is nil.
func (e Exact) Validate() error {
	if e.Value == nil {
		return fmt.Errorf("the exact estimator has no value: set Value")
	}
	return nil
}

// Estimate builds the estimate; see [Estimator].
func (e Exact) Estimate(_ Problem, _ *solver.RNG, _ *Counter, t, x, _ *Node, gradient bool) Estimate {
	x = Identity(x)
	out := Estimate{Value: e.Value(t, x)}
	switch {
	case gradient && e.Gradient != nil:
		out.Gradient = e.Gradient(t, x)
	case gradient:
		out.Gradient = Gradient(ReduceAllSum(out.Value), x)[0]
	}
	return out
}

// FromTilt returns the exact value for a mixture p and the target p* and logZ that
// [gmm.Mixture.Tilt] returns, for λ = 1: V_t = log p*_t - log p_t + log Z. Its gradient is the
// difference of the scores.
func FromTilt(mixture, target *gmm.Mixture, logZ float64, ip interpolant.Schedule) Exact {
	return Exact{
		Value: func(t, x *Node) *Node {
			return AddScalar(Sub(target.Like(x).LogMarginal(ip, t, x), mixture.Like(x).LogMarginal(ip, t, x)), logZ)
		},
		Gradient: func(t, x *Node) *Node {
			return Sub(target.Like(x).Score(ip, t, x), mixture.Like(x).Score(ip, t, x))
		},
	}
}
