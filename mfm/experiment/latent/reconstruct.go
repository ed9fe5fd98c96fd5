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
	"github.com/gomfm/gomfm/mfm/nn"
	"github.com/gomfm/gomfm/mfm/pretrained"
	"github.com/gomfm/gomfm/mfm/train"
)

// Autoencoder is an autoencoder of any kind with its weights.
type Autoencoder struct {
	nn.LatentCodec
	Images  int                // channels of the images
	Weights checkpoint.Tensors // by their paths below the network's scope
}

// OpenAutoencoder opens the autoencoder in a folder, as [OpenCodec] does, or in a file of
// [pretrained.Converted.Write].
func OpenAutoencoder(path string) (a Autoencoder, err error) {
	if info, err := os.Stat(path); err != nil || info.IsDir() {
		dir, err := codecFolder(path)
		if err != nil {
			return a, err
		}
		network, weights, err := pretrained.OpenAutoencoder(dir)
		return Autoencoder{network, network.Images, weights}, err
	}
	c, err := pretrained.ReadConverted(path)
	if err != nil {
		return a, err
	}
	switch network := c.Config.(type) {
	case nn.AutoencoderConfig:
		a.LatentCodec, a.Images = nn.Autoencoder{AutoencoderConfig: network}, network.Images
	case nn.TinyAutoencoder:
		a.LatentCodec, a.Images = network, network.Images
	default:
		return a, fmt.Errorf("%s has a network of kind %s: give an autoencoder", path, c.Kind)
	}
	a.Weights = make(checkpoint.Tensors, len(c.Weights))
	for name, w := range c.Weights {
		a.Weights[strings.TrimPrefix(name, "/")] = w
	}
	return a, nil
}

// codecFolder returns the subfolder of dir with an autoencoder: that of a run, or one that has the
// name of a release. Without one it returns dir itself; several are an error.
func codecFolder(dir string) (string, error) {
	names, found := []string{exported}, []string(nil)
	for _, r := range pretrained.Releases() {
		if r.Kind == pretrained.AutoencoderKind {
			names = append(names, r.Name)
		}
	}
	for _, name := range names {
		if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
			found = append(found, name)
		}
	}
	switch len(found) {
	case 0:
		return dir, nil
	case 1:
		return filepath.Join(dir, found[0]), nil
	}
	return "", fmt.Errorf("%s has the autoencoders %s: keep one of them", dir, strings.Join(found, " and "))
}

// CheckImages returns an error unless the autoencoder takes the images.
func (a Autoencoder) CheckImages(images *data.Images) error {
	return checkSize(a.Factor(), a.Images, images.Height, images.Width, images.Channels)
}

// Reconstruct returns the images, flat, after a round trip through their latents, without the noise
// of the encoder's Gaussian. It returns an error for images that the autoencoder does not take, or
// when ctx ends.
func (a Autoencoder) Reconstruct(ctx context.Context, b compute.Backend, images *data.Images) (
	pixels []float32, err error) {
	if err := a.CheckImages(images); err != nil {
		return nil, err
	}
	store := model.NewStore()
	if err := pretrained.Load(store, train.WeightsScope, a.Weights); err != nil {
		return nil, err
	}
	exec, err := model.NewExec(b, store, func(root *model.Scope, levels *Node) *Node {
		scope := root.Store().Scope(train.WeightsScope)
		return ClipScalar(a.Decode(scope, a.Latent(scope, unit(levels))), -1, 1)
	})
	if err != nil {
		return nil, fmt.Errorf("preparing the autoencoder: %w", err)
	}
	defer exec.Finalize()
	dim := images.Dim()
	for from := 0; from < images.N; from += chunk {
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("reconstructing images: %w", context.Cause(ctx))
		}
		to, padded := min(from+chunk, images.N), make([]byte, chunk*dim)
		copy(padded, images.Pixels[from*dim:to*dim])
		got, err := mfm.Flat(exec.Call1(
			tensors.FromFlatDataAndDimensions(padded, chunk, images.Height, images.Width, images.Channels)))
		if err != nil {
			return nil, fmt.Errorf("reconstructing images: %w", err)
		}
		pixels = append(pixels, got[:(to-from)*dim]...)
	}
	return pixels, nil
}

// PSNR returns the peak signal-to-noise ratio in decibels of each image after its reconstruction
// ([Codec.Reconstruct], [Autoencoder.Reconstruct]): flat pixels in [-1, 1] of as many images.
func PSNR(reconstructed []float32, images *data.Images) (decibels []float64) {
	dim := images.Dim()
	for from := 0; from < len(images.Pixels); from += dim {
		want := (&data.Images{Pixels: images.Pixels[from : from+dim]}).Float32()
		var sum float64
		for i, v := range reconstructed[from : from+dim] {
			d := float64(v-want[i]) / 2 // of pixels in [0, 1]
			sum += d * d
		}
		decibels = append(decibels, -10*math.Log10(sum/float64(dim)))
	}
	return decibels
}
