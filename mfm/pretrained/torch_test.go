package pretrained_test

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/gomlx/core/tensors"

	"github.com/gomfm/gomfm/mfm/checkpoint"
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

// TestReadTorch reads files of testdata/make_references.py, whose elements are their places in the
// storage.
func TestReadTorch(t *testing.T) {
	want := map[string][]float32{
		"matrix": count(24), "transposed": {0, 6, 12, 18, 1, 7, 13, 19}, "column": {2, 8, 14, 20},
		"slice": {6, 8, 10, 12, 14, 16}, "scalar": {7}, "half": count(3), "brain": count(3), "double": count(3),
		"empty": {}, "long": count(3), "parameter": count(5),
	}
	for _, name := range []string{"zip.pt", "legacy.pt"} {
		all, metadata, err := pretrained.Open(filepath.Join("testdata", name))
		if err != nil || metadata != nil {
			t.Fatalf("%s: %v, metadata %v", name, err, metadata)
		}
		if v := all["optimizer_states.0.state.0.exp_avg"]; v == nil || len(all) != len(want)+2 {
			t.Errorf("%s: %d tensors, want %d; optimizer's %v", name, len(all), len(want)+2, v)
		}
		for key, elements := range want {
			v := all["state_dict.model."+key]
			if v == nil {
				t.Errorf("%s: %s is missing", name, key)
				continue
			}
			var got []float32
			switch v.DType() {
			case dtypes.Int64:
				for _, n := range tensors.MustCopyFlatData[int64](v) {
					got = append(got, float32(n))
				}
			default:
				if v.Size() > 0 {
					imported, err := pretrained.Import(checkpoint.Tensors{key: v},
						[]pretrained.Weight{{File: key, Path: key, Shape: v.Shape().Dimensions}})
					if err != nil {
						t.Fatal(err)
					}
					got = tensors.MustCopyFlatData[float32](imported[key])
				}
			}
			if len(got) < len(elements) || !slices.Equal(got[:len(elements)], elements) {
				t.Errorf("%s: %s %s = %v, want %v", name, key, v.Shape(), got, elements)
			}
		}
	}
}

// A checkpoint of Lightning has hyperparameters, callbacks and loops of any class beside the
// weights, and a moving average whose names have lost their dots.
func TestReadTorchLightning(t *testing.T) {
	all, _, err := pretrained.Open(filepath.Join("testdata", "lightning.ckpt"))
	if err != nil {
		t.Fatal(err)
	}
	if len(all) != 8 || all["optimizer_states.0.state.0.exp_avg"] == nil {
		t.Errorf("%d tensors, want 8: %v", len(all), all)
	}
	for part, want := range map[string]float32{"net": 0, "model_ema.": 1, "ema": 1, "state_dict.net.": 0} {
		chosen, prefix, err := pretrained.Choose(all, "w", part)
		if err != nil || len(chosen) < 2 {
			t.Errorf("%q: %v of %q: %v", part, chosen, prefix, err)
			continue
		}
		if got := tensors.MustCopyFlatData[float32](chosen["w"])[0]; got != want {
			t.Errorf("%q chooses %q, whose first element is %g, want %g", part, prefix, got, want)
		}
	}
	for _, part := range []string{"", "other", "state_dict"} {
		_, _, err := pretrained.Choose(all, "w", part)
		if err == nil || !strings.Contains(err.Error(), `"state_dict.model_ema." and "state_dict.net."`) {
			t.Errorf("%q: error %v, want the choices", part, err)
		}
	}
}

func count(n int) []float32 {
	values := make([]float32, n)
	for i := range values {
		values[i] = float32(i)
	}
	return values
}
