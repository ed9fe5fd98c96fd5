package experiment

import (
	"fmt"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/data"
	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/gmm"
	"github.com/gomfm/gomfm/mfm/nn"
)

// DigitsConfig is everything that a map of images depends on, but for the images.
type DigitsConfig struct {
	// Interpolant is "linear", "trigonometric" or "vp".
	Interpolant string `json:"interpolant"`
	// Parametrization is "gaussian" (mean of each pixel, one variance) or "plain".
	Parametrization string          `json:"parametrization"`
	Network         nn.UNetConfig   `json:"network"`
	Train           mfm.TrainConfig `json:"train"`
}

// DefaultDigitsConfig is a small UNet with the semigroup loss from the data set's closed form, for an hour or two on two CPU cores. More contexts than under uniform laws are
// near noise, where posteriors are wide and hard to learn.
func DefaultDigitsConfig() DigitsConfig {
	c := DigitsConfig{Interpolant: "linear", Parametrization: "gaussian", Network: nn.DefaultUNet(), Train: mfm.DefaultTrainConfig()}
	c.Network.Channels = []int{64, 128}
	c.Train.Batch, c.Train.Steps = 64, 8000
	c.Train.Optimizer.Method, c.Train.Optimizer.Rate, c.Train.Optimizer.Warmup = "muon", 5e-3, 200
	c.Train.EMA = []float64{0.999}
	c.Train.Loss.Distillation = mfm.Teacher
	c.Train.Loss.Laws = mfm.Laws{ContextPower: 2, ContextZero: 0.2, StartPower: 1, WholeGap: 0.1}
	return c
}

// Digits is an experiment on images: the data and the map that learns their posteriors. Pixels lie in [-1, 1].
type Digits struct {
	Config DigitsConfig
	Data   *data.Images
	Map    *mfm.Map
	pixels *tensors.Tensor // [n, height, width, channels]
}

// NewDigits returns the experiment that config describes on the given training images, or an error that names the first value that
// makes no sense.
func NewDigits(config DigitsConfig, images *data.Images) (*Digits, error) {
	ip, err := mfm.InterpolantByName(config.Interpolant)
	if err != nil {
		return nil, err
	}
	if err := config.Train.Validate(); err != nil {
		return nil, err
	}
	if err := config.Network.Validate(); err != nil {
		return nil, err
	}
	if err := config.checkLoss(images); err != nil {
		return nil, err
	}
	var p mfm.Parametrization
	switch config.Parametrization {
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
		p = g
	case "plain":
		p = mfm.Plain{}
	default:
		return nil, fmt.Errorf("parametrization %q is unknown for images: use gaussian or plain", config.Parametrization)
	}
	return &Digits{
		Config: config,
		Data:   images,
		Map:    &mfm.Map{Interpolant: ip, Backbone: nn.UNet(config.Network), Parametrization: p},
		pixels: tensors.FromFlatDataAndDimensions(images.Float32(), images.N, images.Height, images.Width, images.Channels),
	}, nil
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

// Shape returns the shape of one image, [height, width, channels].
func (e *Digits) Shape() []int { return []int{e.Data.Height, e.Data.Width, e.Data.Channels} }

// Source draws images inside the training step, with their classes where the network has classes.
func (e *Digits) Source() (mfm.Source, error) {
	if e.Config.Network.Classes == 0 {
		return mfm.DataSet(e.pixels, nil)
	}
	return mfm.DataSet(e.pixels, classes(e.Data))
}

// Empirical returns the empirical law, the training images as a mixture of points, whose posteriors are exact.
func (e *Digits) Empirical() (*gmm.Mixture, error) {
	return gmm.Points(mfm.Rows(e.Data.Float32(), e.Data.Dim()))
}

// Teacher is the drift of the empirical law, the data set as a mixture of points: the exact posterior mean is a softmax over the images.
func (e *Digits) Teacher() mfm.Drift {
	return func(t, x, _ *Node) *Node {
		g := t.Graph()
		points := mfm.DeviceValue(model.GetStore(g).Scope(mfm.DataScope), g, "samples", e.pixels)
		flat := Reshape(x, x.Shape().Dim(0), -1)
		b := gmm.PointsDrift(e.Map.Interpolant, Reshape(points, points.Shape().Dim(0), -1), t, flat)
		return Reshape(b, x.Shape().Dimensions...)
	}
}
