package preprocess_test

import (
	"fmt"
	"image"
	"os"
	"path/filepath"
	"testing"

	"github.com/gomlx/gomlx/core/tensors"

	"github.com/gomfm/gomfm/data/imagefile"
	"github.com/gomfm/gomfm/mfm/checkpoint"
	"github.com/gomfm/gomfm/mfm/nn/preprocess"
)

// Prepared PNGs are those of TensorFlow's evaluation.
func TestEfficientNet(t *testing.T) {
	all, _, err := checkpoint.ReadFile(filepath.Join("testdata", "efficientnet.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range pictures {
		raw, err := os.ReadFile(filepath.Join("testdata", name+".png"))
		var picture *image.RGBA
		if err == nil {
			picture, err = imagefile.Decode(raw)
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, size := range []int{16, 40} {
			got := preprocess.EfficientNet(picture, size)
			for i, v := range got {
				got[i] = (v*127.5 + 127.5 - 127) / 128 // as the network converts it
			}
			key := fmt.Sprintf("%s.%d", name, size)
			near(t, key, got, tensors.MustCopyFlatData[float32](all[key]), 1e-5)
		}
	}
}
