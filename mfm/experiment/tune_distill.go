package experiment

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
	"github.com/gomfm/gomfm/mfm/gmm"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/train"
	"github.com/gomfm/gomfm/mfm/tune"
)

// KindDistilledGMM is the kind of a run that distilled a tuned drift into a map.
const KindDistilledGMM = "distilled-gmm"

// gaussianFile keeps the parametrization of such a run, which is fitted to samples.
const gaussianFile = "gaussian.json"

// distilledManifest is the configuration that such a run's manifest has.
type distilledManifest struct {
	Base    string       `json:"base"`    // hashes of the weights of the teacher's base,
	Teacher string       `json:"teacher"` // and of what was tuned on it
	Target  *gmm.Mixture `json:"target"`  // the law that the map should have: nothing of it is used in training
	DistillConfig
}

// DistillConfig says how a tuned drift is distilled into a meta flow map of its own.
type DistillConfig struct {
	// Samples of the tuned flow, by its ODE in SamplerSteps, are the data of the new map.
	Samples      int       `json:"samples"`
	SamplerSteps int       `json:"sampler_steps"`
	Map          GMMConfig `json:"map"` // of which the mixture is not used
}

// DefaultDistillConfig is the map of [DefaultGMMConfig] with the Eulerian loss, 15,000 steps, from 65,536 samples.
func DefaultDistillConfig() DistillConfig {
	c := DistillConfig{Samples: 1 << 16, SamplerSteps: 250, Map: DefaultGMMConfig()}
	c.Map.SetLoss(mfm.Eulerian, mfm.Teacher)
	c.Map.Train.Steps = 15_000
	return c
}

// Distill trains a meta flow map with the tuned drift as its teacher, so that one step draws from the posteriors of the tilted law. All that it is shown of that law are samples of the tuned flow and its drift. The experiment that it returns has the
// exact target as its mixture, against which [GMM.Evaluate] judges.
func (t *GMMTuning) Distill(ctx context.Context, b compute.Backend, r *TuneResult, c DistillConfig, o RunOptions) (*GMM, Drawer, error) {
	if c.Map.Interpolant != t.Base.Config.Interpolant {
		return nil, nil, fmt.Errorf("the map to distill into has the interpolant %s, the tuned drift %s: use the same", c.Map.Interpolant, t.Base.Config.Interpolant)
	}
	if c.Map.Parametrization != "gaussian" {
		return nil, nil, fmt.Errorf("the map to distill into has the parametrization %s: it is gaussian, fitted to the samples", c.Map.Parametrization)
	}
	if c.Samples < 2 || c.SamplerSteps < 1 {
		return nil, nil, fmt.Errorf("%d samples in %d steps to distill from: want at least 2, in 1", c.Samples, c.SamplerSteps)
	}
	teacherHash, err := hashTensors(r.weights)
	if err != nil {
		return nil, nil, err
	}
	baseHash, err := hashTensors(t.weights)
	if err != nil {
		return nil, nil, err
	}
	flat, err := t.odeSamples(ctx, b, r, EvalConfig{Samples: c.Samples, Steps: c.SamplerSteps, Seed: c.Map.Train.Seed})
	if err != nil {
		return nil, nil, err
	}
	if !finite(flat) {
		return nil, nil, fmt.Errorf("samples of the tuned flow are not finite: look at what was seen of it, TuneResult.Looks")
	}
	config := c.Map
	config.Mixture = t.Target
	e, err := NewGMM(config)
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
	o.claimed = func(dir string) error { return writeJSON(filepath.Join(dir, gaussianFile), g) }
	source, err := train.DataSet(tensors.FromFlatDataAndDimensions(flat, c.Samples, dim), nil)
	if err != nil {
		return nil, nil, err
	}
	var teacher interpolant.Drift // once the trainer has a store for its weights
	trainer, err := mfm.NewTrainer(b, e.Map, source, func(t, x, class *Node) *Node { return teacher(t, x, class) }, config.Train)
	if err != nil {
		return nil, nil, err
	}
	base, err := t.base.In(trainer.Store())
	if err != nil {
		return nil, nil, err
	}
	if teacher, err = tune.Restore(trainer.Store(), path.Join(train.DataScope, "tuned"), t.network, r.weights, base.Drift); err != nil {
		return nil, nil, err
	}
	made := distilledManifest{baseHash, teacherHash, t.Target, c}
	if err := Run(ctx, trainer, KindDistilledGMM, made, o); err != nil {
		return nil, nil, err
	}
	store, err := trained(trainer)
	if err != nil {
		return nil, nil, err
	}
	draw, err := e.Drawer(b, store, train.WeightsScope, mfm.DefaultSamplerConfig())
	return e, draw, err
}

// keptGaussian returns the parametrization that a run in dir keeps. Its error wraps [os.ErrNotExist] where there is none.
func keptGaussian(dir string) (*mfm.Gaussian, error) {
	if dir == "" {
		return nil, os.ErrNotExist
	}
	raw, err := os.ReadFile(filepath.Join(dir, gaussianFile))
	if err != nil {
		return nil, fmt.Errorf("run %s: %w", dir, err)
	}
	g := new(mfm.Gaussian)
	if err := decodeStrict(raw, g); err != nil {
		return nil, fmt.Errorf("run %s: %s: %w", dir, gaussianFile, err)
	}
	return g, g.Validate()
}

// openDistilled is [OpenGMM] of a distillation: the experiment's mixture is the exact target.
func openDistilled(dir string, m Manifest) (*GMM, *model.Store, error) {
	var made distilledManifest
	if err := decodeStrict(m.Config, &made); err != nil {
		return nil, nil, fmt.Errorf("run %s: %s: %w", dir, configFile, err)
	}
	config := made.Map
	config.Mixture = made.Target
	e, err := NewGMM(config)
	if err != nil {
		return nil, nil, fmt.Errorf("run %s: %s: %w", dir, configFile, err)
	}
	e.distilled = true
	if e.Map.Parametrization, err = keptGaussian(dir); err != nil {
		return nil, nil, err
	}
	store := model.NewStore()
	return e, store, loadWeights(store, dir)
}
