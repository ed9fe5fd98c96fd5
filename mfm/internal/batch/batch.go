// Package batch has what graphs of batches share: numbers that go with rows.
package batch

import (
	"slices"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
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

// Repeat returns x, [n, ...], with every row times times, one after the other, [n·times, ...].
func Repeat(x *Node, times int) *Node {
	if times == 1 {
		return x
	}
	dims := slices.Clone(x.Shape().Dimensions)
	wide := append([]int{dims[0], times}, dims[1:]...)
	dims[0] *= times
	return Reshape(BroadcastToDims(InsertAxes(x, 1), wide...), dims...)
}

// LogMeanExp returns log (1/N) Σ_i e^{r_i}, [n], of r [n, N].
func LogMeanExp(r *Node) *Node {
	top := StopGradient(ReduceAndKeep(r, ReduceMax, 1))
	return Add(Reshape(top, -1), Log(ReduceMean(Exp(Sub(r, top)), 1)))
}

// Row returns row k, an int32 scalar, of a table, [rows, ...].
func Row(table, k *Node) *Node { return Squeeze(Gather(table, Reshape(k, 1, 1)), 0) }

// SetRow returns the table, [rows, ...], with row k, an int32 scalar, replaced: in place on a backend that has such an update, otherwise by choosing for each row.
func SetRow(table, k, row *Node) *Node {
	g, dims := table.Graph(), table.Shape().Dimensions
	if g.Backend().Capabilities().Operations[compute.OpTypeDynamicUpdateSlice] {
		at := []*Node{ConvertDType(k, dtypes.Int32)}
		for range dims[1:] {
			at = append(at, Const(g, int32(0)))
		}
		return DynamicUpdateSlice(table, InsertAxes(row, 0), at)
	}
	ones := make([]int, len(dims))
	for i := range ones {
		ones[i] = 1
	}
	ones[0] = dims[0]
	here := Equal(Iota(g, shapes.Make(dtypes.Int32, ones...), 0), ConvertDType(k, dtypes.Int32))
	return Where(BroadcastToDims(here, dims...), BroadcastToDims(InsertAxes(row, 0), dims...), table)
}
