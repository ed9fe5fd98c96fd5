package experiment

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm/checkpoint"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/steer"
	"github.com/gomfm/gomfm/mfm/train"
	"github.com/gomfm/gomfm/mfm/tune"
)

// TuneResult is a tuned drift.
type TuneResult struct {
	// Store has the weights of the base and of the tuned network, Drift is b̂ and Model the base's, both with them.
	Store *model.Store
	Drift interpolant.Drift
	Model steer.Model
	Looks []tune.Look
	// Stopped says that the budget ended the training.
	Stopped bool
	Steps   int64   // done
	Seconds float64 // of training; without a folder of this call's alone

	weights map[string]*tensors.Tensor
}

// looksFile keeps what was seen of a tuned drift, beside its log.
const looksFile = "looks.json"

// run trains a tuner; see [Run]. made is what the run's manifest has.
func (c TuneConfig) run(ctx context.Context, tuner *tune.Tuner, kind string, made any, base tune.Base, network tune.Network, o RunOptions) (*TuneResult, error) {
	result := &TuneResult{}
	if o.Dir != "" {
		if err := readLooks(o.Dir, &result.Looks); err != nil {
			return nil, err
		}
		if done, err := c.spent(o.Dir, result); done || err != nil {
			if err == nil {
				err = o.claim(kind, made)
			}
			if err == nil {
				err = result.open(o.Dir, c.Tune.Steps, base, network)
			}
			return result, err
		}
	}
	observe := o.Observe
	var unwritten error
	look := tuner.Observer(ctx, c.Budget, func(l tune.Look) {
		result.Looks = append(cutLooks(result.Looks, l.Step), l)
		if o.Dir != "" { // before the step's checkpoint: what is there of steps that are done again is cut
			unwritten = writeJSON(filepath.Join(o.Dir, looksFile), result.Looks)
		}
	})
	o.Observe = func(m train.Metrics) error {
		if observe != nil {
			if err := observe(m); err != nil {
				return err
			}
		}
		return errors.Join(look(m), unwritten)
	}
	o.resumed = func() error { // where a run was killed between the checkpoint of its last step and its weights
		if c.overspent(result.Looks) && result.Looks[len(result.Looks)-1].Step == tuner.Done() {
			return tune.ErrBudget
		}
		return nil
	}
	began := time.Now()
	err := Run(ctx, tuner.Trainer, kind, made, o)
	result.Seconds, result.Steps = time.Since(began).Seconds(), tuner.Done()
	if o.Dir != "" {
		if log, err := ReadLog(o.Dir); err == nil && len(log) > 0 { // of all sessions
			result.Seconds = log[len(log)-1].Seconds
		}
	}
	if only(err, func(err error) bool { return err == tune.ErrBudget }) {
		result.Stopped, err = true, nil
		if o.Dir != "" {
			err = exportWeights(tuner.Trainer, o)
		}
	}
	if err != nil {
		return nil, err
	}
	state, err := tuner.State()
	if err != nil {
		return nil, err
	}
	weights, err := train.FinalWeights(state)
	if err != nil {
		return nil, err
	}
	return result, result.restore(base, network, weights)
}

// overspent reports whether the last look is beyond a budget that ends the run.
func (c TuneConfig) overspent(looks []tune.Look) bool {
	return c.Budget.Stop && c.Budget.KL > 0 && len(looks) > 0 && looks[len(looks)-1].KL > c.Budget.KL
}

// spent reports whether the run in dir has come to its end because its budget was spent: it would otherwise go on from there, beyond the bound.
func (c TuneConfig) spent(dir string, r *TuneResult) (bool, error) {
	if !c.overspent(r.Looks) {
		return false, nil
	}
	_, err := os.Stat(filepath.Join(dir, weightsFile))
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// open fills in the finished run in dir.
func (r *TuneResult) open(dir string, total int64, base tune.Base, network tune.Network) error {
	weights, _, err := checkpoint.ReadWeights(filepath.Join(dir, weightsFile))
	if err != nil {
		return fmt.Errorf("run %s: %w", dir, err)
	}
	log, err := ReadLog(dir)
	if err != nil {
		return err
	}
	last := log[len(log)-1]
	r.Steps, r.Seconds, r.Stopped = last.Step, last.Seconds, last.Step < total
	return r.restore(base, network, weights)
}

// restore fills in what the weights of the tuned network make of the base.
func (r *TuneResult) restore(base tune.Base, network tune.Network, weights map[string]*tensors.Tensor) (err error) {
	r.Store = model.NewStore()
	if r.Model, err = base.In(r.Store); err != nil {
		return err
	}
	r.weights = weights
	r.Drift, err = tune.Restore(r.Store, train.WeightsScope, network, weights, r.Model.Drift)
	return err
}

func readLooks(dir string, looks *[]tune.Look) error {
	raw, err := os.ReadFile(filepath.Join(dir, looksFile))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = decodeStrict(raw, looks)
	}
	if err != nil {
		return fmt.Errorf("run %s: %s: %w", dir, looksFile, err)
	}
	return nil
}

// cutLooks returns the looks before a step.
func cutLooks(looks []tune.Look, step int64) []tune.Look {
	for len(looks) > 0 && looks[len(looks)-1].Step >= step {
		looks = looks[:len(looks)-1]
	}
	return looks
}

// weightsOf returns the weights that a store has in [train.WeightsScope], by their path below it.
func weightsOf(store *model.Store) (map[string]*tensors.Tensor, error) {
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
