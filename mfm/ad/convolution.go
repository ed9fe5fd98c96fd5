package ad

import (
	"slices"

	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
)

// convolutionVJP replaces GoMLX's reverse-mode rule of convolutions, which panics on dilated inputs
// (the gradient of a strided convolution has one) and is off by half a pixel for kernels of even
// size. The formulas are those of JAX (jax/_src/lax/convolution.py): both gradients are
// convolutions themselves, with the roles of strides and dilations exchanged.
func convolutionVJP(n *Node, cotangents []*Node, _ shapes.Shape) []*Node {
	c := convolutionOf(n)
	return []*Node{c.byInput(cotangents[0]), c.byKernel(cotangents[0])}
}

// convolution is a ConvGeneral node with all its parameters filled in.
type convolution struct {
	output, input, kernel                    *Node
	axes                                     ConvolveAxesConfig
	strides, inputDilations, kernelDilations []int
	paddings                                 [][2]int
	channelGroups, batchGroups               int // at most one exceeds 1
}

func convolutionOf(n *Node) *convolution {
	v := field(n, "axes")
	axis := func(name string) int { return int(v.FieldByName(name).Int()) }
	spatial := func(name string) []int { return ints(v.FieldByName(name)) }
	rank := n.Rank() - 2
	c := &convolution{
		output: n, input: n.Inputs()[0], kernel: n.Inputs()[1],
		axes: ConvolveAxesConfig{
			InputBatch: axis("InputBatch"), InputChannels: axis("InputChannels"), InputSpatial: spatial("InputSpatial"),
			KernelInputChannels: axis("KernelInputChannels"), KernelOutputChannels: axis("KernelOutputChannels"),
			KernelSpatial: spatial("KernelSpatial"),
			OutputBatch:   axis("OutputBatch"), OutputChannels: axis("OutputChannels"),
			OutputSpatial: spatial("OutputSpatial"),
		},
		strides:         onesIfEmpty(intsField(n, "strides"), rank),
		inputDilations:  onesIfEmpty(intsField(n, "inputDilations"), rank),
		kernelDilations: onesIfEmpty(intsField(n, "kernelDilations"), rank),
		paddings:        pairsField(n, "paddings"),
		channelGroups:   max(1, intField(n, "channelGroupCount")),
		batchGroups:     max(1, intField(n, "batchGroupCount")),
	}
	if len(c.paddings) == 0 {
		c.paddings = make([][2]int, rank)
	}
	return c
}

// extents returns the sizes along spatial axis i of the dilated input, of the dilated kernel, and
// of the output with its strides filled in.
func (c *convolution) extents(i int) (input, kernel, output int) {
	input = (c.input.Shape().Dim(c.axes.InputSpatial[i])-1)*c.inputDilations[i] + 1
	kernel = (c.kernel.Shape().Dim(c.axes.KernelSpatial[i])-1)*c.kernelDilations[i] + 1
	output = (c.output.Shape().Dim(c.axes.OutputSpatial[i])-1)*c.strides[i] + 1
	return
}

// byInput returns the cotangent of the input for a cotangent w of the output: the convolution of w
// with the reversed kernel, whose input and output channels are exchanged.
func (c *convolution) byInput(w *Node) *Node {
	a := c.axes
	kernel, groups := c.kernel, max(c.channelGroups, c.batchGroups)
	if groups > 1 { // groups of output channels become groups of input channels
		kernel = moveGroups(kernel, groups, a.KernelOutputChannels, a.KernelInputChannels)
	}
	paddings := make([][2]int, len(c.paddings))
	for i := range paddings {
		inputSize, kernelSize, outputSize := c.extents(i)
		before := kernelSize - 1 - c.paddings[i][0]
		paddings[i] = [2]int{before, inputSize + kernelSize - 1 - outputSize - before}
	}
	axes := ConvolveAxesConfig{
		InputBatch: a.OutputBatch, InputChannels: a.OutputChannels, InputSpatial: a.OutputSpatial,
		KernelInputChannels: a.KernelOutputChannels, KernelOutputChannels: a.KernelInputChannels,
		KernelSpatial: a.KernelSpatial,
		OutputBatch:   a.InputBatch, OutputChannels: a.InputChannels, OutputSpatial: a.InputSpatial,
	}
	x := ConvGeneral(w, Reverse(kernel, a.KernelSpatial...), axes, c.inputDilations, paddings, c.strides,
		c.kernelDilations, groups, 1)
	if c.batchGroups > 1 { // the channels of the groups return to the batch axis
		x = moveGroups(x, groups, a.InputChannels, a.InputBatch)
	}
	return x
}

// byKernel returns the cotangent of the kernel for a cotangent w of the output: the convolution of
// the input with w, batch and channels exchanged.
func (c *convolution) byKernel(w *Node) *Node {
	a := c.axes
	paddings := make([][2]int, len(c.paddings))
	for i := range paddings {
		inputSize, kernelSize, outputSize := c.extents(i)
		paddings[i] = [2]int{c.paddings[i][0], outputSize - inputSize + kernelSize - 1 - c.paddings[i][0]}
	}
	axes := ConvolveAxesConfig{
		InputBatch: a.InputChannels, InputChannels: a.InputBatch, InputSpatial: a.InputSpatial,
		KernelInputChannels: a.OutputBatch, KernelOutputChannels: a.OutputChannels, KernelSpatial: a.OutputSpatial,
		OutputBatch: a.KernelInputChannels, OutputChannels: a.KernelOutputChannels, OutputSpatial: a.KernelSpatial,
	}
	input, groups := c.input, c.batchGroups
	// The channels act as the batch here, so channel groups become batch groups.
	if c.channelGroups > 1 {
		groups = c.channelGroups
		input = moveGroups(input, groups, a.InputChannels, a.InputBatch)
	}
	return ConvGeneral(input, w, axes, c.kernelDilations, paddings, c.inputDilations, c.strides, groups, 1)
}

// moveGroups splits axis from of x into groups and merges their index, the slower one, into axis
// to.
func moveGroups(x *Node, groups, from, to int) *Node {
	dims := slices.Clone(x.Shape().Dimensions)
	dims[from] /= groups
	split := slices.Insert(slices.Clone(dims), from, groups)
	x = Reshape(x, split...)
	// Axis from now holds the groups, and every axis from there on has moved one further.
	var order []int
	for axis := range dims {
		if axis == to {
			order = append(order, from)
		}
		if axis >= from {
			axis++
		}
		order = append(order, axis)
	}
	dims[to] *= groups
	return Reshape(TransposeAllAxes(x, order...), dims...)
}

// Canonical returns n with other inputs, as [Node.CloneWithInputs] does, but writes a convolution
// in the only form that XLA's fast CPU code accepts: axes [batch, spatial, channels], kernels
// [spatial, in, out], and the zeros of a dilated input inserted beforehand. XLA brings convolutions
// into this form itself, except in the body of a While loop, where a convolution in another form,
// such as that of a gradient, would run as plain loops.
func Canonical(n *Node, inputs ...*Node) *Node {
	if n.Type() != NodeTypeConvGeneral {
		return n.CloneWithInputs(inputs...)
	}
	c := convolutionOf(n)
	a := c.axes
	order := func(first []int, spatial []int, last ...int) []int { return slices.Concat(first, spatial, last) }
	x := TransposeAllAxes(inputs[0], order([]int{a.InputBatch}, a.InputSpatial, a.InputChannels)...)
	k := TransposeAllAxes(inputs[1], order(nil, a.KernelSpatial, a.KernelInputChannels, a.KernelOutputChannels)...)

	rank := n.Rank() - 2
	between := make([]PadAxis, n.Rank())
	spatial, kernelSpatial := make([]int, rank), make([]int, rank)
	for i := range rank {
		between[i+1].Interior = c.inputDilations[i] - 1
		spatial[i], kernelSpatial[i] = i+1, i
	}
	if slices.ContainsFunc(between, func(p PadAxis) bool { return p.Interior > 0 }) {
		x = Pad(x, ScalarZero(x.Graph(), x.DType()), between...)
	}
	y := ConvGeneral(x, k, ConvolveAxesConfig{
		InputBatch: 0, InputChannels: rank + 1, InputSpatial: spatial,
		KernelInputChannels: rank, KernelOutputChannels: rank + 1, KernelSpatial: kernelSpatial,
		OutputBatch: 0, OutputChannels: rank + 1, OutputSpatial: spatial,
	}, c.strides, c.paddings, nil, c.kernelDilations, c.channelGroups, c.batchGroups)

	// back holds, for each axis of n's output, the axis of y that it comes from.
	back := make([]int, n.Rank())
	for from, axis := range order([]int{a.OutputBatch}, a.OutputSpatial, a.OutputChannels) {
		back[axis] = from
	}
	return TransposeAllAxes(y, back...)
}
