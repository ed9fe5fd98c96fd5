package experiment_test

import (
	"context"
	"fmt"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/backend"
	"github.com/gomfm/gomfm/mfm/experiment"
	"github.com/gomfm/gomfm/mfm/train"
)

// Trains a small map on the paper's mixture and measures its one-step samples against the exact posteriors.
func ExampleGMM_Evaluate() {
	ctx := context.Background()
	b, err := backend.New("go")
	if err != nil {
		fmt.Println(err)
		return
	}
	config := experiment.DefaultGMMConfig()
	config.SetLoss(mfm.Semigroup, mfm.Teacher)
	config.Network.Width, config.Network.Depth = 32, 2
	config.Train.Steps, config.Train.Batch = 100, 128
	e, err := experiment.NewGMM(config)
	if err != nil {
		fmt.Println(err)
		return
	}
	store, err := e.Train(ctx, b, experiment.RunOptions{}) // with Dir: kept, and resumed
	if err != nil {
		fmt.Println(err)
		return
	}
	draw, err := e.Drawer(b, store, train.WeightsScope, mfm.DefaultSamplerConfig())
	if err != nil {
		fmt.Println(err)
		return
	}
	evaluation := experiment.DefaultEvaluateConfig()
	evaluation.Times, evaluation.Contexts, evaluation.Samples, evaluation.Projections = []float64{0.2, 0.95}, 2, 1024, 32
	rows, err := e.Evaluate(ctx, draw, evaluation)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, r := range rows {
		fmt.Printf("t = %g: excess below 1: %v\n", r.T, r.Excess < 1)
	}
	// Output:
	// t = 0.2: excess below 1: true
	// t = 0.95: excess below 1: true
}

// One value of a configuration, by its path of JSON keys, as on the command line.
func ExampleSet() {
	config := experiment.DefaultGMMConfig()
	fmt.Println(experiment.Set(&config, "train.optimizer.rate", "1e-3"), config.Train.Optimizer.Rate)
	fmt.Println(experiment.Set(&config, "train.optimiser.rate", "1e-3"))
	// Output:
	// <nil> 0.001
	// train.optimiser.rate: unknown key "optimiser"
}
