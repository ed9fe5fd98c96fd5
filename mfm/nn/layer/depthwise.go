package layer

import (
	. "github.com/gomlx/gomlx/core/graph"
)

// Depthwise convolves each channel of x [batch, height, width, channels] with a kernel of its own,
// k [size, size, 1, channels], with the zeros of [SamePaddings]: the result is [batch,
// ⌈height/stride⌉, ⌈width/stride⌉, channels]. It chooses the fastest method as [ConvolveSame] does.
func Depthwise(x, k *Node, stride int) *Node {
	if x.Graph().Backend().HasSharedBuffers() {
		return depthwiseByShifts(x, k, stride)
	}
	return depthwiseByGroups(x, k, stride)
}

// depthwiseByGroups is a convolution with as many groups as channels. Its gradients need the rule
// of mfm/ad: that of GoMLX makes a convolution for each channel.
func depthwiseByGroups(x, k *Node, stride int) *Node {
	return Convolve(x, k).Strides(stride).PaddingPerDim(SamePaddings(x, k, stride)).
		ChannelGroupCount(k.Shape().Dim(3)).Done()
}

// depthwiseByShifts adds the size² shifted copies of x, each times its weights in k. On a CPU, XLA
// computes the sum in one pass. Time in milliseconds on two cores, which other programs
// shared, for 16 images: the least of three runs, of the forward pass, and of the forward pass with
// the gradient in x:
//
//	                               groups      shifts
//	64x64, 32 channels, 3x3        63   122    5.2   64
//	64x64, 96, 3x3, stride 2       42   362    5.0  125
//	16x16, 240, 3x3, stride 2     5.7   126    0.4  2.1
//	8x8, 672, 5x5                  60   128    9.2   53
//	4x4, 1152, 5x5                115   193    3.7  4.3
func depthwiseByShifts(x, k *Node, stride int) *Node {
	size, paddings := k.Shape().Dim(0), SamePaddings(x, k, stride)
	outs := make([]int, 2)
	for i, p := range paddings {
		outs[i] = (x.Shape().Dim(1+i)+p[0]+p[1]-size)/stride + 1
		x = withZeros(x, 1+i, p)
	}
	var sum *Node
	for i := range size {
		rows := SliceAxis(x, 1, AxisRange(i, i+(outs[0]-1)*stride+1).Stride(stride))
		for j := range size {
			shifted := SliceAxis(rows, 2, AxisRange(j, j+(outs[1]-1)*stride+1).Stride(stride))
			part := Mul(shifted, Slice(k, AxisElem(i), AxisElem(j)))
			if sum == nil {
				sum = part
			} else {
				sum = Add(sum, part)
			}
		}
	}
	return sum
}

// SamePaddings returns the zeros before and after height and width of TensorFlow's padding "SAME":
// an output has ⌈n/stride⌉ pixels of n, and of an odd number of zeros the last one more is after.
func SamePaddings(x, k *Node, stride int) [][2]int {
	paddings := make([][2]int, 2)
	for i := range paddings {
		n, size := x.Shape().Dim(1+i), k.Shape().Dim(i)
		total := max((n+stride-1)/stride*stride-stride+size-n, 0)
		paddings[i] = [2]int{total / 2, total - total/2}
	}
	return paddings
}

// withZeros returns x with zeros before and after an axis.
func withZeros(x *Node, axis int, padding [2]int) *Node {
	zeros := func(n int) *Node {
		shape := x.Shape().Clone()
		shape.Dimensions[axis] = n
		return Zeros(x.Graph(), shape)
	}
	parts := []*Node{x}
	if padding[0] > 0 {
		parts = append([]*Node{zeros(padding[0])}, x)
	}
	if padding[1] > 0 {
		parts = append(parts, zeros(padding[1]))
	}
	if len(parts) == 1 {
		return x
	}
	return Concatenate(parts, axis)
}
