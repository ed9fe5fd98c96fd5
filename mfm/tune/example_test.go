package tune_test

import (
	"context"
	"fmt"
	"log"

	"github.com/gomlx/compute/dtypes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm/backend"
	"github.com/gomfm/gomfm/mfm/gmm"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/nn"
	"github.com/gomfm/gomfm/mfm/reward"
	"github.com/gomfm/gomfm/mfm/solver"
	"github.com/gomfm/gomfm/mfm/steer"
	"github.com/gomfm/gomfm/mfm/tune"
)

// normalTask tunes the standard normal distribution toward a reward of one's own, r(x) = x. The
// tilted distribution is N(1, 1), with the divergence 1/2.
func normalTask(objective tune.Objective) tune.Task {
	normal, err := gmm.New([]float64{1}, [][]float64{{0}}, [][][]float64{{{1}}})
	if err != nil {
		log.Fatal(err)
	}
	ip := interpolant.Linear{}
	backbone := nn.MLP(nn.MLPConfig{Width: 16, Depth: 1, Activation: "silu"})
	return tune.Task{
		Base:      tune.ModelBase(steer.FromGaussian(normal, ip)),
		Reward:    reward.Func(func(x *Node) *Node { return Reshape(x, -1) }),
		Network:   tune.Adapter{Interpolant: ip, Backbone: backbone, Variance: 1, Noise: tune.Noise{Start: 0.01}},
		Objective: objective,
		Source: func(_ *model.Scope, _ *Graph, rng *solver.RNG, n int) (data, class *Node) {
			rng.State, data = normal.OnGraph(rng.State.Graph(), dtypes.Float32).Sample(rng.State, n)
			return data, nil
		},
		Shape: []int{1},
	}
}

// normalConfig is a short training.
func normalConfig() tune.Config {
	c := tune.DefaultConfig()
	c.Steps, c.Batch, c.Optimizer.Rate, c.Optimizer.Warmup = 300, 128, 1e-2, 20
	return c
}

// MFM-FT tunes a drift toward a reward. With a trained map use MapBase instead of ModelBase.
func ExampleTuner() {
	b, err := backend.New("go")
	if err != nil {
		log.Fatal(err)
	}
	objective := tune.MetaTuning{PosteriorSamples: steer.PosteriorSamples{N: 1}}
	tuner, err := tune.New(b, normalTask(objective), normalConfig())
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	if err := tuner.Run(ctx); err != nil {
		log.Fatal(err)
	}
	e, err := tuner.Evaluate(ctx, tune.PathConfig{Paths: 2000, Steps: 50, Start: 0.02}, 0)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("mean reward %.1f, divergence from the base %.1f nats\n", e.Reward, e.KL)
	// Output:
	// mean reward 1.0, divergence from the base 0.5 nats
}
