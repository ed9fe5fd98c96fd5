package mfmtest

import (
	"testing"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/internal/backendtest"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/nn"
	"github.com/gomfm/gomfm/mfm/solver"
	"github.com/gomfm/gomfm/mfm/train"
)

// SmallBackbone is a network with one hidden layer of width 16.
func SmallBackbone(scope *model.Scope, in nn.Inputs) *Node {
	g := in.S.Graph()
	column := func(t *Node) *Node { return InsertAxes(t, -1) }
	h := Concatenate([]*Node{in.Xbar, in.X, column(in.S), column(in.U), column(in.T)}, -1)
	variable := func(name string, init model.VariableInitializer, dims ...int) *Node {
		return scope.WithInitializer(init).VariableWithShape(name, shapes.Make(dtypes.Float32, dims...)).NodeValue(g)
	}
	normal := func(g *Graph, shape shapes.Shape) *Node {
		values := model.GetStore(g).RandomNormal(g, shape) // may be infinite
		return MulScalar(ClipScalar(values, -6, 6), 0.3)
	}
	h = Tanh(Add(Dot(h, variable("w1", normal, 7, 16)).Product(), variable("b1", Zeros, 1, 16)))
	return Dot(h, variable("w2", normal, 16, 2)).Product()
}

// SmallMap returns a linear map with [SmallBackbone].
func SmallMap() *mfm.Map {
	return &mfm.Map{Interpolant: interpolant.Linear{}, Backbone: SmallBackbone, Parametrization: mfm.Plain{}}
}

// NormalSource draws from N(0, I) in two dimensions.
func NormalSource(_ *model.Scope, _ *Graph, rng *solver.RNG, n int) (data, class *Node) {
	return rng.Normal(shapes.Make(dtypes.Float32, n, 2)), nil
}

// SmallConfig returns a training of 12 steps with two moving averages.
func SmallConfig() mfm.TrainConfig {
	c := mfm.DefaultTrainConfig()
	c.Steps, c.Batch, c.EMA, c.Seed = 12, 32, []float64{0.9, 0.99}, 5
	c.Optimizer.Warmup = 4
	return c
}

// NewSmallTrainer returns a trainer of [SmallMap] on [NormalSource], or fails the test.
func NewSmallTrainer(t *testing.T, c mfm.TrainConfig) *train.Trainer {
	t.Helper()
	trainer, err := mfm.NewTrainer(backendtest.New(t), SmallMap(), NormalSource, nil, c)
	if err != nil {
		t.Fatal(err)
	}
	return trainer
}
