package tuning

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/gomlx/compute/shapes"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm/experiment/config"
	"github.com/gomfm/gomfm/mfm/experiment/run"
	"github.com/gomfm/gomfm/mfm/internal/strictjson"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/steer"
	"github.com/gomfm/gomfm/mfm/train"
	"github.com/gomfm/gomfm/mfm/tune"
)

// Result is a tuned drift.
type Result struct {
	// Store has the weights of the base and of the tuned network. Drift is the tuned drift b̂ and
	// Model the model of the base, both with these weights.
	Store *model.Store
	Drift interpolant.Drift
	Model steer.Model
	// Weights are those of the tuned network.
	Weights map[string]*tensors.Tensor
	// Evaluations are those of the budget's monitor during training.
	Evaluations []tune.Evaluation
	// Stopped reports that the budget ended the training.
	Stopped bool
	// Steps is the number of steps done.
	Steps int64
	// Seconds is the time of training, without a folder that of this call alone.
	Seconds float64
}

// evaluationsFile stores the evaluations of the monitor, next to the log.
const evaluationsFile = "evaluations.json"

// Train trains a tuner as [run.Train] does, with the budget's monitor. It keeps kind and metadata
// in the manifest of the run. base and network are those of the tuner, from which it builds the
// result.
func (c Config) Train(
	ctx context.Context, tuner *tune.Tuner, kind string, metadata any, base tune.Base, network tune.Network,
	o run.Options,
) (*Result, error) {
	r := &Result{}
	if o.Dir != "" {
		var err error
		if r.Evaluations, err = ReadEvaluations(o.Dir); err != nil {
			return nil, err
		}
		// A run that its budget ended must not resume beyond the bound.
		if c.overspent(r.Evaluations) {
			ended, err := run.Exported(o.Dir)
			if err != nil {
				return nil, err
			}
			if ended {
				if err := o.Claim(kind, metadata); err != nil {
					return nil, err
				}
				return r, r.Open(o.Dir, c.Tune.Steps, base, network)
			}
		}
	}
	monitor := tuner.Monitor(ctx, c.Budget, func(e tune.Evaluation) error {
		r.Evaluations = append(before(r.Evaluations, e.Step), e)
		if o.Dir == "" {
			return nil
		}
		return run.WriteJSON(filepath.Join(o.Dir, evaluationsFile), r.Evaluations)
	})
	recheck := train.Hook{Priority: train.PriorityMonitor, Start: func(t *train.Trainer) error {
		// The run may have been killed between its last checkpoint and the export of its weights.
		if c.overspent(r.Evaluations) && r.Evaluations[len(r.Evaluations)-1].Step == t.Done() {
			return tune.ErrBudget
		}
		return nil
	}}
	o.Hooks = append([]train.Hook{monitor, recheck}, o.Hooks...)
	began := time.Now()
	err := run.Train(ctx, tuner.Trainer, kind, metadata, o)
	r.Seconds, r.Steps = run.Seconds(o.Dir, began), tuner.Done()
	if run.OnlyErrors(err, func(err error) bool { return err == tune.ErrBudget }) {
		r.Stopped, err = true, nil
		if o.Dir != "" {
			err = run.ExportWeights(tuner.Trainer, o)
		}
	}
	if err != nil {
		return nil, err
	}
	weights, err := tuner.FinalWeights()
	if err != nil {
		return nil, err
	}
	return r, r.restore(base, network, weights)
}

// overspent reports whether the last evaluation exceeds a budget that ends the run.
func (c Config) overspent(evaluations []tune.Evaluation) bool {
	n := len(evaluations)
	return c.Budget.Stop && c.Budget.KL > 0 && n > 0 && evaluations[n-1].KL > c.Budget.KL
}

// Open fills in the result of the finished run in dir; total is the number of steps of its
// configuration. Weights that are not exactly those of the network are a [train.FitError], wrapped.
func (r *Result) Open(dir string, total int64, base tune.Base, network tune.Network) error {
	weights, err := run.ReadWeights(dir, func() (map[string]shapes.Shape, error) {
		return tune.Shapes(base, network)
	})
	if err != nil {
		return err
	}
	log, err := run.ReadLog(dir)
	if err != nil {
		return err
	}
	last := log[len(log)-1]
	r.Steps, r.Seconds, r.Stopped = last.Step, last.Seconds, last.Step < total
	return r.restore(base, network, weights)
}

// restore fills in store, model and drift with the weights of the tuned network.
func (r *Result) restore(base tune.Base, network tune.Network, weights map[string]*tensors.Tensor) (err error) {
	r.Store, r.Weights = model.NewStore(), weights
	if r.Model, err = base.In(r.Store); err != nil {
		return err
	}
	r.Drift, err = tune.Restore(r.Store, train.WeightsScope, network, weights, r.Model.Drift)
	return err
}

// ReadEvaluations returns the evaluations of the monitor of the run in dir. Without a file of
// evaluations it returns none and no error.
func ReadEvaluations(dir string) ([]tune.Evaluation, error) {
	raw, err := config.ReadFile(filepath.Join(dir, evaluationsFile))
	if errors.Is(err, os.ErrNotExist) { // the file and key of older runs
		raw, err = config.ReadFile(filepath.Join(dir, "looks.json"))
		raw = bytes.ReplaceAll(raw, []byte(`"spread":`), []byte(`"std":`))
	}
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	var evaluations []tune.Evaluation
	if err == nil {
		err = strictjson.DecodeStored(raw, &evaluations)
	}
	if err != nil {
		return nil, fmt.Errorf("run %s: %s: %w", dir, evaluationsFile, err)
	}
	return evaluations, nil
}

// before returns the evaluations before a step.
func before(evaluations []tune.Evaluation, step int64) []tune.Evaluation {
	for len(evaluations) > 0 && evaluations[len(evaluations)-1].Step >= step {
		evaluations = evaluations[:len(evaluations)-1]
	}
	return evaluations
}

// Diverged reports whether err consists of non-finite values or of a divergence of tuning alone.
func Diverged(err error) bool {
	return run.OnlyErrors(err, func(err error) bool { return err == tune.ErrDiverged || run.OnlyNonFinite(err) })
}
