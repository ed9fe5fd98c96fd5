package nn

import (
	"slices"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"
	. "github.com/gomlx/gomlx/support/exceptions"
)

// Dense returns x W + b over the last axis, [..., in] -> [..., units], with the variables "weights" [in, units] and
// "biases" [units].
//
// Weights start normal with standard deviation gain/√in, so that a gain of 1 keeps the variance; a gain of 0 starts the
// layer at zero. Biases start at zero. Each variable has random numbers of its own, keyed by its path and by the store's
// generator: after Store.SetRNGStateFromSeed equal seeds give equal weights on every backend.
//
// It panics where units is not positive.
func Dense(scope *model.Scope, x *Node, units int, gain float64) *Node {
	if x.Rank() < 2 || units < 1 {
		Panicf("nn.Dense: an input [..., features] and a positive number of units are needed, got %s and %d", x.Shape(), units)
	}
	dims := x.Shape().Dimensions
	last := len(dims) - 1
	w := weights(scope, x, gain, dims[last], units)
	y := addBias(scope, Dot(Reshape(x, -1, dims[last]), w).Product())
	return Reshape(y, append(slices.Clone(dims[:last]), units)...)
}

// denseOfParts is Dense, with a gain of 1, of a and b side by side, [batch, ...]; the product with a is taken once where all rows have it in common, [1, ...].
func denseOfParts(scope *model.Scope, a, b *Node, units int) *Node {
	if a.Shape().Dim(0) == b.Shape().Dim(0) {
		return Dense(scope, Concatenate([]*Node{a, b}, 1), units, 1)
	}
	n := a.Shape().Dim(1)
	w := weights(scope, b, 1, n+b.Shape().Dim(1), units)
	common := addBias(scope, Dot(a, SliceAxis(w, 0, AxisRangeFromStart(n))).Product())
	return Add(Dot(b, SliceAxis(w, 0, AxisRangeToEnd(n))).Product(), common)
}

// silu returns x/(1 + e^{-x}), as h + h tanh h with h = x/2: the same function to the last digits: XLA's CPU has a rational form of tanh, which takes
// fewer operations than the exponential and the division of the other.
func silu(x *Node) *Node {
	h := MulScalar(x, 0.5)
	return Add(h, Mul(h, Tanh(h)))
}
