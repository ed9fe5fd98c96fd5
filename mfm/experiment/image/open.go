package image

import (
	"cmp"
	"context"
	"fmt"

	"github.com/gomlx/compute"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/data"
	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/experiment/run"
	"github.com/gomfm/gomfm/mfm/train"
)

// Kind is the kind of a run that trained a map of images.
const Kind = "digits"

// Train trains the map; see [run.Train]. It returns a store with the weights in
// [train.WeightsScope].
func (e *Experiment) Train(ctx context.Context, b compute.Backend, o run.Options) (*model.Store, error) {
	source, err := e.Source()
	if err != nil {
		return nil, err
	}
	if _, mixture := e.Map.Parametrization.(*mfm.MixturePrior); mixture && priorRun(o) != "" {
		if e.Map.Parametrization, err = readPrior(priorRun(o), *e.Config.Prior, e.Data.Dim(),
			e.Config.Train.Loss.Guidance.Classes); err != nil {
			return nil, err
		}
	}
	t, err := mfm.NewTrainer(b, e.Map, source, e.Teacher(), e.Config.Train)
	if err != nil {
		return nil, err
	}
	if o.Dir != "" {
		o.DataHash = e.Data.Hash()
		keep := func(*train.Trainer) error { return e.keepPrior(o.Dir) }
		o.Hooks = append(o.Hooks, train.Hook{Start: keep})
	}
	return run.TrainedStore(ctx, t, Kind, e.Config, o)
}

// Open returns the experiment of the run in dir, on the images that it was trained on, and a store
// with its map's weights in [train.WeightsScope]. Other images, and weights that are not exactly
// those of the map, are errors.
func Open(dir string, images *data.Images) (*Experiment, *model.Store, error) {
	var c Config
	m, err := run.ReadConfig(dir, &c, Kind)
	if err != nil {
		return nil, nil, err
	}
	if err := cmp.Or(m.CheckData(images.Hash(), ""), c.Validate(images)); err != nil {
		return nil, nil, fmt.Errorf("run %s: %w", dir, err)
	}
	e, err := newWithPriorOf(context.Background(), dir, c, images) // it has a prior if it needs one
	if err != nil {
		return nil, nil, err
	}
	store, err := run.Open(dir, e.Model(model.NewStore()).Shapes)
	return e, store, err
}

// NewRun is [New] for a training with options o: it fits no mixture if the training resumes, or
// starts with the weights of another run, but reads the one that the run has kept.
func NewRun(ctx context.Context, config Config, images *data.Images, o run.Options) (*Experiment, error) {
	return newWithPriorOf(ctx, priorRun(o), config, images)
}

// newWithPriorOf is [New] with the mixture that the run in dir has kept; if dir is empty, it is
// New.
func newWithPriorOf(ctx context.Context, dir string, c Config, images *data.Images) (*Experiment, error) {
	return NewWith(c, images, func() (mfm.Parametrization, error) {
		if dir != "" && c.Parametrization == "mixture" {
			return readPrior(dir, *c.Prior, images.Dim(), c.Train.Loss.Guidance.Classes)
		}
		return c.FitParametrization(ctx, images)
	})
}

// OfRun returns the training and held-out images of the run in dir; see [Load]. Images that have
// changed since the training are an error.
func OfRun(dir string) (train, heldOut *data.Images, err error) {
	m, err := run.ReadManifest(dir)
	if err != nil {
		return nil, nil, err
	}
	if train, heldOut, err = Load(m.Data); err == nil {
		err = m.CheckData(train.Hash(), heldOut.Hash())
	}
	if err != nil {
		return nil, nil, fmt.Errorf("run %s: %w", dir, err)
	}
	return train, heldOut, nil
}
