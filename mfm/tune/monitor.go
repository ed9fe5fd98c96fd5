package tune

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/gomlx/gomlx/core/tensors"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/metric"
	"github.com/gomfm/gomfm/mfm/train"
)

// Evaluation is the state of a fine-tuned drift at a step of its training.
type Evaluation struct {
	Step int64 `json:"step"`
	// Lambda is the λ of the step: as configured, or the largest of its sign that the budget
	// allowed.
	Lambda   float64 `json:"lambda"`
	KL       float64 `json:"kl"` // nats
	KLSE     float64 `json:"kl_se"`
	Reward   float64 `json:"reward"` // mean over the ends of the paths
	RewardSE float64 `json:"reward_se"`
	Lost     int     `json:"lost,omitempty"` // paths whose reward is -Inf, NaN or +Inf
	// Std is the root mean square deviation of the samples from their mean, per element.
	Std float64 `json:"std"`
}

// Evaluate draws paths of the drift with the last moving average of its weights, or with the
// weights if no average is kept. seed is added to the configured one. It returns the errors of
// [DrawPaths]; before the first step of training, which creates the averages, the store lacks them.
func (t *Tuner) Evaluate(ctx context.Context, c PathConfig, seed int64) (Evaluation, error) {
	if t.paths == nil || t.paths.config != c { // compiled once for all evaluations
		scope := train.WeightsScope
		if n := len(t.config.EMA); n > 0 {
			scope = train.AverageScope(n - 1)
		}
		task := PathTask{Base: t.model, Reward: t.task.Reward, Shape: t.task.Shape, ClassShares: t.task.ClassShares}
		task.Drift = TunedDrift(t.task.Network, t.Store().Scope(scope), t.model.Drift)
		drawer, err := newPathDrawer(t.backend, t.Store(), task, c)
		if err != nil {
			return Evaluation{}, err
		}
		if t.paths != nil {
			t.paths.exec.Finalize()
		}
		t.paths = drawer
	}
	paths, err := t.paths.draw(ctx, c.Seed+seed)
	if err != nil {
		return Evaluation{}, err
	}
	most, err := t.Store().GetVariable(lambdaVariable).Value()
	if err != nil {
		return Evaluation{}, fmt.Errorf("reading λ: %w", err)
	}
	lambda := math.Copysign(math.Min(t.scheduled(), float64(tensors.ToScalar[float32](most))), t.config.Lambda)
	e := Evaluation{Step: t.Done(), Lambda: lambda, KL: paths.KL, KLSE: paths.KLSE, Lost: paths.Lost}
	size := len(paths.Samples) / c.Paths
	if e.Std, err = metric.Std(mfm.Rows(paths.Samples, size)); err != nil {
		return Evaluation{}, fmt.Errorf("standard deviation of the samples: %w", err)
	}
	e.Reward, e.RewardSE = paths.Reward()
	return e, nil
}

// LeastEvaluations is the number of evaluations that [Collapse], [Overshoot] and [Behind] need.
const LeastEvaluations = 2

// Target is what is known of the tilted distribution that a drift is tuned to; 0 for what is not.
type Target struct {
	// Std is the root mean square deviation of its samples from their mean, per element.
	Std float64
	// KL is its divergence from the base's distribution, E*[λ r] - log Z, in nats. The optimal
	// drift's paths have the same divergence.
	KL float64
	// Slack is the multiple of KL above which [Overshoot] reports; 0 means 1.25. A correction that
	// does not vanish at t = 1 needs more, since its divergence depends on the grid of the paths
	// there.
	Slack float64
}

// LateKL returns the mean divergence over the evaluations in the second half of the training, in
// nats, and its standard error. Both are 0 without evaluations.
func LateKL(evaluations []Evaluation) (mean, se float64) {
	if len(evaluations) == 0 {
		return 0, 0
	}
	evaluations = late(evaluations)
	for _, e := range evaluations {
		mean, se = mean+e.KL, math.Hypot(se, e.KLSE)
	}
	return mean / float64(len(evaluations)), se / float64(len(evaluations))
}

// late returns the evaluations from half of the last one's step on.
func late(evaluations []Evaluation) []Evaluation {
	last := evaluations[len(evaluations)-1].Step
	return evaluations[slices.IndexFunc(evaluations, func(e Evaluation) bool { return 2*e.Step >= last }):]
}

// Overshoot reports in words that a drift moved beyond its target: in more than half of the late
// evaluations its divergence from the base exceeds Slack times the target's by three standard
// errors. Such a drift is driven to where the reward is largest, or elsewhere, even if its samples
// keep their standard deviation. The result is empty if the drift did not, if the target's
// divergence is not known, or with fewer than [LeastEvaluations].
func Overshoot(evaluations []Evaluation, target Target) string {
	if len(evaluations) < LeastEvaluations || !(target.KL > 0) {
		return ""
	}
	evaluations = late(evaluations)
	beyond, last := 0, Evaluation{}
	for _, e := range evaluations {
		if e.KL-3*e.KLSE > cmp.Or(target.Slack, 1.25)*target.KL {
			beyond, last = beyond+1, e
		}
	}
	if 2*beyond <= len(evaluations) {
		return ""
	}
	return fmt.Sprintf("the drift's divergence from the base is %.3g ± %.2g nats at step %d, that of the tilted "+
		"distribution is %.3g: "+
		"the drift moved beyond its target; use more samples, a less biased estimate, a smaller rate or a KL budget",
		last.KL, last.KLSE, last.Step, target.KL)
}

// Behind reports in words that a drift has not reached its target: the mean of its late divergences
// ([LateKL]) is below half of the target's by three standard errors. The training is too short, has
// too few samples with a weight, or is held back by a KL budget. A correction that does not vanish
// at t = 1, as that of a copy, has too large a divergence on the grid of the paths, which may hide
// this. The result is empty as that of [Overshoot].
func Behind(evaluations []Evaluation, target Target) string {
	if len(evaluations) < LeastEvaluations || !(target.KL > 0) {
		return ""
	}
	if mean, se := LateKL(evaluations); mean+3*se < target.KL/2 {
		return fmt.Sprintf("the drift's divergence from the base is %.3g ± %.2g nats, that of the tilted "+
			"distribution is %.3g: "+
			"the drift has not reached its target; use more steps, more samples, states that have a weight, or a λ "+
			"that grows",
			mean, se, target.KL)
	}
	return ""
}

// Collapse reports in words that the samples of a drift collapse: their standard deviation is below
// three quarters of the target's, and λ r has not fallen. If the target's standard deviation is not
// known, half of the largest one observed takes its place; a target that is truly so narrow is then
// reported as well. The result is empty if there is no collapse, or with fewer than
// [LeastEvaluations].
func Collapse(evaluations []Evaluation, target Target) string {
	if len(evaluations) < LeastEvaluations {
		return ""
	}
	first, last := evaluations[0], evaluations[len(evaluations)-1]
	widest := first
	for _, e := range evaluations {
		if e.Std > widest.Std {
			widest = e
		}
	}
	gain := (last.Reward - first.Reward) * math.Copysign(1, last.Lambda)
	if gain < -2*(last.RewardSE+first.RewardSE) {
		return ""
	}
	const advice = "they concentrate where the reward is largest; use a smaller λ, a KL budget, or fewer steps"
	switch {
	case target.Std > 0 && last.Std < 0.75*target.Std:
		return fmt.Sprintf("the samples' standard deviation is %.3g at step %d, that of the target is %.3g, "+
			"while the reward went from %.3g to %.3g: %s",
			last.Std, last.Step, target.Std, first.Reward, last.Reward, advice)
	case target.Std <= 0 && last.Std < 0.5*widest.Std:
		return fmt.Sprintf("the samples' standard deviation fell from %.3g at step %d to %.3g at step %d "+
			"while the reward went from %.3g to %.3g: %s",
			widest.Std, widest.Step, last.Std, last.Step, first.Reward, last.Reward, advice)
	}
	return ""
}
