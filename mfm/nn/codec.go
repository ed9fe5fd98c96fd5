package nn

import (
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"
)

// LatentCodec maps images to the latents that a flow map works on, and back.
// [Autoencoder] and [TinyAutoencoder] are codecs.
type LatentCodec interface {
	// Latent returns normalized latents [batch, h/f, w/f, channels] of images [batch, h, w, colors] in
	// [-1, 1]: the mean of their distribution, if the codec has one. It panics with Validate's error,
	// and unless f divides the sides.
	Latent(scope *model.Scope, images *Node) *Node
	// Decode returns the images, in [-1, 1] up to its error, of normalized latents. It panics with
	// Validate's error, and unless the latents have LatentChannels channels.
	Decode(scope *model.Scope, latents *Node) *Node
	// Factor is f, the side of the square of pixels that one position of a latent stands for.
	Factor() int
	// LatentChannels is the number of channels of the latents.
	LatentChannels() int
	// Validate returns an error that names the first invalid field.
	Validate() error
}

var _ = []LatentCodec{Autoencoder{}, TinyAutoencoder{}}
