package run

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"github.com/gomlx/compute/shapes"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm/checkpoint"
	"github.com/gomfm/gomfm/mfm/train"
)

// TrainedStore is [Train], and returns a store with the trained weights
// ([train.Trainer.FinalWeights]) in [train.WeightsScope].
func TrainedStore(ctx context.Context, t *train.Trainer, kind string, config any, o Options) (*model.Store, error) {
	if err := Train(ctx, t, kind, config, o); err != nil {
		return nil, err
	}
	weights, err := t.FinalWeights()
	if err != nil {
		return nil, err
	}
	return storeOf(weights)
}

// Shapes returns the shapes of a model's weights by their paths, as [mfm.Model.Shapes] and
// [train.Shapes] do.
type Shapes func() (map[string]shapes.Shape, error)

// Open returns a store with the weights of the run in dir in [train.WeightsScope]: the final ones,
// or those of the newest intact checkpoint if the run has not ended. Weights that are not exactly
// those of the model are a [train.FitError], wrapped.
func Open(dir string, of Shapes) (*model.Store, error) {
	weights, err := ReadWeights(dir, of)
	if errors.Is(err, os.ErrNotExist) {
		var c *checkpoint.Checkpoint
		var problems []error
		c, problems, err = checkpoint.Latest(dir)
		if errors.Is(err, checkpoint.ErrNone) && len(problems) == 0 {
			return nil, fmt.Errorf("run %s has no %s yet, and %w: train it until it has one", dir, weightsFile,
				checkpoint.ErrNone)
		}
		if err != nil {
			return nil, errors.Join(append(problems, err)...)
		}
		return ofCheckpoint(dir, c, of)
	}
	if err != nil {
		return nil, err
	}
	return storeOf(weights)
}

// Steps returns the steps of training of the weights that [Open] opens, total if the run has ended.
func Steps(dir string, total int64) (int64, error) {
	ended, err := Exported(dir)
	if err != nil || ended {
		return total, err
	}
	c, problems, err := checkpoint.Latest(dir)
	if err != nil {
		return 0, errors.Join(append(problems, err)...)
	}
	return c.Step, nil
}

// OpenAt returns a store with the weights of the run in dir after the given step, of which it must
// have a checkpoint ([Options].Keep). Other errors are those of [Open].
func OpenAt(dir string, step int64, of Shapes) (*model.Store, error) {
	c, err := checkpoint.Load(dir, step)
	if errors.Is(err, checkpoint.ErrNone) {
		return nil, err
	}
	if err != nil {
		return nil, fmt.Errorf("run %s: %w", dir, err)
	}
	return ofCheckpoint(dir, c, of)
}

// ofCheckpoint returns a store with the weights to use of a checkpoint in dir.
func ofCheckpoint(dir string, c *checkpoint.Checkpoint, of Shapes) (*model.Store, error) {
	weights, err := train.FinalWeights(c.Tensors)
	if err == nil {
		err = of.check(weights)
	}
	if err != nil {
		return nil, fmt.Errorf("run %s: checkpoint of step %d: %w", dir, c.Step, err)
	}
	return storeOf(weights)
}

func (of Shapes) check(weights map[string]*tensors.Tensor) error {
	want, err := of()
	if err != nil {
		return err
	}
	return train.Fit(weights, want)
}

func storeOf(weights map[string]*tensors.Tensor) (*model.Store, error) {
	store := model.NewStore()
	return store, train.SetWeights(store, weights)
}

// ReadWeights returns the final weights of the run in dir. Its error wraps [os.ErrNotExist] if the
// run has not ended, and [train.FitError] if the weights are not exactly those of the model.
func ReadWeights(dir string, of Shapes) (map[string]*tensors.Tensor, error) {
	weights, _, err := checkpoint.ReadFitting(filepath.Join(dir, weightsFile), func(t checkpoint.Tensors) error {
		if err := of.check(t); err != nil {
			return fmt.Errorf("run %s: %s: %w", dir, weightsFile, err)
		}
		return nil
	})
	return weights, err
}

// Weights returns the weights that a store has in [train.WeightsScope], by their paths below it.
func Weights(store *model.Store) (map[string]*tensors.Tensor, error) {
	weights := make(map[string]*tensors.Tensor)
	for v := range store.Scope(train.WeightsScope).IterVariables() {
		value, err := v.Value()
		if err != nil {
			return nil, fmt.Errorf("weights %q: %w", v.Path(), err)
		}
		weights[v.Path()[len(train.WeightsScope):]] = value
	}
	return weights, nil
}

// Exported reports whether the run in dir has its final weights.
func Exported(dir string) (bool, error) {
	_, err := os.Stat(filepath.Join(dir, weightsFile))
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// ExportWeights writes the weights to use to the run's folder: the last moving average, or the
// weights themselves if no average is kept.
func ExportWeights(t *train.Trainer, o Options) error {
	weights, err := t.FinalWeights()
	if err != nil {
		return err
	}
	metadata := map[string]string{
		"command": o.Command, "seed": strconv.FormatInt(t.Config().Seed, 10),
		"steps": strconv.FormatInt(t.Done(), 10), "log": logFile,
	}
	return checkpoint.WriteWeights(filepath.Join(o.Dir, weightsFile), weights, metadata)
}
