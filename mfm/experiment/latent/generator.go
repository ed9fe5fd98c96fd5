package latent

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/gomlx/compute"
	"github.com/gomlx/gomlx/core/tensors"

	"github.com/gomfm/gomfm/data"
	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/train"
)

// Generator samples images: a trained map of latents with its autoencoder. It must not be used by
// several goroutines at once.
type Generator struct {
	mfm.Model
	Config Config
	Codec  *Codec

	backend compute.Backend
	models  *[]map[string]*mfm.Sampler // samplers of each model by their configuration
	model   int                        // index of the generator's own
}

// OpenGenerator opens the map in dir, see [OpenModel], and the autoencoder in dir, see [OpenCodec].
func OpenGenerator(b compute.Backend, dir string) (*Generator, error) {
	m, c, err := OpenModel(dir)
	if err != nil {
		return nil, err
	}
	return NewGenerator(b, m, c, dir)
}

// NewGenerator returns the generator of a map of [OpenModel] with the autoencoder in dir, see
// [OpenCodec]. It moves the map's weights to the device ([train.ToDevice]).
func NewGenerator(b compute.Backend, m mfm.Model, c Config, dir string) (*Generator, error) {
	codec, err := OpenCodec(b, dir)
	if err != nil {
		return nil, err
	}
	if codec.LatentChannels() != m.Shape[2] {
		codec.Finalize()
		return nil, fmt.Errorf("%s: its map is for latents of %d channels, its autoencoder has %d", dir, m.Shape[2],
			codec.LatentChannels())
	}
	if err := train.ToDevice(m.Store(), b); err != nil {
		codec.Finalize()
		return nil, err
	}
	return &Generator{
		Model: m, Config: c, Codec: codec, backend: b, models: &[]map[string]*mfm.Sampler{{}},
	}, nil
}

// With returns a generator of another model with the same autoencoder, such as one with guidance
// ([mfm.Model.Guided]). It shares the graphs that Finalize of either frees.
func (g *Generator) With(m mfm.Model) *Generator {
	other := *g
	other.Model, other.model = m, len(*g.models)
	*g.models = append(*g.models, make(map[string]*mfm.Sampler))
	return &other
}

// Finalize frees the compiled graphs, but not the weights.
func (g *Generator) Finalize() {
	g.Codec.Finalize()
	for _, samplers := range *g.models {
		for _, s := range samplers {
			s.Finalize()
		}
		clear(samplers)
	}
}

// Size returns the height, width and channels of an image.
func (g *Generator) Size() []int {
	return []int{g.Shape[0] * g.Codec.Factor(), g.Shape[1] * g.Codec.Factor(), g.Codec.Images}
}

// Contexts returns the latents of images noised to time t, x_t = α_t noise + β_t mean, flat
// [n, height, width, channels].
func (g *Generator) Contexts(ctx context.Context, images *data.Images, t float64, seed int64) ([]float32, error) {
	x, err := g.latents(ctx, images)
	if err != nil {
		return nil, err
	}
	rng := rand.New(rand.NewPCG(uint64(seed), 0))
	alpha, beta, _, _ := g.Map.Interpolant.At(t)
	for i, z := range x {
		x[i] = float32(alpha*rng.NormFloat64() + beta*float64(z))
	}
	return x, nil
}

// latents returns the means of the latents of images, flat [n, height, width, channels].
func (g *Generator) latents(ctx context.Context, images *data.Images) ([]float32, error) {
	l, err := g.Codec.Latents(ctx, images)
	if err != nil {
		return nil, err
	}
	if !slices.Equal(l.Shape(), g.Shape) {
		return nil, fmt.Errorf("images of %dx%d pixels have latents of shape %v, the map is for %v: give images of %dx%d",
			images.Height, images.Width, l.Shape(), g.Shape, g.Size()[0], g.Size()[1])
	}
	return l.Means(), nil
}

// Posterior returns n images for each context x_t, flat [contexts·n, size] with pixels in [-1, 1]:
// decoded samples of the posterior p_{1|t}(.|x_t). labels are the classes of the contexts, one
// each, or nil. Other arguments and errors are those of [mfm.Sampler.Posterior].
func (g *Generator) Posterior(ctx context.Context, sampling mfm.SamplerConfig, seed int64, t float64, x []float32, n int,
	labels []int32) ([]float32, error) {
	z, err := g.Latents(ctx, sampling, seed, t, x, n, labels)
	if err != nil {
		return nil, err
	}
	return g.Codec.Decode(ctx, z, g.Shape[0], g.Shape[1])
}

// Latents returns the samples of [Generator.Posterior] before they are decoded, flat
// [contexts·n, shape].
func (g *Generator) Latents(ctx context.Context, sampling mfm.SamplerConfig, seed int64, t float64, x []float32, n int,
	labels []int32) ([]float32, error) {
	sampler, err := g.sampler(sampling)
	if err != nil {
		return nil, err
	}
	return mfm.Flat(sampler.Posterior(ctx, seed, t, States(x, g.Shape), n, labels))
}

// sampler returns the sampler of the generator's own model with a configuration.
func (g *Generator) sampler(sampling mfm.SamplerConfig) (*mfm.Sampler, error) {
	samplers, key := (*g.models)[g.model], fmt.Sprintf("%+v", sampling)
	if samplers[key] == nil {
		sampler, err := mfm.NewSampler(g.backend, g.Model, sampling)
		if err != nil {
			return nil, err
		}
		samplers[key] = sampler
	}
	return samplers[key], nil
}

// Images returns one image for each label, flat [labels, size]: samples of the classes at t = 0.
// Nil labels are an error for a map with classes; the label [mfm.Model.Classes] means any class.
func (g *Generator) Images(ctx context.Context, sampling mfm.SamplerConfig, seed int64, labels []int32) ([]float32, error) {
	if len(labels) == 0 {
		return nil, fmt.Errorf("generating images: give labels, %d for any class", g.Classes)
	}
	x := make([]float32, len(labels)*g.Elements())
	return g.Posterior(ctx, sampling, seed, 0, x, 1, labels)
}

// States returns latents, flat, as states of a sampler, float32 [n, shape].
func States(flat []float32, shape []int) *tensors.Tensor {
	size := 1
	for _, d := range shape {
		size *= d
	}
	return tensors.FromFlatDataAndDimensions(flat, append([]int{len(flat) / size}, shape...)...)
}
