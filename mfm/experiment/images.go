package experiment

import (
	"encoding/json"
	"fmt"
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
