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
	if x.Rank() != 3 || heads < 1 || x.Shape().Dimensions[2]%heads != 0 {
		Panicf("nn.Attention: want [batch, tokens, width], width divisible by %d heads, got %s", heads, x.Shape())
	}
	d := x.Shape().Dimensions
	batch, tokens, width := d[0], d[1], d[2]
	qkv := Reshape(Dense(scope.In("qkv"), x, 3*width, 1), batch, tokens, 3, heads, width/heads)
	part := func(i int) *Node { return Reshape(SliceAxis(qkv, 2, AxisElem(i)), batch, tokens, heads, width/heads) }
	logits := Einsum("bqhd,bkhd->bhqk", MulScalar(part(0), 1/math.Sqrt(float64(width/heads))), part(1))
	mixed := Einsum("bhqk,bkhd->bqhd", softmax(logits), part(2))
	return Dense(scope.In("out"), Reshape(mixed, batch, tokens, width), width, gain)
}

// softmax normalizes over the last axis with primitive ops; graph.Softmax may use a fused one.
func softmax(logits *Node) *Node {
	e := Exp(Sub(logits, StopGradient(ReduceAndKeep(logits, ReduceMax, -1))))
	return Div(e, ReduceAndKeep(e, ReduceSum, -1))
}
