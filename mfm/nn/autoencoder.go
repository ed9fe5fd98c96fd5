package nn

import (
	"fmt"
	"math"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"
	. "github.com/gomlx/gomlx/support/exceptions"

	"github.com/gomfm/gomfm/mfm/nn/layer"
)

// AutoencoderConfig describes an [Autoencoder]. Start from [StableDiffusionAutoencoder].
type AutoencoderConfig struct {
	Images   int   `json:"images"`   // channels of the images
	Latents  int   `json:"latents"`  // channels of the latents
	Channels []int `json:"channels"` // channels per level, finest first; sides halve per level
	Blocks   int   `json:"blocks"`   // residual blocks per level of the encoder; the decoder has one more
	Groups   int   `json:"groups"`   // groups of the group norms; must divide all channels
	// Scale and Shift normalize latents: z = (mean - Shift) Scale has about unit variance.
	Scale float64 `json:"scale"`
	Shift float64 `json:"shift"`
	// Checkpoint recomputes the activations of each stage of the decoder in the backward pass.
	Checkpoint bool `json:"checkpoint,omitempty"`
}

// StableDiffusionAutoencoder returns the configuration of the autoencoder of Stable Diffusion 1 and
// 2 (Rombach et al., arXiv 2112.10752), sd-vae-ft-mse and -ema: images [batch, h, w, 3] in [-1, 1],
// latents [batch, h/8, w/8, 4].
func StableDiffusionAutoencoder() AutoencoderConfig {
	return AutoencoderConfig{
		Images: 3, Latents: 4, Channels: []int{128, 256, 512, 512}, Blocks: 2, Groups: 32, Scale: 0.18215,
		Checkpoint: true,
	}
}

// Validate returns an error that names the first invalid field.
func (c AutoencoderConfig) Validate() error {
	for _, f := range []struct {
		name  string
		value int
	}{
		{"images", c.Images}, {"latents", c.Latents}, {"number of levels", len(c.Channels)}, {"blocks", c.Blocks},
		{"groups", c.Groups},
	} {
		if f.value < 1 {
			return fmt.Errorf("autoencoder: %s must be positive, got %d", f.name, f.value)
		}
	}
	if len(c.Channels) > maxDepth || c.Blocks > maxDepth {
		return fmt.Errorf("autoencoder: levels and blocks must be at most %d, got %d and %d", maxDepth, len(c.Channels), c.Blocks)
	}
	for level, channels := range c.Channels {
		if channels < 1 || channels%c.Groups != 0 {
			return fmt.Errorf("autoencoder: %d groups do not divide %d channels at level %d", c.Groups, channels, level)
		}
	}
	if !(c.Scale > 0) || math.IsInf(c.Scale, 0) || math.IsNaN(c.Shift) || math.IsInf(c.Shift, 0) {
		return fmt.Errorf("autoencoder: scale must be positive and shift finite, got %g and %g", c.Scale, c.Shift)
	}
	return nil
}

// Factor returns the side of the square of pixels that one position of a latent stands for.
func (c AutoencoderConfig) Factor() int { return 1 << (len(c.Channels) - 1) }

// LatentChannels returns Latents.
func (c AutoencoderConfig) LatentChannels() int { return c.Latents }

// Autoencoder is the variational autoencoder of latent diffusion: residual blocks at each level,
// one level's sides half of the last one's, and self-attention at the coarsest.
type Autoencoder struct {
	AutoencoderConfig
	// Tile is the side in pixels of the tiles by which larger images are encoded and decoded; 0
	// means whole images. Memory then grows with the tile instead of the image. Neighbors overlap
	// by a quarter of the side, where they are blended linearly, as after enable_tiling of
	// diffusers' AutoencoderKL, whose tile is the sample_size of config.json: 256 or 512. Norms and
	// attention do not see across tiles, so that the results differ from those of the whole. It
	// must be a multiple of 4 f.
	Tile int
}

// autoencoderOverlap is the number of overlaps in the side of a tile.
const autoencoderOverlap = 4

// Validate returns an error that names the first invalid field.
func (a Autoencoder) Validate() error {
	if err := a.AutoencoderConfig.Validate(); err != nil {
		return err
	}
	return checkTile("autoencoder", a.Tile, autoencoderOverlap*a.Factor())
}

// Encode returns the mean and log variance of the Gaussian posterior of the latents of images
// [batch, h, w, images] in [-1, 1]: [batch, h/f, w/f, latents] both, f =
// [AutoencoderConfig.Factor], before Shift and Scale. As in the original the log variance is
// clipped to [-30, 20]. It panics with Validate's error and unless f divides the sides.
func (a Autoencoder) Encode(scope *model.Scope, images *Node) (mean, logVariance *Node) {
	must(a.Validate())
	layer.CheckSides("Autoencoder", images, 1, len(a.Channels))
	moments := tiles{a.Tile, autoencoderOverlap}.apply(scope, images, 1, a.Factor(), a.moments)
	parts := Split(moments, -1, 2)
	return parts[0], ClipScalar(parts[1], -30, 20)
}

// moments returns mean and log variance, concatenated, of images or of a tile.
func (a Autoencoder) moments(scope *model.Scope, images *Node) *Node {
	encoder := autoencoder{a.AutoencoderConfig, scope.In("encoder")}
	h := encoder.convolution("input", images, a.Channels[0])
	for level, channels := range a.Channels {
		for i := range a.Blocks {
			h = encoder.residual(fmt.Sprintf("down_%d_%d", level, i), h, channels)
		}
		if level < len(a.Channels)-1 {
			h = encoder.halved(fmt.Sprintf("down_%d", level), h)
		}
	}
	moments := encoder.output(encoder.middle(h), 2*a.Latents)
	return layer.Dense(scope.In("moments"), moments, 2*a.Latents, 1)
}

// Normalize returns (z - Shift) Scale, the latents that a flow map works on.
func (a Autoencoder) Normalize(z *Node) *Node { return MulScalar(AddScalar(z, -a.Shift), a.Scale) }

// Latent returns the normalized mean of [Autoencoder.Encode].
func (a Autoencoder) Latent(scope *model.Scope, images *Node) *Node {
	mean, _ := a.Encode(scope, images)
	return a.Normalize(mean)
}

// Decode returns the images [batch, h, w, images], in [-1, 1] up to the decoder's error, of
// normalized latents [batch, h/f, w/f, Latents]. It panics with Validate's error, and for other
// numbers of channels.
func (a Autoencoder) Decode(scope *model.Scope, z *Node) *Node {
	must(a.Validate())
	if z.Rank() != 4 || z.Shape().Dim(3) != a.Latents {
		Panicf("nn.Autoencoder: want latents [batch, height, width, %d], got %s", a.Latents, z.Shape())
	}
	return tiles{a.Tile / a.Factor(), autoencoderOverlap}.apply(scope, z, a.Factor(), 1, a.decode)
}

// decode returns the images of latents or of a tile.
func (a Autoencoder) decode(scope *model.Scope, z *Node) *Node {
	h := AddScalar(MulScalar(z, 1/a.Scale), a.Shift)
	h = layer.Dense(scope.In("latents"), h, a.Latents, 1)
	decoder := autoencoder{a.AutoencoderConfig, scope.In("decoder")}
	coarsest := len(a.Channels) - 1
	h = decoder.middle(decoder.stage(decoder.convolution("input", h, a.Channels[coarsest])))
	for level := coarsest; level >= 0; level-- {
		h = decoder.stage(h)
		for i := range a.Blocks + 1 {
			h = decoder.residual(fmt.Sprintf("up_%d_%d", level, i), h, a.Channels[level])
		}
		if level > 0 {
			h = decoder.convolution(fmt.Sprintf("up_%d", level), layer.Upsampled(h), a.Channels[level])
		}
	}
	h = decoder.output(decoder.stage(h), a.Images)
	if a.Checkpoint {
		h = h.StopCheckpoint()
	}
	return h
}

// autoencoder is the state of an encoder or a decoder under construction.
type autoencoder struct {
	AutoencoderConfig
	scope *model.Scope
}

// stage begins a stage whose activations the backward pass recomputes.
func (a autoencoder) stage(h *Node) *Node {
	if a.Checkpoint {
		return h.Checkpoint()
	}
	return h
}

func (a autoencoder) convolution(name string, x *Node, channels int) *Node {
	return layer.Conv(a.scope.In("%s", name), x, channels, 3, 1, 1)
}

// halved is a convolution of stride 2 with a row and a column of zeros after the last, and none
// before the first.
func (a autoencoder) halved(name string, x *Node) *Node {
	channels := x.Shape().Dim(3)
	scope := a.scope.In("%s", name)
	k := layer.Weights(scope, x, 1, 3, 3, channels, channels)
	return layer.AddBias(scope, Convolve(x, k).Strides(2).PaddingPerDim([][2]int{{0, 1}, {0, 1}}).Done())
}

// norm is a group norm with learned gains and biases.
func (a autoencoder) norm(scope *model.Scope, x *Node) *Node {
	return layer.AffineGroupNorm(scope, x, a.Groups, layer.NormEpsilon)
}

// residual returns x plus norm, SiLU and convolution, twice.
func (a autoencoder) residual(name string, x *Node, channels int) *Node {
	scope := a.scope.In("%s", name)
	h := layer.Conv(scope.In("conv_0"), layer.SiLU(a.norm(scope.In("norm_0"), x)), channels, 3, 1, 1)
	h = layer.Conv(scope.In("conv_1"), layer.SiLU(a.norm(scope.In("norm_1"), h)), channels, 3, 1, 1)
	if x.Shape().Dim(3) != channels {
		x = layer.Dense(scope.In("skip"), x, channels, 1)
	}
	return Add(x, h)
}

// middle applies a residual block, self-attention with one head, and a residual block.
func (a autoencoder) middle(h *Node) *Node {
	d := h.Shape().Dimensions
	h = a.residual("middle_0", h, d[3])
	scope := a.scope.In("attention")
	tokens := Reshape(a.norm(scope.In("norm"), h), d[0], d[1]*d[2], d[3])
	part := func(name string) *Node {
		return InsertAxes(layer.Dense(scope.In("%s", name), tokens, d[3], 1), 2)
	}
	mixed := Squeeze(layer.Attend(part("query"), part("key"), part("value")), 2)
	h = Add(h, Reshape(layer.Dense(scope.In("out"), mixed, d[3], 1), d...))
	return a.residual("middle_1", h, d[3])
}

func (a autoencoder) output(h *Node, channels int) *Node {
	return a.convolution("output", layer.SiLU(a.norm(a.scope.In("output_norm"), h)), channels)
}
