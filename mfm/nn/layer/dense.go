package layer

import (
	"math"
	"slices"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"
	. "github.com/gomlx/gomlx/support/exceptions"
)

// Dense returns x W + b over the last axis, [..., in] -> [..., units], with the variables "weights"
// [in, units] and "biases" [units]. It panics if units is not positive or x is a vector.
//
// The initial weights are normal with standard deviation gain/√in: a gain of 1 preserves the
// variance, a gain of 0 gives zeros. Biases start at zero. Each variable has its own random
// numbers, keyed by its path and the store's generator: after Store.SetRNGStateFromSeed equal seeds
// give equal weights on every backend.
func Dense(scope *model.Scope, x *Node, units int, gain float64) *Node {
	if x.Rank() < 2 || units < 1 {
		Panicf("layer.Dense: want an input [..., features] and units > 0, got %s and %d", x.Shape(), units)
	}
	dims := x.Shape().Dimensions
	last := len(dims) - 1
	w := Weights(scope, x, gain, dims[last], units)
	y := AddBias(scope, Dot(Reshape(x, -1, dims[last]), w).Product())
	return Reshape(y, append(slices.Clone(dims[:last]), units)...)
}

// DenseOfParts is [Dense], with a gain of 1, on the concatenation of a and b, [batch, ...]. If all
// rows share the same a, [1, ...], its product is computed once.
func DenseOfParts(scope *model.Scope, a, b *Node, units int) *Node {
	if a.Shape().Dim(0) == b.Shape().Dim(0) {
		return Dense(scope, Concatenate([]*Node{a, b}, 1), units, 1)
	}
	n := a.Shape().Dim(1)
	w := Weights(scope, b, 1, n+b.Shape().Dim(1), units)
	common := AddBias(scope, Dot(a, SliceAxis(w, 0, AxisRangeFromStart(n))).Product())
	return Add(Dot(b, SliceAxis(w, 0, AxisRangeToEnd(n))).Product(), common)
}

// SiLU returns x/(1 + e^{-x}), computed as h + h tanh h with h = x/2, which is equal up to
// rounding. XLA's CPU backend has a tanh that costs less than an exponential and a division.
func SiLU(x *Node) *Node {
	h := MulScalar(x, 0.5)
	return Add(h, Mul(h, Tanh(h)))
}

// ExactGELU returns x Φ(x), Φ the distribution function of N(0, 1) (Hendrycks and Gimpel, arXiv
// 1606.08415). It computes 16-bit values in float32.
func ExactGELU(x *Node) *Node {
	return inFloat32(x, func(x *Node) *Node {
		return Mul(MulScalar(x, 0.5), OnePlus(Erf(MulScalar(x, math.Sqrt2/2))))
	})
}

// QuickGELU returns x/(1 + e^{-1.702 x}), OpenAI's approximation of [ExactGELU].
func QuickGELU(x *Node) *Node {
	return Mul(MulScalar(x, 0.5), OnePlus(Tanh(MulScalar(x, 1.702/2))))
}

// GELU returns x Φ(x) in its tanh approximation (Hendrycks and Gimpel, arXiv 1606.08415).
func GELU(x *Node) *Node {
	inner := MulScalar(Add(x, MulScalar(Mul(x, Square(x)), 0.044715)), math.Sqrt(2/math.Pi))
	return Mul(MulScalar(x, 0.5), OnePlus(Tanh(inner)))
}
