package nn_test

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/gomlx/compute/dtypes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm/nn"
	"github.com/gomfm/gomfm/mfm/nn/internal/nntest"
	"github.com/gomfm/gomfm/mfm/nn/layer"
)

// testDiT is a small DiT with every condition.
func testDiT() nn.DiTConfig {
	return nn.DiTConfig{
		Patch: 2, Width: 8, Depth: 2, Encoder: 1, Heads: 2, Classes: 2, Guidance: []float64{2, 3},
		ContextGuidance: []float64{1.5}, BlindAtZero: true,
	}
}

// ditCase returns a store with non-zero weights, and the arguments of a call.
func ditCase(t *testing.T, c nn.DiTConfig) backboneCase {
	return backboneCase{"DiT", nn.DiT(c), []int{3, 4, 4, 1}, c.Classes}
}

// A pair of guidance scales selects an embedding of its own, and a scale in between the nearest.
func TestDiTGuidance(t *testing.T) {
	c := ditCase(t, testDiT())
	store := c.excited(t, dtypes.Float64)
	exec := nntest.Compile(t, store, func(scope *model.Scope, x []*Node) []*Node {
		in := nntest.Inputs(x[2:])
		in.Class = nntest.Labels(x[2].Graph(), 3, 1)
		in.Guidance, in.ContextGuidance = x[0], x[1]
		return []*Node{c.backbone(scope.ResetVisited(), in)}
	})
	seen := map[string]string{}
	nearest := map[string]string{"[2.9 1.4]": "[3 1.5]", "[0 0]": "[1 1]"}
	for _, scales := range [][2]float64{{1, 1}, {2, 1}, {3, 1}, {1, 1.5}, {2, 1.5}, {3, 1.5}, {2.9, 1.4}, {0, 0}} {
		args := []*tensors.Tensor{tensors.FromValue(scales[:1]), tensors.FromValue(scales[1:])}
		key := fmt.Sprint(nntest.Flat(t, nntest.Call(t, exec, append(args, nntest.Waves(dtypes.Float64, c.dims...)...)...)[0]))
		name := fmt.Sprint(scales)
		if first := seen[key]; first != nearest[name] {
			t.Errorf("scales %s: the output is that of %q, want %q", name, first, nearest[name])
		}
		if seen[key] == "" {
			seen[key] = name
		}
	}
}

// With BlindAtZero the context has no effect at t = 0, and its effect grows continuously from
// there.
func TestDiTBlindAtZero(t *testing.T) {
	c := testDiT()
	c.Depth = 1
	for i := range 4 {
		c.BlindAtZero, c.JointAttention = i%2 == 0, i >= 2
		b := ditCase(t, c)
		exec := nntest.Compile(t, b.excited(t, dtypes.Float64), func(scope *model.Scope, x []*Node) []*Node {
			in := nntest.Inputs(x[1:])
			in.T = Mul(OnesLike(in.T), x[0])
			v := b.backbone(scope.ResetVisited(), in)
			in.X = AddScalar(in.X, 1)
			return []*Node{ReduceAllMax(Abs(Sub(v, b.backbone(scope.ResetVisited(), in))))}
		})
		effect := func(time float64) float64 {
			args := append([]*tensors.Tensor{tensors.FromValue(time)}, nntest.Waves(dtypes.Float64, b.dims...)...)
			return nntest.Flat(t, nntest.Call(t, exec, args...)[0])[0]
		}
		if at := effect(0); (at == 0) != c.BlindAtZero {
			t.Errorf("BlindAtZero %t, JointAttention %t: a change of the context changes the output by %g at t = 0",
				c.BlindAtZero, c.JointAttention, at)
		}
		if near, far := effect(1e-6), effect(1); far == 0 || c.BlindAtZero && near > 1e-4*far {
			t.Errorf("BlindAtZero %t: the effect is %g at t = 1e-6, %g at 1", c.BlindAtZero, near, far)
		}
	}
}

// At the start the network is zero, but after a few steps of gradient descent every parameter of
// the context's adapter and of the joint attention has a gradient: the start is no saddle.
func TestDiTLearnsFromContext(t *testing.T) {
	c := testDiT()
	c.Depth, c.Classes, c.Guidance, c.ContextGuidance, c.JointAttention = 1, 0, nil, nil, true
	b := ditCase(t, c)
	store := b.store(t, dtypes.Float64, 1)
	var names []string
	// Gradients of the parameters for the target x, which only the context knows.
	step := nntest.Compile(t, store, func(scope *model.Scope, x []*Node) []*Node {
		in := nntest.Inputs(x)
		loss := ReduceAllMean(Square(Sub(b.backbone(scope.ResetVisited(), in), in.X)))
		var variables []*model.Variable
		var values []*Node
		for v := range store.IterVariables() {
			if v.Trainable && v.DType() == dtypes.Float64 {
				variables, values = append(variables, v), append(values, v.NodeValue(loss))
			}
		}
		names = nil
		var norms []*Node
		for i, g := range Gradient(loss, values...) {
			names = append(names, variables[i].Path())
			norms = append(norms, ReduceAllMax(Abs(g)))
			variables[i].SetNodeValue(Sub(values[i], MulScalar(g, 0.1)))
		}
		return norms
	})
	var norms []*tensors.Tensor
	for range 4 {
		norms = nntest.Call(t, step, nntest.Waves(dtypes.Float64, b.dims...)...)
	}
	checked := 0
	for i, path := range names {
		if strings.Contains(path, "/context/") || strings.HasPrefix(path, "/context_gate/") {
			checked++
			if norm := nntest.Flat(t, norms[i])[0]; norm == 0 || math.IsNaN(norm) {
				t.Errorf("%s has gradient %g after four steps", path, norm)
			}
		}
	}
	if checked != 8 {
		t.Errorf("%d parameters of the adapter and of the joint attention, want 8: %v", checked, names)
	}
}

// Recomputing the blocks changes neither outputs nor gradients.
func TestDiTCheckpoint(t *testing.T) {
	c := testDiT()
	results := make(map[bool][]float64)
	for _, c.Checkpoint = range []bool{false, true} {
		b := ditCase(t, c)
		store := b.excited(t, dtypes.Float64)
		out := nntest.Run(t, store, func(scope *model.Scope, x []*Node) []*Node {
			v := b.evaluate(scope, x)
			return append([]*Node{v}, Gradient(ReduceAllSum(Square(v)), x...)...)
		}, nntest.Waves(dtypes.Float64, b.dims...)...)
		for _, o := range out {
			results[c.Checkpoint] = append(results[c.Checkpoint], nntest.Flat(t, o)...)
		}
	}
	for i, want := range results[false] {
		if got := results[true][i]; math.Abs(got-want) > 1e-12*(1+math.Abs(want)) {
			t.Fatalf("element %d is %g with checkpoints, %g without", i, got, want)
		}
	}
}

func TestDiTValidate(t *testing.T) {
	for message, change := range map[string]func(c *nn.DiTConfig){
		"patch must be positive, got 0":            func(c *nn.DiTConfig) { c.Patch = 0 },
		"3 heads do not divide a width of 8":       func(c *nn.DiTConfig) { c.Heads = 3 },
		"multiple of 4":                            func(c *nn.DiTConfig) { c.Width, c.Heads = 6, 1 },
		"encoder must be 0 to the depth of 2":      func(c *nn.DiTConfig) { c.Encoder = 3 },
		"classes must not be negative":             func(c *nn.DiTConfig) { c.Classes = -1 },
		"guidance must be finite and distinct":     func(c *nn.DiTConfig) { c.Guidance = []float64{2, 2} },
		"context_guidance must be finite and dist": func(c *nn.DiTConfig) { c.ContextGuidance = []float64{1} },
		"qk_norm_rms is the kind of qk_norm":       func(c *nn.DiTConfig) { c.QKNormRMS = true },
		`attention "flash" is unknown`:             func(c *nn.DiTConfig) { c.Attention = "flash" },
		"at most":                                  func(c *nn.DiTConfig) { c.Width, c.Heads = 1<<20, 1 },
	} {
		c := testDiT()
		change(&c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), message) {
			t.Errorf("error %v, want %q", err, message)
		}
	}
	for name, c := range nn.DiTSizes() {
		if err := c.Validate(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := nn.DefaultDiT().Validate(); err != nil {
		t.Error(err)
	}
}

func TestDiTPositions(t *testing.T) {
	p := layer.SinusoidalPositions(2, 3, 8)
	if len(p) != 6 {
		t.Fatalf("%d positions, want 6", len(p))
	}
	// Row 1, column 2: sine and cosine of 2 and 2/100, then of 1 and 1/100.
	want := []float64{
		math.Sin(2), math.Sin(0.02), math.Cos(2), math.Cos(0.02), math.Sin(1), math.Sin(0.01), math.Cos(1), math.Cos(0.01),
	}
	if !slices.EqualFunc(p[5], want, func(a, b float64) bool { return math.Abs(a-b) < 1e-15 }) {
		t.Errorf("position (1, 2) is %v, want %v", p[5], want)
	}
}
