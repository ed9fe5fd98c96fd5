package image

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/gomlx/compute"
	"github.com/gomlx/gomlx/core/tensors"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/experiment/internal/stats"
	"github.com/gomfm/gomfm/mfm/experiment/run"
	"github.com/gomfm/gomfm/mfm/experiment/steering"
	"github.com/gomfm/gomfm/mfm/experiment/tuning"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/metric"
	"github.com/gomfm/gomfm/mfm/solver"
	"github.com/gomfm/gomfm/mfm/steer"
	"github.com/gomfm/gomfm/mfm/train"
	"github.com/gomfm/gomfm/mfm/tune"
)

// kindTuned is the kind of a run that tuned the drift of a map of images.
const kindTuned = "tuned-digits"

// DefaultTuning is MFM-FT without gradients of a copy with the tilted prior, with two posterior
// samples for each state, for 1,000 steps of 64 images of the target, more of them near noise. It
// evaluates the drift on 64 paths of 30 steps. A classifier is nearly a step function, so that
// gradients at single samples carry little information.
//
// Muon takes steps of about equal length, so that a batch of large weights counts no more than
// another. Like clipping this is a bias, of unknown size on images; states of the target and the
// tilted prior keep weights near one. That prior is near the target from the start, so that small
// steps are enough; a plain copy needs larger ones, and more.
func DefaultTuning() tuning.Config {
	c := tuning.DefaultConfig()
	c.Method, c.Network, c.N, c.Tilted = "mfm-ft-gf", tuning.WarmStarted, 2, true
	c.Tune.Steps, c.Tune.Batch, c.Tune.EMA = 1000, 64, []float64{0.995}
	c.Tune.Optimizer.Method, c.Tune.Optimizer.Rate = train.Muon, 2e-4
	// Toward t = 1, where rows would weigh up to 1,000, the drift of a copy is not held to the
	// base's.
	c.Tune.Girsanov = false
	c.Tune.States.Power, c.Tune.States.Capacity = 2, 4096
	c.Budget.Every, c.Budget.Paths = 250, tune.PathConfig{Paths: 64, Steps: 30, Start: 0.02}
	return c
}

// Tuning fine-tunes the drift of a map of images to the reward of a steering. It implements
// [tuning.Task].
type Tuning struct {
	*Steering
	Config tuning.Config

	weights map[string]*tensors.Tensor // of the base
	base    tune.Base
}

// NewTuning returns the tuning of the map that s steers, to the same reward. A map with classes is
// tuned for each of them, or for the one that c names, to its own tilted distribution. NewTuning
// returns an error for a configuration that [tuning.Config.Validate] rejects or that does not fit
// this map.
func NewTuning(s *Steering, c tuning.Config) (*Tuning, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if err := s.Experiment.Config.CheckCondition(c.Class, 0); err != nil {
		return nil, err
	}
	if entry, _ := tune.Lookup(c.Method); entry.Exact {
		return nil, fmt.Errorf("method %s: images have no value in closed form", c.Method)
	}
	switch c.Network {
	case tuning.Adapter:
		return nil, fmt.Errorf("network %s is for samples of a mixture: use %s, %s or %s",
			c.Network, tuning.Copy, tuning.LowRank, tuning.WarmStarted)
	case tuning.WarmStarted:
		if _, mixture := s.Map.Map.Parametrization.(*mfm.MixturePrior); !mixture {
			return nil, fmt.Errorf("network %s needs a map whose prior is a mixture: use %s", c.Network, tuning.Copy)
		}
		if c.Budget.KL > 0 {
			return nil, fmt.Errorf("network %s with a KL budget: its prior has the whole λ from the start, use %s",
				c.Network, tuning.Copy)
		}
	}
	t := &Tuning{Steering: s, Config: c}
	_, err := s.tunedWeights(c.Tune.Lambda, c.Class)
	if err == nil && c.Network == tuning.WarmStarted {
		_, err = s.tunedWeights(c.Tune.Lambda, nil)
	}
	if err != nil {
		return nil, err
	}
	if t.weights, err = run.Weights(s.Model.Store); err != nil {
		return nil, err
	}
	t.base = tune.MapBase(*s.Map, t.weights, mfm.DefaultSamplerConfig())
	return t, nil
}

// newNetwork returns the configured network. A tilted copy has the tilted prior, the map's mixture
// prior refitted to the target by one weighted step of expectation-maximization: what a mixture can
// express of the tilt is there from the start, and the network is tuned to the rest. The prior has
// all classes, since the network of a class expects them.
func (t *Tuning) newNetwork() (tune.Network, error) {
	if t.Config.Network != tuning.WarmStarted {
		return t.Config.MapNetwork(t.Map.Map, t.weights)
	}
	weights, err := t.tunedWeights(t.Config.Tune.Lambda, nil)
	if err != nil {
		return nil, err
	}
	prior := t.Map.Map.Parametrization.(*mfm.MixturePrior) // checked by NewTuning
	refitted, err := t.Experiment.Config.Prior.refit(prior, t.Experiment.Data, weights)
	if err != nil {
		return nil, err
	}
	m := &mfm.Map{Interpolant: t.Map.Map.Interpolant, Backbone: t.Map.Map.Backbone, Parametrization: refitted}
	return tune.Copy{Map: m, Weights: t.weights}, nil
}

// tuningManifest is the configuration in the manifest of such a run.
type tuningManifest struct {
	Fingerprint string `json:"problem"` // the key in folders of older runs, too
	tuning.Config
}

// Train fine-tunes the drift; see [run.Train] and [tuning.Config.Train]. A budget that ends the
// training is no error. Non-finite values are [train.NonFiniteError] or [tune.ErrDiverged],
// wrapped; a folder of another run is [run.ErrOtherRun].
func (t *Tuning) Train(ctx context.Context, b compute.Backend, o run.Options) (*tuning.Result, error) {
	objective, err := t.Config.Objective(nil)
	if err != nil {
		return nil, err
	}
	network, err := t.newNetwork()
	if err != nil {
		return nil, err
	}
	source, err := t.source()
	if err != nil {
		return nil, err
	}
	manifest := tuningManifest{t.Fingerprint, t.Config}
	task := tune.Task{
		Base: t.base, Reward: t.Reward, Network: network, Objective: objective,
		Source: source, Shape: t.Model.Shape, ClassShares: t.shares(), Metadata: manifest,
	}
	tuner, err := tune.New(b, task, t.Config.Tune)
	if err != nil {
		return nil, err
	}
	return t.Config.Train(ctx, tuner, kindTuned, manifest, t.base, network, o)
}

// TuningResult is the quality of a tuned drift of images. Method is that of the tuning. NFE and
// Steps are those of the sampler, with one evaluation for each step.
type TuningResult struct {
	SteeringResult
	Network tuning.Network `json:"network"`
	Lambda  float64        `json:"lambda"`
	// TuneSteps is the number of steps of training that were done, or that of the configuration if
	// the training diverged. TuneNFE is the NFE of the whole training, with three evaluations for
	// each row of the tuned network.
	TuneSteps   int64             `json:"tune_steps"`
	TuneNFE     float64           `json:"tune_nfe"`
	Evaluations []tune.Evaluation `json:"evaluations"`
	// StdTarget is the standard deviation of the target and KLTarget its divergence from equal
	// weights, in nats. The monitors compare the evaluations with them.
	StdTarget float64 `json:"std_target,omitempty"`
	KLTarget  float64 `json:"kl_target,omitempty"`
	// Collapse, Overshoot and Behind are the reports of the monitors of package tune; empty means
	// none.
	Collapse  string  `json:"collapse,omitempty"`
	Overshoot string  `json:"overshoot,omitempty"`
	Behind    string  `json:"behind,omitempty"`
	Stopped   bool    `json:"stopped,omitempty"`
	Train     float64 `json:"train_seconds"` // seconds of training
}

// Check returns an error for an evaluation out of range.
func (t *Tuning) Check(s tuning.Setting) error { return s.Eval.Validate() }

// Diverged returns the result of a training that ended in non-finite values.
func (t *Tuning) Diverged(s tuning.Setting, _ error) TuningResult {
	c := s.Config
	r := TuningResult{Network: c.Network, Lambda: c.Tune.Lambda, TuneSteps: c.Tune.Steps}
	r.Result = steering.Result{
		Method: c.Method, Dynamics: steer.ODE, N: c.N, Seed: c.Tune.Seed, Diverged: true,
		RunSettings: steering.RunSettings{
			Samples: s.Eval.Samples, Steps: s.Eval.Steps, Options: steering.Options{Class: c.Class},
		},
		Warnings: t.RewardWarnings(c.Tune.Lambda),
	}
	return r
}

// Evaluate evaluates c.Samples samples of the tuned drift by c.Steps Euler steps of its ODE, with
// classes by their shares among the images unless the configuration names one. For non-finite
// samples the result has Diverged and no quality.
func (t *Tuning) Evaluate(ctx context.Context, b compute.Backend, r *tuning.Result, c tuning.EvalConfig) (
	TuningResult, error) {
	if err := c.Validate(); err != nil {
		return TuningResult{}, err
	}
	config := t.Config.Tune
	target, err := t.target(config.Lambda, t.Config.Class)
	if err != nil {
		return TuningResult{}, err
	}
	result := TuningResult{
		Network: t.Config.Network, Lambda: config.Lambda, TuneSteps: r.Steps, Evaluations: r.Evaluations,
		StdTarget: target.Std, KLTarget: target.KL, Stopped: r.Stopped, Train: r.Seconds,
		Collapse:  tune.Collapse(r.Evaluations, target),
		Overshoot: tune.Overshoot(r.Evaluations, target),
		Behind:    tune.Behind(r.Evaluations, target),
	}
	result.Result = steering.Result{
		Method: t.Config.Method, Dynamics: steer.ODE, N: t.Config.N, NFE: float64(c.Steps), Seed: config.Seed,
		RunSettings: steering.RunSettings{
			Samples: c.Samples, Steps: c.Steps, Device: steering.Device(b),
			Options: steering.Options{Class: t.Config.Class},
		},
		Warnings: t.RewardWarnings(config.Lambda),
	}
	objective, err := t.Config.Objective(nil)
	if err != nil {
		return result, err
	}
	result.TuneNFE = t.Config.NFE(objective, r.Model, r.Steps)
	sampler, err := mfm.NewTeacherSampler(b, r.Store, r.Model.Interpolant, r.Drift, t.Model.Shape, mfm.SamplerConfig{
		Method: mfm.ODESampling, Solver: solver.Euler, Grid: interpolant.Grid{Steps: c.Steps, Power: 1}, Chunk: 256,
		Classes: t.Model.Classes,
	})
	if err != nil {
		return result, err
	}
	defer sampler.Finalize()
	began := time.Now()
	each, labels := c.Draws(t.shares())
	samples, err := mfm.Flat(sampler.Unconditional(ctx, c.Seed, each, labels))
	if err != nil {
		return result, err
	}
	result.Seconds = time.Since(began).Seconds()
	if result.Diverged = !stats.Finite(samples); result.Diverged {
		return result, nil
	}
	if result.Images, err = strip(samples, t.Model.Shape, shownImages); err != nil {
		return result, err
	}
	weights, err := t.tunedWeights(config.Lambda, t.Config.Class)
	if err != nil {
		return result, err
	}
	rng := rand.New(rand.NewPCG(uint64(c.Seed), 7))
	if err := t.evaluate(ctx, b, &result.SteeringResult, samples, labels, weights, rng); err != nil {
		return result, err
	}
	diversity, err := t.withinClasses(samples, result.Target)
	if err != nil {
		result.Warnings = append(result.Warnings, err.Error())
		return result, nil
	}
	result.Diversity = metric.Some(diversity)
	return result, nil
}
