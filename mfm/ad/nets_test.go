package ad_test

import (
	"math"
	"testing"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/layers/activation"
	"github.com/gomlx/gomlx/ml/nn"

	"github.com/gomfm/gomfm/mfm/ad"
	"github.com/gomfm/gomfm/mfm/internal/backendtest"
)

// nets are small instances of what the backbones are made of. Their weights are inputs, so that gradients through
// tangents are checked in the weights.
func nets() []function {
	return []function{
		{
			name:   "MLP with time embedding",
			inputs: []in{symmetric(3, 2), uniform(0, 1, 3), symmetric(8, 6), symmetric(6), symmetric(6, 6), symmetric(6, 2)},
			f: func(x []*Node) []*Node {
				h := Concatenate([]*Node{x[0], timeEmbedding(x[1], 3)}, -1)
				h = silu(Add(DotProduct(h, x[2]), ExpandLeftToRank(x[3], 2)))
				h = Add(h, Tanh(DotProduct(h, x[4])))
				return []*Node{DotProduct(h, x[5])}
			},
		},
		{
			name: "UNet",
			inputs: []in{symmetric(2, 4, 4, 2), uniform(0, 1, 2), // x, t
				symmetric(3, 3, 2, 4), symmetric(3, 3, 4, 4), symmetric(4, 4), // stem, residual block
				symmetric(3, 3, 4, 4), symmetric(4, 12), symmetric(4, 4), // down, attention
				symmetric(3, 3, 8, 2)}, // out
			f: func(x []*Node) []*Node { return []*Node{unet(x[0], x[1], x[2:])} },
		},
		{
			name:   "transformer on embeddings",
			inputs: []in{symmetric(5, 4), symmetric(4), symmetric(4), symmetric(4, 12), symmetric(4), symmetric(4, 4), symmetric(4)},
			f: func(x []*Node) []*Node {
				tokens := Const(x[0].Graph(), [][][]int32{{{0}, {3}, {2}}, {{4}, {3}, {0}}})
				h := nn.LayerNorm(Gather(x[0], tokens), []int{-1}, 1e-5, x[1], x[2], nil)
				qkv := projection(h, x[3], x[4])
				for i := range qkv {
					qkv[i] = Reshape(qkv[i], 2, 3, 2, 2)
				}
				attended := Einsum("bhqk,bkhd->bqhd", Softmax(Einsum("bqhd,bkhd->bhqk", qkv[0], qkv[1])), qkv[2])
				h = Add(h, Reshape(attended, 2, 3, 4))
				h = nn.Dense(h, x[5], x[6], compute.DenseLayoutInputOutputs, activation.TypeGelu)
				return []*Node{rmsNorm(h), activation.GeluApproximate(ReduceMax(h, 1)), Softmax(h)}
			},
		},
	}
}

func TestNets(t *testing.T) { check(t, nets()) }

// TestDoubleReverse compares the two ways to a tangent.
func TestDoubleReverse(t *testing.T) {
	for _, f := range nets() {
		t.Run(f.name, func(t *testing.T) {
			k := len(f.inputs)
			exec := MustNewExec(backendtest.New(t), func(x []*Node) []*Node {
				ys := f.f(x[:k])
				return append(ad.JVP(ys, x[:k], x[k:]), ad.DoubleReverse(ys, x[:k], x[k:])...)
			})
			defer exec.Finalize()
			variables := append(f.inputs, directions(f.inputs)...)
			outputs := exec.MustCall(draw(variables, newRand()).tensors(variables)...)
			n := len(outputs) / 2
			for i := range n {
				forward, twice := tensors.MustCopyFlatData[float64](outputs[i]), tensors.MustCopyFlatData[float64](outputs[n+i])
				for j := range forward {
					if !near(forward[j], twice[j], 1e-11) {
						t.Errorf("output %d, element %d: forward %.12g, double reverse %.12g", i, j, forward[j], twice[j])
					}
				}
			}
		})
	}
}

// unet with one residual block, one level below with attention, and a skip connection. w are its weights.
func unet(x, t *Node, w []*Node) *Node {
	conv := func(x, kernel *Node) *Node { return Convolve(x, kernel).PadSame().Done() }
	h := conv(x, w[0])
	scale := DotProduct(timeEmbedding(t, 2), w[2])
	h = Add(h, Mul(conv(silu(groupNorm(h, 2)), w[1]), InsertAxes(AddScalar(scale, 1), 1, 1)))
	skip := h

	h = Convolve(h, w[3]).PadSame().Strides(2).Done()
	b, height, width, channels := h.Shape().Dim(0), h.Shape().Dim(1), h.Shape().Dim(2), h.Shape().Dim(3)
	tokens := Reshape(groupNorm(h, 2), b, height*width, channels)
	qkv := Split(Einsum("bnc,cd->bnd", tokens, w[4]), -1, 3)
	scores := MulScalar(Einsum("bqc,bkc->bqk", qkv[0], qkv[1]), 1/math.Sqrt(float64(channels)))
	attended := Einsum("bqk,bkc->bqc", Softmax(scores), qkv[2])
	h = Add(h, Reshape(Einsum("bnc,cd->bnd", attended, w[5]), b, height, width, channels))

	h = BroadcastToDims(Reshape(h, b, height, 1, width, 1, channels), b, height, 2, width, 2, channels)
	h = Concatenate([]*Node{Reshape(h, b, 2*height, 2*width, channels), skip}, -1)
	return conv(silu(h), w[6])
}

// projection to queries, keys and values, [batch, tokens, channels], in one op where the backend has it.
func projection(x, w, bias *Node) []*Node {
	c := x.Shape().Dim(-1)
	outputs, _ := InternalFusedOpCallerMulti(
		func() []*Node {
			q, k, v := BackendFusedAttentionQKVProjection(x, w, bias, bias, bias, c, c)
			return []*Node{q, k, v}
		},
		func() []*Node {
			outputs := Split(Einsum("bnc,cd->bnd", x, w), -1, 3)
			for i, y := range outputs {
				outputs[i] = Add(y, ExpandLeftToRank(bias, 3))
			}
			return outputs
		}, true)
	return outputs
}

func silu(x *Node) *Node { return Mul(x, Sigmoid(x)) }

func timeEmbedding(t *Node, frequencies int) *Node {
	angles := Mul(InsertAxes(t, -1), AddScalar(Iota(t.Graph(), shapes.Make(t.DType(), 1, frequencies), 1), 1))
	return Concatenate([]*Node{Sin(angles), Cos(angles)}, -1)
}

func groupNorm(x *Node, groups int) *Node {
	dims := x.Shape().Dimensions
	g := Reshape(x, dims[0], dims[1]*dims[2], groups, dims[3]/groups)
	g = Sub(g, ReduceAndKeep(g, ReduceMean, 1, 3))
	g = Mul(g, Rsqrt(AddScalar(ReduceAndKeep(Square(g), ReduceMean, 1, 3), 1e-5)))
	return Reshape(g, dims...)
}

func rmsNorm(x *Node) *Node {
	return Mul(x, Rsqrt(AddScalar(ReduceAndKeep(Square(x), ReduceMean, -1), 1e-6)))
}
