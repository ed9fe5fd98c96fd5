package gmm_test

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/gomfm/gomfm/mfm/gmm"
)

// From many samples of a mixture with separated components, Fit finds weights, means and
// covariances within four standard errors.
func TestFitFindsTheMixture(t *testing.T) {
	mixture := must(t, []float64{1, 3}, [][]float64{{-4, 0, 1}, {3, 2, 0}},
		[][][]float64{{{1, 0.5, 0}, {0.5, 2, 0}, {0, 0, 0.3}}, {{0.5, 0, 0.1}, {0, 0.5, 0}, {0.1, 0, 0.5}}})
	const n = 20_000
	rng := rand.New(rand.NewPCG(1, 1))
	const floor = 1e-6
	fit, err := gmm.Fit(t.Context(), mixture.Sample(rng, n), gmm.FitConfig{Components: 2, Steps: 10, Floor: floor}, rng)
	if err != nil {
		t.Fatal(err)
	}
	order := []int{0, 1}
	slices.SortFunc(order, func(a, b int) int {
		ma, _ := fit.Component(a)
		mb, _ := fit.Component(b)
		return int(math.Copysign(1, ma[0]-mb[0]))
	})
	for k, weight := range []float64{0.25, 0.75} {
		if got, tol := fit.Weights()[order[k]], 4*math.Sqrt(weight*(1-weight)/n); math.Abs(got-weight) > tol {
			t.Errorf("weight %d is %g, want %g within %g", k, got, weight, tol)
		}
		mean, cov := fit.Component(order[k])
		wantMean, want := mixture.Component(k)
		for i := range mean {
			if tol := 4 * math.Sqrt(want[i][i]/(n*weight)); math.Abs(mean[i]-wantMean[i]) > tol {
				t.Errorf("mean %d is %g, want %g within %g", k, mean, wantMean, tol)
			}
			for j := range mean {
				tol := 4 * math.Sqrt((want[i][i]*want[j][j]+want[i][j]*want[i][j])/(n*weight))
				if math.Abs(cov[i][j]-want[i][j]) > tol+floor {
					t.Errorf("covariance %d is %g at (%d, %d), want %g within %g", k, cov[i][j], i, j, want[i][j], tol)
				}
			}
		}
	}
}

// With one component Fit returns the mean and covariance of the samples. A component with one
// sample has the floor as its variance.
func TestFitOfFewSamples(t *testing.T) {
	samples := [][]float64{{0, 1}, {2, 5}, {4, 3}}
	one, err := gmm.Fit(t.Context(), samples,
		gmm.FitConfig{Components: 1, Steps: 2, Floor: 0.5}, rand.New(rand.NewPCG(1, 1)))
	if err != nil {
		t.Fatal(err)
	}
	mean, cov := one.Component(0)
	want := []float64{2, 3, 8./3 + 0.5, 4. / 3, 8./3 + 0.5}
	for i, got := range []float64{mean[0], mean[1], cov[0][0], cov[0][1], cov[1][1]} {
		if math.Abs(got-want[i]) > 1e-12 {
			t.Errorf("moment %d is %g, want %g", i, got, want[i])
		}
	}
	each, err := gmm.Fit(t.Context(), samples,
		gmm.FitConfig{Components: 3, Steps: 1, Floor: 0.01}, rand.New(rand.NewPCG(1, 1)))
	if err != nil {
		t.Fatal(err)
	}
	for k := range each.Len() {
		if _, cov := each.Component(k); math.Abs(cov[0][0]-0.01) > 1e-12 || cov[0][1] != 0 {
			t.Errorf("a component of one sample has covariance %v", cov)
		}
	}
}

func TestFitErrors(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	two := [][]float64{{0}, {1}}
	for name, f := range map[string]func() (*gmm.Mixture, error){
		"no components": func() (*gmm.Mixture, error) {
			return gmm.Fit(t.Context(), two, gmm.FitConfig{Steps: 1, Floor: 1}, rng)
		},
		"too many": func() (*gmm.Mixture, error) {
			return gmm.Fit(t.Context(), two, gmm.FitConfig{Components: 3, Steps: 1, Floor: 1}, rng)
		},
		"no floor": func() (*gmm.Mixture, error) {
			return gmm.Fit(t.Context(), two, gmm.FitConfig{Components: 1, Steps: 1}, rng)
		},
		"no steps": func() (*gmm.Mixture, error) {
			return gmm.Fit(t.Context(), two, gmm.FitConfig{Components: 1, Floor: 1}, rng)
		},
		"ragged": func() (*gmm.Mixture, error) {
			return gmm.Fit(t.Context(), [][]float64{{0}, {1, 2}}, gmm.FitConfig{Components: 1, Steps: 1, Floor: 1}, rng)
		},
		"not finite": func() (*gmm.Mixture, error) {
			return gmm.Fit(t.Context(), [][]float64{{0}, {math.NaN()}},
				gmm.FitConfig{Components: 1, Steps: 1, Floor: 1}, rng)
		},
		"infinite floor": func() (*gmm.Mixture, error) {
			return gmm.Fit(t.Context(), two, gmm.FitConfig{Components: 1, Steps: 1, Floor: math.Inf(1)}, rng)
		},
		"nothing to fit": func() (*gmm.Mixture, error) {
			return gmm.Fit(t.Context(), nil, gmm.FitConfig{Components: 1, Steps: 1, Floor: 1}, rng)
		},
		"negative number": func() (*gmm.Mixture, error) {
			return gmm.Fit(t.Context(), two, gmm.FitConfig{Components: -1, Steps: 1, Floor: 1}, rng)
		},
	} {
		if _, err := f(); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// endsAfter is a context that has ended once it was asked a number of times.
type endsAfter struct {
	context.Context
	left int
}

func (e *endsAfter) Err() error {
	if e.left--; e.left < 0 {
		return context.Canceled
	}
	return nil
}

// A fit can be stopped before each center, and before each step of k-means and of
// expectation-maximization.
func TestFitEndsWithItsContext(t *testing.T) {
	c := gmm.FitConfig{Components: 2, Steps: 3, Floor: 1}
	samples := [][]float64{{0}, {1}, {5}}
	for asked := range 2 + 3 + 3 + 1 {
		ctx, cancel := context.WithCancelCause(t.Context())
		cause := errors.New("enough")
		cancel(cause)
		_, err := gmm.Fit(&endsAfter{ctx, asked}, samples, c, rand.New(rand.NewPCG(1, 1)))
		if ended := errors.Is(err, cause); ended != (asked < 8) || err != nil && !ended {
			t.Errorf("a context that ends after %d questions: error %v", asked, err)
		}
	}
}

// For overlapping components the likelihood never decreases over steps, and ends above that of the
// mixture from which the samples were drawn.
func TestFitOfOverlappingComponents(t *testing.T) {
	mixture := must(t, []float64{1, 4}, [][]float64{{0, 0}, {1.5, 0}},
		[][][]float64{{{0.1, 0}, {0, 0.1}}, {{1, 0.3}, {0.3, 2}}})
	samples := mixture.Sample(rand.New(rand.NewPCG(2, 2)), 2000)
	likelihood := func(m *gmm.Mixture) (sum float64) {
		for _, x := range samples {
			sum += m.LogDensity(x) / float64(len(samples))
		}
		return sum
	}
	last := math.Inf(-1)
	for _, steps := range []int{30, 60, 120, 240} { // k-means has converged after 30
		fit, err := gmm.Fit(t.Context(), samples, gmm.FitConfig{Components: 2, Steps: steps, Floor: 1e-9},
			rand.New(rand.NewPCG(1, 1)))
		if err != nil {
			t.Fatal(err)
		}
		if l := likelihood(fit); l < last-1e-9 {
			t.Errorf("after %d steps the likelihood is %.6f, before %.6f", steps, l, last)
		} else {
			last = l
		}
	}
	if want := likelihood(mixture); last < want {
		t.Errorf("likelihood %.4f, want at least that of the mixture, %.4f", last, want)
	}
}

// One component by hand: two samples of weight 3 and 1 count as 16/10 samples, the old mean as one
// more and the old variance as dim = 1 more. A component far from all samples keeps its mean and
// covariance.
func TestRefit(t *testing.T) {
	m := must(t, []float64{1, 1}, [][]float64{{0}, {1000}}, [][][]float64{{{4}}, {{9}}})
	samples := [][]float64{{2}, {6}}
	const floor = 0.25
	got, err := m.Refit(samples, []float64{300, 100}, floor)
	if err != nil {
		t.Fatal(err)
	}
	// Counts 1.2 and 0.4: mean (1.2·2 + 0.4·6)/2.6 and variance (1.2 (2-μ)² + 0.4 (6-μ)² + 1.6
	// floor + μ² + 4)/2.6.
	mu := 4.8 / 2.6
	variance := (1.2*(2-mu)*(2-mu) + 0.4*(6-mu)*(6-mu) + 1.6*floor + mu*mu + 4) / 2.6
	mean, cov := got.Component(0)
	far, farCov := got.Component(1)
	for i, pair := range [][2]float64{
		{mean[0], mu}, {cov[0][0], variance}, {far[0], 1000}, {farCov[0][0], 9}, {got.Weights()[1], 1e-6},
	} {
		if math.Abs(pair[0]-pair[1]) > 1e-9*max(1, pair[1]) {
			t.Errorf("entry %d is %g, want %g", i, pair[0], pair[1])
		}
	}
	for name, c := range map[string]struct {
		samples [][]float64
		weights []float64
		floor   float64
	}{
		"no samples":        {nil, nil, 0},
		"missing weight":    {samples, []float64{1}, 0},
		"another dimension": {[][]float64{{1, 2}, {3, 4}}, []float64{1, 1}, 0},
		"negative weight":   {samples, []float64{1, -1}, 0},
		"NaN weight":        {samples, []float64{1, math.NaN()}, 0},
		"infinite weight":   {samples, []float64{1, math.Inf(1)}, 0},
		"zero weights":      {samples, []float64{0, 0}, 0},
		"NaN sample":        {[][]float64{{2}, {math.NaN()}}, []float64{1, 1}, 0},
		"negative floor":    {samples, []float64{1, 1}, -1},
	} {
		if _, err := m.Refit(c.samples, c.weights, c.floor); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// A component is changed by its own samples alone, with their own effective number: one heavy
// sample among light ones counts as one sample, and equal weights of any size count as all of the
// samples.
func TestRefitCountsByComponent(t *testing.T) {
	m := must(t, []float64{1, 1}, [][]float64{{-100}, {100}}, [][][]float64{{{1}}, {{1}}})
	var samples [][]float64
	var weights []float64
	for range 50 {
		samples, weights = append(samples, []float64{-100}, []float64{101}), append(weights, 1, 1e-3)
	}
	samples, weights = append(samples, []float64{-90}), append(weights, 1e6)
	got, err := m.Refit(samples, weights, 0)
	if err != nil {
		t.Fatal(err)
	}
	left, _ := got.Component(0)
	right, _ := got.Component(1)
	if want := -95.0; math.Abs(left[0]-want) > 0.01 { // one heavy sample and the old mean
		t.Errorf("left mean %g, want %g", left[0], want)
	}
	if want := 100 + 50./51; math.Abs(right[0]-want) > 1e-9 { // fifty samples and the old mean
		t.Errorf("right mean %g, want %g", right[0], want)
	}
}

// BenchmarkFit fits 64 components to 20,000 samples in 60 dimensions, half of what the prior of
// digits has, in three steps.
func BenchmarkFit(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 1))
	centers, rows := make([][]float64, 64), make([][]float64, 20000)
	for k := range centers {
		centers[k] = make([]float64, 60)
		for j := range centers[k] {
			centers[k][j] = 3 * rng.NormFloat64()
		}
	}
	for i := range rows {
		rows[i] = make([]float64, 60)
		for j, m := range centers[i%64] {
			rows[i][j] = m + rng.NormFloat64()
		}
	}
	for b.Loop() {
		if _, err := gmm.Fit(b.Context(), rows, gmm.FitConfig{Components: 64, Steps: 3, Floor: 0.01}, rng); err != nil {
			b.Fatal(err)
		}
	}
}
