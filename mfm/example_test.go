package mfm_test

import (
	"context"
	"fmt"

	"github.com/gomlx/gomlx/core/tensors"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/backend"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/nn"
	"github.com/gomfm/gomfm/mfm/train"
)

// must returns v, or panics on an error.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// Train a map on four points and sample a posterior.
func Example() {
	ctx, b := context.Background(), must(backend.New("go"))
	source := must(train.DataSet(tensors.FromValue([][]float32{{-3}, {-1}, {1}, {3}}), nil))
	network := nn.DefaultMLP()
	network.Width, network.Depth = 16, 2
	m := &mfm.Map{
		Interpolant:     interpolant.Linear{},
		Backbone:        nn.MLP(network),
		Parametrization: &mfm.Gaussian{Variance: []float64{5}},
	}
	config := mfm.DefaultTrainConfig() // the mean flow loss, from the data alone
	config.Steps, config.Batch, config.EMA = 200, 128, nil
	config.Optimizer.Rate = 1e-2
	trainer := must(mfm.NewTrainer(b, m, source, nil, config))
	if err := trainer.Run(ctx); err != nil {
		panic(err)
	}
	trained := mfm.Model{Map: m, Weights: trainer.Store().Scope(train.WeightsScope), Shape: []int{1}}
	sampler := must(mfm.NewSampler(b, trained, mfm.DefaultSamplerConfig())) // one step per sample
	x := mfm.Points([][]float64{{2.7}})
	samples := must(mfm.Flat(sampler.Posterior(ctx, 1, 0.9, x, 1000, nil)))
	mean := float32(0)
	for _, x := range samples {
		mean += x / 1000
	}
	fmt.Printf("%.0f\n", mean) // 3
	// Output: 3
}

// Train a flow (the diagonal alone), then use it as the teacher of a map.
func ExampleFrozen() {
	b := must(backend.New("go"))
	source := must(train.DataSet(tensors.FromValue([][]float32{{-3}, {-1}, {1}, {3}}), nil))
	network := nn.DefaultMLP()
	network.Width, network.Depth = 16, 2
	m := &mfm.Map{
		Interpolant:     interpolant.Linear{},
		Backbone:        nn.MLP(network),
		Parametrization: &mfm.Gaussian{Variance: []float64{5}},
	}
	config := mfm.DefaultTrainConfig()
	config.Loss.Consistency = mfm.DiagonalOnly
	config.Steps, config.Batch = 20, 64
	flow := must(mfm.NewTrainer(b, m, source, nil, config))
	if err := flow.Run(context.Background()); err != nil {
		panic(err)
	}
	teacher := must(mfm.Frozen(m, "flow", must(flow.Weights(train.AverageScope(0)))))
	config.Loss.Consistency, config.Loss.Distillation = mfm.Eulerian, mfm.Teacher
	student := must(mfm.NewTrainer(b, m, source, teacher, config))
	fmt.Println(student.Run(context.Background()), student.Done())
	// Output: <nil> 20
}
