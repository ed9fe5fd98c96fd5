package alignment

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/gomlx/compute"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/experiment/config"
	"github.com/gomfm/gomfm/mfm/experiment/internal/stats"
	"github.com/gomfm/gomfm/mfm/experiment/run"
	"github.com/gomfm/gomfm/mfm/experiment/steering"
	"github.com/gomfm/gomfm/mfm/experiment/sweep"
	"github.com/gomfm/gomfm/mfm/experiment/tuning"
	"github.com/gomfm/gomfm/mfm/internal/strictjson"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/metric"
	"github.com/gomfm/gomfm/mfm/solver"
	"github.com/gomfm/gomfm/mfm/steer"
	"github.com/gomfm/gomfm/mfm/train"
	"github.com/gomfm/gomfm/mfm/tune"
)

// Sampled has the rewards of samples of the tuned drift's ODE at a step of its training, with as
// many samples and steps as the budget has paths and their steps. All steps share the noise.
type Sampled struct {
	Step      int64           `json:"step"`
	Reward    metric.Optional `json:"reward,omitzero"`
	RewardSE  metric.Optional `json:"reward_se,omitzero"`
	HeldOut   metric.Optional `json:"held_out,omitzero"`
	HeldOutSE metric.Optional `json:"held_out_se,omitzero"`
	// Diversity is the mean distance in pixels between two pictures, over that of the base's pictures
	// from the same noise.
	Diversity metric.Optional `json:"diversity,omitzero"`
}

// sampledFile keeps the list of [Sampled] next to the log of a run.
const sampledFile = "sampled.json"

// ode returns a sampler of a drift by Euler's method in a number of steps.
func (t *Tuning) ode(b compute.Backend, store *model.Store, drift interpolant.Drift, steps int) (*mfm.Sampler, error) {
	return newODE(b, store, t.of, drift, steps, t.Batch)
}

// newODE returns a sampler of a drift of the latents of a map by Euler's method in a number of
// steps.
func newODE(b compute.Backend, store *model.Store, of mfm.Model, drift interpolant.Drift, steps, rows int) (
	*mfm.Sampler, error) {
	return mfm.NewTeacherSampler(b, store, of.Map.Interpolant, drift, of.Shape, mfm.SamplerConfig{
		Method: mfm.ODESampling, Solver: solver.Euler, Grid: interpolant.Grid{Steps: steps, Power: 1}, Chunk: rows,
		Classes: of.Classes,
	})
}

// draw returns n samples of a sampler, flat. The same seed has the same noise for all drifts.
func (t *Tuning) draw(ctx context.Context, s *mfm.Sampler, seed int64, n int) ([]float32, error) {
	labels, each := t.labels(n), 1
	if labels == nil {
		each = n
	}
	return mfm.Flat(s.Unconditional(ctx, seed, each, labels))
}

// sampling returns a hook that draws the samples of [Sampled], and a function that frees its
// graphs. The list is kept in dir, unless that is empty.
func (t *Tuning) sampling(ctx context.Context, b compute.Backend, tuner *tune.Tuner, network tune.Network, dir string) (
	train.Hook, func(), error) {
	var err error
	if t.along, err = readSampled(dir); err != nil {
		return train.Hook{}, nil, err
	}
	paths, seed := t.Config.Budget.Paths, t.Config.Tune.Seed
	// The networks of a map of latents do not use the base's drift.
	drift := tune.TunedDrift(network, tuner.Store().Scope(train.AverageScope(len(t.Config.Tune.EMA)-1)), nil)
	sampler, err := t.ode(b, tuner.Store(), drift, paths.Steps)
	if err != nil {
		return train.Hook{}, nil, err
	}
	var before float64 // the mean distance of the base's pictures
	step := func(_ *train.Trainer, m train.Metrics) error {
		if m.Step%t.Config.Budget.Every != 0 {
			return nil
		}
		ctx := context.WithoutCancel(ctx) // an evaluation that has begun ends
		if before == 0 {
			distance, err := t.baseDistance(ctx, b, paths.Steps, seed, paths.Paths)
			if err != nil {
				return err
			}
			before = distance
		}
		latents, err := t.draw(ctx, sampler, seed, paths.Paths)
		if err != nil {
			return fmt.Errorf("samples at step %d: %w", m.Step, err)
		}
		e := Sampled{Step: m.Step}
		if stats.Finite(latents) {
			values, pixels, err := t.evaluate(ctx, latents, t.labels(paths.Paths))
			if err != nil {
				return err
			}
			e.Reward, e.RewardSE = meanSE(values.reward, true)
			e.HeldOut, e.HeldOutSE = meanSE(values.heldOut, true)
			e.Diversity = ratio(meanDistance(mfm.Rows(pixels, len(pixels)/paths.Paths)), before)
		}
		for len(t.along) > 0 && t.along[len(t.along)-1].Step >= m.Step { // of an interrupted run
			t.along = t.along[:len(t.along)-1]
		}
		if t.along = append(t.along, e); dir == "" {
			return nil
		}
		return run.WriteJSON(filepath.Join(dir, sampledFile), t.along)
	}
	// Before the budget's monitor, after whose end of the training no other hook is called.
	return train.Hook{Priority: train.PriorityMonitor - 1, Step: step}, sampler.Finalize, nil
}

// baseDistance returns the mean distance of n pictures of the base.
func (t *Tuning) baseDistance(ctx context.Context, b compute.Backend, steps int, seed int64, n int) (float64, error) {
	sampler, err := t.ode(b, t.of.Store(), t.of.Drift(), steps)
	if err != nil {
		return 0, err
	}
	defer sampler.Finalize()
	latents, err := t.draw(ctx, sampler, seed, n)
	if err != nil {
		return 0, err
	}
	pixels, err := t.model.decoder.decode(ctx, latents)
	if err != nil {
		return 0, err
	}
	return meanDistance(mfm.Rows(pixels, len(pixels)/n)), nil
}

// readSampled returns the list in the folder of a run, none if there is no file.
func readSampled(dir string) (all []Sampled, err error) {
	if dir == "" {
		return nil, nil
	}
	raw, err := config.ReadFile(filepath.Join(dir, sampledFile))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err == nil {
		err = strictjson.DecodeStored(raw, &all)
	}
	if err != nil {
		return nil, fmt.Errorf("run %s: %s: %w", dir, sampledFile, err)
	}
	return all, nil
}

// TuningResult is the quality of samples of a tuned drift's ODE beside that of as many of the
// base's, from other noise. Those in the first row of Pictures are from the same noise. Method is
// that of the tuning. NFE and Steps are those of the sampler.
type TuningResult struct {
	Result
	Network tuning.Network `json:"network"`
	Lambda  float64        `json:"lambda"`
	// Reference is that of the objective, see [tune.MetaTuning].
	Reference int        `json:"reference,omitempty"`
	Noise     tune.Noise `json:"noise"`
	Budget    float64    `json:"budget,omitempty"` // of the divergence in nats, 0 for none
	// TuneSteps is the number of steps of training that were done, or that of the configuration if the
	// training diverged. TuneNFE is the NFE of the whole training, with three evaluations of the tuned
	// drift for each row. With guidance base, tuned drift and posterior samples evaluate the network
	// with and without the class.
	TuneSteps   int64             `json:"tune_steps"`
	TuneNFE     float64           `json:"tune_nfe"`
	Evaluations []tune.Evaluation `json:"evaluations"`
	Sampled     []Sampled         `json:"sampled"`
	Collapse    string            `json:"collapse,omitempty"` // the report of [tune.Collapse], empty for none
	Stopped     bool              `json:"stopped,omitempty"`  // by the budget
	Train       float64           `json:"train_seconds"`      // seconds of training
}

// Check returns an error for an evaluation out of range.
func (t *Tuning) Check(s tuning.Setting) error { return s.Eval.Validate() }

// Diverged returns the result of a training that ended in non-finite values.
func (t *Tuning) Diverged(s tuning.Setting, _ error) TuningResult {
	r := t.result(s.Eval, "")
	r.TuneSteps, r.Result.Diverged = s.Config.Tune.Steps, true
	r.SettingHash, _ = sweep.Name(s) // a setting always encodes
	return r
}

// result returns what a configuration alone says of its result.
func (t *Tuning) result(c tuning.EvalConfig, device string) TuningResult {
	config := t.Config
	r := TuningResult{
		Network: config.Network, Lambda: config.Tune.Lambda, Reference: config.Reference, Noise: config.Tune.Noise,
		Budget: config.Budget.KL,
	}
	r.Result.Result = steering.Result{
		RewardName: t.RewardName, Method: config.Method, Dynamics: steer.ODE, N: config.N, NFE: float64(c.Steps * t.of.Map.NFE()),
		Seed: config.Tune.Seed, RunSettings: steering.RunSettings{
			Samples: c.Samples, Steps: c.Steps, Device: device,
			Options: steering.Options{Class: config.Class, Guidance: t.Guidance},
		},
	}
	return r
}

// Evaluate evaluates c.Samples samples of the tuned drift by c.Steps Euler steps of its ODE, of all
// classes in turn unless the configuration names one. For non-finite samples the result has
// Diverged and no quality.
func (t *Tuning) Evaluate(ctx context.Context, b compute.Backend, r *tuning.Result, c tuning.EvalConfig) (
	out TuningResult, err error) {
	if err := c.Validate(); err != nil {
		return out, err
	}
	out = t.result(c, steering.Device(b))
	out.TuneSteps, out.Evaluations, out.Sampled = r.Steps, r.Evaluations, t.along
	out.Stopped, out.Train, out.Collapse = r.Stopped, r.Seconds, tune.Collapse(r.Evaluations, tune.Target{})
	objective, err := t.Config.Objective(nil)
	if err != nil {
		return out, err
	}
	out.TuneNFE = t.Config.NFE(objective, r.Model, r.Steps)
	setting := tuning.Setting{Fingerprint: t.Fingerprint, Config: t.Config, Eval: c}
	if out.SettingHash, err = sweep.Name(setting); err != nil {
		return out, err
	}
	// Of the tuned drift, of the base from the same noise, which is shown, and of the base from other
	// noise, which is compared: distances between sets need independent ones.
	var latents [3][]float32
	for i, of := range []struct {
		drift interpolant.Drift
		seed  int64
	}{{r.Drift, c.Seed}, {r.Model.Drift, c.Seed}, {r.Model.Drift, baseSeed}} {
		sampler, err := t.ode(b, r.Store, of.drift, c.Steps)
		if err != nil {
			return out, err
		}
		began := time.Now()
		latents[i], err = t.draw(ctx, sampler, of.seed, c.Samples)
		sampler.Finalize()
		if err != nil {
			return out, err
		}
		if i == 0 {
			out.Seconds = time.Since(began).Seconds()
			out.MicrosPerNFE = 1e6 * out.Seconds / (out.NFE * float64(c.Samples))
		}
	}
	if !stats.Finite(latents[1]) || !stats.Finite(latents[2]) {
		return out, fmt.Errorf("the samples of the base, before tuning: %w", run.ErrNonFinite)
	}
	if out.Result.Diverged = !stats.Finite(latents[0]); out.Result.Diverged {
		return out, nil
	}
	labels := t.labels(c.Samples)
	before, values, err := t.baseOf(ctx, latents[2], labels)
	if err != nil {
		return out, err
	}
	tuned, pixels, err := t.evaluate(ctx, latents[0], labels)
	if err != nil {
		return out, err
	}
	out.setRewards(tuned)
	size := t.model.Size()
	if out.Monitors, err = newMonitors(latents[0], pixels, size[0], size[1], size[2]); err != nil {
		return out, err
	}
	shown := min(shownPictures, c.Samples)
	untuned, err := t.model.decoder.decode(ctx, latents[1][:shown*len(latents[1])/c.Samples])
	if err != nil {
		return out, err
	}
	if out.Pictures, err = strip(size[0], size[1], size[2], untuned, pixels[:len(untuned)]); err != nil {
		return out, err
	}
	return out, t.compareWith(ctx, &out.Result, pixels, before, values, t.Config.Tune.Lambda)
}

// baseOf returns samples as those to compare others with, and their rewards.
func (t *Tuning) baseOf(ctx context.Context, latents []float32, labels []int32) (*base, pictureValues, error) {
	values, pixels, err := t.evaluate(ctx, latents, labels)
	if err != nil {
		return nil, values, err
	}
	of := &base{latents: latents, pixels: pixels}
	size := t.model.Size()
	if of.monitors, err = newMonitors(latents, pixels, size[0], size[1], size[2]); err != nil {
		return nil, values, err
	}
	of.features, err = t.model.features(ctx, pixels)
	return of, values, err
}
