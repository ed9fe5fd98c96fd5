package latent

import (
	"context"
	"fmt"

	"github.com/gomlx/compute"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/data"
	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/checkpoint"
	"github.com/gomfm/gomfm/mfm/experiment/run"
	"github.com/gomfm/gomfm/mfm/nn"
	"github.com/gomfm/gomfm/mfm/pretrained"
	"github.com/gomfm/gomfm/mfm/train"
)

// exported is the subfolder of an autoencoder's run with the autoencoder in the form of diffusers.
const exported = "autoencoder"

// Codec is a trained autoencoder. It must not be used by several goroutines at once.
type Codec struct {
	nn.Autoencoder
	// Dir is the folder that it was opened from, and Hash identifies configuration and weights.
	Dir, Hash string

	encoder, decoder *model.Exec
}

// OpenCodec opens the autoencoder in a folder in the form of diffusers (see
// [pretrained.OpenAutoencoder]), or in its subfolder autoencoder, as in a run, sd-vae-ft-mse or
// sd-vae-ft-ema.
func OpenCodec(b compute.Backend, dir string) (*Codec, error) {
	dir, err := codecFolder(dir)
	if err != nil {
		return nil, err
	}
	a, weights, err := pretrained.OpenAutoencoder(dir)
	if err != nil {
		return nil, err
	}
	store := model.NewStore()
	if err := pretrained.Load(store, train.WeightsScope, weights); err != nil {
		return nil, err
	}
	c, err := newCodec(b, a, store, weights)
	if err != nil {
		return nil, err
	}
	c.Dir = dir
	return c, nil
}

// CheckImages returns an error unless the autoencoder takes the images.
func (c *Codec) CheckImages(images *data.Images) error {
	return AutoencoderConfig{Network: c.AutoencoderConfig}.CheckImages(images)
}

// checkSize is [Codec.CheckImages] for images of a size.
func (c *Codec) checkSize(height, width, channels int) error {
	return AutoencoderConfig{Network: c.AutoencoderConfig}.checkSize(height, width, channels)
}

func newCodec(b compute.Backend, a nn.Autoencoder, store *model.Store, weights checkpoint.Tensors) (*Codec, error) {
	hash, err := hashOf(a, weights)
	if err != nil {
		return nil, err
	}
	c := &Codec{Autoencoder: a, Hash: hash}
	c.encoder, err = model.NewExec(b, store, func(root *model.Scope, levels *Node) []*Node {
		x, a := unit(levels), c.Autoencoder
		scope := root.Store().Scope(train.WeightsScope)
		mean, logVariance := a.Encode(scope, Concatenate([]*Node{x, Reverse(x, 2)}, 0))
		return []*Node{a.Normalize(mean), MulScalar(Exp(MulScalar(logVariance, 0.5)), a.Scale)}
	})
	if err != nil {
		return nil, fmt.Errorf("preparing the encoder: %w", err)
	}
	c.decoder, err = model.NewExec(b, store, func(root *model.Scope, z *Node) *Node {
		return c.Autoencoder.Decode(root.Store().Scope(train.WeightsScope), z)
	})
	if err != nil {
		return nil, fmt.Errorf("preparing the decoder: %w", err)
	}
	return c, nil
}

// CodecHash returns the Hash that [OpenCodec] gives the autoencoder in a folder.
func CodecHash(dir string) (string, error) {
	dir, err := codecFolder(dir)
	if err != nil {
		return "", err
	}
	a, weights, err := pretrained.OpenAutoencoder(dir)
	if err != nil {
		return "", err
	}
	return hashOf(a, weights)
}

func hashOf(a nn.Autoencoder, weights checkpoint.Tensors) (string, error) {
	hash, err := run.HashTensors(weights)
	same := a.AutoencoderConfig
	same.Checkpoint = false // changes no number
	return fmt.Sprintf("%s %+v", hash, same), err
}

// SetTile makes the codec work by tiles ([nn.Autoencoder.Tile]) and on one image at a time, so that
// large images need less memory. Latents, and with them Hash, then differ. It must be called before
// all else, and returns an error if the autoencoder has no such tiles.
func (c *Codec) SetTile(side int) error {
	tiled := c.Autoencoder
	tiled.Tile = side
	if err := tiled.Validate(); err != nil || side == 0 {
		return err
	}
	c.Autoencoder = tiled
	c.Hash = fmt.Sprintf("%s tiles of %d pixels", c.Hash, side)
	return nil
}

// batch is the number of images of a call of the graphs; the last call is padded.
func (c *Codec) batch() int {
	if c.Tile > 0 {
		return 1
	}
	return chunk
}

// Finalize frees the compiled graphs.
func (c *Codec) Finalize() {
	c.encoder.Finalize()
	c.decoder.Finalize()
}

// Decode returns the images, flat, [n, height, width, channels] with pixels in [-1, 1], of latents
// [n, height, width, channels], flat, of height x width positions. Errors are those of
// [Codec.Latents].
func (c *Codec) Decode(ctx context.Context, latents []float32, height, width int) ([]float32, error) {
	size := height * width * c.LatentChannels()
	if size == 0 || len(latents)%size != 0 {
		return nil, fmt.Errorf("decoding: %d values are not a whole number of latents of shape [%d, %d, %d]",
			len(latents), height, width, c.LatentChannels())
	}
	n, chunk := len(latents)/size, c.batch()
	var pixels []float32
	for from := 0; from < n; from += chunk {
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("decoding: %w", context.Cause(ctx))
		}
		batch := make([]float32, chunk*size)
		to := min(from+chunk, n)
		copy(batch, latents[from*size:to*size])
		flat, err := mfm.Flat(c.decoder.Call1(tensors.FromFlatDataAndDimensions(batch, chunk, height, width, c.LatentChannels())))
		if err != nil {
			return nil, fmt.Errorf("decoding: %w", err)
		}
		pixels = append(pixels, flat[:len(flat)/chunk*(to-from)]...)
	}
	for i, v := range pixels {
		pixels[i] = min(max(v, -1), 1)
	}
	return pixels, nil
}

// Reconstruct returns the images after a round trip through the means of their latents, which are
// rounded to float16; see [Codec.Decode].
func (c *Codec) Reconstruct(ctx context.Context, images *data.Images) ([]float32, error) {
	l, err := c.Latents(ctx, images)
	if err != nil {
		return nil, err
	}
	return c.Decode(ctx, l.Means(), l.Height, l.Width)
}
