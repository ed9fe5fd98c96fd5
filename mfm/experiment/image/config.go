package image

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/gomfm/gomfm/data"
	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/experiment/config"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/nn"
	"github.com/gomfm/gomfm/mfm/train"
)

// Config is everything that a map of images depends on besides the images.
type Config struct {
	Interpolant interpolant.Name `json:"interpolant"`
	// Parametrization is [mfm.MixtureName] (a mixture fitted to the images), [mfm.GaussianName]
	// (the mean of each pixel, one variance) or [mfm.PlainName].
	Parametrization mfm.ParametrizationName `json:"parametrization"`
	// Prior is that of [mfm.MixtureName]; the others do not use it.
	Prior   *PriorConfig `json:"prior,omitempty"`
	Network nn.Network   `json:"network"`
	// ClassNames are the names of the network's classes in the order of their labels, or empty.
	ClassNames []string        `json:"class_names,omitempty"`
	Train      mfm.TrainConfig `json:"train"`
}

// DefaultConfig is a small UNet on top of a mixture fitted to the images, trained by the semigroup
// loss with the drift of the empirical distribution as the teacher, for 25 minutes on two CPU
// cores. More contexts are near noise than with uniform times, since posteriors are wide and hard
// to learn there.
func DefaultConfig() Config {
	prior := DefaultPrior()
	c := Config{
		Interpolant: interpolant.LinearName, Parametrization: mfm.MixtureName, Prior: &prior,
		Network: nn.NewNetwork(nn.DefaultUNet()), Train: mfm.DefaultTrainConfig(),
	}
	c.Train.Batch, c.Train.Steps = 64, 12_000
	c.Train.Optimizer.Method, c.Train.Optimizer.Rate, c.Train.Optimizer.Warmup = train.Muon, 5e-3, 200
	c.Train.EMA = []float64{0.999}
	c.Train.Loss = mfm.Recipe(mfm.Semigroup, mfm.Teacher, c.Train.Steps)
	c.Train.Loss.Times = mfm.TimeSampling{ContextPower: 2, ContextZero: 0.2, StartPower: 1, WholeGap: 0.2}
	return c
}

// SetClasses conditions the map on the labels of the images: its UNet or DiT, with the names of the
// classes if the images have them. A tenth of the labels is dropped, so that the map also samples
// all classes together. The labels of held-out images of the same classes count too. It returns an
// error for images without labels or of one class, for a class without training images, and for
// another network without classes.
func (c *Config) SetClasses(images, heldOut *data.Images) error {
	n := max(images.Classes(), heldOut.Classes(), len(images.Names))
	if images.Labels == nil {
		return fmt.Errorf("the images have no labels: give a subfolder for each class, or a file of labels, or train " +
			"without classes")
	}
	counts, err := images.ClassCounts(n)
	if err != nil {
		return err
	}
	switch empty := slices.Index(counts, 0); {
	case n == 1:
		return fmt.Errorf("all images have one class: train without classes")
	case empty >= 0 && empty < len(images.Names):
		return fmt.Errorf("class %q has no images to train on: give it more", images.Names[empty])
	case empty >= 0:
		return fmt.Errorf("class %d of %d has no images to train on: number the classes from 0 without gaps, and give "+
			"each more than one image", empty, n)
	}
	if c.Network.Architecture != nil && c.Network.ClassCount() == 0 {
		switch network := c.Network.Architecture.(type) {
		case nn.UNetConfig:
			network.Classes = n
			c.Network.Architecture = network
		case nn.DiTConfig:
			network.Classes = n
			c.Network.Architecture = network
		default:
			return fmt.Errorf("network %s: set its classes to %d", network.Kind(), n)
		}
	}
	if g := &c.Train.Loss.Guidance; g.Classes == 0 {
		g.Classes, g.Dropout = n, cmp.Or(g.Dropout, 0.1)
	}
	c.ClassNames = images.Names
	return nil
}

// Validate returns an error that names the first value that is invalid in itself or for the images.
func (c Config) Validate(images *data.Images) error {
	if _, err := c.Interpolant.Schedule(); err != nil {
		return err
	}
	if err := c.Train.Validate(); err != nil {
		return err
	}
	if err := cmp.Or(images.Validate(), c.Network.Validate()); err != nil {
		return err
	}
	if err := c.Network.CheckShape([]int{images.Height, images.Width, images.Channels}); err != nil {
		return fmt.Errorf("%w: %w", data.ErrSize, err)
	}
	switch c.Parametrization {
	case mfm.MixtureName:
		if c.Prior == nil {
			return fmt.Errorf("parametrization %s needs a prior: configure how it is fitted", mfm.MixtureName)
		}
		if err := c.Prior.validate(images); err != nil {
			return err
		}
	case mfm.GaussianName, mfm.PlainName:
	default:
		return fmt.Errorf("parametrization %q is unknown for images: use %s, %s or %s",
			c.Parametrization, mfm.MixtureName, mfm.GaussianName, mfm.PlainName)
	}
	return c.validateLoss(images)
}

// FitParametrization returns the parametrization of a valid configuration, fitted to the images, or
// an error if ctx ends.
func (c Config) FitParametrization(ctx context.Context, images *data.Images) (mfm.Parametrization, error) {
	switch c.Parametrization {
	case mfm.MixtureName:
		return c.Prior.fit(ctx, images, c.Network.ClassCount())
	case mfm.GaussianName:
		mean := images.Mean()
		variance, err := images.Variance(mean)
		if err != nil {
			return nil, err
		}
		g := &mfm.Gaussian{Variance: []float64{variance}}
		for _, m := range mean {
			g.Mean = append(g.Mean, float64(m))
		}
		return g, nil
	}
	return mfm.Plain{}, nil
}

// validateLoss returns an error if the loss needs something that the images or their closed form
// lack.
func (c Config) validateLoss(images *data.Images) error {
	loss, classes := c.Train.Loss, c.Network.ClassCount()
	if loss.Guidance.Classes != classes {
		return fmt.Errorf("network.classes = %d and train.loss.guidance.classes = %d: they must be equal",
			classes, loss.Guidance.Classes)
	}
	if n := len(c.ClassNames); n != 0 && n != classes {
		return fmt.Errorf("network.classes = %d, but class_names has %d names", classes, n)
	}
	if err := c.Network.CheckGuidance(loss.Guidance.Scales); err != nil {
		return fmt.Errorf("train.loss.guidance.scales: %w", err)
	}
	if classes > 0 {
		if images.Labels == nil {
			return fmt.Errorf("network.classes = %d: the images have no labels, load them with their labels", classes)
		}
		if _, err := images.ClassCounts(classes); err != nil {
			return fmt.Errorf("network.classes = %d: %w", classes, err)
		}
	}
	if loss.Consistency == mfm.Lagrangian && loss.Distillation == mfm.Teacher {
		return fmt.Errorf("the Lagrangian loss needs the teacher's drift where the map leads, which for points grows " +
			"without bound as u goes to 1: use distillation self, or another loss")
	}
	return nil
}

// CheckCondition returns an error for a class that a map of this configuration does not have, nil
// for any, and for a guidance, 0 for none, of a map without classes or trained without dropout.
func (c Config) CheckCondition(class *int, guidance float64) error {
	n := c.Network.ClassCount()
	switch {
	case class != nil && (*class < 0 || *class >= n):
		return fmt.Errorf("class = %d: the map has %d classes, numbered from 0", *class, n)
	case guidance != 0 && n == 0:
		return fmt.Errorf("guidance = %g: the map has no classes, use 0", guidance)
	case !(guidance >= 0 && guidance < 1e6):
		return fmt.Errorf("guidance = %g: must be positive, or 0 for none", guidance)
	case guidance != 0 && c.Train.Loss.Guidance.Dropout == 0:
		return fmt.Errorf("guidance = %g: the map was trained with train.loss.guidance.dropout = 0, "+
			"so it has no drift without class to guide from: use 0", guidance)
	}
	return nil
}

// Preset returns the configuration of a map of digits at a scale of [config.Presets]: full is
// [DefaultConfig], quick has 2,000 steps. Another name is an error.
func Preset(name string) (Config, error) {
	c := DefaultConfig()
	full, err := config.Full(name)
	if !full {
		c.Train.Steps = 2000
	}
	return c, err
}
