package layer_test

import (
	"math"
	"slices"
	"testing"

	"github.com/gomlx/compute/dtypes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm/nn/internal/nntest"
	"github.com/gomfm/gomfm/mfm/nn/layer"
)

// normalized returns x with mean zero (if center is set) and variance one over each set of indices.
func normalized(x []float64, sets [][]int, center bool) []float64 {
	y := make([]float64, len(x))
	for _, set := range sets {
		var mean, square float64
		for _, i := range set {
			mean += x[i] / float64(len(set))
		}
		if !center {
			mean = 0
		}
		for _, i := range set {
			square += (x[i] - mean) * (x[i] - mean) / float64(len(set))
		}
		for _, i := range set {
			y[i] = (x[i] - mean) / math.Sqrt(square+1e-6)
		}
	}
	return y
}

func TestGroupNorm(t *testing.T) {
	const batch, h, w, channels, groups = 2, 3, 2, 6, 3
	for _, c := range []struct {
		dtype     dtypes.DType
		offset    float64
		tolerance float64
	}{{dtypes.Float64, 0.3, 1e-12}, {dtypes.Float32, 0.3, 1e-6}, {dtypes.Float32, 30, 1e-3}} {
		args := []*tensors.Tensor{
			nntest.Wave(c.dtype, 0, batch, h, w, channels),
			nntest.Wave(c.dtype, 1, batch, channels),
			nntest.Wave(c.dtype, 2, batch, channels),
		}
		out := nntest.Run(t, nntest.NewStore(t, 1), func(_ *model.Scope, a []*Node) []*Node {
			x := AddScalar(a[0], c.offset)
			return []*Node{layer.GroupNorm(x, groups, nil, nil), layer.GroupNorm(x, groups, a[1], a[2])}
		}, args...)
		x, scale, shift := nntest.Flat(t, args[0]), nntest.Flat(t, args[1]), nntest.Flat(t, args[2])
		for i := range x {
			x[i] += c.offset
		}
		sets := make([][]int, batch*groups)
		for i := range x {
			b, c := i/(h*w*channels), i%channels
			set := b*groups + c/(channels/groups)
			sets[set] = append(sets[set], i)
		}
		want := normalized(x, sets, true)
		nntest.Near(t, "normalized", nntest.Flat(t, out[0]), want, c.tolerance)
		for i := range want {
			v := i/(h*w*channels)*channels + i%channels
			want[i] = want[i]*(1+scale[v]) + shift[v]
		}
		nntest.Near(t, "modulated", nntest.Flat(t, out[1]), want, c.tolerance)
	}
}

func TestGroupNormOfConstants(t *testing.T) {
	out := nntest.Run(t, nntest.NewStore(t, 1), func(_ *model.Scope, x []*Node) []*Node {
		y := layer.GroupNorm(x[0], 2, nil, nil)
		return []*Node{y, Gradient(ReduceAllSum(Square(y)), x[0])[0]}
	}, nntest.TensorOf(dtypes.Float32, slices.Repeat([]float64{1234.567}, 200), 2, 5, 5, 4))
	for _, y := range out {
		for _, v := range nntest.Flat(t, y) {
			if math.IsNaN(v) || math.IsInf(v, 0) {
				t.Fatalf("the norm of a constant image, or its gradient, is %g, want a finite value", v)
			}
		}
	}
}

func TestRMSNorm(t *testing.T) {
	const batch, tokens, width = 2, 3, 5
	input := nntest.Wave(dtypes.Float64, 0.2, batch, tokens, width)
	out := nntest.Run(t, nntest.NewStore(t, 1), func(_ *model.Scope, x []*Node) []*Node {
		return []*Node{layer.RMSNorm(x[0])}
	}, input)
	x := nntest.Flat(t, input)
	sets := make([][]int, batch*tokens)
	for i := range x {
		sets[i/width] = append(sets[i/width], i)
	}
	nntest.Near(t, "RMSNorm", nntest.Flat(t, out[0]), normalized(x, sets, false), 1e-12)
}

func TestGroupNormPanics(t *testing.T) {
	for _, c := range []struct {
		dims   []int
		groups int
	}{{[]int{2, 3, 3, 6}, 4}, {[]int{2, 3, 3, 6}, 0}, {[]int{2, 9, 6}, 3}} {
		nntest.Fails(t, func(_ *model.Scope, g *Graph) *Node {
			return layer.GroupNorm(nntest.WaveNode(g, dtypes.Float32, 0, c.dims...), c.groups, nil, nil)
		}, "layer.GroupNorm", "divisible by")
	}
}
