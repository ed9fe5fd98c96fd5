package gmm_test

import (
	"math"
	"runtime"
	"strings"
	"testing"

	"github.com/gomfm/gomfm/mfm/gmm"
)

func TestNewErrors(t *testing.T) {
	nan, inf := math.NaN(), math.Inf(1)
	one, eye := [][]float64{{0, 0}}, [][]float64{{1, 0}, {0, 1}}
	for _, c := range []struct {
		name        string
		weights     []float64
		means       [][]float64
		covariances [][][]float64
		want        string
	}{
		{"nothing", nil, nil, nil, "no components"},
		{"counts", []float64{1}, one, nil, "1 weights, 1 means and 0 covariances"},
		{"zero weight", []float64{0}, one, [][][]float64{eye}, "weight 0 of the mixture is 0"},
		{"negative weight", []float64{-1}, one, [][][]float64{eye}, "weight 0 of the mixture is -1"},
		{"NaN weight", []float64{nan}, one, [][][]float64{eye}, "NaN"},
		{"infinite weight", []float64{inf}, one, [][][]float64{eye}, "+Inf"},
		{"no dimension", []float64{1}, [][]float64{{}}, [][][]float64{{}}, "mean 0 of the mixture is empty"},
		{"ragged means", []float64{1, 1}, [][]float64{{0, 0}, {1}}, [][][]float64{eye, eye},
			"mean 1 of the mixture has 1 entries"},
		{"NaN mean", []float64{1}, [][]float64{{0, nan}}, [][][]float64{eye}, "entry 1 of mean 0"},
		{"huge mean", []float64{1}, [][]float64{{0, 1e200}}, [][][]float64{eye}, "1e+200"},
		{"rows", []float64{1}, one, [][][]float64{{{1, 0}}}, "covariance 0 of the mixture has 1 rows"},
		{"columns", []float64{1}, one, [][][]float64{{{1, 0}, {0}}}, "has 1 entries in row 1"},
		{"NaN covariance", []float64{1}, one, [][][]float64{{{1, 0}, {0, nan}}}, "NaN at (1, 1)"},
		{"asymmetric", []float64{1}, one, [][][]float64{{{1, 0.5}, {0.4, 1}}}, "not symmetric"},
		{"negative variance", []float64{1}, one, [][][]float64{{{1, 0}, {0, -1}}}, "eigenvalue -1"},
		{"indefinite", []float64{1}, one, [][][]float64{{{1, 2}, {2, 1}}}, "eigenvalue -1"},
	} {
		_, err := gmm.New(c.weights, c.means, c.covariances)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one with %q", c.name, err, c.want)
		}
	}
	for name, data := range map[string][][]float64{"empty": nil, "ragged": {{1}, {1, 2}}, "NaN": {{nan}}} {
		if _, err := gmm.Points(data); err == nil {
			t.Errorf("points: no error for %s data", name)
		}
	}
}

func TestWeightsAreNormalized(t *testing.T) {
	zero := [][][]float64{{{0}}, {{0}}}
	for _, w := range [][]float64{{1, 3}, {1e18, 0.7e18}, {1e-300, 3e-300}} {
		m := must(t, w, [][]float64{{0}, {1}}, zero)
		near(t, "weights", m.Weights(), []float64{w[0] / w[1] / (1 + w[0]/w[1]), 1 / (1 + w[0]/w[1])}, 1e-15)
	}
}

// New copies its arguments.
func TestNewCopies(t *testing.T) {
	w, mean, cov := []float64{1}, [][]float64{{1}}, [][][]float64{{{2}}}
	m := must(t, w, mean, cov)
	before := m.LogDensity([]float64{0})
	w[0], mean[0][0], cov[0][0][0] = 5, 5, 5
	if after := m.LogDensity([]float64{0}); after != before {
		t.Errorf("density went from %v to %v", before, after)
	}
}

// Samples have the moments of the mixture, within 4 standard errors (for about 40 numbers).
func TestSampleMoments(t *testing.T) {
	all := regular(t)
	all["degenerate"] = degenerate(t)
	for name, m := range all {
		checkMoments(t, name, m.Sample(newRNG(5), 40000), m, 0)
		trace := 0.0
		for i, row := range m.Covariance() {
			trace += row[i]
		}
		near(t, name+": root mean square deviation", []float64{m.Std()},
			[]float64{math.Sqrt(trace / float64(m.Dim()))}, 1e-14)
	}
}

func TestSampleIsReproducible(t *testing.T) {
	m := gmm.Paper()
	a, b, c := m.Sample(newRNG(1), 3), m.Sample(newRNG(1), 3), m.Sample(newRNG(2), 3)
	for i := range a {
		near(t, "same seed", a[i], b[i], 0)
	}
	if a[0][0] == c[0][0] {
		t.Error("another seed gave the same sample")
	}
}

// A mixture of points as large as MNIST stores no covariances, and its posterior no points.
func TestPointsAreLight(t *testing.T) {
	const n, dim = 9000, 784
	flat := make([]float64, n*dim)
	rng := newRNG(1)
	for i := range flat {
		flat[i] = rng.Float64()
	}
	data := make([][]float64, n)
	for i := range data {
		data[i] = flat[i*dim : (i+1)*dim]
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	m, err := gmm.Points(data)
	if err != nil {
		t.Fatal(err)
	}
	denoised := m.Posterior(linear{}, 0.99, data[17]).Mean()
	runtime.ReadMemStats(&after)
	if bytes := after.TotalAlloc - before.TotalAlloc; bytes > 4<<20 {
		t.Errorf("%d points and a posterior of them use %d bytes, want at most 4 MiB", n, bytes)
	}
	near(t, "denoised", denoised, data[17], 1e-12)
}
