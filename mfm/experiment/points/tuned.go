package points

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"

	"github.com/gomlx/compute"

	"github.com/gomfm/gomfm/mfm/experiment/run"
	"github.com/gomfm/gomfm/mfm/experiment/tuning"
	"github.com/gomfm/gomfm/mfm/metric"
	"github.com/gomfm/gomfm/mfm/tune"
)

// TuningResult describes samples of a tuned drift by its ODE, those of the base's before.
type TuningResult struct {
	// Method is the name of an objective in [tune.Objectives].
	Method  string         `json:"method"`
	Network tuning.Network `json:"network"`
	N       int            `json:"n"`
	Lambda  float64        `json:"lambda"`
	Class   *int           `json:"class,omitempty"`
	Seed    int64          `json:"seed"`
	Steps   int64          `json:"steps"` // of training that were done
	// NFE is that of the whole training, with three evaluations for each row of the tuned network.
	NFE     float64 `json:"nfe"`
	Samples int     `json:"samples"`
	Comparison
	// KL is the divergence of the paths of the tuned drift's SDE from the base's, with its standard
	// error, in nats, and RewardSDE the mean reward at their ends. TargetKL is the divergence of
	// the weighted rows from equal weights, which the optimal drift has, and TargetEffective their
	// effective number.
	KL              float64         `json:"kl"`
	KLSE            float64         `json:"kl_se"`
	RewardSDE       float64         `json:"reward_sde"`
	TargetKL        metric.Optional `json:"target_kl,omitzero"`
	TargetEffective metric.Optional `json:"target_effective,omitzero"`
	// Evaluations are those of the training. Collapse, Overshoot and Behind are the reports of the
	// monitors of package tune on them; empty means none.
	Evaluations []tune.Evaluation `json:"evaluations,omitempty"`
	Collapse    string            `json:"collapse,omitempty"`
	Overshoot   string            `json:"overshoot,omitempty"`
	Behind      string            `json:"behind,omitempty"`
	Seconds     float64           `json:"seconds"`           // of training
	Stopped     bool              `json:"stopped,omitempty"` // whether the budget ended it
	Diverged    string            `json:"diverged,omitempty"`
	Warnings    []string          `json:"warnings,omitempty"`
}

// Check returns an error for an evaluation with which the SDE cannot be solved.
func (t *Tuning) Check(s tuning.Setting) error { return s.Eval.ValidateSDE(s.Config.Tune.Noise.Start) }

// common returns a result with the values of the configuration and the warnings about the reward.
func (t *Tuning) common() TuningResult {
	c := t.Config
	return TuningResult{
		Method: c.Method, Network: c.Network, N: c.N, Lambda: c.Tune.Lambda, Class: c.Class, Seed: c.Tune.Seed,
		Warnings: t.RewardWarnings(c.Tune.Lambda),
	}
}

// Diverged returns the result of a training that ended in non-finite values, err.
func (t *Tuning) Diverged(_ tuning.Setting, err error) TuningResult {
	r := t.common()
	r.Diverged = err.Error()
	return r
}

// Evaluate compares samples of the tuned drift with those of the base, both by the ODE from the
// same noise, and with weighted rows. A drift with non-finite samples has a result that says so in
// Diverged.
func (t *Tuning) Evaluate(ctx context.Context, b compute.Backend, r *tuning.Result, c tuning.EvalConfig) (
	TuningResult, error) {
	result := t.common()
	result.Steps, result.Samples, result.Seconds = r.Steps, c.Samples, r.Seconds
	result.Evaluations, result.Stopped = r.Evaluations, r.Stopped
	objective, err := t.Config.Objective(nil)
	if err != nil {
		return result, err
	}
	result.NFE = t.Config.NFE(objective, r.Model, r.Steps)
	path := tune.PathConfig{Paths: c.Samples, Steps: c.Steps, Start: t.Config.Tune.Noise.Start, Seed: c.Seed}
	paths, err := tune.DrawPaths(ctx, b, r.Store, tune.PathTask{
		Base: r.Model, Drift: r.Drift, Reward: t.Reward, Shape: t.Model.Shape, ClassShares: t.shares(),
	}, path)
	if errors.Is(err, tune.ErrDiverged) {
		result.Diverged = err.Error()
		return result, nil
	}
	if err != nil {
		return result, err
	}
	result.KL, result.KLSE = paths.KL, paths.KLSE
	result.RewardSDE, _ = paths.Reward()
	tuned, err := t.sample(ctx, b, r, r.Drift, c)
	if errors.Is(err, run.ErrNonFinite) {
		result.Diverged = "samples by the ODE are not finite"
		return result, nil
	}
	if err != nil {
		return result, err
	}
	before, err := t.sample(ctx, b, r, r.Model.Drift, c)
	if err != nil {
		return result, fmt.Errorf("samples before tuning: %w", err)
	}
	target, few := t.target()
	if target != nil {
		result.TargetKL, result.TargetEffective = metric.Some(target.kl), metric.Some(target.effective)
	}
	if few != "" {
		result.Warnings = append(result.Warnings, few)
	}
	if target.enough() {
		known, err := t.known(target)
		if err != nil {
			return result, err
		}
		result.Collapse = tune.Collapse(r.Evaluations, known)
		result.Overshoot = tune.Overshoot(r.Evaluations, known)
		result.Behind = tune.Behind(r.Evaluations, known)
	}
	result.Comparison, err = t.compare(b, tuned, before, target, rand.New(rand.NewPCG(uint64(c.Seed), 17)))
	return result, err
}

// known returns what the weighted rows say of the target, for the monitors of package tune.
func (t *Tuning) known(target *weighted) (tune.Target, error) {
	moments, err := metric.NewMoments(t.rows, target.w)
	return tune.Target{Std: moments.Std(), KL: target.kl}, err
}
