package experiment

import (
	"context"
	"fmt"
	"time"

	"github.com/gomlx/compute"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/data"
	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/gmm"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/train"
)

// Kinds of runs, as their manifests say.
const (
	KindGMM        = "gmm"
	KindDigits     = "digits"
	KindClassifier = "classifier"
)

// Train trains the experiment's map; see [Run].
func (e *GMM) Train(ctx context.Context, b compute.Backend, o RunOptions) (*model.Store, error) {
	return e.trainFrom(ctx, b, e.Teacher(), KindGMM, e.Config, o)
}

// trainFrom trains with another teacher; kind and made are what the run's manifest has.
func (e *GMM) trainFrom(ctx context.Context, b compute.Backend, teacher interpolant.Drift, kind string, made any, o RunOptions) (*model.Store, error) {
	t, err := mfm.NewTrainer(b, e.Map, e.Source(), teacher, e.Config.Train)
	if err != nil {
		return nil, err
	}
	if err := Run(ctx, t, kind, made, o); err != nil {
		return nil, err
	}
	return trained(t)
}

// trainAndJudge trains and evaluates the map's one-step posterior samples, of which watch is shown each set beside the exact posterior; nil: nobody. seconds are those of the training, of all sessions where the run keeps a log.
func (e *GMM) trainAndJudge(ctx context.Context, b compute.Backend, o RunOptions, config EvaluateConfig, watch func(one PosteriorRow, samples [][]float64, posterior *gmm.Mixture) error) (rows []PosteriorRow, seconds float64, err error) {
	began := time.Now()
	store, err := e.Train(ctx, b, o)
	if err != nil {
		return nil, 0, err
	}
	seconds = trainingSeconds(o.Dir, began)
	draw, err := e.Drawer(b, store, train.WeightsScope, mfm.DefaultSamplerConfig())
	if err != nil {
		return nil, seconds, err
	}
	rows, err = e.evaluate(ctx, draw, config, watch)
	return rows, seconds, err
}

// trainingSeconds returns the seconds of a run's training by its log, or since it began where nothing is kept.
func trainingSeconds(dir string, began time.Time) float64 {
	if dir != "" {
		if log, err := ReadLog(dir); err == nil && len(log) > 0 {
			return log[len(log)-1].Seconds
		}
	}
	return time.Since(began).Seconds()
}

// OpenGMM returns the experiment of the run in dir, a training or a distillation ([GMMTuning.Distill]), and a store with its map's weights in [train.WeightsScope].
func OpenGMM(dir string) (*GMM, *model.Store, error) {
	manifest, err := readManifest(dir, KindGMM, KindDistilledGMM)
	if err != nil {
		return nil, nil, err
	}
	if manifest.Kind == KindDistilledGMM {
		return openDistilled(dir, manifest)
	}
	var config GMMConfig
	if err := decodeStrict(manifest.Config, &config); err != nil {
		return nil, nil, fmt.Errorf("run %s: %s: %w", dir, configFile, err)
	}
	e, err := NewGMM(config)
	if err != nil {
		return nil, nil, fmt.Errorf("run %s: %s: %w", dir, configFile, err)
	}
	store := model.NewStore()
	return e, store, loadWeights(store, dir)
}

// Train trains the experiment's map; see [Run].
func (e *Digits) Train(ctx context.Context, b compute.Backend, o RunOptions) (*model.Store, error) {
	source, err := e.Source()
	if err != nil {
		return nil, err
	}
	if err := e.adoptPrior(o.Dir, o.Init); err != nil {
		return nil, err
	}
	t, err := mfm.NewTrainer(b, e.Map, source, e.Teacher(), e.Config.Train)
	if err != nil {
		return nil, err
	}
	o.claimed = e.keepPrior
	if err := Run(ctx, t, KindDigits, e.Config, o); err != nil {
		return nil, err
	}
	return trained(t)
}

// OpenDigits returns the experiment of the run in dir, on the images that it was trained on, and a store with its map's weights in
// [train.WeightsScope].
func OpenDigits(dir string, images *data.Images) (*Digits, *model.Store, error) {
	manifest, err := readManifest(dir, KindDigits)
	if err != nil {
		return nil, nil, err
	}
	var config DigitsConfig
	if err := decodeStrict(manifest.Config, &config); err != nil {
		return nil, nil, fmt.Errorf("run %s: %s: %w", dir, configFile, err)
	}
	e, err := newDigits(config, images, func() (mfm.Parametrization, error) {
		if config.Prior != nil && config.Parametrization == "mixture" {
			return readPrior(dir, config.Prior.Steps)
		}
		return config.parametrization(images)
	})
	if err != nil {
		return nil, nil, fmt.Errorf("run %s: %s: %w", dir, configFile, err)
	}
	store := model.NewStore()
	return e, store, loadWeights(store, dir)
}

// trained returns a store with the weights to use in [train.WeightsScope].
func trained(t *train.Trainer) (*model.Store, error) {
	state, err := t.State()
	if err != nil {
		return nil, err
	}
	weights, err := train.FinalWeights(state)
	if err != nil {
		return nil, err
	}
	store := model.NewStore()
	return store, train.SetWeights(store, weights)
}
