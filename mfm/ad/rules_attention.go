package ad

import (
	"math"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/support/exceptions"
)

// attentionRules returns the rules of the fused attention softmax(q kᵀ/√channels) v and of its
// gradient, without masks and biases, for queries, keys and values [batch, tokens, heads,
// channels]. Tangents pass through products and a softmax, which are built for them; values stay
// fused.
func attentionRules() map[NodeType]rule {
	return map[NodeType]rule{
		NodeTypeFusedScaledDotProductAttention: states(decomposed(func(n *Node) []*Node {
			checkAttention(n)
			in := n.Inputs()
			return one(attention(in[0], in[1], in[2]))
		})),
		// The other inputs, its output and its states, are functions of these.
		NodeTypeFusedScaledDotProductAttentionVJP: decomposed(func(n *Node) []*Node {
			checkAttention(n)
			in := n.Inputs()
			q, k, v, cotangent := Identity(in[0]), Identity(in[1]), Identity(in[2]), in[4]
			return Gradient(inner(attention(q, k, v), cotangent), q, k, v)
		}),
	}
}

// states extends the tangents of the first output by nil for the others, which no other op uses.
func states(r rule) rule {
	return func(n *Node, tangents []*Node) []*Node {
		all := make([]*Node, n.NumOutputs())
		copy(all, r(n, tangents))
		return all
	}
}

// checkAttention panics unless n is an attention that these rules are for.
func checkAttention(n *Node) {
	layout := compute.AttentionAxesLayout(intField(n, "axesLayout"))
	if layout != compute.AttentionAxesLayoutBSHD || !field(n, "options").IsNil() {
		exceptions.Panicf("ad.JVP: op %s has a forward-mode rule for layout BSHD without options only (%s): %s",
			opName(n), n, advice(n))
	}
}

// attention returns softmax(q kᵀ/√channels) v, with the softmax in float32 for types of 16 bits.
func attention(q, k, v *Node) *Node {
	logits := Einsum("bqhd,bkhd->bhqk", Mul(q, scalar(q, 1/math.Sqrt(float64(q.Shape().Dim(3))))), k)
	if logits.DType().IsFloat16() {
		logits = ConvertDType(logits, dtypes.Float32)
	}
	e := Exp(Sub(logits, StopGradient(ReduceAndKeep(logits, ReduceMax, -1))))
	weights := ConvertDType(Div(e, ReduceAndKeep(e, ReduceSum, -1)), v.DType())
	return Einsum("bhqk,bkhd->bqhd", weights, v)
}
