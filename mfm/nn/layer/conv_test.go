package layer_test

import (
	"fmt"
	"testing"

	"github.com/gomlx/compute/dtypes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm/nn/internal/nntest"
	"github.com/gomfm/gomfm/mfm/nn/layer"
)

// convolution applies the definition: x [b, h, w, in], k [size, size, in, out], zeros around x.
func convolution(x, k []float64, b, h, w, in, out, size, stride int) []float64 {
	y := make([]float64, 0, b*h*w*out/(stride*stride))
	at := func(n, i, j, c int) float64 {
		if i < 0 || i >= h || j < 0 || j >= w {
			return 0
		}
		return x[((n*h+i)*w+j)*in+c]
	}
	for n := range b {
		for i := 0; i < h; i += stride {
			for j := 0; j < w; j += stride {
				for o := range out {
					sum := 0.
					for di := range size {
						for dj := range size {
							for c := range in {
								sum += at(n, i+di-size/2, j+dj-size/2, c) * k[((di*size+dj)*in+c)*out+o]
							}
						}
					}
					y = append(y, sum)
				}
			}
		}
	}
	return y
}

func TestConv(t *testing.T) {
	for _, c := range []struct{ h, w, in, out, size, stride int }{
		{5, 4, 3, 2, 3, 1},
		{4, 6, 3, 2, 3, 2},
		{3, 4, 2, 5, 1, 1},
		{6, 5, 2, 3, 5, 1},
		{5, 4, 64, 65, 3, 1}, // wide: by shifts
		{1, 3, 64, 64, 3, 1}, // and a single row
		{4, 4, 66, 64, 3, 2},
	} {
		t.Run(fmt.Sprint(c), func(t *testing.T) {
			const batch = 2
			store := nntest.NewStore(t, 1)
			input := nntest.Wave(dtypes.Float64, 0, batch, c.h, c.w, c.in)
			cotangent := nntest.Wave(dtypes.Float64, 2, batch, c.h/c.stride, c.w/c.stride, c.out)
			out := nntest.Run(t, store, func(scope *model.Scope, args []*Node) []*Node {
				x := args[0]
				y := layer.Conv(scope, x, c.out, c.size, c.stride, 1)
				k := store.GetVariable("/weights").NodeValue(x)
				z := Convolve(x, k).PadSame().Strides(c.stride).Done()
				gradients := func(y *Node) []*Node {
					return Gradient(ReduceAllSum(Mul(y, args[1])), x, k)
				}
				return append([]*Node{y}, append(gradients(y), gradients(z)...)...)
			}, input, cotangent)
			kernel := nntest.Flat(t, store.GetVariable("/weights").MustValue())
			want := convolution(nntest.Flat(t, input), kernel, batch, c.h, c.w, c.in, c.out, c.size, c.stride)
			nntest.Near(t, "values", nntest.Flat(t, out[0]), want, 1e-12)
			nntest.Near(t, "gradient in x", nntest.Flat(t, out[1]), nntest.Flat(t, out[3]), 1e-12)
			nntest.Near(t, "gradient in the kernel", nntest.Flat(t, out[2]), nntest.Flat(t, out[4]), 1e-12)
		})
	}
}

func TestConvPanics(t *testing.T) {
	for _, c := range []struct {
		dims                   []int
		channels, size, stride int
		words                  []string
	}{
		{[]int{2, 4, 4}, 3, 3, 1, []string{"images [batch, height, width, channels]"}},
		{[]int{2, 4, 4, 1}, 0, 3, 1, []string{"0 channels"}},
		{[]int{2, 4, 4, 1}, 3, 2, 1, []string{"odd kernel size", "size 2"}},
		{[]int{2, 4, 5, 1}, 3, 3, 2, []string{"stride of 2", "4x5"}},
	} {
		nntest.Fails(t, func(scope *model.Scope, g *Graph) *Node {
			return layer.Conv(scope, nntest.WaveNode(g, dtypes.Float32, 0, c.dims...), c.channels, c.size, c.stride, 1)
		}, append(c.words, "layer.Conv")...)
	}
}
