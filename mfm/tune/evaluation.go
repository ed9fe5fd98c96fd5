package tune

import (
	"context"
	"fmt"
	"math"

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
// weights if no average is kept. seed is added to the configured one.
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
