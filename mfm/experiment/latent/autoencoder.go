package latent

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"path/filepath"
	"strings"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/data"
	"github.com/gomfm/gomfm/data/stream"
	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/checkpoint"
	"github.com/gomfm/gomfm/mfm/experiment/config"
	"github.com/gomfm/gomfm/mfm/experiment/latent/latents"
	"github.com/gomfm/gomfm/mfm/experiment/run"
	"github.com/gomfm/gomfm/mfm/nn"
	"github.com/gomfm/gomfm/mfm/pretrained"
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
	Flip bool `json:"flip"`
	// Memory is the largest number of bytes that the pixels of the images may have to be held in
	// memory; more are streamed ([AutoencoderConfig.Streamed]). 0 means [DefaultMemory].
	Memory int64        `json:"memory,omitempty"`
	Train  train.Config `json:"train"`
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

// AutoencoderPreset returns the configuration of an autoencoder at a scale of [config.Presets]:
// quick is [DefaultAutoencoder], full has ten times the steps. Another name is an error.
func AutoencoderPreset(name string) (AutoencoderConfig, error) {
	c := DefaultAutoencoder()
	full, err := config.Full(name)
	if full {
		c.Train.Steps *= 10
	}
	return c, err
}

// Validate returns an error that names the first invalid value.
func (c AutoencoderConfig) Validate() error {
	if err := c.Network.Validate(); err != nil {
		return err
	}
	if !(c.KL >= 0 && c.KL < 1e6) {
		return fmt.Errorf("kl = %g: must lie in [0, 1e6)", c.KL)
	}
	if c.Memory < 0 {
		return fmt.Errorf("memory = %d bytes: must not be negative", c.Memory)
	}
	return c.Train.Validate()
}

// Streamed reports whether n pictures of a size are read from their files in each step: if their
// pixels need more than Memory.
func (c AutoencoderConfig) Streamed(n, height, width int) bool {
	return 3*int64(n)*int64(height)*int64(width) > cmp.Or(c.Memory, DefaultMemory)
}

// CheckImages returns an error unless the network takes images of this size.
func (c AutoencoderConfig) CheckImages(images *data.Images) error {
	return cmp.Or(c.checkSize(images.Height, images.Width, images.Channels), images.Validate())
}

func (c AutoencoderConfig) checkSize(height, width, channels int) error {
	return checkSize(c.Network.Factor(), c.Network.Images, height, width, channels)
}

// checkSize returns an error unless an autoencoder that divides the sides of images of want
// channels by f takes images of a size.
func checkSize(f, want, height, width, channels int) error {
	switch {
	case channels != want:
		return fmt.Errorf("images of %d channels: network.images = %d: use an autoencoder for %[1]d; picture files have 3, "+
			"also gray ones", channels, want)
	case height%f != 0 || width%f != 0:
		return fmt.Errorf("%w: images of %dx%d pixels: the autoencoder divides their sides by %d: "+
			"resize them to a multiple of it", data.ErrSize, height, width, f)
	}
	return nil
}

// CheckFiles returns an error unless the network takes the pictures and the training streams them.
func (c AutoencoderConfig) CheckFiles(f Files) error {
	if c.Train.Accumulate != 1 {
		return fmt.Errorf("train.accumulate = %d: use 1 for pictures that are streamed, and larger batches",
			c.Train.Accumulate)
	}
	_, err := stream.NewLoader(f.Set, c.loader(f))
	return cmp.Or(c.Validate(), c.checkSize(f.shape()), err)
}

// loader describes the batches of a streamed training.
func (c AutoencoderConfig) loader(f Files) stream.Config {
	return stream.Config{
		Height: f.Height, Width: f.Width, Batch: c.Train.Batch, Seed: uint64(c.Train.Seed), Flip: c.Flip,
		Workers: f.Workers, MaxBad: f.MaxBad,
	}
}

// TrainAutoencoder trains an autoencoder on images; see [run.Train]. It returns a store with the
// weights in [train.WeightsScope], and writes the autoencoder in the form of diffusers, with
// latents of unit variance, to the subfolder "autoencoder" of the run.
func TrainAutoencoder(ctx context.Context, b compute.Backend, config AutoencoderConfig, images *data.Images,
	o run.Options) (*model.Store, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	if err := config.CheckImages(images); err != nil {
		return nil, fmt.Errorf("training an autoencoder: %w", err)
	}
	levels := tensors.FromFlatDataAndDimensions(images.Pixels, images.N, images.Height, images.Width, images.Channels)
	set, err := train.DataSet(levels, nil)
	if err != nil {
		return nil, err
	}
	pixels := func(scope *model.Scope, g *Graph, rng *solver.RNG, n int) (x, class *Node) {
		levels, _ := set(scope, g, rng, n)
		return unit(levels), nil
	}
	o.DataHash = images.Hash()
	return config.train(ctx, b, pixels, config.Flip, train.Hook{}, inMemory{images}, o)
}

// TrainAutoencoderFiles is [TrainAutoencoder] on picture files, which a [stream.Loader] reads in
// each step, in the order of the training's seed. The latents have unit variance on 4,096 of them
// at random.
func TrainAutoencoderFiles(ctx context.Context, b compute.Backend, config AutoencoderConfig, f Files, o run.Options) (
	*model.Store, error) {
	if err := config.CheckFiles(f); err != nil {
		return nil, fmt.Errorf("training an autoencoder: %w", err)
	}
	loader, err := stream.NewLoader(f.Set, config.loader(f))
	if err != nil {
		return nil, err
	}
	if o.DataHash, err = f.hash(ctx); err != nil {
		return nil, err
	}
	batches := func(ctx context.Context, step int64) (train.HostBatch, error) {
		batch, err := loader.Batch(ctx, step)
		if err != nil {
			return train.HostBatch{}, err
		}
		return train.HostBatch{
			Samples: tensors.FromFlatDataAndDimensions(batch.Pixels, config.Train.Batch, f.Height, f.Width, 3),
		}, nil
	}
	source, hook := train.FromHost(batches, 2)
	end := hook.End
	hook.End = func(t *train.Trainer, err error) {
		end(t, err)
		for _, bad := range loader.Bad() {
			if f.OnBad != nil {
				f.OnBad(bad)
			}
		}
	}
	const most = 4096
	return config.train(ctx, b, source, false, hook, f.random(most), o)
}

// train trains on pixels in [-1, 1], which it flips at random or not, and exports the autoencoder
// with latents of unit variance on the images of measured.
func (c AutoencoderConfig) train(ctx context.Context, b compute.Backend, pixels train.Source, flip bool,
	hook train.Hook, measured source, o run.Options) (*model.Store, error) {
	t, err := train.New(b, c.objective(pixels, flip), c.Train, c)
	if err != nil {
		return nil, err
	}
	t.AddHook(hook)
	store, err := run.TrainedStore(ctx, t, KindAutoencoder, c, o)
	if err != nil || o.Dir == "" {
		return store, err
	}
	return store, c.export(ctx, b, store, measured, o)
}

// export writes the autoencoder of a trained run in the form of diffusers, with latents of unit
// variance on the images of measured.
func (c AutoencoderConfig) export(ctx context.Context, b compute.Backend, store *model.Store, measured source,
	o run.Options) error {
	weights, err := run.Weights(store)
	if err != nil {
		return err
	}
	named := make(checkpoint.Tensors, len(weights))
	for path, w := range weights {
		named[strings.TrimPrefix(path, "/")] = w
	}
	a := nn.Autoencoder{AutoencoderConfig: c.Network}
	a.Scale, a.Shift = 1, 0
	codec, err := newCodec(b, a, store, weights)
	if err != nil {
		return err
	}
	defer codec.Finalize()
	var n, sum, squares float64
	err = codec.encode(ctx, measured, 0, func(e latents.Chunk) error {
		e.Each(func(moments []float32, _ int32) {
			size := len(moments) / 4
			for i := range 2 * size {
				at := i%size + i/size*2*size
				mean, std := float64(moments[at]), float64(moments[at+size])
				n, sum, squares = n+1, sum+mean, squares+mean*mean+std*std
			}
		})
		return nil
	})
	if err != nil {
		return err
	}
	a.Scale = 1 / math.Sqrt(squares/n-sum/n*sum/n)
	a.Scale = math.Round(a.Scale*1e5) / 1e5
	height, _, _ := measured.shape()
	return pretrained.WriteAutoencoder(filepath.Join(o.Dir, exported), a, named, height,
		map[string]string{"command": o.Command})
}

// objective returns the negative evidence lower bound of a batch with a weighted divergence: the
// mean squared error of the pixels, in [-1, 1], of a latent from the posterior, plus KL times
//
//	KL(N(μ, σ²) | N(0, 1)) = (μ² + σ² - 1)/2 - log σ.
func (c AutoencoderConfig) objective(pixels train.Source, flip bool) train.Objective {
	network := nn.Autoencoder{AutoencoderConfig: c.Network}
	return func(weights, data *model.Scope, rng *solver.RNG, step *Node) train.Terms {
		x, _ := pixels(data, step.Graph(), rng, c.Train.Batch)
		if flip {
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
