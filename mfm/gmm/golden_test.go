package gmm_test

import (
	"encoding/binary"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/gomfm/gomfm/mfm/gmm"
)

// readGolden returns the float64 tensors of a safetensors file of reference values, flat and by
// name.
func readGolden(t *testing.T, name string) map[string][]float64 {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "interpolant", "testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	size := binary.LittleEndian.Uint64(data)
	var header map[string]struct {
		DType   string   `json:"dtype"`
		Offsets [2]int64 `json:"data_offsets"`
	}
	if err := json.Unmarshal(data[8:8+size], &header); err != nil {
		t.Fatal(err)
	}
	out := make(map[string][]float64)
	for key, tensor := range header {
		if tensor.DType != "F64" {
			continue
		}
		raw := data[8+size:][tensor.Offsets[0]:tensor.Offsets[1]]
		for i := 0; i < len(raw); i += 8 {
			out[key] = append(out[key], math.Float64frombits(binary.LittleEndian.Uint64(raw[i:])))
		}
	}
	return out
}

// goldenMixture returns the isotropic mixture of glass_2d: mu [3, 2], std [3], log_weight [3] up to
// a constant.
func goldenMixture(t *testing.T, tensors map[string][]float64) *gmm.Mixture {
	t.Helper()
	var weights []float64
	var covariances [][][]float64
	for i, l := range tensors["log_weight"] {
		v := tensors["std"][i] * tensors["std"][i]
		weights = append(weights, math.Exp(l))
		covariances = append(covariances, [][]float64{{v, 0}, {0, v}})
	}
	return must(t, weights, pairs(tensors["mu"]), covariances)
}

func pairs(flat []float64) [][]float64 {
	out := make([][]float64, len(flat)/2)
	for i := range out {
		out[i] = flat[2*i : 2*i+2]
	}
	return out
}
