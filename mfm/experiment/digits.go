package experiment

import (
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/data"
	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/gmm"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/nn"
	"github.com/gomfm/gomfm/mfm/train"
)

// Digits is an experiment on images: the data and the map that learns their posteriors. Pixels lie in [-1, 1].
type Digits struct {
	Config DigitsConfig
	Data   *data.Images
	Map    *mfm.Map
	pixels *tensors.Tensor // [n, height, width, channels]
}

// NewDigits returns the experiment that config describes on the given training images, or an error that names the first value that
// makes no sense. A mixture is fitted to the images first, which takes seconds.
func NewDigits(config DigitsConfig, images *data.Images) (*Digits, error) {
	return newDigits(config, images, func() (mfm.Parametrization, error) { return config.parametrization(images) })
}

func newDigits(config DigitsConfig, images *data.Images, parametrization func() (mfm.Parametrization, error)) (*Digits, error) {
	if err := config.Check(images); err != nil {
		return nil, err
	}
	if config.Parametrization != "mixture" {
		config.Prior = nil // of which nothing depends
	}
	ip, err := interpolant.ByName(config.Interpolant)
	if err != nil {
		return nil, err
	}
	p, err := parametrization()
	if err != nil {
		return nil, err
	}
	return &Digits{
		Config: config,
		Data:   images,
		Map:    &mfm.Map{Interpolant: ip, Backbone: nn.UNet(config.Network), Parametrization: p},
		pixels: tensors.FromFlatDataAndDimensions(images.Float32(), images.N, images.Height, images.Width, images.Channels),
	}, nil
}

// Shape returns the shape of one image, [height, width, channels].
func (e *Digits) Shape() []int { return []int{e.Data.Height, e.Data.Width, e.Data.Channels} }

// Source draws images inside the training step, with their classes where the network has classes.
func (e *Digits) Source() (train.Source, error) {
	if e.Config.Network.Classes == 0 {
		return train.DataSet(e.pixels, nil)
	}
	return train.DataSet(e.pixels, classes(e.Data))
}

// Empirical returns the empirical law, the training images as a mixture of points, whose posteriors are exact.
func (e *Digits) Empirical() (*gmm.Mixture, error) {
	return gmm.Points(mfm.Rows(e.Data.Float32(), e.Data.Dim()))
}

// Teacher is the drift of the empirical law, the data set as a mixture of points: the exact posterior mean is a softmax over the images.
func (e *Digits) Teacher() interpolant.Drift {
	return func(t, x, _ *Node) *Node {
		g := t.Graph()
		points := train.DeviceValue(model.GetStore(g).Scope(train.DataScope), g, "samples", e.pixels)
		flat := Reshape(x, x.Shape().Dim(0), -1)
		b := gmm.PointsDrift(e.Map.Interpolant, Reshape(points, points.Shape().Dim(0), -1), t, flat)
		return Reshape(b, x.Shape().Dimensions...)
	}
}
