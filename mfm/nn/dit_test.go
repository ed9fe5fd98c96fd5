package nn_test

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/gomlx/compute/dtypes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm/nn"
)

// testDiT is a small DiT with every condition.
func testDiT() nn.DiTConfig {
	return nn.DiTConfig{
		Patch: 2, Width: 8, Depth: 3, Encoder: 1, Heads: 2, Classes: 2, Guidance: []float64{2, 3},
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
	seen := map[string]string{}
	for _, scales := range [][2]float64{{1, 1}, {2, 1}, {3, 1}, {1, 1.5}, {2, 1.5}, {3, 1.5}, {2.9, 1.4}, {0, 0}} {
		out := run(t, store, func(scope *model.Scope, x []*Node) []*Node {
			in := inputs(x)
			in.Class = labels(x[0].Graph(), 3, 1)
			in.Guidance = MulScalar(OnesLike(in.S), scales[0])
			in.ContextGuidance = MulScalar(OnesLike(in.S), scales[1])
			return []*Node{c.backbone(scope.ResetVisited(), in)}
		}, waves(dtypes.Float64, c.dims...)...)
		key := fmt.Sprint(flat(t, out[0]))
		name := fmt.Sprint(scales)
		if first, ok := seen[key]; ok != (name == "[2.9 1.4]" || name == "[0 0]") {
			t.Errorf("scales %s: the output is that of %q", name, first)
		} else if ok && first != map[string]string{"[2.9 1.4]": "[3 1.5]", "[0 0]": "[1 1]"}[name] {
			t.Errorf("scales %s: the output is that of %s", name, first)
		} else {
			seen[key] = name
		}
	}
}

// With BlindAtZero the context has no effect at t = 0, and its effect grows continuously from there.
func TestDiTBlindAtZero(t *testing.T) {
	c := testDiT()
	for _, c.BlindAtZero = range []bool{true, false} {
		b := ditCase(t, c)
		store := b.excited(t, dtypes.Float64)
		effect := func(time float64) float64 {
			out := run(t, store, func(scope *model.Scope, x []*Node) []*Node {
				in := inputs(x)
				in.T = MulScalar(OnesLike(in.T), time)
				v := b.backbone(scope.ResetVisited(), in)
				in.X = AddScalar(in.X, 1)
				return []*Node{ReduceAllMax(Abs(Sub(v, b.backbone(scope.ResetVisited(), in))))}
			}, waves(dtypes.Float64, b.dims...)...)
			return flat(t, out[0])[0]
		}
		if at := effect(0); (at == 0) != c.BlindAtZero {
			t.Errorf("BlindAtZero %t: a change of the context changes the output by %g at t = 0", c.BlindAtZero, at)
		}
		if near, far := effect(1e-6), effect(1); far == 0 || c.BlindAtZero && near > 1e-4*far {
			t.Errorf("BlindAtZero %t: the effect is %g at t = 1e-6, %g at 1", c.BlindAtZero, near, far)
		}
	}
}

// At the start the network is zero, but after one step of gradient descent every parameter of the
// context's adapter that is zero has a gradient: the start is no saddle.
func TestDiTLearnsFromContext(t *testing.T) {
	c := testDiT()
	c.Classes, c.Guidance, c.ContextGuidance = 0, nil, nil
	b := ditCase(t, c)
	store := b.store(t, dtypes.Float64, 1)
	// Gradients of the parameters for the target x, which only the context knows.
	step := func() map[string]float64 {
		var names []string
		out := run(t, store, func(scope *model.Scope, x []*Node) []*Node {
			in := inputs(x)
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
		}, waves(dtypes.Float64, b.dims...)...)
		norms := make(map[string]float64)
		for i, name := range names {
			norms[name] = flat(t, out[i])[0]
		}
		return norms
	}
	var last map[string]float64
	for range 4 {
		last = step()
	}
	for path, norm := range last {
		if strings.HasPrefix(path, "/context/") || strings.HasPrefix(path, "/context_gate/") {
			if norm == 0 || math.IsNaN(norm) {
				t.Errorf("%s has gradient %g after four steps", path, norm)
			}
		}
	}
}

// Recomputing the blocks changes neither outputs nor gradients.
func TestDiTCheckpoint(t *testing.T) {
	c := testDiT()
	results := make(map[bool][]float64)
	for _, c.Checkpoint = range []bool{false, true} {
		b := ditCase(t, c)
		store := b.excited(t, dtypes.Float64)
		out := run(t, store, func(scope *model.Scope, x []*Node) []*Node {
			v := b.evaluate(scope, x)
			return append([]*Node{v}, Gradient(ReduceAllSum(Square(v)), x...)...)
		}, waves(dtypes.Float64, b.dims...)...)
		for _, o := range out {
			results[c.Checkpoint] = append(results[c.Checkpoint], flat(t, o)...)
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
		"encoder must be 0 to the depth of 3":      func(c *nn.DiTConfig) { c.Encoder = 4 },
		"classes must not be negative":             func(c *nn.DiTConfig) { c.Classes = -1 },
		"guidance must be finite and distinct":     func(c *nn.DiTConfig) { c.Guidance = []float64{2, 2} },
		"context_guidance must be finite and dist": func(c *nn.DiTConfig) { c.ContextGuidance = []float64{1} },
		"at most": func(c *nn.DiTConfig) { c.Width, c.Heads = 1<<20, 1 },
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
	p := nn.SinusoidalPositions(2, 3, 8)
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
