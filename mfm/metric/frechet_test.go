package metric_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/mat"

	"github.com/gomfm/gomfm/mfm/metric"
)

// Between Gaussians with the same axes the distance is that of the means and standard deviations.
// Between others it is symmetric, and it is zero between equal ones.
func TestFrechet(t *testing.T) {
	diagonal := metric.Moments{Mean: []float64{1, 2}, Covariance: mat.NewSymDense(2, []float64{4, 0, 0, 9})}
	other := metric.Moments{Mean: []float64{1, 5}, Covariance: mat.NewSymDense(2, []float64{1, 0, 0, 16})}
	skew := metric.Moments{Mean: []float64{0, 0}, Covariance: mat.NewSymDense(2, []float64{2, 1.3, 1.3, 1})}
	distance := func(a, b metric.Moments) float64 {
		t.Helper()
		d, err := metric.Frechet(a, b)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	if got, want := distance(diagonal, other), 9.0+1+1; math.Abs(got-want) > 1e-12 {
		t.Errorf("distance %g, want %g", got, want)
	}
	if a, b := distance(diagonal, skew), distance(skew, diagonal); math.Abs(a-b) > 1e-12 {
		t.Errorf("distance %g from a to b, %g from b to a", a, b)
	}
	if d := distance(skew, skew); math.Abs(d) > 1e-12 {
		t.Errorf("distance %g from itself, want 0", d)
	}
	// The map x -> D x moves N(0, C) to N(0, D C D) at the cost tr C + tr D C D - 2 tr D C, since
	// it is the gradient of a convex function.
	moved := mat.NewSymDense(2, []float64{2 * 9, 1.3 * 3, 1.3 * 3, 1})
	scaled := metric.Moments{Mean: []float64{0, 0}, Covariance: moved}
	if got, want := distance(skew, scaled), 3.0+19-2*(3*2+1); math.Abs(got-want) > 1e-10 {
		t.Errorf("distance %g, want %g", got, want)
	}
}

// Covariances of a low rank have the exact distance, too: between N(m, a aᵀ) and N(0, b bᵀ) it is
// |m|² +
// |a|² + |b|² - 2 |a·b|. Moments that no features have are refused.
func TestFrechetOfSingularCovariances(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	const n = 200
	var vectors [3][]float64
	for i := range vectors {
		for range n {
			vectors[i] = append(vectors[i], rng.NormFloat64())
		}
	}
	m, a, b := vectors[0], vectors[1], vectors[2]
	outer := func(x []float64) *mat.SymDense {
		c := mat.NewSymDense(n, nil)
		c.SymRankOne(c, 1, mat.NewVecDense(n, x))
		return c
	}
	first, second := metric.Moments{Mean: m, Covariance: outer(a)}, metric.Moments{Mean: make([]float64, n), Covariance: outer(b)}
	want := floats.Dot(m, m) + floats.Dot(a, a) + floats.Dot(b, b) - 2*math.Abs(floats.Dot(a, b))
	if got, err := metric.Frechet(first, second); err != nil || math.Abs(got-want) > 1e-6*want {
		t.Errorf("distance %g, want %g (%v)", got, want, err)
	}
	point := metric.Moments{Mean: m, Covariance: mat.NewSymDense(n, nil)}
	if got, err := metric.Frechet(point, second); err != nil || math.Abs(got-floats.Dot(m, m)-floats.Dot(b, b)) > 1e-9*want {
		t.Errorf("distance %g of a point, want %g (%v)", got, floats.Dot(m, m)+floats.Dot(b, b), err)
	}
	for _, wrong := range []float64{math.NaN(), math.Inf(1), -1} {
		c := outer(a)
		c.SetSym(7, 7, wrong)
		if _, err := metric.Frechet(metric.Moments{Mean: m, Covariance: c}, second); err == nil {
			t.Errorf("a variance of %g: no error", wrong)
		}
	}
	m[3] = math.NaN()
	if _, err := metric.Frechet(first, second); err == nil {
		t.Error("a mean of NaN: no error")
	}
}

// The distance of two sets of features is that of their moments, of more and of fewer features than
// samples.
func TestFrechetOfSamples(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 0))
	for _, dim := range []int{3, 12, 30} {
		sets := make([][][]float64, 2)
		var moments [2]metric.Moments
		for k, n := range []int{10, 14} {
			for range n {
				row := make([]float64, dim)
				for j := range row {
					row[j] = rng.NormFloat64()*float64(j%3+k+1) + float64(k)
				}
				sets[k] = append(sets[k], row)
			}
			var err error
			if moments[k], err = metric.NewMoments(sets[k], nil); err != nil {
				t.Fatal(err)
			}
		}
		want, err := metric.Frechet(moments[0], moments[1])
		if err != nil {
			t.Fatal(err)
		}
		got, err := metric.FrechetOfSamples(sets[0], sets[1])
		if err != nil || math.Abs(got-want) > 1e-6*want {
			t.Errorf("%d features: distance %g, want %g (%v)", dim, got, want, err)
		}
		if same, err := metric.FrechetOfSamples(sets[0], sets[0]); err != nil || math.Abs(same) > 1e-9*want {
			t.Errorf("%d features: a set has the distance %g to itself (%v)", dim, same, err)
		}
	}
	for name, sets := range map[string][2][][]float64{
		"a single row": {{{1}}, {{1}, {2}}}, "other features": {{{1}, {2}}, {{1, 1}, {2, 2}}},
		"NaN": {{{math.NaN(), 1}, {2, 1}}, {{1, 1}, {2, 2}}},
	} {
		if _, err := metric.FrechetOfSamples(sets[0], sets[1]); err == nil {
			t.Errorf("%s has a distance", name)
		}
	}
}

// Integer weights count as repeated samples, except for the n-1 of the covariance.
func TestWeightedMoments(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var samples, repeated [][]float64
	var weights []float64
	for i := range 50 {
		x := []float64{rng.NormFloat64(), rng.NormFloat64() + 2, rng.Float64()}
		samples, weights = append(samples, x), append(weights, float64(i%4))
		for range i % 4 {
			repeated = append(repeated, x)
		}
	}
	got, err := metric.NewMoments(samples, weights)
	if err != nil {
		t.Fatal(err)
	}
	want, err := metric.NewMoments(repeated, nil)
	if err != nil {
		t.Fatal(err)
	}
	if deviation, err := metric.Std(repeated); err != nil || math.Abs(want.Std()-deviation) > 1e-12 {
		t.Errorf("Moments.Std %g, that of the samples %g (%v)", want.Std(), deviation, err)
	}
	n, m := float64(len(samples)), float64(len(repeated))
	for i := range 3 {
		if math.Abs(got.Mean[i]-want.Mean[i]) > 1e-12 {
			t.Errorf("mean %d is %g, want %g", i, got.Mean[i], want.Mean[i])
		}
		for j := range 3 {
			if g, w := got.Covariance.At(i, j)*(n-1)/n, want.Covariance.At(i, j)*(m-1)/m; math.Abs(g-w) > 1e-12 {
				t.Errorf("covariance %d, %d is %g, want %g", i, j, g, w)
			}
		}
	}
	for name, weights := range map[string][]float64{
		"few":      {1},
		"negative": append([]float64{-1}, weights[1:]...),
		"zero":     make([]float64, len(samples)),
	} {
		if _, err := metric.NewMoments(samples, weights); err == nil {
			t.Errorf("%s weights: no error", name)
		}
	}
}
