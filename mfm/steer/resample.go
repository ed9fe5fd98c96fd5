package steer

import (
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"

	"github.com/gomfm/gomfm/mfm/solver"
)

// Resampling names how the ancestors of N particles are drawn with probabilities w. All kinds are
// unbiased: particle i has N w_i offspring in expectation.
type Resampling string

// The kinds of resampling, by decreasing variance of the number of offspring (Douc, Cappé and
// Moulines, arXiv cs/0507025).
const (
	Multinomial Resampling = "multinomial" // independent ancestors
	Stratified  Resampling = "stratified"  // one uniform number in each of N equal parts of [0, 1)
	Systematic  Resampling = "systematic"  // the same uniform number in each part
)

// ancestors draws indices, int32 [groups, to], from each group of log-weights, [groups, from].
func (r Resampling) ancestors(rng *solver.RNG, logWeights *Node, to int) *Node {
	groups, from := logWeights.Shape().Dim(0), logWeights.Shape().Dim(1)
	g, dtype := logWeights.Graph(), logWeights.DType()
	cumulative := cumulative(Softmax(logWeights, 1))
	var at *Node
	strata := Iota(g, shapes.Make(dtype, groups, to), 1)
	switch r {
	case Multinomial:
		at = rng.Uniform(shapes.Make(dtype, groups, to))
	case Stratified:
		at = DivScalar(Add(strata, rng.Uniform(shapes.Make(dtype, groups, to))), float64(to))
	default:
		at = DivScalar(Add(strata, rng.Uniform(shapes.Make(dtype, groups, 1))), float64(to))
	}
	return MinScalar(countBelow(cumulative, at), float64(from-1))
}

// countBelow returns how many of the increasing numbers, [groups, from], are at most each of at,
// [groups, to]. It bisects, since [groups, to, from] comparisons would need too much memory.
func countBelow(increasing, at *Node) *Node {
	groups, from := increasing.Shape().Dim(0), increasing.Shape().Dim(1)
	g := increasing.Graph()
	count := Zeros(g, shapes.Make(dtypes.Int32, at.Shape().Dimensions...))
	group := MulScalar(Iota(g, count.Shape(), 0), float64(from))
	flat := Reshape(increasing, groups*from)
	step := 1
	for 2*step <= from {
		step *= 2
	}
	for ; step > 0; step /= 2 { // sets the bits of the count, highest first
		next := AddScalar(count, float64(step))
		last := Add(group, MinScalar(AddScalar(next, -1), float64(from-1)))
		below := LessOrEqual(Gather(flat, InsertAxes(last, -1)), at)
		fits := LessOrEqual(next, Scalar(g, dtypes.Int32, from))
		count = Where(LogicalAnd(below, fits), next, count)
	}
	return count
}

// cumulative returns the running sums over the last axis of w, [groups, n], each row scaled to end
// at 1 up to rounding.
func cumulative(w *Node) *Node {
	sum := CumSum(w, 1)
	n := w.Shape().Dim(1)
	return Div(sum, Slice(sum, AxisRange(), AxisRange(n-1, n)))
}

// pick returns the rows of x, [groups·from, ...], with the given indices in each group, [groups,
// to]: [groups·to, ...].
func pick(x, indices *Node, from int) *Node {
	groups := Iota(x.Graph(), indices.Shape(), 0)
	rows := Add(MulScalar(groups, float64(from)), indices)
	return Gather(x, InsertAxes(Reshape(rows, -1), -1))
}
