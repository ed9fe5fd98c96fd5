package nn

import (
	"math"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"
	. "github.com/gomlx/gomlx/support/exceptions"
)

// Attention is multi-head self-attention over tokens (Vaswani et al., arXiv 1706.03762), [batch, tokens, width] ->
// the same shape, with layers "qkv" and "out"; gain is the latter's (see Dense). It panics where heads doesn't divide the
// width.
func Attention(scope *model.Scope, x *Node, heads int, gain float64) *Node {
	if x.Rank() != 3 || heads < 1 || x.Shape().Dimensions[2]%heads != 0 {
		Panicf("nn.Attention: tokens [batch, tokens, width] are needed whose width %d heads divide, not %s", heads, x.Shape())
	}
	d := x.Shape().Dimensions
	batch, tokens, width := d[0], d[1], d[2]
	qkv := Reshape(Dense(scope.In("qkv"), x, 3*width, 1), batch, tokens, 3, heads, width/heads)
	part := func(i int) *Node { return Reshape(SliceAxis(qkv, 2, AxisElem(i)), batch, tokens, heads, width/heads) }
	logits := Einsum("bqhd,bkhd->bhqk", MulScalar(part(0), 1/math.Sqrt(float64(width/heads))), part(1))
	mixed := Einsum("bhqk,bkhd->bqhd", softmax(logits), part(2))
	return Dense(scope.In("out"), Reshape(mixed, batch, tokens, width), width, gain)
}

// softmax over the last axis, in primitive ops where graph.Softmax may put a fused one.
func softmax(logits *Node) *Node {
	e := Exp(Sub(logits, StopGradient(ReduceAndKeep(logits, ReduceMax, -1))))
	return Div(e, ReduceAndKeep(e, ReduceSum, -1))
}
