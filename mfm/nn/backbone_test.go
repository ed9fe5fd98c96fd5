package nn_test

import (
	"math"
	"slices"
	"testing"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm/internal/backendtest"
	"github.com/gomfm/gomfm/mfm/nn"
	"github.com/gomfm/gomfm/mfm/nn/internal/nntest"
)

// backboneCase is a backbone and the shape of its states, [batch, ...].
type backboneCase struct {
	name     string
	backbone nn.Backbone
	dims     []int
	classes  int
}

// tiny returns small backbones that use every option.
func tiny() []backboneCase {
	unet := nn.UNetConfig{
		Patch: 2, Channels: []int{4, 6}, Blocks: 1, Attention: []int{1}, Heads: 2, Groups: 2, Embedding: 5,
	}
	conditional := nn.UNetConfig{Patch: 1, Channels: []int{4}, Blocks: 1, Heads: 1, Groups: 2, Embedding: 5, Classes: 3}
	dit := nn.DiTConfig{
		Patch: 2, Width: 4, Depth: 1, Encoder: 1, Heads: 1, Classes: 3, Guidance: []float64{2}, QKNorm: true,
		JointAttention: true, Reversed: true, Checkpoint: true,
	}
	plainDiT := nn.DiTConfig{
		Patch: 2, Width: 4, Depth: 1, Encoder: 1, Heads: 1, QKNorm: true, QKNormRMS: true, BlindAtZero: true,
	}
	return []backboneCase{
		{"MLP", nn.MLP(nn.MLPConfig{Width: 7, Depth: 2, Activation: "silu"}), []int{3, 2}, 0},
		{"MLP with classes", nn.MLP(nn.MLPConfig{
			Width: 7, Depth: 1, Activation: "tanh", Classes: 3, OutputGain: 1,
		}), []int{3, 2, 2}, 3},
		{"UNet", nn.UNet(unet), []int{2, 8, 4, 1}, 0},
		{"UNet with classes", nn.UNet(conditional), []int{2, 3, 2, 2}, 3},
		{"MLP with combined observation", combined(nn.MLP(nn.MLPConfig{
			Width: 7, Depth: 2, Activation: "silu",
		})), []int{3, 2}, 0},
		{"UNet with combined observation", combined(nn.UNet(unet)), []int{2, 8, 4, 1}, 0},
		{"DiT with classes", nn.DiT(dit), []int{2, 4, 2, 1}, 3},
		{"DiT with combined observation", combined(nn.DiT(plainDiT)), []int{2, 4, 2, 1}, 0},
	}
}

// combined returns a backbone that receives a combined observation.
func combined(b nn.Backbone) nn.Backbone {
	return func(scope *model.Scope, in nn.Inputs) *Node {
		in.Fused, in.FusedT = Sub(Mul(in.Xbar, in.X), in.X), Mul(in.S, in.T)
		return b(scope, in)
	}
}

// The output depends on each of Fused and FusedT.
func TestBackboneFused(t *testing.T) {
	for _, c := range tiny()[:3] {
		if c.classes > 0 {
			continue
		}
		variant := func(state, time float64) []float64 {
			c := c
			plain := c.backbone
			c.backbone = func(scope *model.Scope, in nn.Inputs) *Node {
				in.Fused, in.FusedT = AddScalar(in.X, state), AddScalar(in.T, time)
				return plain(scope, in)
			}
			store := c.excited(t, dtypes.Float64)
			return nntest.Flat(t, nntest.Run(t, store, func(scope *model.Scope, x []*Node) []*Node {
				return []*Node{c.evaluate(scope, x)}
			}, nntest.Waves(dtypes.Float64, c.dims...)...)[0])
		}
		base := variant(0, 0)
		if slices.Equal(variant(0.5, 0), base) || slices.Equal(variant(0, 0.05), base) {
			t.Errorf("%s: the output does not depend on Fused and FusedT", c.name)
		}
	}
}

// Times shared by all rows give the same output as times repeated for each row.
func TestBackboneSharedTimes(t *testing.T) {
	for _, c := range tiny() {
		store := c.excited(t, dtypes.Float64)
		out := nntest.Run(t, store, func(scope *model.Scope, x []*Node) []*Node {
			shared := nntest.Inputs(x)
			for _, time := range []**Node{&shared.S, &shared.U, &shared.T} {
				*time = Slice(*time, AxisRange(0, 1))
			}
			var both []*Node
			for _, in := range []nn.Inputs{shared, shared.PerRow()} {
				if c.classes > 0 {
					in.Class = nntest.Labels(x[0].Graph(), in.Xbar.Shape().Dimensions[0], 1)
				}
				both = append(both, c.backbone(scope.ResetVisited(), in))
			}
			return both
		}, nntest.Waves(dtypes.Float64, c.dims...)...)
		got, want := nntest.Flat(t, out[0]), nntest.Flat(t, out[1])
		for i := range want {
			if math.Abs(got[i]-want[i]) > 1e-12*(1+math.Abs(want[i])) {
				t.Errorf("%s: element %d is %g, with times per row %g", c.name, i, got[i], want[i])
				break
			}
		}
	}
}

// evaluate builds the case on the nodes of its waves, with labels if it has classes.
func (c backboneCase) evaluate(scope *model.Scope, x []*Node) *Node {
	in := nntest.Inputs(x)
	if c.classes > 0 {
		in.Class = nntest.Labels(x[0].Graph(), in.S.Shape().Dimensions[0], 1)
	}
	return c.backbone(scope.ResetVisited(), in)
}

// store returns a store with the weights of the case in its root scope.
func (c backboneCase) store(t testing.TB, dtype dtypes.DType, seed int64) *model.Store {
	t.Helper()
	store := nntest.NewStore(t, seed)
	c.backbone(store.RootScope(), nntest.ConstantInputs(nntest.GraphOf(t, store), dtype, c.dims...))
	return store
}

// excited returns a store with non-zero weights.
func (c backboneCase) excited(t testing.TB, dtype dtypes.DType) *model.Store {
	t.Helper()
	store := c.store(t, dtype, 1)
	nntest.Excite(t, store)
	return store
}

func TestBackboneShape(t *testing.T) {
	deep := nn.UNetConfig{
		Patch: 1, Channels: []int{4, 6, 8}, Blocks: 3, Attention: []int{0, 2}, Heads: 2, Groups: 2, Embedding: 5,
	}
	for _, c := range append(tiny(), backboneCase{"deep UNet", nn.UNet(deep), []int{2, 8, 12, 3}, 0}) {
		for _, dtype := range []dtypes.DType{dtypes.Float32, dtypes.Float64} {
			store := nntest.NewStore(t, 1)
			got := c.backbone(store.RootScope(), nntest.ConstantInputs(nntest.GraphOf(t, store), dtype, c.dims...)).Shape()
			if got.DType != dtype || !slices.Equal(got.Dimensions, c.dims) {
				t.Errorf("%s: output %s, want (%s)%v", c.name, got, dtype, c.dims)
			}
		}
	}
}

// TestBackboneGradient compares the gradient in each variable and input, along one direction, with
// a central difference.
func TestBackboneGradient(t *testing.T) {
	for _, c := range tiny() {
		t.Run(c.name, func(t *testing.T) {
			store := c.excited(t, dtypes.Float64)
			var variables []*model.Variable
			for v := range store.IterVariables() {
				if v.Trainable {
					variables = append(variables, v)
				}
			}
			args := append(nntest.Waves(dtypes.Float64, c.dims...), nntest.Wave(dtypes.Float64, 0.5, c.dims...))
			exec, err := model.NewExec(backendtest.New(t), store, func(scope *model.Scope, x []*Node) []*Node {
				value := ReduceAllSum(Mul(c.evaluate(scope, x[:5]), x[5]))
				with := slices.Clone(x[:5])
				for _, v := range variables {
					with = append(with, v.NodeValue(value))
				}
				return append([]*Node{value}, Gradient(value, with...)...)
			})
			if err != nil {
				t.Fatal(err)
			}
			var got, want []float64
			gradients := nntest.Call(t, exec, args...)[1:]
			for i, gradient := range gradients {
				direction := nntest.Flat(t, nntest.Wave(dtypes.Float64, float64(i), gradient.Shape().Dimensions...))
				slope := 0.
				for j, g := range nntest.Flat(t, gradient) {
					slope += g * direction[j]
				}
				got = append(got, slope)
				// at returns the value with input or variable i moved by h along the direction.
				at := func(h float64) float64 {
					move := func(x *tensors.Tensor) *tensors.Tensor {
						moved := nntest.Flat(t, x)
						for j := range moved {
							moved[j] += h * direction[j]
						}
						return nntest.TensorOf(dtypes.Float64, moved, x.Shape().Dimensions...)
					}
					if i < 5 {
						moved := slices.Clone(args)
						moved[i] = move(args[i])
						return tensors.ToScalar[float64](nntest.Call(t, exec, moved...)[0])
					}
					v := variables[i-5]
					old := v.MustValue()
					if err := v.SetValuePreservingOld(move(old)); err != nil {
						t.Fatal(err)
					}
					defer func() {
						if err := v.SetValue(old); err != nil {
							t.Fatal(err)
						}
					}()
					return tensors.ToScalar[float64](nntest.Call(t, exec, args...)[0])
				}
				const h = 1e-5
				want = append(want, (at(h)-at(-h))/(2*h))
				if slope == 0 {
					t.Errorf("the output does not depend on input or variable %d", i)
				}
			}
			nntest.Near(t, "gradient", got, want, 1e-7)
		})
	}
}

// TestBackboneRows checks that a row of the batch depends on no other row.
func TestBackboneRows(t *testing.T) {
	for _, c := range tiny() {
		t.Run(c.name, func(t *testing.T) {
			out := nntest.Run(t, c.excited(t, dtypes.Float64), func(scope *model.Scope, x []*Node) []*Node {
				first := func(x *Node) *Node { return SliceAxis(x, 0, AxisRange(0, 1)) }
				var one []*Node
				for _, x := range x {
					one = append(one, first(x))
				}
				return []*Node{first(c.evaluate(scope, x)), c.evaluate(scope, one)}
			}, nntest.Waves(dtypes.Float64, c.dims...)...)
			nntest.Near(t, "first row", nntest.Flat(t, out[1]), nntest.Flat(t, out[0]), 1e-12)
		})
	}
}

func TestBackboneSeeds(t *testing.T) {
	for _, c := range tiny() {
		weights := func(seed int64) (all []float64) {
			for v := range c.store(t, dtypes.Float32, seed).IterVariables() {
				if v.Trainable {
					all = append(all, nntest.Flat(t, v.MustValue())...)
				}
			}
			return all
		}
		first := weights(1)
		if !slices.Equal(first, weights(1)) {
			t.Errorf("%s: equal seeds give different weights", c.name)
		}
		if slices.Equal(first, weights(2)) {
			t.Errorf("%s: different seeds give equal weights", c.name)
		}
	}
}

// TestBackboneClass checks that labels matter, and that nil labels mean "no class".
func TestBackboneClass(t *testing.T) {
	for _, c := range tiny() {
		if c.classes == 0 {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			graph := func(scope *model.Scope, x []*Node) []*Node {
				in := nntest.Inputs(x)
				without := c.backbone(scope, in)
				in.Class = x[5]
				return []*Node{without, c.backbone(scope.ResetVisited(), in)}
			}
			exec, err := model.NewExec(backendtest.New(t), c.excited(t, dtypes.Float64), graph)
			if err != nil {
				t.Fatal(err)
			}
			of := func(label int32) (without, with []float64) {
				class := tensors.FromFlatDataAndDimensions(slices.Repeat([]int32{label}, c.dims[0]), c.dims[0])
				out := nntest.Call(t, exec, append(nntest.Waves(dtypes.Float64, c.dims...), class)...)
				return nntest.Flat(t, out[0]), nntest.Flat(t, out[1])
			}
			without, none := of(int32(c.classes))
			nntest.Near(t, "no class", none, without, 1e-15)
			_, first := of(0)
			_, second := of(1)
			for i := range first {
				if first[i] == second[i] || first[i] == none[i] {
					t.Fatalf("value %d does not depend on the class", i)
				}
			}
		})
	}
}

func TestBackboneStart(t *testing.T) {
	start := func(b nn.Backbone, dims ...int) []float64 {
		return nntest.Flat(t, nntest.Run(t, nntest.NewStore(t, 1), func(scope *model.Scope, x []*Node) []*Node {
			return []*Node{b(scope, nntest.Inputs(x))}
		}, nntest.Waves(dtypes.Float32, dims...)...)[0])
	}
	mlp := nn.DefaultMLP()
	mlp.Width = 16
	for _, v := range slices.Concat(start(nn.MLP(mlp), 5, 2), start(tiny()[2].backbone, tiny()[2].dims...)) {
		if v != 0 {
			t.Fatalf("a network is %g at the start, want 0", v)
		}
	}
	mlp.OutputGain = 1
	if v := start(nn.MLP(mlp), 5, 2)[0]; v == 0 || math.IsNaN(v) {
		t.Errorf("with an output gain of 1 the network is %g at the start, want another finite value", v)
	}
}

func TestParameterCounts(t *testing.T) {
	conditional := nn.DefaultUNet()
	conditional.Classes = 10
	for _, c := range []struct {
		name     string
		backbone nn.Backbone
		dims     []int
		want     int
	}{
		{"default MLP", nn.MLP(nn.DefaultMLP()), []int{1, 2}, 31*256 + 256 + 3*(256*256+256) + 2*256 + 2},
		{"default UNet", nn.UNet(nn.DefaultUNet()), []int{1, 28, 28, 1}, 487_748},
		{"default UNet with ten classes", nn.UNet(conditional), []int{1, 28, 28, 1}, 487_748 + 11*128},
	} {
		store := model.NewStore()
		c.backbone(store.Scope("/net"), nntest.ConstantInputs(nntest.GraphOf(t, store), dtypes.Float32, c.dims...))
		if got := store.Scope("/net").NumParameters(); got != c.want {
			t.Errorf("%s: %d parameters, want %d", c.name, got, c.want)
		}
	}
}

func TestBackboneInputsPanic(t *testing.T) {
	backbone := nn.MLP(nn.MLPConfig{Width: 3, Depth: 1, Activation: "silu"})
	for _, c := range []struct {
		name   string
		change func(in *nn.Inputs, g *Graph)
		words  []string
	}{
		{"missing", func(in *nn.Inputs, _ *Graph) { in.U = nil }, []string{"U is nil"}},
		{"other shape", func(in *nn.Inputs, g *Graph) {
			in.X = nntest.WaveNode(g, dtypes.Float32, 0, 4, 3)
		}, []string{"same shape", "[4, 3]"}},
		{"other batch", func(in *nn.Inputs, g *Graph) {
			in.T = nntest.WaveNode(g, dtypes.Float32, 0, 5)
		}, []string{"times", "[5]"}},
		{"time per dimension", func(in *nn.Inputs, g *Graph) {
			in.S = nntest.WaveNode(g, dtypes.Float32, 0, 4, 1)
		}, []string{"times", "[4, 1]"}},
		{"other type", func(in *nn.Inputs, g *Graph) {
			in.S = nntest.WaveNode(g, dtypes.Float64, 0, 4)
		}, []string{"times", "Float64"}},
		{"Fused without time", func(in *nn.Inputs, _ *Graph) { in.Fused = in.X }, []string{"set both or neither"}},
		{"time without Fused", func(in *nn.Inputs, _ *Graph) { in.FusedT = in.T }, []string{"set both or neither"}},
		{"Fused of other shape", func(in *nn.Inputs, g *Graph) {
			in.Fused, in.FusedT = nntest.WaveNode(g, dtypes.Float32, 0, 4, 3), in.T
		}, []string{"Fused", "[4, 3]"}},
		{"unwanted class", func(in *nn.Inputs, g *Graph) { in.Class = nntest.Labels(g, 4, 0) }, []string{"Classes = 0"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			nntest.Fails(t, func(scope *model.Scope, g *Graph) *Node {
				in := nntest.ConstantInputs(g, dtypes.Float32, 4, 2)
				c.change(&in, g)
				return backbone(scope, in)
			}, append(c.words, "nn.Inputs")...)
		})
	}
	nntest.Fails(t, func(scope *model.Scope, g *Graph) *Node {
		in := nntest.ConstantInputs(g, dtypes.Float32, 4, 2)
		in.Class = Iota(g, shapes.Make(dtypes.Float32, 4), 0)
		return nn.MLP(nn.MLPConfig{Width: 3, Depth: 1, Activation: "silu", Classes: 2})(scope, in)
	}, "labels must be integers [4]")
}
