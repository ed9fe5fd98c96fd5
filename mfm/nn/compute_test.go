package nn_test

import (
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/gomlx/compute/dtypes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm/ad"
	"github.com/gomfm/gomfm/mfm/internal/backendtest"
	"github.com/gomfm/gomfm/mfm/nn"
)

// In BFloat16 output, derivative and gradients agree with float32 to the type's two digits, and the
// weights stay float32.
func TestComputing(t *testing.T) {
	b := backendtest.New(t)
	backendtest.NeedLoops(t, b) // the pure-Go backend has no BFloat16 for all operations
	unet := nn.DefaultUNet()
	unet.Channels, unet.Groups, unet.Heads, unet.Embedding = []int{8, 16}, 4, 2, 16
	for name, c := range map[string]struct {
		network nn.Backbone
		dims    []int
	}{
		"mlp":  {nn.MLP(nn.MLPConfig{Width: 32, Depth: 2, Activation: "silu", OutputGain: 1}), []int{4, 3}},
		"unet": {nn.UNet(unet), []int{2, 8, 8, 1}},
		"dit":  {nn.DiT(nn.DiTConfig{Patch: 2, Width: 16, Depth: 1, Heads: 2}), []int{2, 4, 4, 1}},
	} {
		store := model.NewStore()
		if err := store.SetRNGStateFromSeed(1); err != nil {
			t.Fatal(err)
		}
		exec, err := model.NewExec(b, store, func(scope *model.Scope, x *Node) []*Node {
			var out []*Node
			for _, backbone := range []nn.Backbone{c.network, nn.Computing(dtypes.BFloat16, c.network)} {
				s := MulScalar(OnesLike(Slice(Reshape(x, -1), AxisRange(0, 1))), 0.25)
				y := backbone(scope.ResetVisited(), nn.Inputs{S: s, U: OnesLike(s), T: s, Xbar: x, X: Neg(x)})
				tangent := ad.JVP([]*Node{y}, []*Node{x}, []*Node{OnesLike(x)})[0]
				for v := range store.IterVariables() {
					if v.Trainable && !v.DType().IsFloat() || v.DType().IsFloat16() {
						t.Errorf("%s: %s is %s", name, v.Path(), v.DType())
					}
				}
				out = append(out, y, tangent, Gradient(ReduceAllSum(Square(y)), x)[0])
			}
			return out
		})
		if err != nil {
			t.Fatal(err)
		}
		flat := make([]float32, 1)
		for _, d := range c.dims {
			flat = make([]float32, len(flat)*d)
		}
		for i := range flat {
			flat[i] = float32(math.Sin(float64(i)))
		}
		x := func() *tensors.Tensor { return tensors.FromFlatDataAndDimensions(flat, c.dims...) }
		if _, err := exec.Call(x()); err != nil {
			t.Fatal(err)
		}
		// The last convolutions of a UNet are zero at the start, and with them its output.
		for v := range store.IterVariables() {
			old, err := v.Value()
			if err != nil {
				t.Fatal(err)
			}
			if strings.HasSuffix(v.Path(), "/weights") && !slices.ContainsFunc(
				tensors.MustCopyFlatData[float32](old), func(w float32) bool { return w != 0 },
			) {
				value := tensors.FromShape(v.Shape())
				tensors.MustMutableFlatData(value, func(w []float32) {
					for i := range w {
						w[i] = float32(0.1 * math.Sin(float64(i*i)))
					}
				})
				if err := v.SetValue(value); err != nil {
					t.Fatal(err)
				}
			}
		}
		out, err := exec.Call(x())
		if err != nil {
			t.Fatal(err)
		}
		for i, part := range []string{"output", "derivative", "gradient"} {
			exact, got := tensors.MustCopyFlatData[float32](out[i]), tensors.MustCopyFlatData[float32](out[i+3])
			var size, off float64
			for j, v := range exact {
				size, off = size+float64(v*v), off+float64((got[j]-v)*(got[j]-v))
			}
			if r := math.Sqrt(off / size); !(r < 0.05) || r == 0 {
				t.Errorf("%s: %s differs by %.4f", name, part, r)
			}
		}
	}
}

// Times that differ by less than BFloat16 resolves still differ for the network.
func TestComputingKeepsTimes(t *testing.T) {
	b := backendtest.New(t)
	backendtest.NeedLoops(t, b)
	network := nn.Computing(dtypes.BFloat16, func(_ *model.Scope, in nn.Inputs) *Node {
		return ConvertDType(Reshape(MulScalar(AddScalar(in.S, -0.996), 1000), 1, 1), in.Xbar.DType())
	})
	store := model.NewStore()
	exec, err := model.NewExec(b, store, func(scope *model.Scope, s, x *Node) *Node {
		return network(scope, nn.Inputs{S: s, U: s, T: s, Xbar: x, X: x})
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []float32{0, 1} {
		out, err := exec.Call1([]float32{0.996 + want/1000}, [][]float32{{0}})
		if err != nil {
			t.Fatal(err)
		}
		if got := tensors.MustCopyFlatData[float32](out)[0]; math.Abs(float64(got-want)) > 0.01 {
			t.Errorf("time %g: %g, want %g", 0.996+want/1000, got, want)
		}
	}
}
