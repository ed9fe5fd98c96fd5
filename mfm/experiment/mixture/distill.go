package mixture

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"

	"github.com/gomlx/compute"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/experiment/config"
	"github.com/gomfm/gomfm/mfm/experiment/internal/stats"
	"github.com/gomfm/gomfm/mfm/experiment/run"
	"github.com/gomfm/gomfm/mfm/experiment/tuning"
	"github.com/gomfm/gomfm/mfm/gmm"
	"github.com/gomfm/gomfm/mfm/internal/strictjson"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/train"
	"github.com/gomfm/gomfm/mfm/tune"
)

// KindDistilled is the kind of a run that distilled a tuned drift into a map.
const KindDistilled = "distilled-gmm"

// gaussianFile keeps the parametrization of such a run, which is fitted to samples.
const gaussianFile = "gaussian.json"

// distilledManifest is the configuration in the manifest of such a run.
type distilledManifest struct {
	Base    string       `json:"base"`    // hash of the weights of the base that was tuned
	Teacher string       `json:"teacher"` // hash of the tuned weights
	Target  *gmm.Mixture `json:"target"`  // the exact target, which training does not use
	DistillConfig
}

// DistillConfig says how a tuned drift is distilled into a new meta flow map.
type DistillConfig struct {
	// Samples is the number of samples of the tuned flow, by SamplerSteps Euler steps of its ODE,
	// that are the data of the new map.
	Samples      int `json:"samples"`
	SamplerSteps int `json:"sampler_steps"`
	// Map is the configuration of the new map. Its mixture is not used; its parametrization must be
	// "gaussian" and is fitted to the samples.
	Map Config `json:"map"`
}

// DefaultDistillConfig is the map of [DefaultConfig] trained for 15,000 steps by the Eulerian loss,
// on 65,536 samples of 250 steps.
func DefaultDistillConfig() DistillConfig {
	c := DistillConfig{Samples: 1 << 16, SamplerSteps: 250, Map: DefaultConfig()}
	c.Map.SetLoss(mfm.Eulerian, mfm.Teacher)
	c.Map.Train.Steps = 15_000
	return c
}

// Distill trains a meta flow map with the tuned drift as its teacher; see [run.Train]. The map then
// draws from the posteriors of the tilted distribution in one step. Of that distribution, training
// uses only the tuned drift and samples of its flow. Distill returns the experiment of the new map
// with a sampler of its one-step posterior samples. The experiment's mixture is the exact target,
// with which [Experiment.Evaluate] compares them.
func (t *Tuning) Distill(ctx context.Context, b compute.Backend, r *tuning.Result, c DistillConfig, o run.Options) (
	*Experiment, Sampler, error) {
	if c.Map.Interpolant != t.Base.Config.Interpolant {
		return nil, nil, fmt.Errorf("distillation: the map has interpolant %s, the tuned drift %s: use the same",
			c.Map.Interpolant, t.Base.Config.Interpolant)
	}
	if c.Map.Parametrization != "gaussian" {
		return nil, nil, fmt.Errorf("distillation: the map has parametrization %s: use gaussian, fitted to the samples",
			c.Map.Parametrization)
	}
	if c.Samples < 2 || c.SamplerSteps < 1 {
		return nil, nil, fmt.Errorf("distillation: samples = %d, sampler_steps = %d: use at least 2 samples and 1 step",
			c.Samples, c.SamplerSteps)
	}
	teacherHash, err := run.HashTensors(r.Weights)
	if err != nil {
		return nil, nil, err
	}
	baseHash, err := run.HashTensors(t.weights)
	if err != nil {
		return nil, nil, err
	}
	sampling := tuning.EvalConfig{Samples: c.Samples, Steps: c.SamplerSteps, Seed: c.Map.Train.Seed}
	flat, err := t.odeSamples(ctx, b, r, sampling)
	if err != nil {
		return nil, nil, err
	}
	if !stats.Finite(flat) {
		return nil, nil, fmt.Errorf("distillation: samples of the tuned flow are not finite: see its Evaluations")
	}
	mapConfig := c.Map
	mapConfig.Mixture = t.Target
	e, err := New(mapConfig)
	if err != nil {
		return nil, nil, err
	}
	dim := t.Target.Dim()
	g, err := keptGaussian(o.Dir)
	if errors.Is(err, os.ErrNotExist) {
		g, err = mfm.FitGaussian(mfm.Rows(flat, dim))
	}
	if err != nil {
		return nil, nil, err
	}
	e.Map.Parametrization = g
	if o.Dir != "" {
		keep := func(*train.Trainer) error { return run.WriteJSON(filepath.Join(o.Dir, gaussianFile), g) }
		o.Hooks = append(o.Hooks, train.Hook{Start: keep})
	}
	source, err := train.DataSet(tensors.FromFlatDataAndDimensions(flat, c.Samples, dim), nil)
	if err != nil {
		return nil, nil, err
	}
	var teacher interpolant.Drift // set once the trainer has a store for its weights
	drift := func(t, x, class *Node) *Node { return teacher(t, x, class) }
	trainer, err := mfm.NewTrainer(b, e.Map, source, drift, mapConfig.Train)
	if err != nil {
		return nil, nil, err
	}
	base, err := t.base.In(trainer.Store())
	if err != nil {
		return nil, nil, err
	}
	scope := path.Join(train.DataScope, "tuned")
	if teacher, err = tune.Restore(trainer.Store(), scope, t.network, r.Weights, base.Drift); err != nil {
		return nil, nil, err
	}
	manifest := distilledManifest{baseHash, teacherHash, t.Target, c}
	store, err := run.TrainedStore(ctx, trainer, KindDistilled, manifest, o)
	if err != nil {
		return nil, nil, err
	}
	draw, err := e.Sampler(b, store, train.WeightsScope, mfm.DefaultSamplerConfig())
	return e, draw, err
}

// keptGaussian returns the parametrization that the run in dir keeps. If absent, the error wraps
// [os.ErrNotExist].
func keptGaussian(dir string) (*mfm.Gaussian, error) {
	if dir == "" {
		return nil, os.ErrNotExist
	}
	raw, err := config.ReadFile(filepath.Join(dir, gaussianFile))
	g := new(mfm.Gaussian)
	if err == nil {
		err = strictjson.Decode(raw, g)
	}
	if err != nil {
		return nil, fmt.Errorf("run %s: %s: %w", dir, gaussianFile, err)
	}
	return g, g.Validate()
}

// openDistilled is [Open] for a distilled map. The experiment's mixture is the exact target.
func openDistilled(dir string) (*Experiment, *model.Store, error) {
	var manifest distilledManifest
	if _, err := run.ReadConfig(dir, &manifest, KindDistilled); err != nil {
		return nil, nil, err
	}
	c := manifest.Map
	c.Mixture = manifest.Target
	e, err := New(c)
	if err != nil {
		return nil, nil, fmt.Errorf("run %s: %w", dir, err)
	}
	e.distilled = true
	if e.Map.Parametrization, err = keptGaussian(dir); err != nil {
		return nil, nil, err
	}
	store, err := run.Open(dir, e.Model(model.NewStore()).Shapes)
	return e, store, err
}
