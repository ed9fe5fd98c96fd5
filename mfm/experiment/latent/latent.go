// Package latent is the experiment on latents of images, such as that of the paper on ImageNet: an
// autoencoder maps images to latents, and a map learns the posteriors of the latents.
//
// [TrainAutoencoder] trains an autoencoder, and [OpenCodec] opens a trained one, also of those
// published in the form of diffusers. [Codec.Latents] encodes images. A [Config] describes network
// and training of the map, and [New] returns the [Experiment] on the latents. Its method Train
// trains the map; [Open] opens a trained one.
//
// The data of the map are a random image or mirror image and a latent from the encoder's Gaussian,
// whose variance is averaged over the images for each channel. That is a kernel density estimate,
// whose drift and posteriors are known ([gmm.Kernels]): the teacher, and the reference of
// [Experiment.Posteriors].
//
// A [Generator] samples images, and compares them with the training pictures ([picture.Reference]).
//
// Sets of pictures that are larger than the memory, such as ImageNet, are encoded once into a cache
// on disk ([Codec.CachedFiles], package latents). Latents of more than [Config.Memory] are not
// loaded: each step reads a batch of the cache ([Config.Streamed]), in a new random order in each
// epoch. The latents are then from the encoder's own Gaussian of each image, and there is no closed
// form: no reference, and no teacher but a trained flow.
//
// A map can start from a pretrained flow ([Config.InitialWeights]): a SiT or a flow map of
// Decoupled MeanFlow. Such a flow, or the map of a run, can also be the teacher instead of the
// closed form ([OpenTeacher], [Experiment.SetTeacher]).
package latent

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/gomlx/compute/dtypes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/experiment/latent/latents"
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
	// Memory is the largest number of bytes that latents may have in float32, with both moments of
	// images and of mirror images, to be loaded; more are streamed ([Config.Streamed]). 0 means
	// [DefaultMemory].
	Memory int64 `json:"memory,omitempty"`
	// ClassNames are the names of the network's classes in the order of their labels, or empty.
	ClassNames []string        `json:"class_names,omitempty"`
	Train      mfm.TrainConfig `json:"train"`
	// Teacher is the trained flow of the distillation [mfm.Teacher]; nil means the closed form.
	Teacher *TeacherConfig `json:"teacher,omitempty"`
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
	if c.Memory < 0 {
		return fmt.Errorf("memory = %d bytes: must not be negative", c.Memory)
	}
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
	if c.Teacher != nil {
		return c.Teacher.validate(classes, loss)
	}
	return nil
}

// closedForm reports whether the drift of the data is the teacher.
func (c Config) closedForm() bool {
	return c.Train.Loss.Distillation == mfm.Teacher && c.Teacher == nil
}

// ValidateFor returns an error that names the first value that is invalid in itself or for the
// latents.
func (c Config) ValidateFor(l *latents.Set) error {
	if err := cmp.Or(c.Validate(), c.checkShape(l.N, l.Shape(), l.Cached())); err != nil {
		return err
	}
	classes := c.Network.ClassCount()
	if classes == 0 {
		return nil
	}
	counts, err := l.ClassCounts()
	if err != nil {
		return err
	}
	if err := c.checkLabels(len(counts)); err != nil {
		return err
	}
	counts = slices.Concat(counts, make([]int, classes-len(counts)))
	if empty := slices.Index(counts, 0); empty >= 0 && c.closedForm() {
		return fmt.Errorf("network.classes = %d: class %d has no images, and so no drift for distillation teacher: "+
			"use as many classes as the images have", classes, empty)
	}
	return nil
}

// CheckFiles returns an error that names the first value that is invalid for the latents of picture
// files, before they are encoded. cached says whether there will be a cache.
func (c Config) CheckFiles(codec *Codec, f Files, cached bool) error {
	if err := cmp.Or(c.Validate(), codec.checkSize(f.shape())); err != nil {
		return err
	}
	side := codec.Factor()
	shape := []int{f.Height / side, f.Width / side, codec.LatentChannels()}
	return cmp.Or(c.checkShape(f.len(), shape, cached), c.checkLabels(len(f.Set.Classes())))
}

// checkShape returns an error unless the network takes n latents of a shape, in memory or streamed.
func (c Config) checkShape(n int, shape []int, cached bool) error {
	if err := c.Network.CheckShape(shape); err != nil || !c.Streamed(n, shape) {
		return err
	}
	if !cached {
		return fmt.Errorf("%d latents of shape %v need more than memory = %d bytes: keep the latents in a folder, "+
			"or raise memory", n, shape, cmp.Or(c.Memory, DefaultMemory))
	}
	if c.Train.Accumulate != 1 {
		return fmt.Errorf("train.accumulate = %d: use 1 for latents that are streamed, and larger batches",
			c.Train.Accumulate)
	}
	if c.closedForm() {
		return fmt.Errorf("train.loss.distillation = teacher: the closed form needs all latents in memory, but %d of "+
			"shape %v need more than memory = %d bytes: use self, a trained flow as the teacher, or raise memory", n,
			shape, cmp.Or(c.Memory, DefaultMemory))
	}
	return nil
}

// checkLabels returns an error unless a network with classes has labels from 0 to n-1.
func (c Config) checkLabels(n int) error {
	classes := c.Network.ClassCount()
	switch {
	case classes > 0 && n == 0:
		return fmt.Errorf("network.classes = %d: the images have no labels, load them with their labels", classes)
	case classes > 0 && n > classes:
		return fmt.Errorf("network.classes = %d: the images have labels up to %d: set network.classes and "+
			"train.loss.guidance.classes to %d", classes, n-1, n)
	}
	return nil
}

// Experiment is a set of latents and the map that learns their posteriors.
type Experiment struct {
	Config  Config
	Latents *latents.Set
	Map     *mfm.Map

	statistics latents.Statistics
	// The data in memory, [rows, height, width, channels], [1, 1, 1, channels], [rows] or nil. They
	// are nil if the latents are streamed.
	points, variance, labels *tensors.Tensor
	flow                     interpolant.Drift // of a trained teacher
}

// New returns the experiment of a configuration on latents, which it loads unless they are
// streamed, with an untrained map. An error names the first invalid value. Of streamed latents it
// needs the statistics: with [latents.Set.Statistics] before, a pass over a cache that keeps none
// ends with a context.
func New(c Config, l *latents.Set) (*Experiment, error) {
	if err := c.ValidateFor(l); err != nil {
		return nil, err
	}
	s, err := l.Statistics(context.Background(), c.Streamed(l.N, l.Shape()), c.Flip)
	if err != nil {
		return nil, err
	}
	return newExperiment(c, l, s)
}

func newExperiment(c Config, l *latents.Set, s latents.Statistics) (*Experiment, error) {
	m, err := newMap(c, s)
	if err != nil {
		return nil, err
	}
	e := &Experiment{Config: c, Latents: l, Map: m, statistics: s}
	if c.Streamed(l.N, l.Shape()) {
		return e, nil
	}
	if err := l.Load(); err != nil {
		return nil, err
	}
	e.variance = tensors.FromFlatDataAndDimensions(e.statistics.Noise, 1, 1, 1, l.Channels)
	rows, repeat := l.Mean, 2 // an image and its mirror image
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
// network has classes, and a hook that the trainer must have.
func (e *Experiment) Source() (train.Source, train.Hook, error) {
	if e.points == nil {
		source, hook := e.streamed()
		return source, hook, nil
	}
	points, err := train.DataSet(e.points, e.labels)
	if err != nil {
		return nil, train.Hook{}, err
	}
	return func(scope *model.Scope, g *Graph, rng *solver.RNG, n int) (latents, class *Node) {
		latents, class = points(scope, g, rng, n)
		deviation := Sqrt(train.DeviceValue(scope, g, "variance", e.variance))
		return Add(latents, Mul(deviation, rng.Normal(latents.Shape()))), class
	}, train.Hook{}, nil
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

// Teacher returns the drift of the data's distribution, of one class for rows that have one, or nil
// if the latents are streamed. If the configuration names a trained flow, it is that of
// [Experiment.SetTeacher], and nil before.
func (e *Experiment) Teacher() interpolant.Drift {
	if e.Config.Teacher != nil {
		return e.flow
	}
	if e.points == nil {
		return nil
	}
	return func(t, x, class *Node) *Node {
		t, x = ConvertDType(t, dtypes.Float32), ConvertDType(x, dtypes.Float32)
		return e.kernels(x.Graph()).Drift(e.Map.Interpolant, t, x, class)
	}
}
