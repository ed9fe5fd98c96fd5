package experiment

import (
	"bytes"
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"math"
	"os"
	"path/filepath"

	"github.com/gomlx/gomlx/core/tensors"

	"github.com/gomfm/gomfm/data"
)

// LoadImages returns images to train on and images held out: the digits in the package where dir is empty ([data.MNIST]), otherwise those in the folder
// dir ([data.LoadMNIST]).
func LoadImages(dir string) (train, heldOut *data.Images, err error) {
	if dir == "" {
		return data.MNIST()
	}
	return data.LoadMNIST(dir)
}

// RunImages returns the images that the run in dir was trained on, and those held out, by [LoadImages].
func RunImages(dir string) (train, heldOut *data.Images, err error) {
	raw, err := os.ReadFile(filepath.Join(dir, configFile))
	if err != nil {
		return nil, nil, fmt.Errorf("run %s: %w", dir, err)
	}
	var m Manifest
	if err := json.Unmarshal(raw, &m); err != nil {
		return nil, nil, fmt.Errorf("run %s: %s: %w", dir, configFile, err)
	}
	return LoadImages(m.Data)
}

// classes returns the labels of images as the graphs take them, int32 [n].
func classes(images *data.Images) *tensors.Tensor {
	labels := make([]int32, images.N)
	for i, l := range images.Labels {
		labels[i] = int32(l)
	}
	return tensors.FromFlatDataAndDimensions(labels, images.N)
}

// strip returns the first images, at most most, side by side as a grey PNG; of more channels than one it shows the first.
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
