package speed

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/internal/backendtest"
	"github.com/gomfm/gomfm/mfm/nn"
)

// The operations of products and convolutions are two for each pair of elements, those of gradients
// included, and what the outputs do not depend on does not count.
func TestOperations(t *testing.T) {
	g := NewGraph(backendtest.New(t), "operations")
	defer g.Finalize()
	ones := func(dims ...int) *Node { return Ones(g, shapes.Make(dtypes.Float32, dims...)) }
	x, w, images, kernel := ones(5, 7), ones(7, 3), ones(2, 8, 8, 3), ones(3, 3, 3, 4)
	product := Dot(x, w).Product()
	convolution := Convolve(images, kernel).PadSame().Done()
	strided := Convolve(images, kernel).Strides(2).PadSame().Done()
	of := func(y *Node, inputs ...*Node) []*Node { return Gradient(ReduceAllSum(Square(y)), inputs...) }
	for _, tc := range []struct {
		name    string
		outputs []*Node
		want    float64
	}{
		{"a product", []*Node{product}, 2 * 5 * 7 * 3},
		{"a product that is used twice", []*Node{Neg(product), Sqrt(product)}, 2 * 5 * 7 * 3},
		{"no product", []*Node{Neg(x)}, 0},
		{"a batch of products", []*Node{Einsum("bij,bjk->bik", ones(4, 5, 7), ones(4, 7, 3))}, 2 * 4 * 5 * 7 * 3},
		{"a contraction of two axes", []*Node{Einsum("ijb,ijk->bk", ones(5, 7, 4), ones(5, 7, 3))}, 2 * 4 * 5 * 7 * 3},
		{"a product and a gradient", of(product, w), 2 * 2 * 5 * 7 * 3},
		{"a product and two gradients", of(product, x, w), 3 * 2 * 5 * 7 * 3},
		{"a convolution", []*Node{convolution}, 2 * (2 * 8 * 8 * 4) * (3 * 3 * 3)},
		{"a convolution and its gradients", of(convolution, images, kernel), 3 * 2 * (2 * 8 * 8 * 4) * (3 * 3 * 3)},
		{"a strided convolution", []*Node{strided}, 2 * (2 * 4 * 4 * 4) * (3 * 3 * 3)},
	} {
		if got := operations(tc.outputs...); got != tc.want {
			t.Errorf("%s: %g operations, want %g", tc.name, got, tc.want)
		}
	}
}

// A training step of the diagonal loss on the mixture has the products of a forward and two
// backward passes, without that to the inputs.
func TestOperationsOfTraining(t *testing.T) {
	p, err := newProblem(t.Context(), MLP, mfm.DiagonalOnly)
	if err != nil {
		t.Fatal(err)
	}
	const batch, width = 8, 16
	p.config.Batch = batch
	p.m.Backbone = nn.MLP(nn.MLPConfig{Width: width, Depth: 2, Activation: "silu", OutputGain: 1})
	source := &counted{source: p.source}
	trainer, err := mfm.NewTrainer(backendtest.New(t), p.m, source.build, nil, p.config)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := trainer.Step(); err != nil {
		t.Fatal(err)
	}
	weights, inputs := 0., 0.
	for v := range trainer.Store().IterVariables() {
		if d := v.Shape().Dimensions; v.Trainable && len(d) == 2 {
			weights += float64(d[0] * d[1])
			inputs = max(inputs, float64(d[0]))
		}
	}
	const rotations = 10 * 2 * batch * 2 * 2 // at most, by the basis of the Gaussian parametrization
	want := 2 * batch * (3*weights - inputs*width)
	if got := source.operations(trainer.Store()); got < want || got > want+rotations {
		t.Errorf("a step has %g operations, want %g and up to %d of rotations", got, want, rotations)
	}
}

// Zero matrices become random ones, and others stay.
func TestRandomizeZeros(t *testing.T) {
	store := model.NewStore()
	for name, value := range map[string]any{
		"/a": [][]float32{{1, 0}}, "/b": []float32{0, 0}, "/c": [][]float32{{0, 0}, {0, 0}},
	} {
		if _, err := store.CreateVariable(name, tensors.MustFromAnyValue(value)); err != nil {
			t.Fatal(err)
		}
	}
	if err := randomizeZeros(rand.New(rand.NewPCG(1, 0)), store); err != nil {
		t.Fatal(err)
	}
	for name, random := range map[string]bool{"/a": false, "/b": false, "/c": true} {
		value, err := mfm.Flat(store.GetVariable(name).Value())
		if err != nil {
			t.Fatal(err)
		}
		last := value[len(value)-1]
		if (last != 0) != random || math.IsNaN(float64(last)) {
			t.Errorf("%s becomes %v", name, value)
		}
	}
}
