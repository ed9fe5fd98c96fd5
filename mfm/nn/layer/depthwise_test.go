package layer

import (
	"fmt"
	"math"
	"testing"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"

	_ "github.com/gomfm/gomfm/mfm/ad" // the gradient of a convolution by groups
	"github.com/gomfm/gomfm/mfm/internal/backendtest"
)

// Both methods agree with the definition of TensorFlow's "SAME" padding, and in their gradients.
func TestDepthwise(t *testing.T) {
	for _, c := range []struct{ h, w, size, stride int }{
		{5, 4, 3, 1}, {6, 4, 3, 2}, {5, 7, 3, 2}, {4, 6, 5, 1}, {7, 8, 5, 2}, {1, 2, 5, 2}, {4, 5, 1, 2}, {4, 4, 2, 1},
		{7, 6, 3, 3},
	} {
		t.Run(fmt.Sprint(c), func(t *testing.T) {
			const batch, channels = 2, 3
			x := []int{batch, c.h, c.w, channels}
			k := []int{c.size, c.size, 1, channels}
			y := []int{batch, (c.h + c.stride - 1) / c.stride, (c.w + c.stride - 1) / c.stride, channels}
			exec := MustNewExec(backendtest.New(t), func(x, k, w *Node) []*Node {
				var out []*Node
				for _, method := range []func(x, k *Node, stride int) *Node{depthwiseByShifts, depthwiseByGroups} {
					y := method(x, k, c.stride)
					out = append(out, y)
					out = append(out, Gradient(ReduceAllSum(Mul(y, w)), x, k)...)
				}
				return out
			})
			defer exec.Finalize()
			out := exec.MustCall(numbers(0, x...), numbers(1, k...), numbers(2, y...))
			want := depthwiseOf(values(numbers(0, x...)), values(numbers(1, k...)), x, y, c.size, c.stride)
			compare(t, "shifts", values(out[0]), want)
			compare(t, "groups", values(out[3]), want)
			compare(t, "gradient in x", values(out[1]), values(out[4]))
			compare(t, "gradient in the kernel", values(out[2]), values(out[5]))
		})
	}
}

// depthwiseOf applies the definition: the window of output i begins at i stride - before, where the
// windows are as centered as possible and begin earlier rather than later.
func depthwiseOf(x, k []float64, in, out []int, size, stride int) []float64 {
	var y []float64
	before := func(axis int) int { return max((out[axis]-1)*stride+size-in[axis], 0) / 2 }
	for n := range out[0] {
		for i := range out[1] {
			for j := range out[2] {
				for c := range out[3] {
					sum := 0.
					for di := range size {
						for dj := range size {
							row, column := i*stride+di-before(1), j*stride+dj-before(2)
							if row >= 0 && row < in[1] && column >= 0 && column < in[2] {
								sum += x[((n*in[1]+row)*in[2]+column)*in[3]+c] * k[(di*size+dj)*in[3]+c]
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

func numbers(phase float64, dims ...int) *tensors.Tensor {
	v := make([]float64, shapes.Make(dtypes.Float64, dims...).Size())
	for i := range v {
		v[i] = math.Sin(1.37*float64(i)+phase) + 0.5*math.Cos(0.61*float64(i))
	}
	return tensors.FromFlatDataAndDimensions(v, dims...)
}

func ones(dims ...int) *tensors.Tensor {
	t := tensors.FromShape(shapes.Make(dtypes.Float32, dims...))
	Fill(t, func() float64 { return 1 })
	return t
}

func values(t *tensors.Tensor) []float64 { return tensors.MustCopyFlatData[float64](t) }

func compare(t *testing.T, name string, got, want []float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d values, want %d", name, len(got), len(want))
	}
	for i := range want {
		if math.Abs(got[i]-want[i]) > 1e-12 {
			t.Fatalf("%s: value %d is %g, want %g", name, i, got[i], want[i])
		}
	}
}

// BenchmarkDepthwise times both methods at sizes of EfficientNet-Lite0 for 16 images of 128 pixels.
func BenchmarkDepthwise(b *testing.B) {
	for _, c := range []struct{ side, channels, size, stride int }{
		{64, 32, 3, 1}, {64, 96, 3, 2}, {16, 240, 3, 2}, {8, 672, 5, 1}, {4, 1152, 5, 1},
	} {
		for i, method := range []func(x, k *Node, stride int) *Node{depthwiseByGroups, depthwiseByShifts} {
			name := []string{"groups", "shifts"}[i]
			for _, gradient := range []bool{false, true} {
				b.Run(fmt.Sprintf("%v/%s/gradient=%t", c, name, gradient), func(b *testing.B) {
					exec := MustNewExec(backendtest.New(b), func(x, k *Node) *Node {
						y := method(x, k, c.stride)
						if gradient {
							y = Gradient(ReduceAllSum(Square(y)), x)[0]
						}
						return y // a sum would run on one thread, fused with the method
					})
					defer exec.Finalize()
					x, k := ones(16, c.side, c.side, c.channels), ones(c.size, c.size, 1, c.channels)
					exec.MustCall(x, k)
					for b.Loop() {
						exec.MustCall(x, k)[0].MustFinalizeAll()
					}
				})
			}
		}
	}
}
