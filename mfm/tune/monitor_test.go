package tune_test

import (
	"bytes"
	"context"
	"errors"
	"math"
	"testing"

	"github.com/gomlx/gomlx/core/tensors"

	"github.com/gomfm/gomfm/mfm/internal/backendtest"
	"github.com/gomfm/gomfm/mfm/train"
	"github.com/gomfm/gomfm/mfm/tune"
)

// LateKL is the mean over the evaluations in the second half of the training, however long it was,
// with the standard error of independent evaluations.
func TestLateKL(t *testing.T) {
	at := func(step int64, kl, se float64) tune.Evaluation {
		return tune.Evaluation{Step: step, KL: kl, KLSE: se}
	}
	for name, c := range map[string]struct {
		evaluations []tune.Evaluation
		mean, se    float64
	}{
		"none": {nil, 0, 0},
		"one":  {[]tune.Evaluation{at(60, 2, 0.3)}, 2, 0.3},
		"second half": {
			[]tune.Evaluation{at(250, 9, 9), at(500, 1, 0.3), at(750, 2, 0.4), at(1000, 6, 1.2)}, 3, 1.3 / 3,
		},
		"ended early": {[]tune.Evaluation{at(40, 9, 9), at(100, 1, 3), at(160, 2, 4)}, 1.5, 2.5},
	} {
		if mean, se := tune.LateKL(c.evaluations); math.Abs(mean-c.mean) > 1e-12 || math.Abs(se-c.se) > 1e-12 {
			t.Errorf("%s: %g ± %g, want %g ± %g", name, mean, se, c.mean, c.se)
		}
	}
}

// A collapse is reported exactly if the standard deviation falls below three quarters of the
// target's, or by more than half if that is not known, while the reward does not fall.
func TestCollapse(t *testing.T) {
	evaluations := func(deviations, rewards []float64) (out []tune.Evaluation) {
		for i := range deviations {
			out = append(out, tune.Evaluation{
				Step: int64(100 * (i + 1)), Lambda: 1, Std: deviations[i], Reward: rewards[i], RewardSE: 0.05,
			})
		}
		return out
	}
	// against sets λ < 0, for which the reward should fall.
	against := func(evaluations []tune.Evaluation) []tune.Evaluation {
		for i := range evaluations {
			evaluations[i].Lambda = -2
		}
		return evaluations
	}
	for name, c := range map[string]struct {
		evaluations []tune.Evaluation
		target      float64
		collapse    bool
	}{
		"collapsed":   {evaluations([]float64{2, 1.8, 0.7, 0.4}, []float64{-3, -1, -0.2, -0.1}), 0, true},
		"healthy":     {evaluations([]float64{2, 1.9, 1.8, 1.85}, []float64{-3, -1, -0.6, -0.5}), 0, false},
		"failing":     {evaluations([]float64{2, 1, 0.5, 0.3}, []float64{-1, -2, -5, -9}), 0, false},
		"just enough": {evaluations([]float64{2, 0.1}, []float64{-3, -1}), 0, true},
		"too few":     {evaluations([]float64{0.1}, []float64{-1}), 2, false},
		"negative":    {against(evaluations([]float64{2, 1, 0.5, 0.3}, []float64{-1, -2, -5, -9})), 0, true},
		"worse":       {against(evaluations([]float64{2, 1, 0.5, 0.3}, []float64{-9, -5, -2, -1})), 0, false},
		"narrow":      {evaluations([]float64{2, 1.8, 0.7, 0.4}, []float64{-3, -1, -0.2, -0.1}), 0.5, false},
		"narrower":    {evaluations([]float64{2, 1.8, 0.7, 0.4}, []float64{-3, -1, -0.2, -0.1}), 0.9, true},
		"a quarter":   {evaluations([]float64{2, 1.8, 0.7, 0.4}, []float64{-3, -1, -0.2, -0.1}), 0.54, true},
		"at once":     {evaluations([]float64{0.4, 0.4, 0.4, 0.4}, []float64{-0.1, -0.1, -0.1, -0.1}), 2, true},
	} {
		if text := tune.Collapse(c.evaluations, tune.Target{Std: c.target}); (text != "") != c.collapse {
			t.Errorf("%s: %q", name, text)
		}
	}
}

// Behind reports exactly the drifts whose divergence is significantly below half of the target's.
func TestBehind(t *testing.T) {
	for name, c := range map[string]struct {
		kl       []float64
		se       float64
		target   tune.Target
		reported bool
	}{
		"behind":    {[]float64{0.1, 0.3, 0.5, 0.6}, 0.1, tune.Target{KL: 2}, true},
		"there":     {[]float64{0.1, 1.2, 1.9, 2}, 0.1, tune.Target{KL: 2}, false},
		"early":     {[]float64{0.1, 0.2, 2, 2, 2}, 0.1, tune.Target{KL: 2}, false},
		"uncertain": {[]float64{0.1, 0.7, 0.8, 0.7}, 0.3, tune.Target{KL: 2}, false},
		"unknown":   {[]float64{0.1, 0.3, 0.5}, 0.1, tune.Target{}, false},
		"too few":   {[]float64{0.1}, 0.1, tune.Target{KL: 2}, false},
	} {
		var evaluations []tune.Evaluation
		for i, v := range c.kl {
			evaluations = append(evaluations, tune.Evaluation{Step: int64(i + 1), KL: v, KLSE: c.se})
		}
		if text := tune.Behind(evaluations, c.target); (text != "") != c.reported {
			t.Errorf("%s: %q", name, text)
		}
	}
}

// Overshoot reports exactly the drifts whose divergence exceeds that of the target by more than its
// error and the slack.
func TestOvershoot(t *testing.T) {
	evaluations := func(se float64, kl ...float64) (out []tune.Evaluation) {
		for i, v := range kl {
			out = append(out, tune.Evaluation{Step: int64(i + 1), KL: v, KLSE: se})
		}
		return out
	}
	for name, c := range map[string]struct {
		evaluations []tune.Evaluation
		target      tune.Target
		reported    bool
	}{
		"far":       {evaluations(0.1, 1, 2.5, 2.9, 3), tune.Target{KL: 2}, true},
		"near":      {evaluations(0.1, 1, 2, 2.4, 2.5), tune.Target{KL: 2}, false},
		"slack":     {evaluations(0.1, 1, 5, 5, 5), tune.Target{KL: 2, Slack: 3}, false},
		"too far":   {evaluations(0.1, 1, 7, 7, 7), tune.Target{KL: 2, Slack: 3}, true},
		"early":     {evaluations(0.1, 90, 2, 2, 2), tune.Target{KL: 2}, false},
		"uncertain": {evaluations(0.5, 1, 2.5, 2.9, 3), tune.Target{KL: 2}, false},
		"unknown":   {evaluations(0.1, 1, 5, 7, 7), tune.Target{}, false},
		"too few":   {evaluations(0.1, 70), tune.Target{KL: 2}, false},
	} {
		if text := tune.Overshoot(c.evaluations, c.target); (text != "") != c.reported {
			t.Errorf("%s: %q", name, text)
		}
	}
}

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
	for _, e := range evaluations {
		if e.Step >= 500 && (e.KL > budget.KL+2*e.KLSE || e.KL < 0.75*budget.KL) {
			t.Errorf("step %d: KL %.3f ± %.3f, want it just below %g", e.Step, e.KL, e.KLSE, budget.KL)
		}
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
