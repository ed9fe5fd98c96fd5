package gmm_test

import (
	"math"
	"testing"

	"gonum.org/v1/gonum/floats"

	"github.com/gomfm/gomfm/mfm/gmm"
)

// tiltings returns measurements in 1, 2 and 4 dimensions.
func tiltings(dim int) (a [][]float64, y []float64, sigma float64) {
	switch dim {
	case 1:
		return [][]float64{{1.5}}, []float64{1}, 0.6
	case 2:
		return [][]float64{{1.2, -0.8}}, []float64{-1}, 0.4
	default:
		return [][]float64{{1, 0, 0.5, 0}, {0, -1, 0, 0.3}}, []float64{0.5, 1}, 0.7
	}
}

func logReward(a [][]float64, y []float64, sigma float64, x []float64) float64 {
	sum := 0.0
	for i, row := range a {
		d := y[i] - floats.Dot(row, x)
		sum += d * d
	}
	return -sum / (2 * sigma * sigma)
}

// The tilted density is the density times e^r, up to the constant Z, at every point.
func TestTiltIsItsDefinition(t *testing.T) {
	rng := newRNG(1)
	for name, m := range regular(t) {
		a, y, sigma := tiltings(m.Dim())
		target, logZ, err := m.Tilt(a, y, sigma)
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range m.Sample(rng, 50) {
			got, want := target.LogDensity(x), m.LogDensity(x)+logReward(a, y, sigma, x)-logZ
			if math.Abs(got-want) > 1e-9*(1+math.Abs(want)) {
				t.Errorf("%s: log density %g, want %g", name, got, want)
			}
		}
	}
}

// The weights of the paper's mixture tilted by the paper's reward, and log Z against the sample
// mean of e^r.
func TestTiltOfThePaper(t *testing.T) {
	a, y := [][]float64{{1.2, -0.8}}, []float64{-1}
	target, logZ, err := gmm.Paper().Tilt(a, y, 0.2)
	if err != nil {
		t.Fatal(err)
	}
	for k, want := range []float64{0.5716, 0.3665, 0.0619} {
		if got := target.Weights()[k]; math.Abs(got-want) > 5e-5 {
			t.Errorf("weight %d is %.5f, want %.4f", k, got, want)
		}
	}
	const n = 400_000
	sum, squares := 0.0, 0.0
	for _, x := range gmm.Paper().Sample(newRNG(2), n) {
		w := math.Exp(logReward(a, y, 0.2, x))
		sum, squares = sum+w, squares+w*w
	}
	mean := sum / n
	se := math.Sqrt((squares/n-mean*mean)/n) / mean
	if d := math.Log(mean) - logZ; math.Abs(d) > 4*se {
		t.Errorf("log Z = %g, differs from that of samples by %g ± %g", logZ, d, se)
	}
}

// The value log p*_t - log p_t + log Z is the log mean of e^r over the posterior, which Tilt of the
// posterior gives independently.
func TestValueOfTheTilt(t *testing.T) {
	rng := newRNG(3)
	for name, m := range regular(t) {
		a, y, sigma := tiltings(m.Dim())
		target, logZ, err := m.Tilt(a, y, sigma)
		if err != nil {
			t.Fatal(err)
		}
		for schedule, sched := range schedules {
			for _, at := range []float64{0, 0.3, 0.7, 0.99} {
				x := m.Sample(rng, 1)[0]
				_, want, err := m.Posterior(sched, at, x).Tilt(a, y, sigma)
				if err != nil {
					t.Fatal(err)
				}
				got := target.LogMarginal(sched, at, x) - m.LogMarginal(sched, at, x) + logZ
				if math.Abs(got-want) > 1e-8*(1+math.Abs(want)) {
					t.Errorf("%s, %s, t = %g: value %g, want %g", name, schedule, at, got, want)
				}
			}
		}
	}
}

// Tilting a data set changes its weights only.
func TestTiltOfPoints(t *testing.T) {
	data := [][]float64{{0, 0}, {1, 1}, {-2, 0.5}}
	m, err := gmm.Points(data)
	if err != nil {
		t.Fatal(err)
	}
	a, y, sigma := tiltings(2)
	target, _, err := m.Tilt(a, y, sigma)
	if err != nil {
		t.Fatal(err)
	}
	total := 0.0
	for _, x := range data {
		total += math.Exp(logReward(a, y, sigma, x))
	}
	for k, x := range data {
		mean, c := target.Component(k)
		if !floats.Equal(mean, x) || c[0][0] != 0 || c[1][1] != 0 {
			t.Errorf("point %d changed to %v, %v", k, mean, c)
		}
		if got, want := target.Weights()[k], math.Exp(logReward(a, y, sigma, x))/total; math.Abs(got-want) > 1e-12 {
			t.Errorf("weight %d is %g, want %g", k, got, want)
		}
	}
	if _, _, err := m.Tilt(a, y, 0); err == nil {
		t.Error("no error for sigma = 0")
	}
}
