package nn

import (
	"math"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"
	. "github.com/gomlx/gomlx/support/exceptions"
)

// Attention is multi-head self-attention (Vaswani et al., arXiv 1706.03762) over tokens [batch,
// tokens, width], with layers "qkv" and "out"; gain is that of "out" (see [Dense]). It returns the
// same shape. It panics if heads does not divide the width.
func Attention(scope *model.Scope, x *Node, heads int, gain float64) *Node {
	return attention(scope, x, heads, 1, gain, false)
}

// attention is Attention with gainIn as the gain of "qkv" and, if norm is set, with the queries and
// keys of each head normalized by learned layer norms, "q_norm" and "k_norm".
func attention(scope *model.Scope, x *Node, heads int, gainIn, gain float64, norm bool) *Node {
	if x.Rank() != 3 || heads < 1 || x.Shape().Dimensions[2]%heads != 0 {
		Panicf("nn.Attention: want [batch, tokens, width], width divisible by %d heads, got %s", heads, x.Shape())
	}
	d := x.Shape().Dimensions
	batch, tokens, width := d[0], d[1], d[2]
	qkv := Reshape(Dense(scope.In("qkv"), x, 3*width, gainIn), batch, tokens, 3, heads, width/heads)
	part := func(i int) *Node { return Reshape(SliceAxis(qkv, 2, AxisElem(i)), batch, tokens, heads, width/heads) }
	q, k := part(0), part(1)
	if norm {
		q, k = affineLayerNorm(scope.In("q_norm"), q), affineLayerNorm(scope.In("k_norm"), k)
	}
	return Dense(scope.In("out"), Reshape(attend(q, k, part(2)), batch, tokens, width), width, gain)
}

// attend returns softmax(q kᵀ/√width) v for each head; queries, keys and values are [batch, tokens,
// heads, width].
func attend(q, k, v *Node) *Node {
	logits := Einsum("bqhd,bkhd->bhqk", MulScalar(q, 1/math.Sqrt(float64(q.Shape().Dim(3)))), k)
	return Einsum("bhqk,bkhd->bqhd", softmax(logits), v)
}

// softmax normalizes over the last axis with primitive ops; graph.Softmax may use a fused one. It
// computes 16-bit logits in float32.
func softmax(logits *Node) *Node {
	return inFloat32(logits, func(logits *Node) *Node {
		e := Exp(Sub(logits, StopGradient(ReduceAndKeep(logits, ReduceMax, -1))))
		return Div(e, ReduceAndKeep(e, ReduceSum, -1))
	})
}
