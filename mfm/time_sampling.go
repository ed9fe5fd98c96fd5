package mfm

import (
	"fmt"

	"github.com/gomfm/gomfm/mfm/solver"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
)

// Laws are the laws of the times that training draws.
type TimeSampling struct {
	// ContextPower is k in t = U^k, U uniform on [0, 1): 1 is uniform, more puts contexts nearer to noise.
	ContextPower float64 `json:"context_power"`
	// ContextZero is the share of contexts at t = 0 exactly, where the map is the unconditional one.
	ContextZero float64 `json:"context_zero"`
	// StartPower is k in s = U^k on the diagonal.
	StartPower float64 `json:"start_power"`
	// WholeGap is the share of pairs (s, u) at (0, 1), the one step that sampling takes; the others are two sorted uniforms.
	WholeGap float64 `json:"whole_gap"`
}

// DefaultLaws are uniform times with a tenth of the contexts at zero.
func DefaultTimeSampling() TimeSampling {
	return TimeSampling{ContextPower: 1, ContextZero: 0.1, StartPower: 1}
}

// Validate returns an error for powers that are not positive and shares outside [0, 1].
func (l TimeSampling) Validate() error {
	for _, v := range []struct {
		name     string
		value    float64
		positive bool
	}{{"context_power", l.ContextPower, true}, {"start_power", l.StartPower, true}, {"context_zero", l.ContextZero, false}, {"whole_gap", l.WholeGap, false}} {
		switch {
		case v.positive && !(v.value > 0 && v.value <= 100):
			return fmt.Errorf("%s = %g: a power must lie in (0, 100]", v.name, v.value)
		case !v.positive && !(v.value >= 0 && v.value <= 1):
			return fmt.Errorf("%s = %g: a share must lie in [0, 1]", v.name, v.value)
		}
	}
	return nil
}

// context draws times t, [n].
func (l TimeSampling) context(rng *solver.RNG, shape shapes.Shape) *Node {
	t := power(rng.Uniform(shape), l.ContextPower)
	return l.with(rng, l.ContextZero, t, ZerosLike(t))
}

// start draws times s for the diagonal, [n].
func (l TimeSampling) start(rng *solver.RNG, shape shapes.Shape) *Node {
	return power(rng.Uniform(shape), l.StartPower)
}

// pair draws times s <= u, [n] each. gap in [0, 1], a scalar, shrinks
// u - s about the middle.
func (l TimeSampling) pair(rng *solver.RNG, shape shapes.Shape, gap *Node) (s, u *Node) {
	a, b := rng.Uniform(shape), rng.Uniform(shape)
	s, u = Min(a, b), Max(a, b)
	if l.WholeGap > 0 {
		whole := LessThan(rng.Uniform(shape), Scalar(s.Graph(), s.DType(), l.WholeGap))
		s, u = Where(whole, ZerosLike(s), s), Where(whole, OnesLike(u), u)
	}
	middle, half := MulScalar(Add(s, u), 0.5), MulScalar(Mul(gap, Sub(u, s)), 0.5)
	return Sub(middle, half), Add(middle, half)
}

// with replaces a share of the rows of x by those of y.
func (l TimeSampling) with(rng *solver.RNG, share float64, x, y *Node) *Node {
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
