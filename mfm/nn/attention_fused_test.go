package nn_test

import (
	"math"
	"testing"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm/ad"
	"github.com/gomfm/gomfm/mfm/internal/backendtest"
	"github.com/gomfm/gomfm/mfm/nn"
	"github.com/gomfm/gomfm/mfm/nn/internal/nntest"
	"github.com/gomfm/gomfm/mfm/nn/layer"
)

// count returns the number of nodes of a type in a graph.
func count(g *Graph, op NodeType) (n int) {
	for _, node := range g.Nodes() {
		if node.Type() == op {
			n++
		}
	}
	return n
}

// Attention is fused where the backend can and the numbers fit, and nowhere else.
func TestFusedAttentionIsChosen(t *testing.T) {
	b := backendtest.New(t)
	backendtest.NeedLoops(t, b) // the pure-Go backend has no BFloat16 for all operations
	flash := backendtest.Flash(b)
	joint := nn.DiTConfig{Patch: 2, Width: 16, Depth: 1, Heads: 2, JointAttention: true}
	dit := joint
	dit.JointAttention = false
	decomposed := dit
	decomposed.Attention = layer.DecomposedAttention
	network := func(c nn.DiTConfig) func(*model.Scope, *Graph) *Node {
		return func(scope *model.Scope, g *Graph) *Node {
			in := nntest.ConstantInputs(g, dtypes.Float32, 2, 4, 4, 1)
			return nn.Computing(dtypes.BFloat16, nn.DiT(c))(scope, in)
		}
	}
	layer := func(dtype dtypes.DType, width, heads int) func(*model.Scope, *Graph) *Node {
		return func(scope *model.Scope, g *Graph) *Node {
			return layer.Attention(scope, ConvertDType(nntest.WaveNode(g, dtypes.Float32, 0, 2, 3, width), dtype), heads, 1)
		}
	}
	for name, c := range map[string]struct {
		backend compute.Backend
		build   func(*model.Scope, *Graph) *Node
		fused   int
	}{
		"bfloat16":                        {flash, layer(dtypes.BFloat16, 16, 2), 1},
		"float16":                         {flash, layer(dtypes.Float16, 16, 2), 1},
		"float32":                         {flash, layer(dtypes.Float32, 16, 2), 0},
		"four channels":                   {flash, layer(dtypes.BFloat16, 16, 4), 0},
		"136 channels":                    {flash, layer(dtypes.BFloat16, 136, 1), 0},
		"a backend without":               {b, layer(dtypes.BFloat16, 16, 2), 0},
		"a transformer":                   {flash, network(dit), 1},
		"a transformer that asks for not": {flash, network(decomposed), 0},
		"more keys than queries":          {flash, network(joint), 0},
	} {
		g := NewGraph(c.backend, name)
		store := nntest.NewStore(t, 1)
		model.SetStore(g, store)
		c.build(store.RootScope(), g)
		if got := count(g, NodeTypeFusedScaledDotProductAttention); got != c.fused {
			t.Errorf("%s: %d fused attentions, want %d", name, got, c.fused)
		}
		g.Finalize()
	}
}

// The fused attention of a network gives its output, its gradient and its derivative, also with
// recomputed blocks. Package ad has tests of further derivatives.
func TestFusedAttention(t *testing.T) {
	b := backendtest.New(t)
	backendtest.NeedLoops(t, b)
	c := nn.DiTConfig{Patch: 2, Width: 16, Depth: 1, Heads: 2}
	results := make(map[bool][]*tensors.Tensor)
	for fused, backend := range map[bool]compute.Backend{false: b, true: backendtest.Flash(b)} {
		c.Checkpoint = fused
		network := nn.Computing(dtypes.BFloat16, nn.DiT(c))
		store := backboneCase{"DiT", network, []int{2, 4, 4, 1}, 0}.excited(t, dtypes.Float32)
		var fusedOps, gradients int
		exec, err := model.NewExec(backend, store, func(scope *model.Scope, x []*Node) []*Node {
			in := nntest.Inputs(x)
			v := network(scope.ResetVisited(), in)
			dv := ad.JVP([]*Node{v}, []*Node{in.S, in.Xbar}, []*Node{OnesLike(in.S), in.X})[0]
			out := []*Node{v, Gradient(ReduceAllSum(Square(v)), in.Xbar)[0], dv}
			fusedOps = count(v.Graph(), NodeTypeFusedScaledDotProductAttention)
			gradients = count(v.Graph(), NodeTypeFusedScaledDotProductAttentionVJP)
			return out
		})
		if err != nil {
			t.Fatal(err)
		}
		results[fused] = nntest.Call(t, exec, nntest.Waves(dtypes.Float32, 2, 4, 4, 1)...)
		if (fusedOps > 0) != fused || (gradients > 0) != fused {
			t.Errorf("fused %t: %d fused attentions, %d gradients", fused, fusedOps, gradients)
		}
	}
	for i, name := range []string{"output", "gradient", "derivative"} {
		var size, off float64
		got := nntest.Flat(t, results[true][i])
		for j, want := range nntest.Flat(t, results[false][i]) {
			size, off = size+want*want, off+(got[j]-want)*(got[j]-want)
		}
		if r := math.Sqrt(off / size); !(r < 0.02) {
			t.Errorf("%s differs by %.4f", name, r)
		} else {
			t.Logf("%s: %.4f", name, r)
		}
	}
}
