package metric_test

import (
	"math"
	"slices"
	"testing"

	"gonum.org/v1/gonum/stat"

	"github.com/gomfm/gomfm/mfm/metric"
)

func mmd(t testing.TB, a, b [][]float64, bandwidths []float64) float64 {
	t.Helper()
	v, err := metric.MMD(a, b, bandwidths)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// MMD equals its definition, term by term.
func TestMMDIsItsDefinition(t *testing.T) {
	rng := newRNG(1)
	a := normals(rng, 30, []float64{0, 0, 0}, []float64{1, 1, 1})
	b := normals(rng, 20, []float64{1, 0, 0}, []float64{1, 2, 1})
	for _, bandwidths := range [][]float64{{1}, {0.5, 1, 2}, {3, 0.2, 1}} {
		mean := func(x, y [][]float64, same bool) float64 {
			sum, count := 0.0, 0.0
			for i, p := range x {
				for j, q := range y {
					if same && i == j {
						continue
					}
					count++
					for _, h := range bandwidths {
						d := math.Hypot(math.Hypot(p[0]-q[0], p[1]-q[1]), p[2]-q[2])
						sum += math.Exp(-d*d/(2*h*h)) / float64(len(bandwidths))
					}
				}
			}
			return sum / count
		}
		want := mean(a, a, true) + mean(b, b, true) - 2*mean(a, b, false)
		closeTo(t, "MMD", mmd(t, a, b, bandwidths), want, 1e-14)
		closeTo(t, "MMD with exchanged sets", mmd(t, b, a, bandwidths), want, 1e-14)
		slices.Reverse(a)
		closeTo(t, "MMD in another order", mmd(t, a, b, bandwidths), want, 1e-14)
	}
}

// For normal distributions E k(x, y) = h/√(h² + v) exp(-δ²/(2 (h² + v))), with v the variance and δ
// the mean of x - y. The estimate is unbiased: its mean over 200 repeats is the closed form within
// 3 standard errors, and zero for equal distributions.
func TestMMDIsUnbiased(t *testing.T) {
	rng := newRNG(3)
	bandwidths := []float64{0.5, 1, 2}
	for _, c := range []struct{ mean, std float64 }{{0, 1}, {0.5, 1}, {0, 1.5}} {
		k := func(delta, variance float64) float64 {
			sum := 0.0
			for _, h := range bandwidths {
				s := h*h + variance
				sum += h / math.Sqrt(s) * math.Exp(-delta*delta/(2*s)) / float64(len(bandwidths))
			}
			return sum
		}
		want := k(0, 2) + k(0, 2*c.std*c.std) - 2*k(c.mean, 1+c.std*c.std)
		values := make([]float64, 200)
		for i := range values {
			a := normals(rng, 60, []float64{0}, []float64{1})
			b := normals(rng, 40, []float64{c.mean}, []float64{c.std})
			values[i] = mmd(t, a, b, bandwidths)
		}
		got, sd := stat.MeanStdDev(values, nil)
		closeTo(t, "mean of MMD", got, want, 3*sd/math.Sqrt(float64(len(values))))
	}
}

func TestMMDDefaultBandwidths(t *testing.T) {
	rng := newRNG(5)
	a := normals(rng, 1500, []float64{0, 0}, []float64{1, 1})
	b := normals(rng, 50, []float64{0, 0}, []float64{1, 1})
	h, err := metric.MedianBandwidth(a, b)
	if err != nil {
		t.Fatal(err)
	}
	// |x - y|² is 2 χ² with two degrees of freedom, whose median is 2 log 2.
	closeTo(t, "median distance", h, math.Sqrt(4*math.Ln2), 0.1)
	closeTo(t, "MMD", mmd(t, a, b, nil), mmd(t, a, b, []float64{4 * h, h, h / 2, 2 * h, h / 4}), 1e-15)
}

func TestMMDRefuses(t *testing.T) {
	two, same := [][]float64{{1}, {2}}, [][]float64{{1}, {1}}
	for name, c := range map[string]struct {
		a, b       [][]float64
		bandwidths []float64
	}{
		"one sample":         {two[:1], two, nil},
		"dimensions":         {two, [][]float64{{1, 2}, {3, 4}}, nil},
		"NaN":                {two, [][]float64{{math.NaN()}, {1}}, nil},
		"zero bandwidth":     {two, two, []float64{1, 0}},
		"negative bandwidth": {two, two, []float64{-1}},
		"NaN bandwidth":      {two, two, []float64{math.NaN()}},
		"infinite bandwidth": {two, two, []float64{math.Inf(1)}},
		"tiny bandwidth":     {two, two, []float64{1e-200}},
		"all samples equal":  {same, same, nil},
	} {
		if _, err := metric.MMD(c.a, c.b, c.bandwidths); err == nil {
			t.Errorf("%s: bad input is accepted", name)
		}
	}
	if v := mmd(t, same, same, []float64{1}); v != 0 {
		t.Errorf("MMD of a point with itself is %v, want 0", v)
	}
}

func BenchmarkMMD(b *testing.B) {
	rng := newRNG(1)
	zero, one := []float64{0, 0}, []float64{1, 1}
	x, y := normals(rng, 8192, zero, one), normals(rng, 8192, zero, one)
	for b.Loop() {
		mmd(b, x, y, nil)
	}
}
