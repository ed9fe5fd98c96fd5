package train_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/gomlx/compute"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm/internal/backendtest"
	"github.com/gomfm/gomfm/mfm/solver"
	"github.com/gomfm/gomfm/mfm/train"
)

// hostConfig is a short training of one weight vector.
func hostConfig(steps int64) train.Config {
	return train.Config{Optimizer: train.DefaultOptimizer(), Steps: steps, Batch: 3, Accumulate: 1}
}

// hostTrainer pulls a vector toward the batches and reports the mean of each batch and class.
func hostTrainer(t *testing.T, b compute.Backend, c train.Config, load train.Loader) *train.Trainer {
	t.Helper()
	source, hook := train.FromHost(load, 2)
	objective := func(weights, data *model.Scope, rng *solver.RNG, step *Node) train.Terms {
		x, class := source(data, step.Graph(), rng, c.Batch)
		w := weights.VariableWithValue("w", []float32{1, 2}).NodeValue(step.Graph())
		return train.Terms{
			Total: ReduceAllMean(Square(Sub(x, InsertAxes(w, 0)))),
			Metrics: []train.Metric{
				{Name: "mean", Value: ReduceAllMean(x)},
				{Name: "class", Value: ReduceAllMean(ConvertDType(class, x.DType()))},
			},
		}
	}
	trainer, err := train.New(b, objective, c, c)
	if err != nil {
		t.Fatal(err)
	}
	trainer.AddHook(hook)
	return trainer
}

// countingLoader returns batches filled with the step.
func countingLoader(_ context.Context, step int64) (train.HostBatch, error) {
	x := make([]float32, 6)
	for i := range x {
		x[i] = float32(step)
	}
	label := int32(10 * step)
	return train.HostBatch{
		Samples: tensors.FromFlatDataAndDimensions(x, 3, 2), Classes: tensors.FromValue([]int32{label, label, label}),
	}, nil
}

// Each step sees its own batch, and a training that stopped resumes with the batches that it would
// have seen.
func TestHostBatches(t *testing.T) {
	b := backendtest.New(t)
	var whole *train.Trainer
	for _, stops := range [][]int64{{9}, {4, 9}} {
		dir := t.TempDir()
		var last *train.Trainer
		for _, stop := range stops {
			last = hostTrainer(t, b, hostConfig(9), countingLoader)
			ctx, cancel := context.WithCancel(t.Context())
			last.AddHook(train.Hook{Step: func(_ *train.Trainer, m train.Metrics) error {
				if m.Values["mean"] != float64(m.Step) || m.Values["class"] != float64(10*m.Step) {
					t.Errorf("step %d saw %v", m.Step, m.Values)
				}
				if m.Step == stop {
					cancel()
				}
				return nil
			}})
			if err := train.Run(ctx, last, train.Options{Dir: dir}); stop < 9 && !errors.Is(err, context.Canceled) {
				t.Fatalf("stopped at %d: error %v", stop, err)
			}
			cancel()
		}
		if whole == nil {
			whole = last
		} else {
			compareBits(t, bits(t, last), bits(t, whole))
		}
	}
}

func TestHostBatchErrors(t *testing.T) {
	b := backendtest.New(t)
	lost := errors.New("disk is gone")
	trainer := hostTrainer(t, b, hostConfig(5), func(ctx context.Context, step int64) (train.HostBatch, error) {
		if step == 3 {
			return train.HostBatch{}, lost
		}
		return countingLoader(ctx, step)
	})
	if err := trainer.Run(t.Context()); !errors.Is(err, lost) || trainer.Done() != 2 {
		t.Errorf("error %v after %d steps, want %v after 2", err, trainer.Done(), lost)
	}
	c := hostConfig(5)
	c.Accumulate = 2
	err := hostTrainer(t, b, c, countingLoader).Run(t.Context())
	if err == nil || !strings.Contains(err.Error(), "accumulate = 2") {
		t.Errorf("accumulate: error %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	blocked := hostTrainer(t, b, hostConfig(5), func(ctx context.Context, _ int64) (train.HostBatch, error) {
		<-ctx.Done() // ends with the training
		return train.HostBatch{}, ctx.Err()
	})
	if err := blocked.Run(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("a training that waits for its data: error %v", err)
	}
}
