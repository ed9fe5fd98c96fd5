package experiment

import (
	"fmt"

	"github.com/gomfm/gomfm/data"
	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/nn"
)

// DigitsConfig is everything that a map of images depends on, but for the images.
type DigitsConfig struct {
	// Interpolant is "linear", "trigonometric" or "vp".
	Interpolant string `json:"interpolant"`
	// Parametrization is "mixture" (a mixture fitted to the images, see [mfm.MixturePrior]), "gaussian" (mean of each pixel, one variance) or "plain".
	Parametrization string `json:"parametrization"`
	// Prior of the parametrization "mixture"; others leave it aside.
	Prior   *PriorConfig    `json:"prior,omitempty"`
	Network nn.UNetConfig   `json:"network"`
	Train   mfm.TrainConfig `json:"train"`
}

// DefaultDigitsConfig is a small UNet on top of a mixture that is fitted to the images, with the semigroup loss from the data set's closed form, for half an hour on two CPU cores. More contexts than under
// uniform laws are near noise, where posteriors are wide and hard to learn.
func DefaultDigitsConfig() DigitsConfig {
	prior := DefaultPrior()
	c := DigitsConfig{Interpolant: "linear", Parametrization: "mixture", Prior: &prior, Network: nn.DefaultUNet(), Train: mfm.DefaultTrainConfig()}
	c.Train.Batch, c.Train.Steps = 64, 12_000
	c.Train.Optimizer.Method, c.Train.Optimizer.Rate, c.Train.Optimizer.Warmup = "muon", 5e-3, 200
	c.Train.EMA = []float64{0.999}
	c.Train.Loss.Distillation = mfm.Teacher
	c.Train.Loss.Times = mfm.TimeSampling{ContextPower: 2, ContextZero: 0.2, StartPower: 1, WholeGap: 0.2}
	return c
}

// Check returns an error that names the first value that makes no sense, on its own or for these images.
func (c DigitsConfig) Check(images *data.Images) error {
	if _, err := interpolant.ByName(c.Interpolant); err != nil {
		return err
	}
	if err := c.Train.Validate(); err != nil {
		return err
	}
	if err := c.Network.Validate(); err != nil {
		return err
	}
	switch c.Parametrization {
	case "mixture":
		if c.Prior == nil {
			return fmt.Errorf("parametrization mixture needs a prior: say how it is fitted")
		}
		if err := c.Prior.check(images); err != nil {
			return err
		}
	case "gaussian", "plain":
	default:
		return fmt.Errorf("parametrization %q is unknown for images: use mixture, gaussian or plain", c.Parametrization)
	}
	return c.checkLoss(images)
}

// parametrization returns the one that a configuration names which was checked.
func (c DigitsConfig) parametrization(images *data.Images) (mfm.Parametrization, error) {
	switch c.Parametrization {
	case "mixture":
		return c.Prior.fit(images)
	case "gaussian":
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

// checkLoss returns an error where the loss asks for what the images or their closed form do not have.
func (c DigitsConfig) checkLoss(images *data.Images) error {
	loss, classes := c.Train.Loss, c.Network.Classes
	if loss.Guidance.Classes != classes {
		return fmt.Errorf("network.classes = %d and train.loss.guidance.classes = %d: they must be one number", classes, loss.Guidance.Classes)
	}
	if classes > 0 {
		if images.Labels == nil {
			return fmt.Errorf("network.classes = %d: the images have no labels", classes)
		}
		if err := images.Validate(); err != nil {
			return err
		}
		if _, err := images.ClassCounts(classes); err != nil {
			return fmt.Errorf("network.classes = %d: %w", classes, err)
		}
		if loss.Distillation == mfm.Teacher {
			return fmt.Errorf("network.classes = %d with a teacher: the data set's closed form knows no classes, use distillation self", classes)
		}
	}
	if loss.Consistency == mfm.Lagrangian && loss.Distillation == mfm.Teacher {
		return fmt.Errorf("the Lagrangian loss needs the drift at the points that the map reaches, where that of a mixture of points grows without bound" +
			" as u goes to 1: use distillation self, or another loss")
	}
	return nil
}
