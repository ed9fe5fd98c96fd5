package latent

import (
	"context"
	"fmt"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/data"
	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/experiment/config"
	"github.com/gomfm/gomfm/mfm/experiment/run"
	"github.com/gomfm/gomfm/mfm/nn"
	"github.com/gomfm/gomfm/mfm/solver"
	"github.com/gomfm/gomfm/mfm/train"
)

// KindAutoencoder is the kind of a run that trained an autoencoder of images.
const KindAutoencoder = "autoencoder"

// AutoencoderConfig is everything that an autoencoder of images depends on besides the images.
type AutoencoderConfig struct {
	Network nn.AutoencoderConfig `json:"network"`
	// KL is the weight of the divergence of the latents' Gaussian posterior from N(0, 1), a mean over
	// the elements of a latent, beside the mean squared error of the pixels.
	KL float64 `json:"kl"`
	// Flip mirrors each image left to right with probability 1/2.
	Flip  bool         `json:"flip"`
	Train train.Config `json:"train"`
}

// DefaultAutoencoder maps images [64, 64, 3] to latents [8, 8, 8] by the network of Stable
// Diffusion's autoencoder with fewer channels and blocks.
func DefaultAutoencoder() AutoencoderConfig {
	c := AutoencoderConfig{
		Network: nn.AutoencoderConfig{
			Images: 3, Latents: 8, Channels: []int{16, 32, 64, 96}, Blocks: 1, Groups: 8, Scale: 1,
		},
		KL: 3e-4, Flip: true, Train: mfm.DefaultTrainConfig().Config,
	}
	c.Train.Batch, c.Train.Steps = 16, 3000
	c.Train.Optimizer.Method, c.Train.Optimizer.Rate = train.Muon, 3e-3
	c.Train.EMA = []float64{0.998}
	return c
}

// AutoencoderPreset returns the configuration of an autoencoder at a scale of [config.Presets]: quick
// is [DefaultAutoencoder], full has ten times the steps. Another name is an error.
func AutoencoderPreset(name string) (AutoencoderConfig, error) {
	c := DefaultAutoencoder()
	switch name {
	case "quick":
	case "full":
		c.Train.Steps *= 10
	default:
		return c, config.UnknownPreset(name)
	}
	return c, nil
}

// Validate returns an error that names the first invalid value.
func (c AutoencoderConfig) Validate() error {
	if err := c.Network.Validate(); err != nil {
		return err
	}
	if !(c.KL >= 0 && c.KL < 1e6) {
		return fmt.Errorf("kl = %g: must not be negative", c.KL)
	}
	return c.Train.Validate()
}

// CheckImages returns an error unless the network takes images of this size.
func (c AutoencoderConfig) CheckImages(images *data.Images) error {
	f := c.Network.Factor()
	switch {
	case images.Channels != c.Network.Images:
		return fmt.Errorf("images of %d channels: network.images = %d", images.Channels, c.Network.Images)
	case images.Height%f != 0 || images.Width%f != 0:
		return fmt.Errorf("images of %dx%d pixels: the autoencoder divides their sides by %d: "+
			"resize them to a multiple of it", images.Height, images.Width, f)
	}
	return images.Validate()
}

// TrainAutoencoder trains an autoencoder on images; see [run.Train]. It returns a store with the
// weights in [train.WeightsScope], and writes the autoencoder in the form of diffusers, with latents
// of unit variance, to the subfolder "autoencoder" of the run.
func TrainAutoencoder(ctx context.Context, b compute.Backend, config AutoencoderConfig, images *data.Images,
	o run.Options) (*model.Store, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	if err := config.CheckImages(images); err != nil {
		return nil, fmt.Errorf("training an autoencoder: %w", err)
	}
	levels := tensors.FromFlatDataAndDimensions(images.Pixels, images.N, images.Height, images.Width, images.Channels)
	source, err := train.DataSet(levels, nil)
	if err != nil {
		return nil, err
	}
	t, err := train.New(b, config.objective(source), config.Train, config)
	if err != nil {
		return nil, err
	}
	o.DataHash = images.Hash()
	if err := run.Train(ctx, t, KindAutoencoder, config, o); err != nil {
		return nil, err
	}
	store, err := run.Store(t)
	if err != nil || o.Dir == "" {
		return store, err
	}
	return store, config.export(ctx, b, store, images, o)
}

// objective returns the negative evidence lower bound of a batch with a weighted divergence: the mean
// squared error of the pixels, in [-1, 1], of a latent from the posterior, plus KL times
//
//	KL(N(μ, σ²) | N(0, 1)) = (μ² + σ² - 1)/2 - log σ.
func (c AutoencoderConfig) objective(source train.Source) train.Objective {
	network := nn.Autoencoder{AutoencoderConfig: c.Network}
	return func(weights, data *model.Scope, rng *solver.RNG, step *Node) train.Terms {
		levels, _ := source(data, step.Graph(), rng, c.Train.Batch)
		x := unit(levels)
		if c.Flip {
			flip := LessThan(rng.Uniform(shapes.Make(x.DType(), c.Train.Batch, 1, 1, 1)), Scalar(x.Graph(), x.DType(), 0.5))
			x = Where(BroadcastToShape(flip, shapes.Make(dtypes.Bool, x.Shape().Dimensions...)), Reverse(x, 2), x)
		}
		scope := weights.ResetVisited()
		mean, logVariance := network.Encode(scope, x)
		z := Add(mean, Mul(Exp(MulScalar(logVariance, 0.5)), rng.Normal(mean.Shape())))
		mse := ReduceAllMean(Square(Sub(network.Decode(scope, network.Normalize(z)), x)))
		divergence := ReduceAllMean(Sub(Add(Square(mean), Exp(logVariance)), OnePlus(logVariance)))
		divergence = MulScalar(divergence, 0.5)
		return train.Terms{Total: Add(mse, MulScalar(divergence, c.KL)), Metrics: []train.Metric{
			{Name: "mse", Value: mse}, {Name: "kl", Value: divergence},
		}}
	}
}

// unit maps levels of gray, 0 to 255, to [-1, 1].
func unit(levels *Node) *Node {
	return AddScalar(MulScalar(ConvertDType(levels, dtypes.Float32), 2./255), -1)
}
