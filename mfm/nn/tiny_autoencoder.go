package nn

import (
	"fmt"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"
	. "github.com/gomlx/gomlx/support/exceptions"

	"github.com/gomfm/gomfm/mfm/nn/layer"
)

// TinyAutoencoder is an autoencoder of the TAESD family (madebyollin/taesd), about a thirtieth of
// the size of the [Autoencoder] whose latents it shares: convolutions of 64 channels with ReLU,
// sides divided by 8. It has no log variance, and its latents are normalized already. Start from
// [FLUX2TinyAutoencoder].
type TinyAutoencoder struct {
	Images  int `json:"images"`  // channels of the images
	Latents int `json:"latents"` // channels of the latents: 4 of Stable Diffusion, 16 of FLUX.1, 32 of FLUX.2
	// MiddleNorm adds a branch with a group norm to the blocks at the coarsest level.
	MiddleNorm bool `json:"middle_norm,omitempty"`
	// Checkpoint recomputes the activations of each stage of the decoder in the backward pass.
	Checkpoint bool `json:"checkpoint,omitempty"`
	// Tile is that of [Autoencoder], with an overlap of an eighth as for diffusers'
	// AutoencoderTiny, whose tile is 512. The weights of the blending are those of AutoencoderKL.
	// It must be a multiple of 64.
	Tile int `json:"tile,omitempty"`
}

// The sizes of the TAESD family.
const (
	tinyChannels    = 64
	tinyLevels      = 4
	tinyBlocks      = 3 // a level, but one at the finest
	tinyGroups      = 4
	tinyBranch      = 4 * tinyChannels
	tinySaturation  = 3 // latents are squashed into [-3, 3]
	tinyNormEpsilon = 1e-5
	tinyOverlap     = 8 // overlaps in the side of a tile
)

// FLUX2TinyAutoencoder returns the configuration of taef2, for the latents of FLUX.2.
func FLUX2TinyAutoencoder() TinyAutoencoder {
	return TinyAutoencoder{Images: 3, Latents: 32, MiddleNorm: true, Checkpoint: true}
}

// Validate returns an error that names the first invalid field.
func (a TinyAutoencoder) Validate() error {
	if a.Images < 1 || a.Latents < 1 {
		return fmt.Errorf("tiny autoencoder: images and latents must be positive, got %d and %d", a.Images, a.Latents)
	}
	return checkTile("tiny autoencoder", a.Tile, tinyOverlap*a.Factor())
}

// Factor returns 8.
func (a TinyAutoencoder) Factor() int { return 1 << (tinyLevels - 1) }

// LatentChannels returns Latents.
func (a TinyAutoencoder) LatentChannels() int { return a.Latents }

// Latent returns the latents [batch, h/8, w/8, latents] of images [batch, h, w, images] in [-1, 1].
// It panics unless 8 divides the sides.
func (a TinyAutoencoder) Latent(scope *model.Scope, images *Node) *Node {
	must(a.Validate())
	layer.CheckSides("TinyAutoencoder", images, 1, tinyLevels)
	return tiles{a.Tile, tinyOverlap}.apply(scope, images, 1, a.Factor(), a.encode)
}

// encode returns the latents of images or of a tile.
func (a TinyAutoencoder) encode(scope *model.Scope, images *Node) *Node {
	t := tiny{scope.In("encoder")}
	h := t.convolution("input", MulScalar(OnePlus(images), 0.5), tinyChannels, 1, true) // pixels in [0, 1]
	h = t.block("block_0_0", h, false)
	for level := 1; level < tinyLevels; level++ {
		h = t.convolution(fmt.Sprintf("down_%d", level), h, tinyChannels, 2, false)
		for i := range tinyBlocks {
			h = t.block(fmt.Sprintf("block_%d_%d", level, i), h, a.MiddleNorm && level == tinyLevels-1)
		}
	}
	return t.convolution("output", h, a.Latents, 1, true)
}

// Decode returns the images [batch, 8h, 8w, images] of latents [batch, h, w, Latents]. It panics
// with Validate's error, and for other numbers of channels.
func (a TinyAutoencoder) Decode(scope *model.Scope, latents *Node) *Node {
	must(a.Validate())
	if latents.Rank() != 4 || latents.Shape().Dim(3) != a.Latents {
		Panicf("nn.TinyAutoencoder: want latents [batch, height, width, %d], got %s", a.Latents, latents.Shape())
	}
	return tiles{a.Tile / a.Factor(), tinyOverlap}.apply(scope, latents, a.Factor(), 1, a.decode)
}

// decode returns the images of latents or of a tile.
func (a TinyAutoencoder) decode(scope *model.Scope, latents *Node) *Node {
	t := tiny{scope.In("decoder")}
	h := MulScalar(Tanh(MulScalar(latents, 1./tinySaturation)), tinySaturation)
	h = relu(t.convolution("input", h, tinyChannels, 1, true))
	for level := tinyLevels - 1; level > 0; level-- {
		if a.Checkpoint {
			h = h.Checkpoint()
		}
		for i := range tinyBlocks {
			h = t.block(fmt.Sprintf("block_%d_%d", level, i), h, a.MiddleNorm && level == tinyLevels-1)
		}
		h = t.convolution(fmt.Sprintf("up_%d", level), layer.Upsampled(h), tinyChannels, 1, false)
	}
	h = t.convolution("output", t.block("block_0_0", h, false), a.Images, 1, true)
	if a.Checkpoint {
		h = h.StopCheckpoint()
	}
	return AddScalar(MulScalar(h, 2), -1)
}

// tiny is the state of a tiny autoencoder under construction. Level 0 is the finest.
type tiny struct{ scope *model.Scope }

// convolution is a 3x3 convolution with one row and column of zeros on each side.
func (t tiny) convolution(name string, x *Node, channels, stride int, bias bool) *Node {
	scope := t.scope.In("%s", name)
	k := layer.Weights(scope, x, 1, 3, 3, x.Shape().Dim(3), channels)
	var y *Node
	if stride == 1 {
		y = layer.ConvolveSame(x, k, 1)
	} else {
		y = Convolve(x, k).Strides(stride).PaddingPerDim([][2]int{{1, 1}, {1, 1}}).Done()
	}
	if bias {
		y = layer.AddBias(scope, y)
	}
	return y
}

// block returns relu(x + three convolutions with ReLU between them).
func (t tiny) block(name string, x *Node, norm bool) *Node {
	t = tiny{t.scope.In("%s", name)}
	if norm {
		x = Add(x, t.branch(x))
	}
	h := x
	for i := range 3 {
		if i > 0 {
			h = relu(h)
		}
		h = t.convolution(fmt.Sprintf("conv_%d", i), h, tinyChannels, 1, true)
	}
	return relu(Add(h, x))
}

// branch returns a linear layer, group norm, ReLU and a linear layer on each pixel.
func (t tiny) branch(x *Node) *Node {
	in, out := t.scope.In("branch_in"), t.scope.In("branch_out")
	h := Dot(Reshape(x, -1, tinyChannels), layer.Weights(in, x, 1, tinyChannels, tinyBranch)).Product()
	d := x.Shape().Dimensions
	h = layer.AffineGroupNorm(t.scope.In("branch_norm"), Reshape(h, d[0], d[1], d[2], tinyBranch), tinyGroups, tinyNormEpsilon)
	h = Reshape(relu(h), -1, tinyBranch)
	return Reshape(Dot(h, layer.Weights(out, x, 1, tinyBranch, tinyChannels)).Product(), d...)
}

// relu returns max(x, 0).
func relu(x *Node) *Node { return Max(x, ZerosLike(x)) }
