package layer_test

import (
	"math"
	"testing"

	"github.com/gomlx/compute/dtypes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm/internal/backendtest"
	"github.com/gomfm/gomfm/mfm/nn/internal/nntest"
	"github.com/gomfm/gomfm/mfm/nn/layer"
)

func TestAttention(t *testing.T) {
	const batch, tokens, width, heads = 2, 4, 6, 3
	store := nntest.NewStore(t, 1)
	input := nntest.Wave(dtypes.Float64, 0, batch, tokens, width)
	exec, err := model.NewExec(backendtest.New(t), store, func(scope *model.Scope, x *Node) *Node {
		return layer.Attention(scope, x, heads, 0)
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range nntest.Flat(t, nntest.Call(t, exec, input)[0]) {
		if v != 0 {
			t.Fatalf("attention with gain 0 is %g at the start, want 0", v)
		}
	}
	nntest.Excite(t, store)
	out := nntest.Call(t, exec, input)
	x := nntest.Flat(t, input)
	value := func(name string) []float64 { return nntest.Flat(t, store.GetVariable(name).MustValue()) }
	linear := func(x, w, b []float64) []float64 {
		y := make([]float64, len(b))
		for o := range b {
			y[o] = b[o]
			for i := range x {
				y[o] += x[i] * w[i*len(b)+o]
			}
		}
		return y
	}
	const size = width / heads
	var want []float64
	for b := range batch {
		qkv := make([][]float64, tokens)
		for i := range qkv {
			qkv[i] = linear(x[(b*tokens+i)*width:][:width], value("/qkv/weights"), value("/qkv/biases"))
		}
		for i := range tokens {
			mixed := make([]float64, width)
			for h := range heads {
				q := qkv[i][h*size:][:size]
				weights, total := make([]float64, tokens), 0.
				for j := range tokens {
					for d, k := range qkv[j][width+h*size:][:size] {
						weights[j] += q[d] * k / math.Sqrt(size)
					}
					weights[j] = math.Exp(weights[j])
					total += weights[j]
				}
				for j := range tokens {
					for d, v := range qkv[j][2*width+h*size:][:size] {
						mixed[h*size+d] += weights[j] / total * v
					}
				}
			}
			want = append(want, linear(mixed, value("/out/weights"), value("/out/biases"))...)
		}
	}
	nntest.Near(t, "attention", nntest.Flat(t, out[0]), want, 1e-12)
}

func TestAttentionOfLargeLogits(t *testing.T) {
	out := nntest.Run(t, nntest.NewStore(t, 1), func(scope *model.Scope, x []*Node) []*Node {
		return []*Node{layer.Attention(scope, MulScalar(x[0], 1e3), 2, 1)}
	}, nntest.Wave(dtypes.Float32, 0, 1, 5, 8))
	for _, v := range nntest.Flat(t, out[0]) {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			t.Fatalf("attention overflows: %g", v)
		}
	}
}

func TestAttentionPanics(t *testing.T) {
	for _, dims := range [][]int{{2, 3, 7}, {2, 3, 3, 6}} {
		nntest.Fails(t, func(scope *model.Scope, g *Graph) *Node {
			return layer.Attention(scope, nntest.WaveNode(g, dtypes.Float32, 0, dims...), 3, 1)
		}, "layer.Attention", "divisible by 3 heads")
	}
}
