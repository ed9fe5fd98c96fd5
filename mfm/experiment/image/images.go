package image

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"math"

	"github.com/gomlx/gomlx/core/tensors"

	"github.com/gomfm/gomfm/data"
)

// Load returns images to train on and held-out images: those in the folder dir ([data.LoadMNIST]),
// or the digits of package data if dir is empty ([data.MNIST]).
func Load(dir string) (train, heldOut *data.Images, err error) {
	if dir == "" {
		return data.MNIST()
	}
	return data.LoadMNIST(dir)
}

// pixels returns images as a tensor, [n, height, width, channels].
func pixels(images *data.Images) *tensors.Tensor {
	return tensors.FromFlatDataAndDimensions(images.Float32(), images.N, images.Height, images.Width, images.Channels)
}

// classes returns the labels of images as a tensor, int32 [n].
func classes(images *data.Images) *tensors.Tensor {
	return tensors.FromFlatDataAndDimensions(images.Labels, images.N)
}

// strip returns the first images, at most most of them, side by side as a gray PNG of their first
// channel.
func strip(pixels []float32, shape []int, most int) ([]byte, error) {
	height, width, channels := shape[0], shape[1], shape[2]
	n := min(most, len(pixels)/(height*width*channels))
	picture := image.NewGray(image.Rect(0, 0, n*width, height))
	for i := range n {
		for y := range height {
			for x := range width {
				v := float64(pixels[((i*height+y)*width+x)*channels])
				picture.SetGray(i*width+x, y, color.Gray{Y: uint8(math.Round(min(max((v+1)/2, 0), 1) * 255))})
			}
		}
	}
	var out bytes.Buffer
	if err := png.Encode(&out, picture); err != nil {
		return nil, fmt.Errorf("encoding images: %w", err)
	}
	return out.Bytes(), nil
}
