package latent

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strconv"

	"github.com/gomlx/gomlx/core/tensors"

	"github.com/gomfm/gomfm/data"
	"github.com/gomfm/gomfm/mfm/checkpoint"
)

// Latents are the latents of N images and of their mirror images: Gaussians with diagonal covariance,
// normalized ([nn.Autoencoder.Normalize]).
type Latents struct {
	N, Height, Width, Channels int
	// Mean and Std are the means and standard deviations, [N, 2, Height, Width, Channels]: of an
	// image, then of its mirror image.
	Mean, Std []float32
	Labels    []int32 // of the images, [N], or nil
	// Origin identifies the codec and the images.
	Origin string
}

// Shape returns the shape of one latent, [height, width, channels].
func (l *Latents) Shape() []int { return []int{l.Height, l.Width, l.Channels} }

// Size returns the number of elements of one latent.
func (l *Latents) Size() int { return l.Height * l.Width * l.Channels }

// States returns latents, flat, as states of a sampler, float32 [n, shape].
func States(flat []float32, shape []int) *tensors.Tensor {
	size := 1
	for _, d := range shape {
		size *= d
	}
	return tensors.FromFlatDataAndDimensions(flat, append([]int{len(flat) / size}, shape...)...)
}

// Means returns the means of the images without those of their mirror images, [N, height, width,
// channels].
func (l *Latents) Means() []float32 {
	var means []float32
	for i := range l.N {
		means = append(means, l.Mean[2*i*l.Size():(2*i+1)*l.Size()]...)
	}
	return means
}

// Hash returns a hash of the codec and the images. The latents themselves differ in rounding from one
// machine to another.
func (l *Latents) Hash() string {
	return fmt.Sprintf("%x", sha256.Sum256([]byte(l.Origin)))
}

// originOf identifies a codec and images.
func originOf(c *Codec, images *data.Images) string { return c.Hash + "/" + images.Hash() }

// Cached returns the latents of images from the cache in dir, or [Codec.Latents], which it keeps
// there. An empty dir means no cache. A cache of other images or of another codec is replaced.
func (c *Codec) Cached(ctx context.Context, dir string, images *data.Images) (*Latents, error) {
	if dir == "" {
		return c.Latents(ctx, images)
	}
	path := filepath.Join(dir, "latents.safetensors")
	l, err := ReadLatents(path)
	switch {
	case err == nil && l.Origin == originOf(c, images):
		l.Labels = images.Labels
		return l, nil
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%w: remove it", err)
	}
	if l, err = c.Latents(ctx, images); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	return l, l.Write(path)
}

// Write writes latents, without labels, to a safetensors file.
func (l *Latents) Write(path string) error {
	dims := []int{l.N, 2, l.Height, l.Width, l.Channels}
	return checkpoint.WriteWeights(path, checkpoint.Tensors{
		"mean": tensors.FromFlatDataAndDimensions(l.Mean, dims...), "std": tensors.FromFlatDataAndDimensions(l.Std, dims...),
	}, map[string]string{"origin": l.Origin, "images": strconv.Itoa(l.N)})
}

// ReadLatents reads latents that [Latents.Write] wrote.
func ReadLatents(path string) (*Latents, error) {
	t, metadata, err := checkpoint.ReadWeights(path)
	if err != nil {
		return nil, err
	}
	l := &Latents{Origin: metadata["origin"]}
	for name, to := range map[string]*[]float32{"mean": &l.Mean, "std": &l.Std} {
		value := t[name]
		if value == nil || value.Shape().Rank() != 5 || value.Shape().Dim(1) != 2 || value.Size() == 0 {
			return nil, fmt.Errorf("%s: no latents: tensor %q must be [n, 2, height, width, channels]", path, name)
		}
		d := value.Shape().Dimensions
		if l.N != 0 && !(l.N == d[0] && l.Height == d[2] && l.Width == d[3] && l.Channels == d[4]) {
			return nil, fmt.Errorf("%s: mean and std have different shapes", path)
		}
		l.N, l.Height, l.Width, l.Channels = d[0], d[2], d[3], d[4]
		if *to, err = tensors.CopyFlatData[float32](value); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
	}
	for _, v := range l.Std {
		if !(v >= 0 && float64(v) < math.MaxFloat32) {
			return nil, fmt.Errorf("%s: a standard deviation is %g", path, v)
		}
	}
	return l, nil
}
