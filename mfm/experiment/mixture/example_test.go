package mixture_test

import (
	"context"
	"fmt"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/backend"
	"github.com/gomfm/gomfm/mfm/experiment/mixture"
	"github.com/gomfm/gomfm/mfm/experiment/run"
	"github.com/gomfm/gomfm/mfm/nn"
	"github.com/gomfm/gomfm/mfm/train"
)

// Trains a small map of the paper's mixture and compares its one-step samples with the exact
// posteriors.
func ExampleExperiment_Evaluate() {
	ctx := context.Background()
	b, err := backend.New("go")
	if err != nil {
		fmt.Println(err)
		return
	}
	config := mixture.DefaultConfig()
	config.SetLoss(mfm.Semigroup, mfm.Teacher)
	config.Network = nn.NewNetwork(nn.MLPConfig{Width: 32, Depth: 2, Activation: "silu"})
	config.Train.Steps, config.Train.Batch = 100, 128
	e, err := mixture.New(config)
	if err != nil {
		fmt.Println(err)
		return
	}
	store, err := e.Train(ctx, b, run.Options{}) // with Dir, the run is kept and resumed
	if err != nil {
		fmt.Println(err)
		return
	}
	draw, err := e.Sampler(b, store, train.WeightsScope, mfm.DefaultSamplerConfig())
	if err != nil {
		fmt.Println(err)
		return
	}
	evaluation := mixture.DefaultEvalConfig()
	evaluation.Times, evaluation.Contexts = []float64{0.2, 0.95}, 2
	evaluation.Samples, evaluation.Projections = 1024, 32
	results, err := e.Evaluate(ctx, draw, evaluation)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, r := range results {
		fmt.Printf("t = %g: excess below 1: %v\n", r.T, r.Excess.Float() < 1)
	}
	// Output:
	// t = 0.2: excess below 1: true
	// t = 0.95: excess below 1: true
}
