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

// Four points on a line train a map from the data alone. A context late on the way, x_0.9 = 2.7, leaves one of them.
func ExampleFit() {
	b, err := backend.New("go")
	if err != nil {
		fmt.Println(err)
		return
	}
	source, err := train.DataSet(tensors.FromValue([][]float32{{-3}, {-1}, {1}, {3}}), nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	network := nn.DefaultMLP()
	network.Width, network.Depth = 16, 2
	m := &mfm.Map{
		Interpolant:     interpolant.Linear{},
		Backbone:        nn.MLP(network),
		Parametrization: &mfm.Gaussian{Variance: []float64{5}},
	}
	config := mfm.DefaultTrainConfig() // the semigroup loss, from the data alone
	config.Steps, config.Batch, config.EMA = 200, 128, nil
	config.Optimizer.Rate = 1e-2
	trainer, err := mfm.NewTrainer(b, m, source, nil, config)
	if err != nil {
		fmt.Println(err)
		return
	}
	// With FitOptions.Dir the training keeps checkpoints, and goes on from them.
	if err := train.Run(context.Background(), trainer, train.Options{}); err != nil {
		fmt.Println(err)
		return
	}
	sampler, err := mfm.NewSampler(b, trainer.Store(), train.WeightsScope, m, []int{1}, mfm.DefaultSamplerConfig())
	if err != nil {
		fmt.Println(err)
		return
	}
	samples, err := sampler.Posterior(context.Background(), 1, 0.9, []float32{2.7}, 1000, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	mean := float32(0)
	for _, x := range samples {
		mean += x / 1000
	}
	fmt.Printf("%.0f\n", mean)
	// Output: 3
}

// A flow, the diagonal alone, is trained first; then it teaches a map.
func ExampleFrozen() {
	b, err := backend.New("go")
	if err != nil {
		fmt.Println(err)
		return
	}
	source, err := train.DataSet(tensors.FromValue([][]float32{{-3}, {-1}, {1}, {3}}), nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	network := nn.DefaultMLP()
	network.Width, network.Depth = 16, 2
	m := &mfm.Map{Interpolant: interpolant.Linear{}, Backbone: nn.MLP(network), Parametrization: &mfm.Gaussian{Variance: []float64{5}}}
	config := mfm.DefaultTrainConfig()
	config.Loss.Consistency = mfm.DiagonalOnly
	config.Steps, config.Batch = 20, 64
	flow, err := mfm.NewTrainer(b, m, source, nil, config)
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := flow.Run(context.Background(), nil); err != nil {
		fmt.Println(err)
		return
	}
	weights, err := flow.Weights(train.AverageScope(0))
	if err != nil {
		fmt.Println(err)
		return
	}
	teacher, err := mfm.Frozen(m, "flow", weights)
	if err != nil {
		fmt.Println(err)
		return
	}
	config.Loss.Consistency, config.Loss.Distillation = mfm.Eulerian, mfm.Teacher
	pupil, err := mfm.NewTrainer(b, m, source, teacher, config)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(pupil.Run(context.Background(), nil), pupil.Done())
	// Output: <nil> 20
}
