package ad_test

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/layers/activation"
	"github.com/gomlx/gomlx/ml/model"
	layers "github.com/gomlx/gomlx/ml/nn"

	"github.com/gomfm/gomfm/mfm/ad"
	"github.com/gomfm/gomfm/mfm/internal/backendtest"
	"github.com/gomfm/gomfm/mfm/nn"
)

// network is a backbone for states [batch, ...].
type network struct {
	name     string
	backbone nn.Backbone
	state    []int
	classes  bool
}

// networks returns the backbones at small sizes, with classes and attention.
func networks() []network {
	return []network{
		{"MLP", nn.MLP(nn.MLPConfig{
			Width: 5, Depth: 2, Activation: "silu", Classes: 2, OutputGain: 1,
		}), []int{3, 2}, true},
		{"UNet", nn.UNet(nn.UNetConfig{
			Patch: 2, Channels: []int{2, 4}, Blocks: 1, Attention: []int{1}, Heads: 2, Groups: 2,
			Embedding: 3, Classes: 2,
		}), []int{2, 8, 4, 1}, true},
		{"DiT", nn.DiT(nn.DiTConfig{
			Patch: 2, Width: 8, Depth: 2, Encoder: 1, Heads: 2, Classes: 2,
		}), []int{2, 4, 4, 1}, true},
	}
}

// build returns the backbone's output for x = s, u, t, the effective time, x̄, x and the combined
// observation of x̄ and x. It takes the weights of the graph's store.
func (n network) build(x []*Node) *Node {
	in := nn.Inputs{S: x[0], U: x[1], T: x[2], FusedT: x[3], Xbar: x[4], X: x[5], Fused: x[6]}
	if n.classes {
		in.Class = Iota(x[0].Graph(), shapes.Make(dtypes.Int32, n.state[0]), 0)
	}
	return n.backbone(model.GetStore(x[0]).Scope("/"+n.name), in)
}

// weights returns the network's variables in a store, sorted by path.
func (n network) weights(store *model.Store) []*model.Variable {
	byPath := func(a, b *model.Variable) int { return strings.Compare(a.Path(), b.Path()) }
	return slices.SortedFunc(store.Scope("/"+n.name).IterVariables(), byPath)
}

// states returns the inputs that are not weights.
func (n network) states() []in {
	batch := n.state[0]
	return []in{
		uniform(0, 0.4, batch), uniform(0.5, 1, batch), uniform(0, 1, batch), uniform(0, 1, batch),
		symmetric(n.state...), symmetric(n.state...), symmetric(n.state...),
	}
}

// function has the weights among its inputs, so that the test checks derivatives in them as well.
func (n network) function(t testing.TB) function {
	t.Helper()
	g := NewGraph(backendtest.New(t), n.name)
	defer g.Finalize()
	store := model.NewStore()
	model.SetStore(g, store)
	var x []*Node
	inputs := n.states()
	for i, input := range inputs {
		x = append(x, Parameter(g, fmt.Sprint(i), shapes.Make(dtypes.Float64, input.dims...)))
	}
	n.build(x)
	for _, w := range n.weights(store) {
		dims := w.Shape().Dimensions
		width := 1.5 * math.Sqrt(float64(dims[len(dims)-1])/float64(w.Shape().Size()))
		inputs = append(inputs, uniform(-width, width, dims...))
	}
	return function{name: n.name, inputs: inputs, f: func(x []*Node) []*Node {
		n.build(x) // creates the variables
		for i, w := range n.weights(model.GetStore(x[0])) {
			w.SetNodeValue(x[len(n.states())+i])
		}
		return []*Node{n.build(x)}
	}}
}

// nets returns the backbones and, for ops that they lack, a transformer of GoMLX's own layers.
func nets(t testing.TB) []function {
	var all []function
	for _, n := range networks() {
		all = append(all, n.function(t))
	}
	return append(all, transformer())
}

func transformer() function {
	return function{
		name: "transformer on embeddings",
		inputs: []in{
			symmetric(5, 4), symmetric(4), symmetric(4), symmetric(4, 12), symmetric(4), symmetric(4, 4), symmetric(4),
		},
		f: func(x []*Node) []*Node {
			tokens := Const(x[0].Graph(), [][][]int32{{{0}, {3}, {2}}, {{4}, {3}, {0}}})
			h := layers.LayerNorm(Gather(x[0], tokens), []int{-1}, 1e-5, x[1], x[2], nil)
			qkv := projection(h, x[3], x[4])
			for i := range qkv {
				qkv[i] = Reshape(qkv[i], 2, 3, 2, 2)
			}
			attention := Softmax(Einsum("bqhd,bkhd->bhqk", qkv[0], qkv[1]))
			attended := Einsum("bhqk,bkhd->bqhd", attention, qkv[2])
			h = Add(h, Reshape(attended, 2, 3, 4))
			h = layers.Dense(h, x[5], x[6], compute.DenseLayoutInputOutputs, activation.TypeGelu)
			return []*Node{rmsNorm(h), activation.GeluApproximate(ReduceMax(h, 1)), Softmax(h)}
		},
	}
}

func TestNets(t *testing.T) { check(t, nets(t)) }

// TestDoubleReverse compares JVP with DoubleReverse.
func TestDoubleReverse(t *testing.T) {
	for _, f := range nets(t) {
		t.Run(f.name, func(t *testing.T) {
			k := len(f.inputs)
			graph := func(_ *model.Scope, x []*Node) []*Node {
				ys := f.f(x[:k])
				return append(ad.JVP(ys, x[:k], x[k:]), ad.DoubleReverse(ys, x[:k], x[k:])...)
			}
			exec := model.MustNewExec(backendtest.New(t), model.NewStore(), graph)
			defer exec.Finalize()
			variables := append(f.inputs, directions(f.inputs)...)
			outputs := exec.MustCall(draw(variables, newRand()).tensors(variables)...)
			n := len(outputs) / 2
			for i := range n {
				forward := tensors.MustCopyFlatData[float64](outputs[i])
				twice := tensors.MustCopyFlatData[float64](outputs[n+i])
				for j := range forward {
					if !near(forward[j], twice[j], 1e-11) {
						t.Errorf("output %d, element %d: JVP %.12g, DoubleReverse %.12g", i, j, forward[j], twice[j])
					}
				}
			}
		})
	}
}

// projection returns queries, keys and values, [batch, tokens, channels], from one op where the
// backend has it.
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

func rmsNorm(x *Node) *Node {
	return Mul(x, Rsqrt(AddScalar(ReduceAndKeep(Square(x), ReduceMean, -1), 1e-6)))
}
