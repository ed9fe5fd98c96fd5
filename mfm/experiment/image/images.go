package image

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"math"

	"github.com/gomlx/gomlx/core/tensors"

	"github.com/gomfm/gomfm/data"
	"github.com/gomfm/gomfm/data/stream"
	"github.com/gomfm/gomfm/mfm/train"
)

// Load returns images to train on and held-out images: those at a location in the form of
// [data.ParseLocation], or the digits of package data if it is empty. See [data.Load].
func Load(location string) (train, heldOut *data.Images, err error) {
	l, err := data.ParseLocation(location)
	if err != nil {
		return nil, nil, err
	}
	return data.Load(l)
}

// Batches returns the batches of l as those of a training, for [train.FromHost]: samples
// [batch, height, width, 3] in [-1, 1] and classes [batch], or nil without labels.
func Batches(l *stream.Loader) train.Loader {
	return func(ctx context.Context, step int64) (train.HostBatch, error) {
		b, err := l.Batch(ctx, step)
		if err != nil {
			return train.HostBatch{}, err
		}
		c := l.Config()
		h := train.HostBatch{Samples: tensors.FromFlatDataAndDimensions(b.Pixels, c.Batch, c.Height, c.Width, 3)}
		if b.Labels != nil {
			h.Classes = tensors.FromFlatDataAndDimensions(b.Labels, c.Batch)
		}
		return h, nil
	}
}

// pixels returns images as a tensor, [n, height, width, channels].
func pixels(images *data.Images) *tensors.Tensor {
	return tensors.FromFlatDataAndDimensions(images.Float32(), images.N, images.Height, images.Width, images.Channels)
}

// classes returns the labels of images as a tensor, int32 [n].
func classes(images *data.Images) *tensors.Tensor {
	return tensors.FromFlatDataAndDimensions(images.Labels, images.N)
}

// strip returns the first images, at most most of them, side by side as a PNG: in color if they
// have three channels, else the first channel in gray.
func strip(pixels []float32, shape []int, most int) ([]byte, error) {
	height, width, channels := shape[0], shape[1], shape[2]
	n := min(most, len(pixels)/(height*width*channels))
	var picture draw.Image = image.NewGray(image.Rect(0, 0, n*width, height))
	if channels == 3 {
		picture = image.NewRGBA(picture.Bounds())
	}
	for i := range n * height * width {
		level := func(channel int) uint8 {
			v := float64(pixels[i*channels+channel])
			return uint8(math.Round(min(max((v+1)/2, 0), 1) * 255))
		}
		c := color.RGBA{R: level(0), G: level(0), B: level(0), A: 0xff}
		if channels == 3 {
			c.G, c.B = level(1), level(2)
		}
		picture.Set(i/(height*width)*width+i%width, i/width%height, c)
	}
	var out bytes.Buffer
	if err := png.Encode(&out, picture); err != nil {
		return nil, fmt.Errorf("encoding images: %w", err)
	}
	return out.Bytes(), nil
}

// Count returns the number of images of a width that lie side by side in a result's Images.
func Count(strip []byte, width int) (int, error) {
	size, err := png.DecodeConfig(bytes.NewReader(strip))
	if err != nil {
		return 0, fmt.Errorf("decoding images: %w", err)
	}
	if width < 1 || size.Width%width != 0 {
		return 0, fmt.Errorf("decoding images: a strip %d pixels wide has no images of width %d", size.Width, width)
	}
	return size.Width / width, nil
}

// Unstrip returns the first n images, of the given shape [height, width, channels], of a result's
// Images as they are shown: pixels in [-1, 1], [n, height, width, 1], or [n, height, width, 3] if
// they have three channels. It returns an error if there are fewer images, or if they are not of
// this size.
func Unstrip(strip []byte, shape []int, n int) ([]float32, error) {
	size, err := png.DecodeConfig(bytes.NewReader(strip))
	if err != nil {
		return nil, fmt.Errorf("decoding images: %w", err)
	}
	height, width := shape[0], shape[1]
	// A PNG has at most 8 * 1032 pixels in a byte; a damaged size must not cause a large allocation.
	if size.Height != height || size.Width%width != 0 || size.Width < n*width || size.Width/8/1032 > len(strip)/height {
		return nil, fmt.Errorf("decoding images: a strip of %dx%d pixels in %d bytes, want %d images of %dx%d or more",
			size.Height, size.Width, len(strip), n, height, width)
	}
	picture, err := png.Decode(bytes.NewReader(strip))
	if err != nil {
		return nil, fmt.Errorf("decoding images: %w", err)
	}
	var pixels []float32
	for i := range n * height * width {
		r, g, b, _ := picture.At(i/(height*width)*width+i%width, i/width%height).RGBA()
		levels := []uint32{r, g, b}
		if shape[2] != 3 {
			levels = levels[:1]
		}
		for _, level := range levels {
			pixels = append(pixels, float32(level)/32767.5-1)
		}
	}
	return pixels, nil
}
