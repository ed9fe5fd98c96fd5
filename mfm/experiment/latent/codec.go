package latent

import (
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"

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

	encode, decode *model.Exec
}

// OpenCodec opens the autoencoder in a folder in the form of diffusers (see
// [pretrained.OpenAutoencoder]), or in that of a run that trained one.
func OpenCodec(b compute.Backend, dir string) (*Codec, error) {
	if _, err := os.Stat(filepath.Join(dir, exported)); err == nil {
		dir = filepath.Join(dir, exported)
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

func newCodec(b compute.Backend, a nn.Autoencoder, store *model.Store, weights checkpoint.Tensors) (*Codec, error) {
	hash, err := run.HashTensors(weights)
	if err != nil {
		return nil, err
	}
	c := &Codec{Autoencoder: a, Hash: fmt.Sprintf("%s-%g-%g", hash, a.Scale, a.Shift)}
	c.encode, err = model.NewExec(b, store, func(root *model.Scope, levels *Node) []*Node {
		x := unit(levels)
		scope := root.Store().Scope(train.WeightsScope)
		mean, logVariance := a.Encode(scope, Concatenate([]*Node{x, Reverse(x, 2)}, 0))
		return []*Node{a.Normalize(mean), MulScalar(Exp(MulScalar(logVariance, 0.5)), a.Scale)}
	})
	if err != nil {
		return nil, fmt.Errorf("preparing the encoder: %w", err)
	}
	c.decode, err = model.NewExec(b, store, func(root *model.Scope, z *Node) *Node {
		return a.Decode(root.Store().Scope(train.WeightsScope), z)
	})
	if err != nil {
		return nil, fmt.Errorf("preparing the decoder: %w", err)
	}
	return c, nil
}

// Finalize frees the compiled graphs.
func (c *Codec) Finalize() {
	c.encode.Finalize()
	c.decode.Finalize()
}

// chunk is the number of images of a call of the codec's graphs; the last call is padded.
const chunk = 16

// Latents returns the latents of images. It returns an error if the images do not fit, or, between
// two calls of the compiled graph, if ctx has ended.
func (c *Codec) Latents(ctx context.Context, images *data.Images) (*Latents, error) {
	if err := c.CheckImages(images); err != nil {
		return nil, err
	}
	f := c.Factor()
	l := &Latents{
		N: images.N, Height: images.Height / f, Width: images.Width / f, Channels: c.LatentChannels(),
		Labels: images.Labels, Origin: originOf(c, images),
	}
	size := l.Size()
	l.Mean, l.Std = make([]float32, 2*l.N*size), make([]float32, 2*l.N*size)
	for from := 0; from < l.N; from += chunk {
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("encoding images: %w", context.Cause(ctx))
		}
		n := min(chunk, l.N-from)
		levels := make([]byte, chunk*images.Dim())
		copy(levels, images.Pixels[from*images.Dim():(from+n)*images.Dim()])
		out, err := c.encode.Call(
			tensors.FromFlatDataAndDimensions(levels, chunk, images.Height, images.Width, images.Channels))
		if err != nil {
			return nil, fmt.Errorf("encoding images: %w", err)
		}
		for k, to := range [][]float32{l.Mean, l.Std} {
			flat, err := mfm.Flat(out[k], nil)
			if err != nil {
				return nil, fmt.Errorf("encoding images: %w", err)
			}
			for i := range n { // images first, then their mirror images
				copy(to[2*(from+i)*size:], flat[i*size:(i+1)*size])
				copy(to[(2*(from+i)+1)*size:], flat[(chunk+i)*size:(chunk+i+1)*size])
			}
			out[k].MustFinalizeAll()
		}
	}
	return l, nil
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
	n := len(latents) / size
	var pixels []float32
	for from := 0; from < n; from += chunk {
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("decoding: %w", context.Cause(ctx))
		}
		batch := make([]float32, chunk*size)
		to := min(from+chunk, n)
		copy(batch, latents[from*size:to*size])
		flat, err := mfm.Flat(c.decode.Call1(tensors.FromFlatDataAndDimensions(batch, chunk, height, width, c.LatentChannels())))
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

// PSNR returns the peak signal-to-noise ratio in decibels of each image after a round trip through
// the mean of its latents, and the decoded images; see [Codec.Decode].
func (c *Codec) PSNR(ctx context.Context, images *data.Images) (decibels []float64, decoded []float32, err error) {
	l, err := c.Latents(ctx, images)
	if err != nil {
		return nil, nil, err
	}
	if decoded, err = c.Decode(ctx, l.Means(), l.Height, l.Width); err != nil {
		return nil, nil, err
	}
	want, dim := images.Float32(), images.Dim()
	for i := range images.N {
		var sum float64
		for j := i * dim; j < (i+1)*dim; j++ {
			d := float64(decoded[j]-want[j]) / 2 // of pixels in [0, 1]
			sum += d * d
		}
		decibels = append(decibels, -10*math.Log10(sum/float64(dim)))
	}
	return decibels, decoded, nil
}

// export writes the autoencoder of a trained run in the form of diffusers, with latents of unit
// variance on the training images.
func (c AutoencoderConfig) export(ctx context.Context, b compute.Backend, store *model.Store, images *data.Images,
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
	l, err := codec.Latents(ctx, images)
	if err != nil {
		return err
	}
	var sum, squares float64
	for i, v := range l.Mean {
		sum += float64(v)
		squares += float64(v)*float64(v) + float64(l.Std[i])*float64(l.Std[i])
	}
	n := float64(len(l.Mean))
	a.Scale = 1 / math.Sqrt(squares/n-sum/n*sum/n)
	a.Scale = math.Round(a.Scale*1e5) / 1e5
	return pretrained.WriteAutoencoder(filepath.Join(o.Dir, exported), a, named, images.Height,
		map[string]string{"command": o.Command})
}
