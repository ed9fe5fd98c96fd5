// Package latent is the experiment on latents of images, such as that of the paper on ImageNet: an
// autoencoder maps images to latents, and a map learns the posteriors of the latents.
//
// [TrainAutoencoder] trains an autoencoder, and [OpenCodec] opens a trained one, also of those
// published in the form of diffusers. [Codec.Latents] encodes images. A [Config] describes network
// and training of the map, and [New] returns the [Experiment] on the latents. Its method Train trains
// the map; [Open] opens a trained one.
//
// The data of the map are a random image or mirror image and a latent from the encoder's Gaussian,
// whose variance is averaged over the images for each channel. That is a kernel density estimate,
// whose drift and posteriors are known ([gmm.Kernels]): the teacher, and the reference of
// [Experiment.Posteriors].
//
// An [Evaluator] is a network that has seen neither autoencoder nor map. A [Reference] compares decoded
// samples with the training pictures in its features.
package latent

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/gomlx/compute/dtypes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/gmm"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/nn"
	"github.com/gomfm/gomfm/mfm/solver"
	"github.com/gomfm/gomfm/mfm/train"
)

// Config is everything that a map of latents depends on besides the latents.
type Config struct {
	Interpolant interpolant.Name `json:"interpolant"`
	// Parametrization is [mfm.GaussianName] (the mean of each element, one variance) or
	// [mfm.PlainName].
	Parametrization mfm.ParametrizationName `json:"parametrization"`
	Network         nn.Network              `json:"network"`
	// Flip adds the mirror images to the data.
	Flip bool `json:"flip"`
	// ClassNames are the names of the network's classes in the order of their labels, or empty.
	ClassNames []string        `json:"class_names,omitempty"`
	Train      mfm.TrainConfig `json:"train"`
}

// Validate returns an error that names the first value that is invalid in itself.
func (c Config) Validate() error {
	_, err := c.Interpolant.Schedule()
	if err := cmp.Or(err, c.Train.Validate(), c.Network.Validate()); err != nil {
		return err
	}
	if !slices.Contains([]mfm.ParametrizationName{mfm.GaussianName, mfm.PlainName}, c.Parametrization) {
		return fmt.Errorf("parametrization %q is unknown for latents: use %s or %s", c.Parametrization,
			mfm.GaussianName, mfm.PlainName)
	}
	loss, classes := c.Train.Loss, c.Network.ClassCount()
	if n := len(c.ClassNames); n != 0 && n != classes {
		return fmt.Errorf("network.classes = %d, but class_names has %d names", classes, n)
	}
	if loss.Guidance.Classes != classes {
		return fmt.Errorf("network.classes = %d and train.loss.guidance.classes = %d: they must be equal",
			classes, loss.Guidance.Classes)
	}
	if err := c.Network.CheckGuidance(loss.Guidance.Scales); err != nil {
		return fmt.Errorf("train.loss.guidance.scales: %w", err)
	}
	return nil
}

// ValidateFor returns an error that names the first value that is invalid in itself or for the
// latents.
func (c Config) ValidateFor(l *Latents) error {
	if err := cmp.Or(c.Validate(), c.Network.CheckShape(l.Shape())); err != nil {
		return err
	}
	classes := c.Network.ClassCount()
	if classes == 0 {
		return nil
	}
	if l.Labels == nil {
		return fmt.Errorf("network.classes = %d: the images have no labels, load them with their labels", classes)
	}
	counts := make([]int, classes)
	for i, label := range l.Labels {
		if label < 0 || int(label) >= classes {
			return fmt.Errorf("network.classes = %d: label %d of %d is %d", classes, i, l.N, label)
		}
		counts[label]++
	}
	if empty := slices.Index(counts, 0); empty >= 0 && c.Train.Loss.Distillation == mfm.Teacher {
		return fmt.Errorf("network.classes = %d: class %d has no images, and so no drift for distillation teacher: "+
			"use as many classes as the images have", classes, empty)
	}
	return nil
}

// Experiment is a set of latents and the map that learns their posteriors.
type Experiment struct {
	Config  Config
	Latents *Latents
	Map     *mfm.Map

	statistics               statistics
	points, variance, labels *tensors.Tensor // [rows, height, width, channels], [1, 1, 1, channels], [rows] or nil
}

// New returns the experiment of a configuration on latents, with an untrained map, or an error that
// names the first invalid value.
func New(c Config, l *Latents) (*Experiment, error) {
	if err := c.ValidateFor(l); err != nil {
		return nil, err
	}
	e := &Experiment{Config: c, Latents: l, statistics: newStatistics(l)}
	var err error
	if e.Map, err = e.statistics.newMap(c); err != nil {
		return nil, err
	}
	e.variance = tensors.FromFlatDataAndDimensions(e.statistics.noise, 1, 1, 1, l.Channels)
	rows, repeat := l.Mean, 2
	if !c.Flip {
		rows, repeat = l.Means(), 1
	}
	e.points = tensors.FromFlatDataAndDimensions(rows, append([]int{repeat * l.N}, l.Shape()...)...)
	if c.Network.ClassCount() > 0 {
		var labels []int32
		for _, label := range l.Labels {
			labels = append(labels, slices.Repeat([]int32{label}, repeat)...)
		}
		e.labels = tensors.FromFlatDataAndDimensions(labels, len(labels))
	}
	return e, nil
}

// Model returns the map with the weights that store has in [train.WeightsScope].
func (e *Experiment) Model(store *model.Store) mfm.Model {
	return modelOf(e.Config, e.Map, e.statistics, store)
}

// Source returns a source that samples latents inside the training step, with their classes if the
// network has classes.
func (e *Experiment) Source() (train.Source, error) {
	points, err := train.DataSet(e.points, e.labels)
	if err != nil {
		return nil, err
	}
	return func(scope *model.Scope, g *Graph, rng *solver.RNG, n int) (latents, class *Node) {
		latents, class = points(scope, g, rng, n)
		deviation := Sqrt(train.DeviceValue(scope, g, "variance", e.variance))
		return Add(latents, Mul(deviation, rng.Normal(latents.Shape()))), class
	}, nil
}

// kernels returns the data's distribution on a graph with a store.
func (e *Experiment) kernels(g *Graph) gmm.Kernels {
	scope := model.GetStore(g).Scope(train.DataScope)
	k := gmm.Kernels{
		Data:     train.DeviceValue(scope, g, "samples", e.points),
		Variance: train.DeviceValue(scope, g, "variance", e.variance),
		Classes:  e.Config.Network.ClassCount(),
	}
	if e.labels != nil {
		k.Labels = train.DeviceValue(scope, g, "classes", e.labels)
	}
	return k
}

// Teacher returns the drift of the data's distribution, of one class for rows that have one.
func (e *Experiment) Teacher() interpolant.Drift {
	return func(t, x, class *Node) *Node {
		t, x = ConvertDType(t, dtypes.Float32), ConvertDType(x, dtypes.Float32)
		return e.kernels(x.Graph()).Drift(e.Map.Interpolant, t, x, class)
	}
}
