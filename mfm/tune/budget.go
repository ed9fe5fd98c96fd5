package tune

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/gomlx/gomlx/core/tensors"

	"github.com/gomfm/gomfm/mfm/train"
)

// Budget bounds how far a fine-tuned drift moves from its base, measured by the divergence of its
// paths ([PathResult].KL).
type Budget struct {
	// KL is the bound in nats; 0 means none.
	KL float64 `json:"kl"`
	// Every is the number of steps between evaluations, on Paths.
	Every int64      `json:"every"`
	Paths PathConfig `json:"paths"`
	// Stop ends the training at the first evaluation beyond the bound; otherwise λ is reduced until
	// the divergence stays within it.
	Stop bool `json:"stop"`
}

// DefaultBudget evaluates every 200 steps on 1,024 paths of 100 steps, without a bound.
func DefaultBudget() Budget {
	return Budget{Every: 200, Paths: PathConfig{Paths: 1024, Steps: 100, Start: 0.01}}
}

// Validate returns an error that names the first value out of range.
func (b Budget) Validate() error {
	if !(b.KL >= 0) || math.IsInf(b.KL, 0) {
		return fmt.Errorf("budget.kl = %g: must be a number of nats, or 0 for none", b.KL)
	}
	if b.Every < 1 {
		return fmt.Errorf("budget.every = %d steps: must be positive", b.Every)
	}
	if err := b.Paths.Validate(); err != nil {
		return fmt.Errorf("budget: %w", err)
	}
	return nil
}

// ErrBudget is the error, wrapped, of a training that [Budget].Stop ended.
var ErrBudget = errors.New("KL budget spent")

// Monitor returns a hook that evaluates the drift as the budget says, passes each evaluation to
// report, and reduces λ or ends the training once the budget is spent. A nil report means no
// callback; its error ends the training. The seed of an evaluation is its step, so an interrupted
// training resumes with the same numbers. The hook's Start returns the error of a budget that
// Validate refuses.
func (t *Tuner) Monitor(ctx context.Context, b Budget, report func(Evaluation) error) train.Hook {
	step := func(_ *train.Trainer, m train.Metrics) error {
		if m.Step%b.Every != 0 {
			return nil
		}
		// An evaluation that has begun ends: its effect on λ belongs to this step's checkpoint.
		e, err := t.Evaluate(context.WithoutCancel(ctx), b.Paths, m.Step)
		if err != nil {
			return err
		}
		if report != nil {
			if err := report(e); err != nil {
				return err
			}
		}
		if b.KL == 0 {
			return nil
		}
		if b.Stop && e.KL > b.KL {
			return fmt.Errorf("%w at step %d: %.3g ± %.2g nats of %g", ErrBudget, m.Step, e.KL, e.KLSE, b.KL)
		}
		return t.hold(e, b.KL)
	}
	start := func(*train.Trainer) error { return b.Validate() }
	return train.Hook{Priority: train.PriorityMonitor, Start: start, Step: step}
}

// hold aims at a divergence of 0.8 to 1 times the budget by the largest λ, which it scales by the
// square root of 0.9 budgets over the divergence, since KL grows as λ² at first. λ falls by a
// factor of at least 0.5 and rises by at most 1.1: the divergence follows λ many steps later, so
// that it would overshoot after larger rises. The running offset, a mean of weights e^{λ r}, scales
// too.
func (t *Tuner) hold(e Evaluation, budget float64) error {
	lambda, factor := math.Abs(e.Lambda), 1.0
	wanted := math.Sqrt(0.9 * budget / math.Max(e.KL, 1e-9))
	switch {
	case e.KL > budget:
		factor = math.Max(wanted, 0.5)
	case e.KL < 0.8*budget && lambda >= t.scheduled():
		return nil // λ is as configured
	case e.KL < 0.8*budget:
		factor = math.Min(wanted, 1.1)
	}
	held := tensors.FromScalar(float32(lambda * factor))
	if err := t.Store().GetVariable(lambdaVariable).SetValue(held); err != nil {
		return fmt.Errorf("setting λ: %w", err)
	}
	offset := t.Store().GetVariable(offsetVariable)
	value, err := offset.Value()
	if err != nil {
		return fmt.Errorf("reading the running offset: %w", err)
	}
	c, err := tensors.CopyFlatData[float32](value)
	if err != nil {
		return fmt.Errorf("reading the running offset: %w", err)
	}
	c[0] *= float32(math.Min(factor, t.scheduled()/math.Max(lambda, 1e-30)))
	if err := offset.SetValue(tensors.FromValue(c)); err != nil {
		return fmt.Errorf("setting the running offset: %w", err)
	}
	return nil
}

// scheduled returns |λ| as configured for the step, whatever a budget allows.
func (t *Tuner) scheduled() float64 {
	lambda := math.Abs(t.config.Lambda)
	if t.config.LambdaWarmup > 0 {
		lambda *= math.Min(float64(t.Done())/float64(t.config.LambdaWarmup), 1)
	}
	return lambda
}
