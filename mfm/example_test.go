package mfm_test

import (
	"context"
	"fmt"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/backend"
	"github.com/gomfm/gomfm/mfm/nn"
)

// Four points on a line train a map from the data alone. A context late on the way, x_0.9 = 2.7, leaves one of them.
func ExampleFit() {
	b, err := backend.New("go")
	if err != nil {
		fmt.Println(err)
		return
	}
	source, err := mfm.DataSet(tensors.FromValue([][]float32{{-3}, {-1}, {1}, {3}}), nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	network := nn.DefaultMLP()
	network.Width, network.Depth = 16, 2
	m := &mfm.Map{
		Interpolant:     mfm.Linear{},
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
	if err := mfm.Fit(context.Background(), trainer, mfm.FitOptions{}); err != nil {
		fmt.Println(err)
		return
	}
	sampler, err := mfm.NewSampler(b, trainer.Store(), mfm.WeightsScope, m, []int{1}, mfm.DefaultSamplerConfig())
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
	source, err := mfm.DataSet(tensors.FromValue([][]float32{{-3}, {-1}, {1}, {3}}), nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	network := nn.DefaultMLP()
	network.Width, network.Depth = 16, 2
	m := &mfm.Map{Interpolant: mfm.Linear{}, Backbone: nn.MLP(network), Parametrization: &mfm.Gaussian{Variance: []float64{5}}}
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
	weights, err := flow.Weights(mfm.AverageScope(0))
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

// A schedule of one's own is a type with two methods.
type parabola struct{}

func (parabola) At(t float64) (alpha, beta, dAlpha, dBeta float64) {
	return (1 - t) * (1 + t), t, -2 * t, 1
}

func (parabola) Graph(t *Node) (alpha, beta, dAlpha, dBeta *Node) {
	return Mul(OneMinus(t), OnePlus(t)), t, MulScalar(t, -2), OnesLike(t)
}

func ExampleInterpolant() {
	b, err := backend.New("go")
	if err != nil {
		fmt.Println(err)
		return
	}
	// Noise 1 and data 1 at t = 1/2.
	x, err := CallOnce(b, func(t, noise, data *Node) *Node { return mfm.StateAt(parabola{}, t, noise, data) },
		[]float32{0.5}, [][]float32{{1}}, [][]float32{{1}})
	fmt.Println(x, err)
	// Output: [1][1]float32{{1.25}} <nil>
}
