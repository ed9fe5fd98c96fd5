package steer_test

import (
	"context"
	"fmt"
	"math"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"
	"gonum.org/v1/gonum/stat"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/backend"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/nn"
	"github.com/gomfm/gomfm/mfm/nn/layer"
	"github.com/gomfm/gomfm/mfm/reward"
	"github.com/gomfm/gomfm/mfm/steer"
	"github.com/gomfm/gomfm/mfm/train"
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// A whole program with data, a network and a reward of its own: it trains a map of points on a
// circle and steers its samples to the right.
func Example() {
	ctx, b, circle := context.Background(), must(backend.New("")), make([][]float64, 100)
	for i := range circle {
		sin, cos := math.Sincos(2 * math.Pi * float64(i) / 100)
		circle[i] = []float64{cos, sin}
	}
	network := func(scope *model.Scope, in nn.Inputs) *Node {
		in = in.PerRow()
		h := Concatenate([]*Node{in.Xbar, in.X, in.Fused, Stack([]*Node{in.S, in.U, in.T}, 1)}, 1)
		return layer.Dense(scope.In("output"), Tanh(layer.Dense(scope.In("hidden"), h, 64, 1)), 2, 0)
	}
	right := reward.Func(func(x *Node) *Node { return Reshape(Slice(x, AxisRange(), AxisElem(0)), -1) })

	gaussian := must(mfm.FitGaussian(circle)) // leaves to the network what is not Gaussian
	m := &mfm.Map{Interpolant: interpolant.Linear{}, Backbone: network, Parametrization: gaussian}
	config := mfm.DefaultTrainConfig()
	config.Steps, config.Batch, config.Optimizer.Rate = 2000, 256, 1e-2
	trainer := must(mfm.NewTrainer(b, m, must(train.DataSet(mfm.Points(circle), nil)), nil, config))
	must(0, trainer.Run(ctx))

	trained := mfm.Model{Map: m, Weights: trainer.Store().Scope(train.WeightsScope), Shape: []int{2}}
	base := must(steer.FromMap(trained, mfm.DefaultSamplerConfig()))
	method := steer.Guided{Config: steer.DefaultConfig(),
		Estimator: steer.MFMGF{PosteriorSamples: steer.PosteriorSamples{N: 16}, Baseline: steer.MeanBaseline}}
	method.Lambda = 3
	result := must(must(steer.New(b, base, right, method)).Sample(ctx, 1, 500, nil))
	exact := math.Abs(stat.Mean(result.Rewards, nil)-0.81) < 0.1 // 0.81 = I_1(3)/I_0(3), of Bessel functions
	fmt.Println(exact)
	// Output: true
}
