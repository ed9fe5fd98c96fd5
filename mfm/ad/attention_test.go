package ad_test

import (
	"testing"

	"github.com/gomlx/compute"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm/ad"
	"github.com/gomfm/gomfm/mfm/internal/backendtest"
)

// The derivatives of a fused attention and of its gradient are those of its definition.
func TestFusedAttention(t *testing.T) {
	plain := func(q, k, v *Node) *Node {
		weights := Softmax(Einsum("bqhd,bkhd->bhqk", DivScalar(q, 2), k)) // √4 channels
		return Einsum("bhqk,bkhd->bqhd", weights, v)
	}
	fused := func(q, k, v *Node) *Node {
		y, _ := BackendFusedScaledDotProductAttention(q, k, v, compute.AttentionAxesLayoutBSHD, nil)
		return y
	}
	inputs := []in{symmetric(2, 3, 2, 4), symmetric(2, 3, 2, 4), symmetric(2, 3, 2, 4)}
	variables := append(inputs, directions(inputs)...)
	var results [][]*tensors.Tensor
	for i, attention := range []func(q, k, v *Node) *Node{plain, fused} {
		b := backendtest.New(t)
		if i == 1 {
			b = backendtest.Flash(b)
		}
		exec := model.MustNewExec(b, model.NewStore(), func(_ *model.Scope, x []*Node) []*Node {
			y := attention(x[0], x[1], x[2])
			dy := ad.JVP([]*Node{y}, x[:3], x[3:])[0]
			gradient := Gradient(ReduceAllSum(Mul(Square(y), y)), x[:3]...)
			dGradient := ad.JVP(gradient, x[:3], x[3:])
			out := append([]*Node{y, dy}, gradient...)
			out = append(out, dGradient...)
			out = append(out, Gradient(ReduceAllSum(Square(dy)), x...)...)
			return append(out, Gradient(ReduceAllSum(Square(gradient[1])), x[:3]...)...)
		})
		defer exec.Finalize()
		results = append(results, exec.MustCall(draw(variables, newRand()).tensors(variables)...))
	}
	for i, want := range results[0] {
		if !results[1][i].InDelta(want, 1e-9) {
			t.Errorf("output %d is %v, want %v", i, results[1][i], want)
		}
	}
}
