package pretrained_test

import (
	"bytes"
	"math"
	"os"
	"testing"

	"github.com/gomlx/compute/dtypes"

	"github.com/gomfm/gomfm/mfm/pretrained"
)

func TestReadTorchRealFiles(t *testing.T) {
	for _, name := range []string{"taef2_encoder.pth", "taef2_decoder.pth"} {
		data, err := os.ReadFile(shared(t, "weights", name))
		if err != nil {
			t.Fatal(err)
		}
		weights, err := pretrained.ReadTorch(bytes.NewReader(data), int64(len(data)))
		if err != nil {
			t.Fatal(err)
		}
		parameters := 0
		for name, w := range weights {
			parameters += w.Size()
			t.Log(name, w.Shape())
			if w.DType() != dtypes.Float16 {
				t.Errorf("%s is %s", name, w.DType())
			}
		}
		if math.Abs(float64(parameters)-1.34e6) > 1e4 {
			t.Errorf("%s: %d parameters, want 1.34 million", name, parameters)
		}
	}
}
