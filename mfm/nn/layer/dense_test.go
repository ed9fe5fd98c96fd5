package layer_test

import (
	"math"
	"slices"
	"testing"

	"github.com/gomlx/compute/dtypes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm/internal/backendtest"
	"github.com/gomfm/gomfm/mfm/nn/internal/nntest"
	"github.com/gomfm/gomfm/mfm/nn/layer"
)

func TestDense(t *testing.T) {
	const rows, in, units = 6, 5, 3
	store := nntest.NewStore(t, 1)
	input := nntest.Wave(dtypes.Float64, 0, 2, 3, in)
	layer.Dense(store.Scope("/dense"), ConstTensor(nntest.GraphOf(t, store), input), units, 1)
	nntest.Excite(t, store)
	out := nntest.Run(t, store, func(scope *model.Scope, x []*Node) []*Node {
		return []*Node{layer.Dense(scope.In("dense"), x[0], units, 1)}
	}, input)
	if got := out[0].Shape().Dimensions; !slices.Equal(got, []int{2, 3, units}) {
		t.Fatalf("shape %v, want [2 3 3]", got)
	}
	x := nntest.Flat(t, input)
	w := nntest.Flat(t, store.GetVariable("/dense/weights").MustValue())
	b := nntest.Flat(t, store.GetVariable("/dense/biases").MustValue())
	want := make([]float64, rows*units)
	for r := range rows {
		for u := range units {
			want[r*units+u] = b[u]
			for i := range in {
				want[r*units+u] += x[r*in+i] * w[i*units+u]
			}
		}
	}
	nntest.Near(t, "x W + b", nntest.Flat(t, out[0]), want, 1e-12)
}

func TestWeightsStart(t *testing.T) {
	const in, units, gain = 400, 300, 1.5
	start := func(seed int64, gain float64) []float64 {
		store := nntest.NewStore(t, seed)
		layer.Dense(store.RootScope(), nntest.WaveNode(nntest.GraphOf(t, store), dtypes.Float32, 0, 1, in), units, gain)
		for _, b := range nntest.Flat(t, store.GetVariable("/biases").MustValue()) {
			if b != 0 {
				t.Fatalf("a bias is %g at the start, want 0", b)
			}
		}
		return nntest.Flat(t, store.GetVariable("/weights").MustValue())
	}
	w := start(1, gain)
	var m1, m2, m4 float64
	for _, v := range w {
		v *= math.Sqrt(in) / gain
		m1, m2, m4 = m1+v, m2+v*v, m4+v*v*v*v
	}
	n := float64(len(w))
	// The standard errors of the moments of n standard normal numbers are 1/√n, √(2/n) and √(96/n).
	for _, m := range []struct {
		name                string
		got, want, variance float64
	}{{"mean", m1 / n, 0, 1}, {"variance", m2 / n, 1, 2}, {"fourth moment", m4 / n, 3, 96}} {
		if z := (m.got - m.want) / math.Sqrt(m.variance/n); math.Abs(z) > 4 {
			t.Errorf("%s %g, want %g: differs by %.1f standard errors", m.name, m.got, m.want, z)
		}
	}
	if !slices.Equal(w, start(1, gain)) {
		t.Error("equal seeds give different weights")
	}
	if slices.Equal(w, start(2, gain)) {
		t.Error("different seeds give equal weights")
	}
	for _, v := range start(1, 0) {
		if v != 0 {
			t.Fatalf("a weight with gain 0 is %g at the start, want 0", v)
		}
	}
}

func TestDensePanics(t *testing.T) {
	nntest.Fails(t, func(scope *model.Scope, g *Graph) *Node {
		return layer.Dense(scope, nntest.WaveNode(g, dtypes.Float32, 0, 3), 2, 1)
	}, "layer.Dense", "features")
	nntest.Fails(t, func(scope *model.Scope, g *Graph) *Node {
		return layer.Dense(scope, nntest.WaveNode(g, dtypes.Float32, 0, 3, 2), 0, 1)
	}, "layer.Dense", "units > 0")
}

// The exact GELU is x Φ(x), and its two approximations are near it.
func TestGELU(t *testing.T) {
	x := []float64{-5, -2, -0.5, 0, 0.3, 1, 4}
	exec, err := NewExec(backendtest.New(t), func(x *Node) []*Node {
		return []*Node{layer.ExactGELU(x), layer.QuickGELU(x), layer.GELU(x)}
	})
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Call(x)
	if err != nil {
		t.Fatal(err)
	}
	for i, v := range x {
		exact, quick := v*(1+math.Erf(v/math.Sqrt2))/2, v/(1+math.Exp(-1.702*v))
		for j, want := range []struct{ value, tolerance float64 }{{exact, 1e-6}, {quick, 1e-12}, {exact, 1e-3}} {
			if got := nntest.Flat(t, out[j])[i]; !(math.Abs(got-want.value) <= want.tolerance) {
				t.Errorf("function %d of %g is %g, want %g", j, v, got, want.value)
			}
		}
	}
}
