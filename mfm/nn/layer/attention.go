package layer

import (
	"math"

	"github.com/gomlx/compute"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"
	. "github.com/gomlx/gomlx/support/exceptions"
)

// AttentionKind is how a network computes attention.
type AttentionKind string

const (
	// AutomaticAttention uses the backend's fused attention, which keeps no matrix of tokens by
	// tokens, where it has one that fits: cuDNN's, of XLA on one CUDA device of compute capability
	// 8.0 or more, for numbers of 16 bits and heads of a multiple of 8 and at most
	// 128 channels. Reverse mode is fused as well. A tangent (package ad) passes through the
	// products and the softmax. It is untested on a GPU. GOMLX_FUSION=0 in the environment turns it
	// off for all networks.
	AutomaticAttention AttentionKind = ""
	// DecomposedAttention always uses products and a softmax.
	DecomposedAttention AttentionKind = "decomposed"
)

// maxFusedHead is the number of channels of a head up to which cuDNN's kernels run on all devices.
const maxFusedHead = 128

// Attention is multi-head self-attention (Vaswani et al., arXiv 1706.03762) over tokens [batch,
// tokens, width], with layers "qkv" and "out"; gain is that of "out" (see [Dense]). It returns the
// same shape. It panics if heads does not divide the width.
func Attention(scope *model.Scope, x *Node, heads int, gain float64) *Node {
	return AttentionWith(scope, x, heads, AttentionOptions{InGain: 1, OutGain: gain})
}

// AttentionOptions are the options of [AttentionWith].
type AttentionOptions struct {
	InGain, OutGain float64 // of the layers "qkv" and "out", as in [Dense]
	// Norm normalizes the queries "q_norm" and keys "k_norm", each [batch, tokens, heads,
	// width/heads]. Nil means no normalization.
	Norm func(scope *model.Scope, x *Node) *Node
	Kind AttentionKind
	// Context has tokens [batch, tokens, width] whose keys and values, of the layer "context", the
	// queries see as well, or is nil. Gate multiplies these values, [batch or 1, 1, width], and is
	// required with Context.
	Context, Gate *Node
	// Causal lets each token see itself and the tokens before it alone, by [DecomposedAttention]. It
	// excludes Context.
	Causal bool
}

// AttentionWith is [Attention] with options. It panics as Attention does.
func AttentionWith(scope *model.Scope, x *Node, heads int, o AttentionOptions) *Node {
	if x.Rank() != 3 || heads < 1 || x.Shape().Dimensions[2]%heads != 0 {
		Panicf("layer.Attention: want [batch, tokens, width], width divisible by %d heads, got %s", heads, x.Shape())
	}
	d := x.Shape().Dimensions
	batch, tokens, width := d[0], d[1], d[2]
	parts := func(name string, x *Node, n int, gain float64) []*Node {
		all := Reshape(Dense(scope.In("%s", name), x, n*width, gain), batch, tokens, n, heads, width/heads)
		nodes := make([]*Node, n)
		for i := range nodes {
			nodes[i] = Reshape(SliceAxis(all, 2, AxisElem(i)), batch, tokens, heads, width/heads)
		}
		return nodes
	}
	qkv := parts("qkv", x, 3, o.InGain)
	q, k, v := qkv[0], qkv[1], qkv[2]
	if o.Norm != nil {
		q, k = o.Norm(scope.In("q_norm"), q), o.Norm(scope.In("k_norm"), k)
	}
	if o.Context != nil {
		kv := parts("context", o.Context, 2, math.Sqrt(2./3))
		if o.Norm != nil {
			kv[0] = o.Norm(scope.In("context_norm"), kv[0])
		}
		gated := Mul(kv[1], Reshape(o.Gate, -1, 1, heads, width/heads))
		k, v = Concatenate([]*Node{k, kv[0]}, 1), Concatenate([]*Node{v, gated}, 1)
	}
	if o.Causal {
		if o.Context != nil {
			Panicf("layer.Attention: causal attention takes no context")
		}
		y := attend(q, k, v, causal)
		return Dense(scope.In("out"), Reshape(y, batch, tokens, width), width, o.OutGain)
	}
	y := mix(q, k, v, o.Kind)
	return Dense(scope.In("out"), Reshape(y, batch, tokens, width), width, o.OutGain)
}

// mix is attend, by the fused attention if the kind allows it and the backend has one that fits.
func mix(q, k, v *Node, kind AttentionKind) *Node {
	decomposed := func() *Node { return Attend(q, k, v) }
	if kind != AutomaticAttention || !fusable(q, k) {
		return decomposed()
	}
	fused := func() *Node {
		y, _ := BackendFusedScaledDotProductAttention(q, k, v, compute.AttentionAxesLayoutBSHD, nil)
		return y
	}
	y, _ := InternalFusedOpCaller(fused, decomposed, false)
	return y
}

// fusable reports whether the backend has a fused attention, with its gradient, for queries and
// keys [batch, tokens, heads, width].
func fusable(q, k *Node) bool {
	has, channels := q.Graph().Backend().Capabilities().Operations, q.Shape().Dim(3)
	return has[compute.OpTypeFusedScaledDotProductAttention] && has[compute.OpTypeFusedScaledDotProductAttentionVJP] &&
		q.Graph().NumDevices() == 1 && q.DType().IsFloat16() && q.Shape().Equal(k.Shape()) &&
		channels%8 == 0 && channels <= maxFusedHead
}

// Attend returns softmax(q kᵀ/√width) v for each head; queries, keys and values are [batch, tokens,
// heads, width].
func Attend(q, k, v *Node) *Node {
	return attend(q, k, v, func(logits *Node) *Node { return logits })
}

// attend is Attend with a function of the logits [batch, heads, queries, keys] before the softmax.
func attend(q, k, v *Node, mask func(*Node) *Node) *Node {
	logits := Einsum("bqhd,bkhd->bhqk", MulScalar(q, 1/math.Sqrt(float64(q.Shape().Dim(3)))), k)
	return Einsum("bhqk,bkhd->bqhd", softmax(mask(logits)), v)
}

// causal makes the logits of keys after the query so low that their weights are zero.
func causal(logits *Node) *Node {
	visible := ExpandLeftToRank(LowerTriangular(logits.Graph(), logits.Shape().Dim(3)), 4)
	return Where(BroadcastToShape(visible, logits.Shape()), logits, MulScalar(OnesLike(logits), -1e30))
}

// softmax normalizes over the last axis with primitive ops; graph.Softmax may use a fused one. It
// computes 16-bit logits in float32.
func softmax(logits *Node) *Node {
	return inFloat32(logits, func(logits *Node) *Node {
		e := Exp(Sub(logits, StopGradient(ReduceAndKeep(logits, ReduceMax, -1))))
		return Div(e, ReduceAndKeep(e, ReduceSum, -1))
	})
}
