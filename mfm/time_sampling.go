package mfm

import (
	"fmt"

	"github.com/gomfm/gomfm/mfm/solver"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
)

// TimeSampling is the distribution of the times sampled in training.
type TimeSampling struct {
	// ContextPower is k in (0, 100] in t = U^k with U uniform on [0, 1). k = 1 is uniform; a larger
	// k gives contexts with more noise.
	ContextPower float64 `json:"context_power"`
	// ContextZero is the share of contexts with t = 0, for which the map is the unconditional one.
	ContextZero float64 `json:"context_zero"`
	// StartPower is k in (0, 100] in s = U^k on the diagonal.
	StartPower float64 `json:"start_power"`
	// WholeGap is the share of pairs (s, u) = (0, 1), the step of one-step sampling. The others are
	// two sorted uniform numbers.
	WholeGap float64 `json:"whole_gap"`
}

// DefaultTimeSampling returns uniform times with a tenth of the contexts at zero.
func DefaultTimeSampling() TimeSampling {
	return TimeSampling{ContextPower: 1, ContextZero: 0.1, StartPower: 1}
}

// Validate returns an error for powers that are not positive and shares outside [0, 1].
func (ts TimeSampling) Validate() error {
	for _, v := range []struct {
		name     string
		value    float64
		positive bool
	}{
		{"context_power", ts.ContextPower, true}, {"start_power", ts.StartPower, true},
		{"context_zero", ts.ContextZero, false}, {"whole_gap", ts.WholeGap, false},
	} {
		switch {
		case v.positive && !(v.value > 0 && v.value <= 100):
			return fmt.Errorf("%s = %g: a power must lie in (0, 100]", v.name, v.value)
		case !v.positive && !(v.value >= 0 && v.value <= 1):
			return fmt.Errorf("%s = %g: a share must lie in [0, 1]", v.name, v.value)
		}
	}
	return nil
}

// context returns times t, [n].
func (ts TimeSampling) context(rng *solver.RNG, shape shapes.Shape) *Node {
	t := power(rng.Uniform(shape), ts.ContextPower)
	return ts.replace(rng, ts.ContextZero, t, ZerosLike(t))
}

// start returns times s for the diagonal, [n].
func (ts TimeSampling) start(rng *solver.RNG, shape shapes.Shape) *Node {
	return power(rng.Uniform(shape), ts.StartPower)
}

// pair returns times s <= u, [n] each. The scalar gap in [0, 1] scales u - s about the middle.
func (ts TimeSampling) pair(rng *solver.RNG, shape shapes.Shape, gap *Node) (s, u *Node) {
	a, b := rng.Uniform(shape), rng.Uniform(shape)
	s, u = Min(a, b), Max(a, b)
	if ts.WholeGap > 0 {
		whole := LessThan(rng.Uniform(shape), Scalar(s.Graph(), s.DType(), ts.WholeGap))
		s, u = Where(whole, ZerosLike(s), s), Where(whole, OnesLike(u), u)
	}
	middle, half := MulScalar(Add(s, u), 0.5), MulScalar(Mul(gap, Sub(u, s)), 0.5)
	return Sub(middle, half), Add(middle, half)
}

// replace replaces a share of the rows of x by those of y.
func (ts TimeSampling) replace(rng *solver.RNG, share float64, x, y *Node) *Node {
	if share == 0 {
		return x
	}
	return Where(LessThan(rng.Uniform(x.Shape()), Scalar(x.Graph(), x.DType(), share)), y, x)
}

func power(u *Node, k float64) *Node {
	if k == 1 {
		return u
	}
	return PowScalar(u, k)
}
