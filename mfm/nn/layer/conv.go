package layer

import (
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"
	. "github.com/gomlx/gomlx/support/exceptions"
)

// Conv convolves images with zero padding, [batch, height, width, in] -> [batch, height/stride,
// width/stride, channels]. The variable "weights" has the kernel [size, size, in, channels], the
// variable "biases" is [channels]. See [Dense] for gain. Conv panics if size is even or stride does
// not divide height and width. On a CPU it computes 3x3 kernels between wide layers by one matrix
// product (see convolveByShifts).
func Conv(scope *model.Scope, x *Node, channels, size, stride int, gain float64) *Node {
	if x.Rank() != 4 || channels < 1 || size < 1 || size%2 == 0 || stride < 1 {
		Panicf("layer.Conv: want images [batch, height, width, channels], channels and stride > 0, an odd kernel size,"+
			" got %s, %d channels, size %d, stride %d", x.Shape(), channels, size, stride)
	}
	dims := x.Shape().Dimensions
	if dims[1]%stride != 0 || dims[2]%stride != 0 {
		Panicf("layer.Conv: a stride of %d does not divide images of %dx%d pixels", stride, dims[1], dims[2])
	}
	k := Weights(scope, x, gain, size, size, dims[3], channels)
	return AddBias(scope, ConvolveSame(x, k, stride))
}

// wide is the number of input and output channels from which convolveByShifts is faster.
const wide = 64

// ConvolveSame returns x [batch, height, width, in] convolved with a kernel k [size, size, in,
// out], with zeros beyond the edges: [batch, height/stride, width/stride, out]. It chooses the
// fastest method. Only a CPU backend shares buffers with the host.
func ConvolveSame(x, k *Node, stride int) *Node {
	d := k.Shape().Dimensions
	onCPU := x.Graph().Backend().HasSharedBuffers()
	if onCPU && stride == 1 && d[0] == 3 && d[1] == 3 && min(d[2], d[3]) >= wide {
		return convolveByShifts(x, k)
	}
	return Convolve(x, k).PadSame().Strides(stride).Done()
}

// convolveByShifts convolves with a 3x3 kernel k [3, 3, in, out] by one matrix product.
// Concatenated with its copies shifted up and down, x has 3·in channels. The product maps them to
// 3·out channels: the contributions to the pixel itself and to its left and right neighbors,
//
//	y[h, w] = Σ_j z_j[h, w+j-1],   z_j[h, w] = Σ_i x[h+i-1, w] k[i, j].
//
// Its gradient in the kernel is also one product, (3·in x pixels)·(pixels x 3·out), where XLA's
// convolution is slow. CPU time in milliseconds on two cores of an AVX2 CPU, for the forward pass
// and for the forward pass with both gradients:
//
//	batch 64             Convolve       shifts
//	14x14, 32 -> 32     3.9   14.6    4.4   14.3
//	14x14, 96 -> 32     9.9   43      13.5  40
//	7x7, 64 -> 64       5.9   20      5.4   15.7
//	7x7, 128 -> 64      8.0   30      8.0   23
//
// Concatenating nine shifts (im2col) took 4.5 and 13.7 at 7x7, 64 -> 64, where Convolve took 3.9
// and 13.5 in the same run.
func convolveByShifts(x, k *Node) *Node {
	d := x.Shape().Dimensions
	in, out := k.Shape().Dimensions[2], k.Shape().Dimensions[3]
	columns := Concatenate([]*Node{shifted(x, 1, -1), x, shifted(x, 1, 1)}, 3) // i, in
	kernel := Reshape(TransposeAllAxes(k, 0, 2, 1, 3), 3*in, 3*out)            // (i, in) x (j, out)
	z := Reshape(Dot(Reshape(columns, -1, 3*in), kernel).Product(), d[0], d[1], d[2], 3*out)
	part := func(j int) *Node { return SliceAxis(z, 3, AxisRange(j*out, (j+1)*out)) }
	return Add(part(1), Add(shifted(part(0), 2, -1), shifted(part(2), 2, 1)))
}

// shifted returns y with y[i] = x[i+by] along axis, by = 1 or -1, and zero beyond the ends of x.
func shifted(x *Node, axis, by int) *Node {
	n := x.Shape().Dimensions[axis]
	end := x.Shape().Clone()
	end.Dimensions[axis] = 1
	zeros := Zeros(x.Graph(), end)
	if n == 1 {
		return zeros
	}
	if by > 0 {
		return Concatenate([]*Node{SliceAxis(x, axis, AxisRangeToEnd(1)), zeros}, axis)
	}
	return Concatenate([]*Node{zeros, SliceAxis(x, axis, AxisRangeFromStart(n-1))}, axis)
}
