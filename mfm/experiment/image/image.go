// Package image is the experiment on images, such as digits, with pixels in [-1, 1]. Their
// distribution is unknown; the closest closed form is the training set as a mixture of points, the
// empirical distribution, whose drift is exact and serves as the teacher.
//
// [Load] returns the images, a [Config] describes network and training, and [New] returns the
// [Experiment]. Its method Train trains the map; [Open] opens a trained one. Classifiers evaluate
// the samples: [TrainClassifier] trains one of clean or of noised images. [Experiment.Generation]
// evaluates unconditional samples, and [Experiment.Classes] compares the classes of posterior
// samples with p(class | x_t).
//
// On a trained map, [NewSteering] steers samples to a reward of a classifier, [NewTuning]
// fine-tunes the drift to it, and [Steering.Gradients] measures single estimates of the value's
// gradient. The target distribution is the training set with weights e^{λ r}.
//
// Start with [DefaultConfig] and [DefaultClassifierConfig].
package image

import (
	"cmp"
	"context"
	"fmt"
	"strconv"

	"github.com/gomlx/compute"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/data"
	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/experiment/internal/classname"
	"github.com/gomfm/gomfm/mfm/experiment/run"
	"github.com/gomfm/gomfm/mfm/gmm"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/train"
)

// Experiment is a set of training images and the map that learns their posteriors.
type Experiment struct {
	Config Config
	Data   *data.Images
	Map    *mfm.Map
	pixels *tensors.Tensor // [n, height, width, channels]
	labels *tensors.Tensor // int32 [n], or nil if the network has no classes
}

// New returns the experiment of a configuration on the given training images, with an untrained
// map, or an error that names the first invalid value. Fitting the mixture of the parametrization
// "mixture" takes seconds; it is an error if ctx ends then.
func New(ctx context.Context, config Config, images *data.Images) (*Experiment, error) {
	return NewWith(config, images, func() (mfm.Parametrization, error) {
		return config.FitParametrization(ctx, images)
	})
}

// NewWith is New with a function that returns the parametrization, called once config is validated.
func NewWith(config Config, images *data.Images, parametrization func() (mfm.Parametrization, error)) (
	*Experiment, error) {
	if err := config.Validate(images); err != nil {
		return nil, err
	}
	if config.Parametrization != mfm.MixtureName {
		config.Prior = nil // not used
	}
	ip, err := config.Interpolant.Schedule()
	if err != nil {
		return nil, err
	}
	p, err := parametrization()
	if err != nil {
		return nil, err
	}
	e := &Experiment{
		Config: config,
		Data:   images,
		Map:    &mfm.Map{Interpolant: ip, Backbone: config.Network.Backbone(), Parametrization: p},
		pixels: pixels(images),
	}
	if config.Network.ClassCount() > 0 {
		e.labels = classes(images)
	}
	return e, nil
}

// ClassNames returns the names of the map's classes: those that it was trained with, or else those
// of the images, or else their numbers. It returns nil for a map without classes.
func (e *Experiment) ClassNames() []string {
	n := e.Config.Network.ClassCount()
	for _, names := range [][]string{e.Config.ClassNames, e.Data.Names} {
		if n > 0 && len(names) == n {
			return names
		}
	}
	var numbers []string
	for i := range n {
		numbers = append(numbers, strconv.Itoa(i))
	}
	return numbers
}

// ClassIndex returns the label of a class of the map. text is its name, or its label if no class
// has that name. Other texts are errors.
func (e *Experiment) ClassIndex(text string) (int32, error) {
	return classname.Index(e.ClassNames(), text)
}

// Shape returns the shape of one image, [height, width, channels].
func (e *Experiment) Shape() []int { return []int{e.Data.Height, e.Data.Width, e.Data.Channels} }

// States returns images, flat, as states of a sampler, float32 [n, height, width, channels].
func (e *Experiment) States(flat []float32) *tensors.Tensor {
	dims := append([]int{len(flat) / e.Data.Dim()}, e.Shape()...)
	return tensors.FromFlatDataAndDimensions(flat, dims...)
}

// Model returns the map with the weights that store has in [train.WeightsScope].
func (e *Experiment) Model(store *model.Store) mfm.Model {
	return mfm.Model{
		Map: e.Map, Weights: store.Scope(train.WeightsScope), Shape: e.Shape(), Classes: e.Config.Network.ClassCount(),
		Scales: e.Config.Train.Loss.Guidance.Scales,
	}
}

// Source returns a source that samples images inside the training step, with their classes if the
// network has classes.
func (e *Experiment) Source() (train.Source, error) { return train.DataSet(e.pixels, e.labels) }

// Empirical returns the empirical distribution, the training images as a mixture of points, whose
// posteriors are exact.
func (e *Experiment) Empirical() (*gmm.Mixture, error) {
	return gmm.Points(mfm.Rows(e.Data.Float32(), e.Data.Dim()))
}

// Teacher returns the drift of the empirical distribution, of one class for rows that have one. Its
// posterior mean is a softmax over the training images.
func (e *Experiment) Teacher() interpolant.Drift {
	return func(t, x, class *Node) *Node {
		g := t.Graph()
		scope := model.GetStore(g).Scope(train.DataScope)
		points := train.DeviceValue(scope, g, "samples", e.pixels)
		points = Reshape(points, points.Shape().Dim(0), -1)
		flat := Reshape(x, x.Shape().Dim(0), -1)
		if class == nil || e.labels == nil {
			return ReshapeWithShape(gmm.PointsDrift(e.Map.Interpolant, points, t, flat), x.Shape())
		}
		labels := train.DeviceValue(scope, g, "classes", e.labels)
		b := gmm.PointsClassDrift(e.Map.Interpolant, points, labels, e.Config.Network.ClassCount(), t, flat, class)
		return ReshapeWithShape(b, x.Shape())
	}
}

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
