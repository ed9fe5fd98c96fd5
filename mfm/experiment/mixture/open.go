package mixture

import (
	"context"
	"fmt"
	"time"

	"github.com/gomlx/compute"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/experiment/run"
	"github.com/gomfm/gomfm/mfm/gmm"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/train"
)

// Kind is the kind of a run that trained the map of a mixture, as its manifest says.
const Kind = "gmm"

// Train trains the map; the teacher, if the loss has one, is the mixture's own drift. See
// [run.Train]. It returns a store with the weights in [train.WeightsScope].
func (e *Experiment) Train(ctx context.Context, b compute.Backend, o run.Options) (*model.Store, error) {
	return e.TrainFrom(ctx, b, e.Teacher(), Kind, e.Config, o)
}

// TrainFrom is Train with another teacher. kind and manifest describe the run in its manifest.
func (e *Experiment) TrainFrom(ctx context.Context, b compute.Backend, teacher interpolant.Drift, kind string,
	manifest any, o run.Options) (*model.Store, error) {
	t, err := mfm.NewTrainer(b, e.Map, e.Source(), teacher, e.Config.Train)
	if err != nil {
		return nil, err
	}
	return run.TrainedStore(ctx, t, kind, manifest, o)
}

// TrainAndEvaluate trains the map and evaluates its one-step posterior samples; each is as for
// [Experiment.EvaluateEach]. seconds are those of the training, over all sessions if the run keeps
// a log.
func (e *Experiment) TrainAndEvaluate(ctx context.Context, b compute.Backend, o run.Options, config EvalConfig,
	each func(one PosteriorResult, samples [][]float64, posterior *gmm.Mixture) error) (
	results []PosteriorResult, seconds float64, err error) {
	began := time.Now()
	store, err := e.Train(ctx, b, o)
	if err != nil {
		return nil, 0, err
	}
	seconds = run.Seconds(o.Dir, began)
	draw, err := e.Sampler(b, store, train.WeightsScope, mfm.DefaultSamplerConfig())
	if err != nil {
		return nil, seconds, err
	}
	results, err = e.EvaluateEach(ctx, draw, config, each)
	return results, seconds, err
}

// Open returns the experiment of the run in dir, of [Experiment.Train] or of [Tuning.Distill], and
// a store with its map's weights in [train.WeightsScope].
func Open(dir string) (*Experiment, *model.Store, error) {
	m, err := run.ReadManifest(dir, Kind, KindDistilled)
	if err != nil {
		return nil, nil, err
	}
	if m.Kind == KindDistilled {
		return openDistilled(dir)
	}
	var c Config
	if _, err := run.ReadConfig(dir, &c, Kind); err != nil {
		return nil, nil, err
	}
	e, err := New(c)
	if err != nil {
		return nil, nil, fmt.Errorf("run %s: %w", dir, err)
	}
	store, err := run.Open(dir, e.Model(model.NewStore()).Shapes)
	return e, store, err
}
