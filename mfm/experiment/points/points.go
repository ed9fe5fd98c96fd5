// Package points is the experiment on points, the rows of a table of numbers. Their distribution is
// unknown. A mixture of Gaussians fitted to them gives posteriors that are close, and the network
// of the map learns the rest, see [mfm.MixturePrior].
//
// [Load] reads a table, a [Config] describes network and training, and [New] returns the
// [Experiment]. Its method Train trains the map; [Open] opens a trained one. The map works on
// columns of zero mean and unit variance; [Experiment.Sample] and [Experiment.Check] take and
// return points in the units of the data. [Experiment.Check] evaluates a map on points that it was
// not trained on, and [Experiment.Evaluate] on a set of package sets, whose posteriors are known. A
// [Steering] steers samples to a reward, and a [Tuning] fine-tunes the drift to it.
package points

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/gomlx/compute"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/experiment/internal/stats"
	"github.com/gomfm/gomfm/mfm/experiment/run"
	"github.com/gomfm/gomfm/mfm/internal/strictjson"
	"github.com/gomfm/gomfm/mfm/train"
)

// Kind is the kind of a run that trained a map of points.
const Kind = "points"

// Experiment is the map that learns the posteriors of points.
type Experiment struct {
	Config Config
	Fitted
	Map *mfm.Map

	file json.RawMessage // Fitted as a run keeps it
}

// Fitted is what the map has from the points themselves.
type Fitted struct {
	Columns []string `json:"columns"`
	Names   []string `json:"classes,omitempty"` // of the classes
	// Shares are those of the classes among the rows to train on; nil without classes, and in a run
	// that is older than them.
	Shares []float64 `json:"shares,omitempty"`
	Scale  Scale     `json:"scale"`
	Prior  *Prior    `json:"prior,omitempty"` // nil for a parametrization without one
}

// New returns the experiment of a configuration on points, with an untrained map, or an error that
// names the first invalid value. Fitting the mixture takes seconds; it is an error if ctx ends
// then.
func New(ctx context.Context, config Config, data *Data) (*Experiment, error) {
	t := data.Train
	if err := config.Validate(len(t.Columns), len(t.Names)); err != nil {
		return nil, err
	}
	f := Fitted{Columns: t.Columns, Names: t.Names, Scale: FitScale(t.Rows)}
	f.Shares = stats.ClassShares(len(t.Names), t.Classes)
	if config.Parametrization == mfm.MixtureName {
		var err error
		f.Prior, err = config.Prior.fit(ctx, f.Scale.Standardize(t.Rows), t.Classes, len(t.Names))
		if err != nil {
			return nil, err
		}
	}
	raw, err := json.Marshal(f)
	if err != nil {
		return nil, fmt.Errorf("encoding what was fitted to the points: %w", err)
	}
	return newFitted(config, raw)
}

// newFitted returns the experiment of what a run keeps of a fit. A training that resumes thus has
// the same numbers as one that begins.
func newFitted(config Config, file json.RawMessage) (*Experiment, error) {
	var f Fitted
	if err := strictjson.Decode(file, &f); err != nil {
		return nil, err
	}
	if err := f.check(config); err != nil {
		return nil, err
	}
	if config.Parametrization != mfm.MixtureName {
		config.Prior = nil // not used
	}
	ip, err := config.Interpolant.Schedule()
	if err != nil {
		return nil, err
	}
	e := &Experiment{
		Config: config, Fitted: f, Map: &mfm.Map{Interpolant: ip, Backbone: config.Network.Backbone()}, file: file,
	}
	switch config.Parametrization {
	case mfm.MixtureName:
		p := f.Prior.parametrization(len(f.Columns), *config.Prior)
		e.Map.Parametrization = p
		return e, p.Validate()
	case mfm.GaussianName:
		e.Map.Parametrization = standard(len(f.Columns))
	default:
		e.Map.Parametrization = mfm.Plain{}
	}
	return e, nil
}

// Shape returns the shape of a point, [columns].
func (e *Experiment) Shape() []int { return []int{len(e.Columns)} }

// Model returns the map, of standardized points, with the weights that store has in
// [train.WeightsScope].
func (e *Experiment) Model(store *model.Store) mfm.Model {
	return mfm.Model{
		Map: e.Map, Weights: store.Scope(train.WeightsScope), Shape: e.Shape(), Classes: len(e.Names),
		Scales: e.Config.Train.Loss.Guidance.Scales,
	}
}

// Source returns a source that samples standardized points inside the training step, with their
// classes.
func (e *Experiment) Source(data *Data) (train.Source, error) {
	var classes *tensors.Tensor
	if t := data.Train; t.Classes != nil {
		classes = tensors.FromFlatDataAndDimensions(t.Classes, len(t.Classes))
	}
	return train.DataSet(mfm.Points(e.Scale.Standardize(data.Train.Rows)), classes)
}

// Train trains the map; see [run.Train]. It returns a store with the weights in
// [train.WeightsScope].
func (e *Experiment) Train(ctx context.Context, b compute.Backend, data *Data, o run.Options) (*model.Store, error) {
	source, err := e.Source(data)
	if err != nil {
		return nil, err
	}
	t, err := mfm.NewTrainer(b, e.Map, source, nil, e.Config.Train)
	if err != nil {
		return nil, err
	}
	if o.Dir != "" {
		o.DataHash, o.HeldOutHash = data.Train.Hash(), data.HeldOut.Hash()
		o.Hooks = append(o.Hooks, train.Hook{Start: func(*train.Trainer) error { return e.keep(o.Dir) }})
	}
	return run.TrainedStore(ctx, t, Kind, e.Config, o)
}

// check returns an error unless what was fitted fits the configuration.
func (f Fitted) check(config Config) error {
	if err := config.Validate(len(f.Columns), len(f.Names)); err != nil {
		return err
	}
	if err := f.Scale.validate(len(f.Columns)); err != nil {
		return err
	}
	if f.Shares != nil && len(f.Shares) != len(f.Names) {
		return fmt.Errorf("%d shares of %d classes", len(f.Shares), len(f.Names))
	}
	for _, share := range f.Shares {
		if !(share >= 0 && share <= 1) {
			return fmt.Errorf("a class with the share %g: must lie in [0, 1]", share)
		}
	}
	if config.Parametrization != mfm.MixtureName {
		return nil
	}
	return f.Prior.validate(len(f.Columns), len(f.Names))
}
