package mfm_test

import (
	"context"
	"fmt"
	"math"

	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/backend"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/nn"
	"github.com/gomfm/gomfm/mfm/solver"
	"github.com/gomfm/gomfm/mfm/train"
)

// A loss of one's own is a [train.Objective]. This one is the energy score of two posterior samples
// X and X' in one step each, E|X - I_1| - E|X - X'|/2. It is least if X has the distribution of the
// posterior. The data are -1 and 1; given x_0.5 = 0 both are equally likely. Without training a
// quarter of the samples lies within 0.3 of them.
func Example_loss() {
	ctx, b := context.Background(), must(backend.New("go"))
	source := must(train.DataSet(tensors.FromValue([][]float32{{-1}, {1}}), nil))
	network := nn.DefaultMLP()
	network.Width, network.Depth = 16, 2
	m := &mfm.Map{
		Interpolant:     interpolant.Linear{},
		Backbone:        nn.MLP(network),
		Parametrization: &mfm.Gaussian{Variance: []float64{1}},
	}
	config := mfm.DefaultTrainConfig().Config
	config.Steps, config.Batch, config.EMA = 500, 256, nil
	config.Optimizer.Rate = 5e-2
	energyScore := func(weights, data *model.Scope, rng *solver.RNG, step *Node) train.Terms {
		z, _ := source(data, step.Graph(), rng, config.Batch)
		t := rng.Uniform(shapes.Make(z.DType(), config.Batch))
		x := interpolant.StateAt(m.Interpolant, t, rng.Normal(z.Shape()), z)
		sample := func() *Node { // X_{0,1}(ε; t, x) = ε + v_{0,1}(ε; t, x)
			in := nn.Inputs{S: ZerosLike(t), U: OnesLike(t), T: t, Xbar: rng.Normal(z.Shape()), X: x}
			return Add(in.Xbar, m.Velocity(weights, in))
		}
		first, second := sample(), sample()
		near, apart := Add(Abs(Sub(first, z)), Abs(Sub(second, z))), Abs(Sub(first, second))
		return train.Terms{Total: MulScalar(ReduceAllMean(Sub(near, apart)), 0.5)}
	}
	trainer := must(train.New(b, energyScore, config, config))
	if err := trainer.Run(ctx); err != nil {
		panic(err)
	}
	trained := mfm.Model{Map: m, Weights: trainer.Store().Scope(train.WeightsScope), Shape: []int{1}}
	sampler := must(mfm.NewSampler(b, trained, mfm.DefaultSamplerConfig()))
	near := 0
	for _, x := range must(mfm.Flat(sampler.Posterior(ctx, 1, 0.5, mfm.Points([][]float64{{0}}), 1000, nil))) {
		if math.Abs(math.Abs(float64(x))-1) < 0.3 {
			near++
		}
	}
	fmt.Println("more than half of the samples lie within 0.3 of the data:", near > 500)
	// Output: more than half of the samples lie within 0.3 of the data: true
}
