// Package batch has what graphs of batches share: numbers that go with rows.
package batch

import (
	"slices"

	. "github.com/gomlx/gomlx/core/graph"
	. "github.com/gomlx/gomlx/support/exceptions"
)

// Like returns c so that it broadcasts over x, [batch, ...]: a scalar or a node of x's rank as it is, one number a row, [batch], or one for all rows, [1] (or a row and what comes next),
// with axes of length one behind. It panics where c does not go with x's first axes.
func Like(c, x *Node) *Node {
	n := c.Rank()
	if n == x.Rank() || n == 0 {
		return c
	}
	dims := slices.Clone(c.Shape().Dimensions)
	if shared := n == 1 && dims[0] == 1; !shared && (n > x.Rank() || !slices.Equal(dims, x.Shape().Dimensions[:n])) {
		Panicf("times of shape %s do not go with a state of shape %s: give one time a row, [batch], or one for all, [1]", c.Shape(), x.Shape())
	}
	for range x.Rank() - n {
		dims = append(dims, 1)
	}
	return Reshape(c, dims...)
}

// Every returns a scalar, or the one element of [1], once for each row of x, [batch]. What is [batch] already stays.
func Every(t, x *Node) *Node { return BroadcastToDims(t, x.Shape().Dim(0)) }

// Scalars returns the elements of a vector.
func Scalars(v *Node) []*Node {
	out := make([]*Node, v.Shape().Dim(0))
	for i := range out {
		out[i] = Reshape(Slice(v, AxisElem(i)))
	}
	return out
}

// Of returns row i, an int32 scalar, of a table, [rows, columns], as scalars.
func Of(table, i *Node) []*Node { return Scalars(Reshape(Gather(table, InsertAxes(i, 0)), -1)) }
