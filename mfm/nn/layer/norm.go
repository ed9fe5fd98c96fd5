package layer

import (
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"
	. "github.com/gomlx/gomlx/support/exceptions"
)

// NormEpsilon is added to variances, as in published diffusion networks.
const NormEpsilon = 1e-6

// GroupNorm normalizes images [batch, height, width, channels] over the pixels and the channels of
// a group (Wu and He, arXiv 1803.08494) and modulates them (Dhariwal and Nichol, arXiv 2105.05233):
//
//	y = (1 + scale) (x - mean)/√(variance + 1e-6) + shift.
//
// scale and shift are [batch, channels], or [1, channels] for all images, or both nil for no
// modulation. GroupNorm panics if groups does not divide the channels.
//
// The variance is E[x²] - E[x]², as in Flax, accurate to 1e-6 of the mean square in float32. One
// pass over x computes both sums, another applies the formula as an affine map per channel, in a
// quarter of the CPU time of the direct order.
func GroupNorm(x *Node, groups int, scale, shift *Node) *Node {
	if scale != nil {
		scale = OnePlus(scale)
	}
	return groupNorm(x, groups, NormEpsilon, scale, shift)
}

// AffineGroupNorm is a group norm with learned gains "weights", initially one, and "biases", both
// [channels].
func AffineGroupNorm(scope *model.Scope, x *Node, groups int, epsilon float64) *Node {
	channels := x.Shape().Dim(3)
	gain := InsertAxes(Gains(scope, x, channels), 0)
	bias := Variable(scope, "biases", shapes.Make(ParameterType(x), channels), 0).NodeValue(x)
	return groupNorm(x, groups, epsilon, gain, InsertAxes(ConvertDType(bias, x.DType()), 0))
}

// groupNorm is GroupNorm with a gain instead of 1 + scale. It computes 16-bit values in float32.
func groupNorm(x *Node, groups int, epsilon float64, gain, shift *Node) *Node {
	if x.DType().IsFloat16() {
		wide := func(x *Node) *Node {
			if x == nil {
				return nil
			}
			return ConvertDType(x, dtypes.Float32)
		}
		return ConvertDType(groupNorm(wide(x), groups, epsilon, wide(gain), wide(shift)), x.DType())
	}
	if x.Rank() != 4 || groups < 1 || x.Shape().Dimensions[3]%groups != 0 {
		Panicf("layer.GroupNorm: want images [batch, height, width, channels], channels divisible by %d, got %s",
			groups, x.Shape())
	}
	d := x.Shape().Dimensions
	batch, pixels, channels := d[0], d[1]*d[2], d[3]
	flat := Reshape(x, batch, pixels, channels)
	groupMean := func(sums *Node) *Node { // sums over pixels -> means over groups
		perGroup := ReduceAndKeep(Reshape(sums, batch, groups, channels/groups), ReduceSum, 2)
		perGroup = DivScalar(perGroup, float64(pixels*channels/groups))
		return Reshape(BroadcastToDims(perGroup, batch, groups, channels/groups), batch, channels)
	}
	mean := groupMean(ReduceSum(flat, 1))
	square := groupMean(ReduceSum(Square(flat), 1))
	variance := Max(Sub(square, Square(mean)), ZerosLike(mean))
	a := Reciprocal(Sqrt(AddScalar(variance, epsilon)))
	if gain != nil {
		a = Mul(a, gain)
	}
	b := Neg(Mul(mean, a))
	if shift != nil {
		b = Add(b, shift)
	}
	return Reshape(Add(Mul(flat, InsertAxes(a, 1)), InsertAxes(b, 1)), d...)
}

// LayerNorm normalizes the last axis to mean zero and variance one (Ba et al., arXiv 1607.06450).
// It computes 16-bit values in float32.
func LayerNorm(x *Node) *Node {
	return inFloat32(x, func(x *Node) *Node { return normalized(x, NormEpsilon) })
}

// normalized subtracts the mean of the last axis and divides by √(variance + ε).
func normalized(x *Node, epsilon float64) *Node {
	centered := Sub(x, ReduceAndKeep(x, ReduceMean, -1))
	return rootMeanSquareNormalized(centered, epsilon)
}

// RMSNorm divides the last axis by its root mean square (Zhang and Sennrich, arXiv 1910.07467).
func RMSNorm(x *Node) *Node { return rootMeanSquareNormalized(x, NormEpsilon) }

func rootMeanSquareNormalized(x *Node, epsilon float64) *Node {
	square := ReduceAndKeep(Square(x), ReduceMean, -1)
	return Div(x, Sqrt(AddScalar(square, epsilon)))
}

// AffineRMSNorm is [RMSNorm] followed by the variable "weights", [width], initially one. It
// computes 16-bit values in float32.
func AffineRMSNorm(scope *model.Scope, x *Node) *Node {
	return inFloat32(x, func(x *Node) *Node {
		return Mul(RMSNorm(x), ExpandLeftToRank(Gains(scope, x, x.Shape().Dim(-1)), x.Rank()))
	})
}

// affineEpsilon is PyTorch's default for layer norms, which those of queries and keys use.
const affineEpsilon = 1e-5

// AffineLayerNorm is a layer norm of the last axis followed by the variables "weights", initially
// one, and "biases". Both are [width].
func AffineLayerNorm(scope *model.Scope, x *Node) *Node {
	return AffineLayerNormWith(scope, x, affineEpsilon)
}

// AffineLayerNormWith is [AffineLayerNorm] with another number than 1e-5 added to variances.
func AffineLayerNormWith(scope *model.Scope, x *Node, epsilon float64) *Node {
	return inFloat32(x, func(x *Node) *Node {
		w := Gains(scope, x, x.Shape().Dim(-1))
		return AddBias(scope, Mul(normalized(x, epsilon), ExpandLeftToRank(w, x.Rank())))
	})
}

// batchNormEpsilon is added to the variances of batch norms, as in TensorFlow's networks.
const batchNormEpsilon = 1e-3

// BatchNorm normalizes each channel of images, [batch, height, width, channels], by the variables
// "mean" and "variance", and applies the gains "weights" and "biases", all [channels]: a batch norm
// (Ioffe and Szegedy, arXiv 1502.03167) for evaluation, with ε = 1e-3. The gains and variances are
// initially one, the others zero.
func BatchNorm(scope *model.Scope, x *Node) *Node {
	channels := x.Shape().Dim(3)
	shape := shapes.Make(ParameterType(x), channels)
	mean := Variable(scope, "mean", shape, 0).NodeValue(x)
	ones := func(value *tensors.Tensor) { Fill(value, func() float64 { return 1 }) }
	variance := Initialized(scope, "variance", shape, ones).NodeValue(x)
	gain := Div(Gains(scope, x, channels), ConvertDType(Sqrt(AddScalar(variance, batchNormEpsilon)), x.DType()))
	shift := Neg(Mul(ConvertDType(mean, x.DType()), gain))
	return AddBias(scope, Add(Mul(x, ExpandLeftToRank(gain, 4)), ExpandLeftToRank(shift, 4)))
}

// inFloat32 computes f in float32 if x has 16 bits, and converts the result back.
func inFloat32(x *Node, f func(*Node) *Node) *Node {
	if !x.DType().IsFloat16() {
		return f(x)
	}
	return ConvertDType(f(ConvertDType(x, dtypes.Float32)), x.DType())
}
