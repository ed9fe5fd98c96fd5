package ad

import (
	"math"
	"slices"
	"testing"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"

	"github.com/gomfm/gomfm/mfm/internal/backendtest"
)

// Canonical computes the same values as the convolution, also for the convolutions that gradients
// consist of, and leaves no form for which XLA has no fast code.
func TestCanonical(t *testing.T) {
	type builder = ConvolutionBuilder
	for name, c := range map[string]struct {
		x, kernel []int
		options   func(*builder) *builder
	}{
		"same":    {[]int{2, 5, 4, 2}, []int{3, 3, 2, 3}, (*builder).PadSame},
		"strided": {[]int{2, 6, 4, 2}, []int{3, 3, 2, 3}, func(c *builder) *builder { return c.PadSame().Strides(2) }},
		"dilated": {[]int{2, 6, 6, 2}, []int{3, 3, 2, 3}, func(c *builder) *builder {
			return c.PadSame().Dilations(2)
		}},
		"dilated input": {[]int{2, 3, 4, 2}, []int{3, 3, 2, 3}, func(c *builder) *builder {
			return c.InputDilationPerAxis(2, 3)
		}},
		"groups": {[]int{2, 5, 5, 4}, []int{3, 3, 2, 4}, func(c *builder) *builder {
			return c.PadSame().ChannelGroupCount(2)
		}},
		"batch groups": {[]int{4, 5, 5, 2}, []int{2, 2, 2, 4}, func(c *builder) *builder {
			return c.BatchGroupCount(2)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			pairs := 0
			exec := MustNewExec(backendtest.New(t), func(x *Node) []*Node {
				wave := func(dims []int) *Node {
					return Sin(Square(AddScalar(IotaFull(x.Graph(), shapes.Make(dtypes.Float64, dims...)), 0.3)))
				}
				input, kernel := wave(c.x), wave(c.kernel)
				y := c.options(Convolve(input, kernel)).Done()
				convolutionVJP(y, []*Node{wave(y.Shape().Dimensions)}, y.Shape())
				var of, out []*Node
				for _, n := range x.Graph().Nodes() {
					if n.Type() == NodeTypeConvGeneral {
						of = append(of, n)
					}
				}
				for _, n := range of {
					before := len(x.Graph().Nodes())
					out = append(out, n, Canonical(n, n.Inputs()...))
					for _, added := range x.Graph().Nodes()[before:] {
						if added.Type() == NodeTypeConvGeneral {
							pairs++
							checkCanonical(t, convolutionOf(added))
						}
					}
				}
				return out
			})
			out, err := exec.Call(0.0)
			if err != nil {
				t.Fatal(err)
			}
			if pairs < 3 {
				t.Fatalf("compared %d convolutions, want the convolution and both gradients", pairs)
			}
			for i := 0; i < len(out); i += 2 {
				if !out[i].Shape().Equal(out[i+1].Shape()) {
					t.Fatalf("convolution %d has shape %s, in canonical form %s", i/2, out[i].Shape(), out[i+1].Shape())
				}
				var want, got []float64
				out[i].MustConstFlatData(func(flat any) { want = slices.Clone(flat.([]float64)) })
				out[i+1].MustConstFlatData(func(flat any) { got = slices.Clone(flat.([]float64)) })
				for k := range want {
					if math.Abs(got[k]-want[k]) > 1e-12 {
						t.Fatalf("element %d of convolution %d is %g, in canonical form %g", k, i/2, want[k], got[k])
					}
				}
			}
		})
	}
}

func checkCanonical(t *testing.T, c *convolution) {
	t.Helper()
	last := c.output.Rank() - 1
	a := c.axes
	if a.InputBatch != 0 || a.InputChannels != last || a.OutputBatch != 0 || a.OutputChannels != last ||
		a.KernelInputChannels != last-1 || a.KernelOutputChannels != last {
		t.Errorf("axes %+v are not canonical", a)
	}
	if slices.Max(c.inputDilations) > 1 {
		t.Errorf("the input is dilated by %v", c.inputDilations)
	}
}
