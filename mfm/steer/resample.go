package steer

import (
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"

	"github.com/gomfm/gomfm/mfm/solver"
)

// Resampling names how ancestors are drawn with probabilities w: all are unbiased, each particle has N w_i offspring in expectation.
type Resampling string

// The kinds of resampling, by falling variance of the number of offspring (Douc, Cappé and Moulines, arXiv cs/0507025).
const (
	Multinomial Resampling = "multinomial" // independent draws
	Stratified  Resampling = "stratified"  // one uniform number in each N-th of [0, 1)
	Systematic  Resampling = "systematic"  // the same uniform number in each
)

// ancestors draws, for each set of weights, [sets, from] in logarithms, the indices of the drawn, int32 [sets, to].
func (r Resampling) ancestors(rng *solver.RNG, logWeights *Node, to int) *Node {
	sets, from := logWeights.Shape().Dim(0), logWeights.Shape().Dim(1)
	g, dtype := logWeights.Graph(), logWeights.DType()
	cumulative := cumulative(Softmax(logWeights, 1))
	var at *Node
	strata := Iota(g, shapes.Make(dtype, sets, to), 1)
	switch r {
	case Multinomial:
		at = rng.Uniform(shapes.Make(dtype, sets, to))
	case Stratified:
		at = DivScalar(Add(strata, rng.Uniform(shapes.Make(dtype, sets, to))), float64(to))
	default:
		at = DivScalar(Add(strata, rng.Uniform(shapes.Make(dtype, sets, 1))), float64(to))
	}
	return MinScalar(countBelow(cumulative, at), float64(from-1))
}

// countBelow returns how many of rising numbers, [sets, from], are at or below each of others, [sets, to]: by bisection, since [sets, to, from] comparisons would be too many for large sets.
func countBelow(rising, at *Node) *Node {
	sets, from := rising.Shape().Dim(0), rising.Shape().Dim(1)
	g := rising.Graph()
	count := Zeros(g, shapes.Make(dtypes.Int32, at.Shape().Dimensions...))
	set := MulScalar(Iota(g, count.Shape(), 0), float64(from))
	flat := Reshape(rising, sets*from)
	step := 1
	for 2*step <= from {
		step *= 2
	}
	for ; step > 0; step /= 2 { // the count, bit by bit from the highest
		next := AddScalar(count, float64(step))
		last := Add(set, MinScalar(AddScalar(next, -1), float64(from-1)))
		below := LessOrEqual(Gather(flat, InsertAxes(last, -1)), at)
		fits := LessOrEqual(next, Scalar(g, dtypes.Int32, from))
		count = Where(LogicalAnd(below, fits), next, count)
	}
	return count
}

// cumulative returns the running sums over the last axis of w, [sets, n], each row scaled to end at 1 but for rounding.
func cumulative(w *Node) *Node {
	sum := CumSum(w, 1)
	n := w.Shape().Dim(1)
	return Div(sum, Slice(sum, AxisRange(), AxisRange(n-1, n)))
}

// pick returns rows of x, [sets·from, ...], by indices [sets, to] within each set: [sets·to, ...].
func pick(x, indices *Node, from int) *Node {
	sets := Iota(x.Graph(), indices.Shape(), 0)
	rows := Add(MulScalar(sets, float64(from)), indices)
	return Gather(x, InsertAxes(Reshape(rows, -1), -1))
}
