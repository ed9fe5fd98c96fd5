package tune_test

import (
	"bytes"
	"context"
	"errors"
	"testing"

	"github.com/gomlx/gomlx/core/tensors"

	"github.com/gomfm/gomfm/mfm/internal/backendtest"
	"github.com/gomfm/gomfm/mfm/train"
	"github.com/gomfm/gomfm/mfm/tune"
)

// A training whose λ a budget reduces ends with the same bits if it is interrupted between two
// evaluations or right after one.
func TestResumeUnderABudget(t *testing.T) {
	backendtest.NeedLoops(t, backendtest.New(t))
	c := quick(10)
	c.Lambda, c.Optimizer.Rate = 4, 1e-2
	budget := tune.DefaultBudget()
	budget.KL, budget.Every, budget.Paths.Paths, budget.Paths.Steps = 1e-5, 3, 64, 20
	enough := errors.New("enough")
	run := func(tuner *tune.Tuner, until int64) map[string]*tensors.Tensor {
		tuner.AddHook(tuner.Monitor(t.Context(), budget, nil))
		tuner.AddHook(train.Hook{Priority: train.PriorityMonitor, Step: func(_ *train.Trainer, m train.Metrics) error {
			if m.Step < until {
				return nil
			}
			return enough
		}})
		if err := tuner.Run(t.Context()); err != nil && !errors.Is(err, enough) {
			t.Fatal(err)
		}
		return clones(t, tuner)
	}
	want := run(newTuner(t, task(t), c), 11)
	lambda := train.StateScope + "/lambda"
	if held := tensors.ToScalar[float32](want[lambda]); !(held > 0 && held < 4) {
		t.Errorf("λ = %g at the end, want it reduced below 4", held)
	}
	for _, until := range []int64{5, 6} {
		again := newTuner(t, task(t), c)
		if err := again.Restore(run(newTuner(t, task(t), c), until)); err != nil {
			t.Fatal(err)
		}
		got := run(again, 11)
		for name := range want {
			if !bytes.Equal(raw(want[name]), raw(got[name])) {
				t.Errorf("interrupted at step %d: %s differs", until, name)
			}
		}
	}
}

// A budget reduces λ until the divergence stays within it, or stops the training if Stop is set.
func TestBudget(t *testing.T) {
	backendtest.NeedLoops(t, backendtest.New(t))
	budget := tune.DefaultBudget()
	budget.KL, budget.Every, budget.Paths.Paths, budget.Paths.Steps = 0.15, 50, 512, 50
	run := func(budget tune.Budget) (evaluations []tune.Evaluation, err error) {
		c := quick(1500)
		c.Lambda, c.Optimizer.Rate = 4, 3e-3
		task := task(t)
		task.Network = adapter(32)
		tuner := newTuner(t, task, c)
		tuner.AddHook(tuner.Monitor(t.Context(), budget, func(e tune.Evaluation) error {
			evaluations = append(evaluations, e)
			return nil
		}))
		return evaluations, tuner.Run(t.Context())
	}
	evaluations, err := run(budget)
	if err != nil {
		t.Fatal(err)
	}
	last := evaluations[len(evaluations)-1]
	if last.KL > 1.7*budget.KL || last.KL < 0.5*budget.KL {
		t.Errorf("KL %.3f ± %.3f at the end, want about %g", last.KL, last.KLSE, budget.KL)
	}
	if last.Lambda >= 4 || last.Lambda <= 0 {
		t.Errorf("λ = %g at the end, want it reduced below 4", last.Lambda)
	}
	budget.Stop = true
	evaluations, err = run(budget)
	if !errors.Is(err, tune.ErrBudget) || evaluations[len(evaluations)-1].KL <= budget.KL {
		t.Errorf("stopped with %v after %d evaluations, want the budget's error", err, len(evaluations))
	}
	stopped, cancel := context.WithCancel(t.Context())
	cancel()
	if err := newTuner(t, task(t), quick(5)).Run(stopped); !errors.Is(err, context.Canceled) {
		t.Errorf("a canceled run ends with the error %v", err)
	}
}

// An invalid budget ends the training before its first step, an error of the callback after the
// first evaluation.
func TestMonitorErrors(t *testing.T) {
	backendtest.NeedLoops(t, backendtest.New(t))
	budget := tune.DefaultBudget()
	budget.Every = 0
	tuner := newTuner(t, task(t), quick(5))
	tuner.AddHook(tuner.Monitor(t.Context(), budget, nil))
	if err := tuner.Run(t.Context()); err == nil || tuner.Done() != 0 {
		t.Errorf("with an evaluation every 0 steps %d steps are done, error %v", tuner.Done(), err)
	}
	full := errors.New("disk full")
	budget.Every, budget.Paths.Paths, budget.Paths.Steps = 2, 16, 20
	tuner = newTuner(t, task(t), quick(5))
	tuner.AddHook(tuner.Monitor(t.Context(), budget, func(tune.Evaluation) error { return full }))
	if err := tuner.Run(t.Context()); !errors.Is(err, full) || tuner.Done() != 2 {
		t.Errorf("with a failing callback %d steps are done, error %v", tuner.Done(), err)
	}
}
