package tune

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/gomlx/gomlx/core/tensors"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/metric"
	"github.com/gomfm/gomfm/mfm/train"
)

// Budget bounds how far a tuned drift goes from its base, by the divergence of its paths ([PathResult].KL).
type Budget struct {
	// KL is the bound in nats; 0 for none.
	KL float64 `json:"kl"`
	// Every is the number of steps between looks, on Paths.
	Every int64      `json:"every"`
	Paths PathConfig `json:"paths"`
	// Stop ends the training at the first look beyond the bound; otherwise λ is held where the divergence stays within it.
	Stop bool `json:"stop"`
}

// DefaultBudget looks every 200 steps at 1,024 paths of 100 steps, without a bound.
func DefaultBudget() Budget {
	return Budget{Every: 200, Paths: PathConfig{Paths: 1024, Steps: 100, Start: 0.01}}
}

// Validate returns an error that names the first value that makes no sense.
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

// Look is what a tuned drift was like at a step.
type Look struct {
	Step     int64   `json:"step"`
	Lambda   float64 `json:"lambda"` // that of the step: as configured, or the largest of its sign that the budget allowed
	KL       float64 `json:"kl"`     // nats
	KLSE     float64 `json:"kl_se"`
	Reward   float64 `json:"reward"` // mean over the paths' ends
	RewardSE float64 `json:"reward_se"`
	Lost     int     `json:"lost,omitempty"` // paths that end where the reward is -Inf or no number
	// Spread is the samples' root mean square deviation, per element: rewards that rise while it falls are a collapse.
	Spread float64 `json:"spread"`
}

// Observer returns a function for [train.Options].Observe, which returns the error of a budget that Validate refuses, and otherwise looks at the tuned drift as the budget says, tells see of it (nil: nobody), and holds λ or ends the training where the budget is spent. The noise of a look is that of its step, so an interrupted training
// goes on as if it had not been.
func (t *Tuner) Observer(ctx context.Context, b Budget, see func(Look)) func(train.Metrics) error {
	if err := b.Validate(); err != nil {
		return func(train.Metrics) error { return err }
	}
	return func(m train.Metrics) error {
		if m.Step%b.Every != 0 {
			return nil
		}
		// A look that has begun ends: what it does to λ belongs to this step's checkpoint.
		look, err := t.Look(context.WithoutCancel(ctx), b.Paths, m.Step)
		if err != nil {
			return err
		}
		if see != nil {
			see(look)
		}
		if b.KL == 0 {
			return nil
		}
		if b.Stop && look.KL > b.KL {
			return fmt.Errorf("%w at step %d: %.3g ± %.2g nats of %g", ErrBudget, m.Step, look.KL, look.KLSE, b.KL)
		}
		return t.hold(look, b.KL)
	}
}

// hold moves the largest λ by the square root of what the budget has left over, since KL grows as λ² at first, down by no more than a fifth and up by no more than a quarter. The running offset, a mean of weights e^{λ r}, goes with it.
func (t *Tuner) hold(look Look, budget float64) error {
	lambda := math.Abs(look.Lambda)
	if look.KL <= budget && lambda >= t.scheduled() {
		return nil
	}
	factor := math.Min(math.Max(math.Sqrt(budget/math.Max(look.KL, 1e-9)), 0.8), 1.25)
	if err := t.Store().GetVariable(lambdaVariable).SetValue(tensors.FromScalar(float32(lambda * factor))); err != nil {
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

// Look draws paths of the drift as it is, with the last moving average of its weights, or the weights where none is kept. seed makes the noise of looks at different steps different.
func (t *Tuner) Look(ctx context.Context, c PathConfig, seed int64) (Look, error) {
	if t.looks == nil || t.looks.config != c { // compiled once for all looks
		scope := train.WeightsScope
		if n := len(t.config.EMA); n > 0 {
			scope = train.AverageScope(n - 1)
		}
		drawer, err := newPathDrawer(t.backend, t.Store(), t.model, TunedDrift(t.network, t.Store().Scope(scope), t.model.Drift), t.reward, t.shape, c)
		if err != nil {
			return Look{}, err
		}
		if t.looks != nil {
			t.looks.exec.Finalize()
		}
		t.looks = drawer
	}
	paths, err := t.looks.draw(ctx, c.Seed+seed)
	if err != nil {
		return Look{}, err
	}
	most, err := t.Store().GetVariable(lambdaVariable).Value()
	if err != nil {
		return Look{}, fmt.Errorf("reading λ: %w", err)
	}
	lambda := math.Copysign(math.Min(t.scheduled(), float64(tensors.ToScalar[float32](most))), t.config.Lambda)
	look := Look{Step: t.Done(), Lambda: lambda, KL: paths.KL, KLSE: paths.KLSE, Lost: paths.Lost}
	size := len(paths.Samples) / c.Paths
	if look.Spread, err = metric.Spread(mfm.Rows(paths.Samples, size)); err != nil {
		return Look{}, fmt.Errorf("spread of the samples: %w", err)
	}
	look.Reward, look.RewardSE = paths.Reward()
	return look, nil
}

// LateKL returns the mean divergence over the looks from half of the training on, that is of half of the last one's step, in nats, and its standard error, by those of the looks, whose noise is each its own. Without looks both are 0.
func LateKL(looks []Look) (mean, se float64) {
	if len(looks) == 0 {
		return 0, 0
	}
	looks = late(looks)
	for _, l := range looks {
		mean, se = mean+l.KL, math.Hypot(se, l.KLSE)
	}
	return mean / float64(len(looks)), se / float64(len(looks))
}

// late returns the looks from half of the last one's step on.
func late(looks []Look) []Look {
	return looks[slices.IndexFunc(looks, func(l Look) bool { return 2*l.Step >= looks[len(looks)-1].Step }):]
}

// FewestLooks is how many looks [Collapse], [Overshoot] and [Behind] need to say anything, the last one and one before it.
const FewestLooks = 2

// Target is what is known of the tilted law that a drift is tuned to; 0 where something is not.
type Target struct {
	Spread float64 // root mean square deviation of its samples, per element, as of samples of the data weighted by e^{λ r}
	KL     float64 // its divergence from the base's law, E*[λ r] - log Z, in nats, which the optimal drift's paths have, too
	// Slack is how many times KL a drift may be away from the base before [Overshoot] speaks; 0 is 1.25. A correction that does not vanish at t = 1 needs more: the looks' grid, on which its divergence is taken, says little of it there.
	Slack float64
}

// Overshoot says in words whether a drift went past its target: in more than half of the looks from half of the training on its divergence from the base is beyond its error, thrice the standard one, above Slack times the target's. So it
// tells of a drift that is driven to where the reward is largest, or anywhere else, though its samples' spread may be kept. It is empty where there is none, where the target's divergence is not known, or too little was seen; see [FewestLooks].
func Overshoot(looks []Look, target Target) string {
	if len(looks) < FewestLooks || !(target.KL > 0) {
		return ""
	}
	looks = late(looks)
	beyond, last := 0, Look{}
	for _, l := range looks {
		if l.KL-3*l.KLSE > cmp.Or(target.Slack, 1.25)*target.KL {
			beyond, last = beyond+1, l
		}
	}
	if 2*beyond <= len(looks) {
		return ""
	}
	return fmt.Sprintf("the drift's divergence from the base is %.3g ± %.2g nats at step %d, that of the tilted law %.3g: it went past its target; use more draws, an estimate with less bias, a smaller rate or a KL budget", last.KL, last.KLSE, last.Step, target.KL)
}

// Behind says in words whether a drift has not come to its target: its divergence from the base, the mean of the looks from half of the training on ([LateKL]), is with thrice its standard error below half of the target's. So it tells of a
// training that is too short, or has too few draws with a weight to learn from, and of one that a KL budget holds back. A correction that does not vanish at t = 1, as a copy's, has a divergence
// on the looks' grid that is too large, which may hide it. It is empty where there is none, where the target's divergence is not known, or too little was seen; see [FewestLooks].
func Behind(looks []Look, target Target) string {
	if len(looks) < FewestLooks || !(target.KL > 0) {
		return ""
	}
	if mean, se := LateKL(looks); mean+3*se < target.KL/2 {
		return fmt.Sprintf("the drift's divergence from the base is %.3g ± %.2g nats, that of the tilted law %.3g: it has not come to its target; use more steps, more draws, states that have a weight, or a λ that grows", mean, se, target.KL)
	}
	return ""
}

// Collapse says in words whether what was seen of a drift while it was tuned looks like a collapse: the spread of its samples is below three quarters of the target's, and λ r has not fallen. Where the
// target's spread is not known, half of the widest spread that was seen takes its place, and a target that is truly so narrow looks like a collapse. It is empty where there is none, or too little was seen.
func Collapse(looks []Look, target Target) string {
	if len(looks) < FewestLooks {
		return ""
	}
	first, last := looks[0], looks[len(looks)-1]
	widest := first
	for _, l := range looks {
		if l.Spread > widest.Spread {
			widest = l
		}
	}
	if gain := (last.Reward - first.Reward) * math.Copysign(1, last.Lambda); gain < -2*(last.RewardSE+first.RewardSE) {
		return ""
	}
	const advice = "they gather where the reward is largest; use a smaller λ, a KL budget, or fewer steps"
	switch {
	case target.Spread > 0 && last.Spread < 0.75*target.Spread:
		return fmt.Sprintf("the samples' spread is %.3g at step %d, that of the target %.3g, while the reward went from %.3g to %.3g: %s", last.Spread, last.Step, target.Spread, first.Reward, last.Reward, advice)
	case target.Spread <= 0 && last.Spread < 0.5*widest.Spread:
		return fmt.Sprintf("the samples' spread fell from %.3g at step %d to %.3g at step %d while the reward went from %.3g to %.3g: %s",
			widest.Spread, widest.Step, last.Spread, last.Step, first.Reward, last.Reward, advice)
	}
	return ""
}
