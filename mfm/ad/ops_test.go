package ad_test

import (
	"testing"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors/images"
)

const (
	noScatter    = "SelectAndScatter is missing"
	wrongScatter = "the transpose of GatherSlices, a scatter of slices, gives wrong values"
)

func of1(name string, x in, f func(x *Node) *Node) function {
	return function{name: name, inputs: []in{x}, f: func(x []*Node) []*Node { return []*Node{f(x[0])} }}
}

func of2(name string, a, b in, f func(a, b *Node) *Node) function {
	return function{name: name, inputs: []in{a, b}, f: func(x []*Node) []*Node { return []*Node{f(x[0], x[1])} }}
}

func of3(name string, a, b, c in, f func(a, b, c *Node) *Node) function {
	return function{name: name, inputs: []in{a, b, c}, f: func(x []*Node) []*Node {
		return []*Node{f(x[0], x[1], x[2])}
	}}
}

func (f function) crashingGo(why string) function {
	f.goCrashes = why
	return f
}

func (f function) withoutReverseOnGo(why string) function {
	f.noReverseOnGo = why
	return f
}

func (f function) withoutReverse() function {
	f.noReverse = true
	return f
}

func (f function) withoutReverseInJVP() function {
	f.noReverse, f.noReverseInJVP = true, true
	return f
}

func elementwiseOps() []function {
	positive := uniform(0.3, 2, 2, 3)
	return []function{
		of1("Abs", symmetric(2, 3), Abs),
		of1("Ceil", symmetric(2, 3), func(x *Node) *Node { return Mul(x, Ceil(x)) }),
		of1("Cos", symmetric(2, 3), Cos),
		of1("Erf", symmetric(2, 3), Erf),
		of1("Exp", symmetric(2, 3), Exp),
		of1("Expm1", symmetric(2, 3), Expm1),
		of1("Floor", symmetric(2, 3), func(x *Node) *Node { return Mul(x, Floor(x)) }),
		of1("Identity", symmetric(2, 3), func(x *Node) *Node { return Mul(Identity(x), x) }),
		of1("Log", positive, Log),
		of1("Log1p", positive, Log1p),
		of1("Logistic", symmetric(2, 3), Logistic),
		of1("Neg", symmetric(2, 3), Neg),
		of1("Round", symmetric(2, 3), func(x *Node) *Node { return Mul(x, Round(x)) }),
		of1("Rsqrt", positive, Rsqrt),
		of1("Sign", symmetric(2, 3), func(x *Node) *Node { return Mul(x, Sign(x)) }),
		of1("Sin", symmetric(2, 3), Sin),
		of1("Sqrt", positive, Sqrt),
		of1("Square", symmetric(2, 3), Square),
		of1("Tanh", symmetric(2, 3), Tanh),
		of1("ConvertDType", symmetric(2, 3), func(x *Node) *Node {
			positive := GreaterThan(x, ScalarZero(x.Graph(), x.DType()))
			return Mul(x, ConvertDType(ConvertDType(positive, dtypes.Int32), x.DType()))
		}),
		of1("scalar", symmetric(), func(x *Node) *Node { return Mul(Tanh(x), x) }),

		of2("Add", symmetric(2, 3), symmetric(2, 3), Add),
		of2("Add broadcast axis", symmetric(2, 1), symmetric(2, 3), Add),
		of2("Add broadcast scalar", symmetric(2, 3), symmetric(), Add),
		of2("Atan2", symmetric(2, 3), positive, Atan2),
		of2("Div", symmetric(2, 3), positive, Div),
		of2("Div broadcast", symmetric(), uniform(0.3, 2, 1, 3), Div),
		of2("Div broadcast axes", symmetric(2, 1), uniform(0.3, 2, 1, 3), Div),
		of2("Max", symmetric(2, 3), symmetric(2, 3), Max),
		of2("Max broadcast", symmetric(2, 3), symmetric(), Max),
		of2("Min", symmetric(2, 3), symmetric(2, 3), Min),
		of2("Min broadcast", symmetric(2, 1), symmetric(2, 3), Min),
		of2("Mul", symmetric(2, 3), symmetric(2, 3), Mul),
		of2("Mul broadcast", symmetric(1, 3), symmetric(2, 1), Mul),
		of2("Pow", positive, symmetric(2, 3), Pow),
		of2("Pow broadcast", positive, symmetric(), Pow),
		of1("PowScalar", symmetric(2, 3), func(x *Node) *Node { return PowScalar(x, 3) }),
		of2("Rem", uniform(3, 8, 2, 3), uniform(0.7, 1.9, 2, 3), Mod),
		of2("Sub", symmetric(2, 3), symmetric(2, 3), Sub),
		of2("Sub broadcast", symmetric(), symmetric(2, 3), Sub),

		of3("Clamp", uniform(-1, -0.5), symmetric(4, 5), uniform(0.5, 1), Clamp),
		of3("Where", symmetric(2, 3), symmetric(2, 3), symmetric(2, 3), func(a, b, c *Node) *Node {
			return Where(LessThan(a, b), Mul(a, b), c)
		}),
		of2("Where scalar", symmetric(2, 3), symmetric(), func(a, b *Node) *Node {
			return Where(LessThan(a, b), a, b)
		}),

		of2("Complex", symmetric(2, 3), symmetric(2, 3), func(a, b *Node) *Node {
			z := Complex(a, b)
			return Add(Mul(Real(z), Imag(Conj(z))), Abs(z))
		}),
		of2("Complex product", symmetric(2, 3), symmetric(2, 3), func(a, b *Node) *Node {
			z := Complex(a, b)
			return Real(Mul(z, Exp(z)))
		}).withoutReverseInJVP(), // GoMLX omits a conjugate
	}
}

func structuralOps() []function {
	return []function{
		of1("BroadcastInDim", symmetric(2, 1), func(x *Node) *Node { return Square(BroadcastToDims(x, 2, 3)) }),
		of1("BroadcastPrefix", symmetric(2), func(x *Node) *Node { return Square(BroadcastPrefix(x, 3)) }),
		of3("Concatenate", symmetric(2, 3), symmetric(2, 1), symmetric(2, 2), func(a, b, c *Node) *Node {
			return Square(Concatenate([]*Node{a, b, a, c}, 1))
		}),
		of1("DynamicSlice", symmetric(4, 5), func(x *Node) *Node {
			return Square(DynamicSlice(x, indices(x, 1, 2), []int{2, 3}))
		}),
		of2("DynamicUpdateSlice", symmetric(4, 5), symmetric(2, 3), func(x, update *Node) *Node {
			return Square(DynamicUpdateSlice(x, update, indices(x, 1, 2)))
		}),
		of1("Gather", symmetric(4, 3), func(x *Node) *Node {
			return Square(Gather(x, Const(x.Graph(), [][]int32{{2}, {0}, {2}, {1}, {2}})))
		}),
		of1("GatherSlices", symmetric(4, 5), func(x *Node) *Node {
			return Square(GatherSlices(x, []int{1}, Const(x.Graph(), [][]int32{{0}, {2}}), []int{3}, true))
		}).withoutReverseOnGo(wrongScatter),
		of1("OptimizationBarrier", symmetric(2, 3), func(x *Node) *Node { return Square(OptimizationBarrier(Sin(x))) }),
		of2("OptimizationBarriers", symmetric(2, 3), symmetric(2, 3), func(a, b *Node) *Node {
			barriers := OptimizationBarriers(Sin(a), OnesLike(a), b)
			return Mul(barriers[0], Add(barriers[1], barriers[2]))
		}),
		of2("SchedulingBarrier", symmetric(2, 3), symmetric(2, 3), func(a, b *Node) *Node {
			return Mul(a, SchedulingBarrier(Sin(a), b))
		}),
		of2("Pad", symmetric(2, 3), symmetric(), func(x, fill *Node) *Node {
			return Square(Pad(x, fill, PadAxis{Start: 1, End: 2}, PadAxis{End: 1, Interior: 2}))
		}),
		of2("Pad negative", symmetric(4, 5), symmetric(), func(x, fill *Node) *Node {
			return Square(Pad(x, fill, PadAxis{Start: -1, End: 2}, PadAxis{Start: 1, End: -3, Interior: 1}))
		}).crashingGo("negative padding panics"),
		of1("Reshape", symmetric(2, 6), func(x *Node) *Node { return Square(Reshape(x, 3, 4)) }),
		of1("Reverse", symmetric(2, 3), func(x *Node) *Node { return Mul(x, Reverse(x, 1)) }),
		of2("ScatterMax", symmetric(4, 3), symmetric(3, 3), func(x, updates *Node) *Node {
			return Square(ScatterMax(x, Const(x.Graph(), [][]int32{{2}, {0}, {2}}), updates, false, false))
		}),
		of2("ScatterMin", symmetric(4, 3), symmetric(3, 3), func(x, updates *Node) *Node {
			return Square(ScatterMin(x, Const(x.Graph(), [][]int32{{2}, {0}, {2}}), updates, false, false))
		}),
		of2("ScatterSum", symmetric(4, 3), symmetric(3, 3), func(x, updates *Node) *Node {
			return Square(ScatterSum(x, Const(x.Graph(), [][]int32{{2}, {0}, {2}}), updates, false, false))
		}),
		of1("Slice", symmetric(4, 5), func(x *Node) *Node {
			return Square(Slice(x, AxisRange(1, 3), AxisRange(0, 5).Stride(2)))
		}),
		of1("Split", symmetric(2, 6), func(x *Node) *Node {
			parts := Split(x, 1, 3)
			return Mul(Sin(parts[0]), parts[2])
		}),
		of1("Transpose", symmetric(2, 3), func(x *Node) *Node {
			return Mul(Transpose(x, 0, 1), Const(x.Graph(), [][]float64{{1, 2}, {3, 4}, {5, 6}}))
		}),
		of1("up-sampling, nearest", symmetric(2, 3, 3, 2), func(x *Node) *Node {
			return Square(Interpolate(x, NoInterpolation, 6, 6, NoInterpolation).Nearest().Done())
		}).withoutReverseOnGo(wrongScatter),
		of1("up-sampling, bilinear", symmetric(1, 4, 4, 2), func(x *Node) *Node {
			return Square(Interpolate(x, NoInterpolation, 5, 7, NoInterpolation).Bilinear().Done())
		}).withoutReverseOnGo(wrongScatter),
	}
}

type builder = ConvolutionBuilder

func contractionOps() []function {
	conv := func(name string, x, kernel in, options func(*builder) *builder) function {
		return of2(name, x, kernel, func(x, kernel *Node) *Node { return options(Convolve(x, kernel)).Done() })
	}
	return []function{
		of2("Dot", symmetric(2, 3), symmetric(3, 4), DotProduct),
		of2("Dot vectors", symmetric(3), symmetric(3), DotProduct),
		of1("Dot with itself", symmetric(3, 3), func(x *Node) *Node { return DotProduct(x, x) }),
		of2("Einsum", symmetric(2, 3, 2, 2), symmetric(2, 4, 2, 2), func(a, b *Node) *Node {
			return Einsum("bqhd,bkhd->bhqk", a, b)
		}),
		conv("ConvGeneral", symmetric(2, 5, 5, 2), symmetric(3, 3, 2, 3), (*builder).PadSame),
		conv("ConvGeneral strided", symmetric(2, 6, 6, 2), symmetric(3, 3, 2, 3), func(c *builder) *builder {
			return c.PadSame().Strides(2)
		}),
		conv("ConvGeneral patches", symmetric(2, 6, 6, 2), symmetric(2, 2, 2, 3), func(c *builder) *builder {
			return c.Strides(2)
		}),
		conv("ConvGeneral dilated", symmetric(2, 6, 6, 2), symmetric(3, 3, 2, 3), func(c *builder) *builder {
			return c.PadSame().Dilations(2)
		}),
		conv("ConvGeneral groups", symmetric(2, 5, 5, 4), symmetric(3, 3, 2, 4), func(c *builder) *builder {
			return c.PadSame().ChannelGroupCount(2)
		}),
		conv("ConvGeneral batch groups", symmetric(4, 5, 5, 2), symmetric(2, 2, 2, 4), func(c *builder) *builder {
			return c.BatchGroupCount(2)
		}),
		conv("ConvGeneral even kernel", symmetric(2, 5, 5, 2), symmetric(4, 2, 2, 3), (*builder).PadSame),
		conv("ConvGeneral channels first", symmetric(2, 2, 5, 5), symmetric(3, 2, 3, 3), func(c *builder) *builder {
			return c.ChannelsAxis(images.ChannelsFirst).PadSame().Strides(2)
		}),
		conv("ConvGeneral dilated input", symmetric(2, 3, 3, 2), symmetric(3, 3, 2, 3), func(c *builder) *builder {
			return c.InputDilationPerAxis(2, 2).PaddingPerDim([][2]int{{1, 2}, {1, 2}})
		}),
		of1("FFT", symmetric(2, 8), func(x *Node) *Node { return Abs(RealFFT(x)) }),
	}
}

func reductionOps() []function {
	batch, features := symmetric(6, 3), uniform(0.5, 1.5, 3)
	return []function{
		of1("ReduceSum", symmetric(2, 3, 4), func(x *Node) *Node { return ReduceSum(Square(x), 0, 2) }),
		of1("ReduceMean", symmetric(2, 3, 4), func(x *Node) *Node { return ReduceAndKeep(Square(x), ReduceMean, 1) }),
		of1("ReduceVariance", symmetric(2, 3, 4), func(x *Node) *Node { return ReduceVariance(x, -1) }),
		of1("ReduceMax", symmetric(2, 3, 4), func(x *Node) *Node { return Square(ReduceMax(x, 0, 2)) }),
		of1("ReduceMax all", symmetric(2, 3, 4), func(x *Node) *Node { return Square(ReduceAllMax(x)) }),
		of1("ReduceMin", symmetric(2, 3, 4), func(x *Node) *Node { return Square(ReduceMin(x, 1)) }),
		of1("ReduceProduct", symmetric(2, 5, 3), func(x *Node) *Node { return ReduceMultiply(x, 0, 1) }),
		of1("ReduceProduct all", symmetric(2, 3), ReduceAllMultiply),
		of1("SumPool", symmetric(1, 6, 6, 2), func(x *Node) *Node {
			return Square(SumPool(x).Window(3).Strides(2).PadSame().Done())
		}).crashingGo("GoMLX's reverse mode pads negatively"),
		of1("MeanPool", symmetric(2, 4, 4, 2), func(x *Node) *Node { return Square(MeanPool(x).Window(2).Done()) }),
		of1("MaxPool", symmetric(2, 4, 4, 2), func(x *Node) *Node {
			return Square(MaxPool(x).Window(2).Done())
		}).withoutReverseOnGo(noScatter),
		of1("MaxPool overlapping", symmetric(1, 4, 4, 2), func(x *Node) *Node {
			return Square(MaxPool(x).Window(2).Strides(1).PadSame().Done())
		}).withoutReverseOnGo(noScatter),
		of1("MinPool", symmetric(1, 5, 5, 2), func(x *Node) *Node {
			return Square(MinPool(x).Window(2).Strides(1).Done())
		}).withoutReverseOnGo(noScatter),
		of1("ReduceWindow product", symmetric(7, 2), func(x *Node) *Node {
			two := []int{2, 1}
			return BackendReduceWindow(x, compute.ReduceOpProduct, []int{3, 1}, two, two, two, [][2]int{{2, 1}, {0, 0}})
		}).withoutReverse(),
		of1("gradient of MaxPool", symmetric(1, 6, 6, 2), func(x *Node) *Node {
			return Gradient(ReduceAllSum(Exp(MaxPool(x).Window(2).Strides(1).Done())), x)[0]
		}),
		of1("gradient of MinPool", symmetric(1, 4, 4, 2), func(x *Node) *Node {
			return Gradient(ReduceAllSum(Exp(MinPool(x).Window(2).Done())), x)[0]
		}),
		of3("BatchNormForTraining", batch, features, features, func(x, scale, offset *Node) *Node {
			y, _, _ := InternalBatchNormForTraining(x, scale, offset, 1e-3, -1)
			return y
		}),
		of3("BatchNormForTraining statistics", batch, features, features, func(x, scale, offset *Node) *Node {
			y, mean, variance := InternalBatchNormForTraining(x, scale, offset, 1e-3, -1)
			return Mul(y, Add(ExpandLeftToRank(mean, 2), ExpandLeftToRank(variance, 2)))
		}).withoutReverseInJVP(), // GoMLX ignores the cotangents of mean and variance
		{
			name:   "BatchNormForInference",
			inputs: []in{batch, features, features, features, features},
			f: func(x []*Node) []*Node {
				return []*Node{InternalBatchNormForInference(x[0], x[1], x[2], x[3], x[4], 1e-3, -1)}
			},
		},
		of2("BatchNormForInference, one node as several inputs", batch, features, func(x, v *Node) *Node {
			return InternalBatchNormForInference(x, v, v, v, v, 1e-3, -1)
		}),
		of1("Softmax", symmetric(3, 4), func(x *Node) *Node { return Softmax(x) }),
		of1("Softmax two axes", symmetric(3, 4, 2), func(x *Node) *Node { return Softmax(x, 0, 2) }),
		of1("LogSoftmax", symmetric(3, 4), func(x *Node) *Node { return LogSoftmax(x) }),
		of1("Softplus", symmetric(3, 4), Softplus),
		of1("CumSum", symmetric(3, 4), func(x *Node) *Node {
			return Square(CumSum(x, 1))
		}).crashingGo("GoMLX's reverse mode pads negatively"),
		of1("L2Normalize", symmetric(3, 4), func(x *Node) *Node { return L2NormalizeWithEpsilon(x, 1e-6, -1) }),
	}
}

func indices(x *Node, at ...int32) []*Node {
	nodes := make([]*Node, len(at))
	for i, v := range at {
		nodes[i] = Const(x.Graph(), v)
	}
	return nodes
}

func TestElementwise(t *testing.T) { check(t, elementwiseOps()) }
func TestStructural(t *testing.T)  { check(t, structuralOps()) }
func TestContraction(t *testing.T) { check(t, contractionOps()) }
func TestReduction(t *testing.T)   { check(t, reductionOps()) }
