package ad

import (
	"slices"

	"github.com/gomlx/compute"
	. "github.com/gomlx/gomlx/core/graph"
)

// reductionRules returns the rules of sums, extrema and products over axes or windows, and of the
// normalization by batch statistics.
func reductionRules() map[NodeType]rule {
	return map[NodeType]rule{
		NodeTypeReduceMax:             extremum,
		NodeTypeReduceMin:             extremum,
		NodeTypeReduceProduct:         decomposed(func(n *Node) []*Node { return one(productTree(n)) }),
		NodeTypeReduceSum:             linear(),
		NodeTypeReduceWindow:          reduceWindow,
		NodeTypeSelectAndScatterMax:   linear(1),
		NodeTypeSelectAndScatterMin:   linear(1),
		NodeTypeBatchNormForInference: decomposed(func(n *Node) []*Node { return one(batchNormInference(n)) }),
		NodeTypeBatchNormForTraining:  decomposed(batchNormTraining),
	}
}

// extremum is the rule of ReduceMax and ReduceMin: the tangent of the extremal element, or the mean
// of the tangents if several elements tie.
func extremum(n *Node, ts []*Node) []*Node {
	x, axes := n.Inputs()[0], intsField(n, "axes")
	kept := slices.Clone(x.Shape().Dimensions)
	for axis := range kept {
		if len(axes) == 0 || slices.Contains(axes, axis) {
			kept[axis] = 1
		}
	}
	hit := Equal(x, BroadcastToShape(Reshape(n, kept...), x.Shape()))
	sum := ReduceSum(Where(hit, ts[0], scalar(x, 0)), axes...)
	count := ReduceSum(Where(hit, scalar(x, 1), scalar(x, 0)), axes...)
	return one(Div(sum, count))
}

// productTree builds ReduceProduct from products of halves. Unlike y/x_i, its derivative is correct
// where elements are zero.
func productTree(n *Node) *Node {
	x, axes := n.Inputs()[0], intsField(n, "axes")
	var order, dims []int
	for axis, dim := range x.Shape().Dimensions {
		if len(axes) > 0 && !slices.Contains(axes, axis) {
			order, dims = append(order, axis), append(dims, dim)
		}
	}
	for axis := range x.Rank() {
		if !slices.Contains(order, axis) {
			order = append(order, axis)
		}
	}
	x = Reshape(TransposeAllAxes(x, order...), append(slices.Clone(dims), -1)...)
	for k := x.Shape().Dim(-1); k > 1; k = x.Shape().Dim(-1) {
		half := k / 2
		halves := Mul(SliceAxis(x, -1, AxisRange(0, half)), SliceAxis(x, -1, AxisRange(half, 2*half)))
		if k%2 == 1 {
			halves = Concatenate([]*Node{halves, SliceAxis(x, -1, AxisRange(k-1, k))}, -1)
		}
		x = halves
	}
	return Reshape(x, dims...)
}

// reduceWindow is the rule of pooling. A sum is linear; maxima, minima and products are rewritten
// with one strided slice for each position in the window.
func reduceWindow(n *Node, ts []*Node) []*Node {
	var combine func(a, b *Node) *Node
	x := n.Inputs()[0]
	neutral := scalar(x, 1)
	switch op := compute.ReduceOpType(intField(n, "reductionType")); op {
	case compute.ReduceOpSum:
		return linear()(n, ts)
	case compute.ReduceOpMax:
		combine, neutral = Max, Infinity(n.Graph(), n.DType(), -1)
	case compute.ReduceOpMin:
		combine, neutral = Min, Infinity(n.Graph(), n.DType(), 1)
	case compute.ReduceOpProduct:
		combine = Mul
	}
	return JVP(one(windowOf(n, "strides").reduce(x, neutral, combine)), one(x), ts)
}

// window describes how a pooling op moves over its input, with one entry for each axis.
type window struct {
	size, strides, dilations, inputDilations []int
	paddings                                 [][2]int
}

func windowOf(n *Node, strides string) *window {
	rank := n.Inputs()[0].Rank()
	w := &window{
		size:           intsField(n, "windowDimensions"),
		strides:        onesIfEmpty(intsField(n, strides), rank),
		dilations:      slices.Repeat([]int{1}, rank),
		inputDilations: slices.Repeat([]int{1}, rank),
		paddings:       pairsField(n, "paddings"),
	}
	if n.Type() == NodeTypeReduceWindow {
		w.dilations = onesIfEmpty(intsField(n, "windowDilations"), rank)
		w.inputDilations = onesIfEmpty(intsField(n, "inputDilations"), rank)
	}
	if len(w.paddings) == 0 {
		w.paddings = make([][2]int, rank)
	}
	return w
}

func onesIfEmpty(v []int, rank int) []int {
	if len(v) == 0 {
		return slices.Repeat([]int{1}, rank)
	}
	return v
}

// reduce combines the window's elements in row-major order.
func (w *window) reduce(x, neutral *Node, combine func(a, b *Node) *Node) *Node {
	pads := make([]PadAxis, x.Rank())
	for axis := range pads {
		pads[axis] = PadAxis{Start: w.paddings[axis][0], End: w.paddings[axis][1], Interior: w.inputDilations[axis] - 1}
	}
	x = Pad(x, neutral, pads...)
	var result *Node
	for offset := make([]int, x.Rank()); offset != nil; offset = next(offset, w.size) {
		specs := make([]SliceAxisSpec, x.Rank())
		for axis, dim := range x.Shape().Dimensions {
			start := offset[axis] * w.dilations[axis]
			reach := (w.size[axis]-1)*w.dilations[axis] - start
			specs[axis] = AxisRange(start, dim-reach).Stride(w.strides[axis])
		}
		if slice := Slice(x, specs...); result == nil {
			result = slice
		} else {
			result = combine(result, slice)
		}
	}
	return result
}

// next advances index through the positions of a box of the given size in row-major order. It
// returns nil after the last.
func next(index, size []int) []int {
	for axis := len(index) - 1; axis >= 0; axis-- {
		if index[axis]++; index[axis] < size[axis] {
			return index
		}
		index[axis] = 0
	}
	return nil
}

// batchNormInference builds (x - mean)/sqrt(variance + ε)·scale + offset from the op's five inputs.
func batchNormInference(n *Node) *Node {
	in := n.Inputs()
	return normalize(n, in[1], in[2], in[3], in[4])
}

// batchNormTraining builds the same with the batch's mean and variance, and returns these two too.
func batchNormTraining(n *Node) []*Node {
	x, feature := n.Inputs()[0], intField(n, "featureAxis")
	var axes []int
	for axis := range x.Rank() {
		if axis != feature {
			axes = append(axes, axis)
		}
	}
	count := float64(x.Shape().Size() / x.Shape().Dimensions[feature])
	average := func(x *Node) *Node { return Div(ReduceSum(x, axes...), scalar(x, count)) }
	mean := average(x)
	centered := Sub(x, alongFeatures(mean, n))
	variance := average(Mul(centered, centered))
	return []*Node{normalize(n, n.Inputs()[1], n.Inputs()[2], mean, variance), mean, variance}
}

func normalize(n, scale, offset, mean, variance *Node) *Node {
	x, epsilon := n.Inputs()[0], floatField(n, "epsilon")
	factor := Div(scale, Sqrt(Add(variance, scalar(x, epsilon))))
	return Add(Mul(Sub(x, alongFeatures(mean, n)), alongFeatures(factor, n)), alongFeatures(offset, n))
}

// alongFeatures broadcasts v, one value per feature, to the shape of the batch that n normalizes.
func alongFeatures(v, n *Node) *Node {
	x, feature := n.Inputs()[0], intField(n, "featureAxis")
	dims := slices.Repeat([]int{1}, x.Rank())
	dims[feature] = x.Shape().Dimensions[feature]
	return BroadcastToShape(Reshape(v, dims...), x.Shape())
}
