package train_test

import (
	"context"
	"fmt"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm/backend"
	"github.com/gomfm/gomfm/mfm/solver"
	"github.com/gomfm/gomfm/mfm/train"
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// An objective of one's own, here least squares, with a metric that a hook prints.
func ExampleNew() {
	objective := func(weights, _ *model.Scope, rng *solver.RNG, step *Node) train.Terms {
		g := step.Graph()
		slope := weights.VariableWithValue("slope", []float32{0}).NodeValue(g)
		x := rng.Normal(slope.Shape())
		y := MulScalar(x, 3)
		return train.Terms{
			Total:   ReduceAllMean(Square(Sub(y, Mul(slope, x)))),
			Metrics: []train.Metric{{Name: "slope", Value: Reshape(slope)}},
		}
	}
	config := train.Config{Optimizer: train.DefaultOptimizer(), Steps: 300, Batch: 2, Accumulate: 1}
	config.Optimizer.Method, config.Optimizer.Rate = "adam", 0.1
	t := must(train.New(must(backend.New("go")), objective, config, config))
	t.AddHook(train.Hook{Step: func(_ *train.Trainer, m train.Metrics) error {
		if m.Step%300 == 0 {
			fmt.Printf("step %d: slope %.1f\n", m.Step, m.Values["slope"])
		}
		return nil
	}})
	if err := t.Run(context.Background()); err != nil {
		fmt.Println(err)
	}
	// Output: step 300: slope 3.0
}

// Data that do not fit on the device are read on the host while the device computes. The batch
// depends on the step alone, so that a training resumes with the batches that it would have seen.
func ExampleFromHost() {
	load := func(_ context.Context, step int64) (train.HostBatch, error) {
		return train.HostBatch{Samples: tensors.FromValue([][]float32{{float32(step)}, {float32(-step)}})}, nil
	}
	source, hook := train.FromHost(load, 2)
	config := train.Config{Optimizer: train.DefaultOptimizer(), Steps: 3, Batch: 2, Accumulate: 1}
	objective := func(weights, data *model.Scope, rng *solver.RNG, step *Node) train.Terms {
		x, _ := source(data, step.Graph(), rng, config.Batch)
		w := weights.VariableWithValue("w", []float32{0}).NodeValue(step.Graph())
		return train.Terms{Total: ReduceAllMean(Square(Sub(x, InsertAxes(w, 0))))}
	}
	t := must(train.New(must(backend.New("go")), objective, config, config))
	t.AddHook(hook)
	t.AddHook(train.Hook{Step: func(_ *train.Trainer, m train.Metrics) error {
		fmt.Printf("step %d: loss %.0f\n", m.Step, m.Loss)
		return nil
	}})
	if err := t.Run(context.Background()); err != nil {
		fmt.Println(err)
	}
	// Output:
	// step 1: loss 1
	// step 2: loss 4
	// step 3: loss 9
}
