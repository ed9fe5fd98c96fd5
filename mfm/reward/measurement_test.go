package reward_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm/reward"
)

// The blocks of an image of 7x5 pixels and 2 channels are the rows 0-1, 2-3 and 4-6 by the columns
// 0-1 and 2-4. Reward, its gradient and Measure agree with their averages.
func TestBlockAverage(t *testing.T) {
	const height, width, channels = 7, 5, 2
	r := reward.BlockAverage{Rows: 3, Columns: 2, Y: []float64{0.1, -0.3, 0.5, 0, 1, -1}, Sigma: 0.4}
	measure := func(x []float64) (y []float64) {
		for _, rows := range [][2]int{{0, 2}, {2, 4}, {4, 7}} {
			for _, columns := range [][2]int{{0, 2}, {2, 5}} {
				sum, n := 0.0, 0.0
				for i := rows[0]; i < rows[1]; i++ {
					for j := columns[0]; j < columns[1]; j++ {
						sum, n = sum+x[(i*width+j)*channels]+x[(i*width+j)*channels+1], n+2
					}
				}
				y = append(y, sum/n)
			}
		}
		return y
	}
	want := func(x []float64) float64 {
		sum := 0.0
		for k, y := range measure(x) {
			sum += (y - r.Y[k]) * (y - r.Y[k])
		}
		return -sum / (2 * 0.4 * 0.4)
	}
	rng := rand.New(rand.NewPCG(1, 3))
	x := make([][]float64, 3)
	for i := range x {
		for range height * width * channels {
			x[i] = append(x[i], float64(float32(rng.NormFloat64())))
		}
	}
	images := reward.Transformed(r.Reward(), func(_ *model.Scope, x *Node) *Node {
		return Reshape(x, -1, height, width, channels)
	})
	values, gradients := evaluate(t, images, x)
	for i := range x {
		if w := want(x[i]); !(math.Abs(values[i]-w) < 1e-10) {
			t.Errorf("image %d: %g, want %g", i, values[i], w)
		}
		for j := range x[i] {
			const h = 1e-5
			up, down := slices.Clone(x[i]), slices.Clone(x[i])
			up[j] += h
			down[j] -= h
			if w := (want(up) - want(down)) / (2 * h); !(math.Abs(gradients[i][j]-w) < 1e-7) {
				t.Errorf("image %d: gradient %d is %g, want %g", i, j, gradients[i][j], w)
			}
		}
		var pixels []float32
		for _, v := range x[i] {
			pixels = append(pixels, float32(v))
		}
		y, err := r.Measure(pixels, height, width, channels)
		if err != nil {
			t.Fatal(err)
		}
		for k, w := range measure(x[i]) {
			if !(math.Abs(y[k]-w) < 1e-12) {
				t.Errorf("image %d: measurement %d is %g, want %g", i, k, y[k], w)
			}
		}
	}
	if _, err := r.Measure(nil, 2, 5, 1); err == nil || !strings.Contains(err.Error(), "rows = 3") {
		t.Errorf("three blocks of two rows: error %v", err)
	}
}

func TestMeasurementsRefuse(t *testing.T) {
	for text, want := range map[string]string{
		`{"kind": "block_average", "rows": 2, "columns": 1, "y": [1], "sigma": 1}`:        "1 measurements y of 2 blocks",
		`{"kind": "block_average", "rows": 0, "columns": 1, "y": [], "sigma": 1}`:         "rows = 0, columns = 1",
		`{"kind": "block_average", "rows": 1, "columns": 9999999, "y": [1], "sigma": 1}`:  "columns = 9999999",
		`{"kind": "block_average", "rows": 1, "columns": 1, "y": [1], "sigma": 0}`:        "sigma = 0 must be positive",
		`{"kind": "block_average", "rows": 1, "columns": 1, "y": [1e39], "sigma": 1}`:     "y[0] = 1e+39 must be a float32",
		`{"kind": "block_average", "rows": 1, "columns": 1, "image": 3, "sigma": 1}`:      "image: unknown key",
		`{"kind": "stroke_mass", "mean": 0, "std": 0, "target": 3, "width": 1}`:           "std = 0 must be positive",
		`{"kind": "stroke_mass", "mean": 0, "std": 1, "target": 3}`:                       "width = 0 must be positive",
		`{"kind": "stroke_mass", "mean": 1e-39, "std": 1, "target": 3, "width": 1}`:       "mean = 1e-39 must be a float32",
		`{"kind": "stroke_mass", "mean": 0, "std": 1, "target": 1e39, "width": 1}`:        "target = 1e+39 must be a float32",
		`{"kind": "sum", "of": [{"kind": "stroke_mass", "mean": 0, "std": 1, "of": []}]}`: "of: unknown key",
	} {
		if _, err := reward.Parse([]byte(text), nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q", text, err, want)
		}
	}
}
