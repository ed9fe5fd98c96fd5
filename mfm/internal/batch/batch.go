// Package batch has graph functions for batches: per-row numbers that broadcast over states
// ([Like], [Every]), row access in tables ([Row], [SetRow], [Of]), and a few reductions of rows.
// Its only function outside graphs is [Size].
package batch

import (
	"slices"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
	. "github.com/gomlx/gomlx/support/exceptions"
)

// Size returns the number of elements of an array with the given axes.
func Size(dims []int) int {
	n := 1
	for _, d := range dims {
		n *= d
	}
	return n
}

// Like reshapes c so that it broadcasts over x, [batch, ...]. It returns scalars and nodes of x's
// rank unchanged. It appends axes of length one to [1], one number for all rows, and to numbers per
// row, [batch] or [batch, ...]. It panics if another c does not have x's leading axes.
func Like(c, x *Node) *Node {
	n := c.Rank()
	if n == x.Rank() || n == 0 {
		return c
	}
	dims := slices.Clone(c.Shape().Dimensions)
	if shared := n == 1 && dims[0] == 1; !shared && (n > x.Rank() || !slices.Equal(dims, x.Shape().Dimensions[:n])) {
		Panicf("times of shape %s for states of shape %s: want one per row, [batch], or [1]", c.Shape(), x.Shape())
	}
	for range x.Rank() - n {
		dims = append(dims, 1)
	}
	return Reshape(c, dims...)
}

// Every broadcasts t, a scalar or [1], to the rows of x, [batch]. It leaves a t of shape [batch].
func Every(t, x *Node) *Node { return BroadcastToDims(t, x.Shape().Dim(0)) }

// Scalars returns the elements of a vector as scalars.
func Scalars(v *Node) []*Node {
	out := make([]*Node, v.Shape().Dim(0))
	for i := range out {
		out[i] = Reshape(Slice(v, AxisElem(i)))
	}
	return out
}

// Of returns row i, an int32 scalar, of table, [rows, columns], as scalars.
func Of(table, i *Node) []*Node { return Scalars(Reshape(Gather(table, InsertAxes(i, 0)), -1)) }

// Repeat returns x, [n, ...], with every row repeated times times in succession, [n·times, ...].
func Repeat(x *Node, times int) *Node {
	if times == 1 {
		return x
	}
	dims := slices.Clone(x.Shape().Dimensions)
	wide := append([]int{dims[0], times}, dims[1:]...)
	dims[0] *= times
	return Reshape(BroadcastToDims(InsertAxes(x, 1), wide...), dims...)
}

// LogMeanExp returns log (1/N) Σ_i e^{r_i}, [n], for r, [n, N].
func LogMeanExp(r *Node) *Node {
	top := StopGradient(ReduceAndKeep(r, ReduceMax, 1))
	return Add(Reshape(top, -1), Log(ReduceMean(Exp(Sub(r, top)), 1)))
}

// Row returns row k, an int32 scalar, of table, [rows, ...].
func Row(table, k *Node) *Node { return Squeeze(Gather(table, Reshape(k, 1, 1)), 0) }

// SetRow returns table, [rows, ...], with row k, an int32 scalar, replaced: by an update in place
// if the backend has one, otherwise by a selection over all rows.
func SetRow(table, k, row *Node) *Node {
	g, dims := table.Graph(), table.Shape().Dimensions
	if g.Backend().Capabilities().Operations[compute.OpTypeDynamicUpdateSlice] {
		at := []*Node{ConvertDType(k, dtypes.Int32)}
		for range dims[1:] {
			at = append(at, Const(g, int32(0)))
		}
		return DynamicUpdateSlice(table, InsertAxes(row, 0), at)
	}
	ones := slices.Repeat([]int{1}, len(dims))
	ones[0] = dims[0]
	here := Equal(Iota(g, shapes.Make(dtypes.Int32, ones...), 0), ConvertDType(k, dtypes.Int32))
	return Where(BroadcastToDims(here, dims...), BroadcastToDims(InsertAxes(row, 0), dims...), table)
}
