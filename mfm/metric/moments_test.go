package metric_test

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"sort"
	"strings"
	"testing"

	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/stat"

	"github.com/gomfm/gomfm/mfm/metric"
)

func TestMoments(t *testing.T) {
	// Mean (1, 2); deviations are the four (±1, ±1) and zero, so the covariance is the identity.
	samples := [][]float64{{0, 1}, {2, 3}, {0, 3}, {2, 1}, {1, 2}}
	for _, c := range []struct {
		name      string
		f         func() (float64, error)
		want, tol float64
	}{
		{"standard deviation", func() (float64, error) { return metric.Std(samples) }, 1, 1e-15},
		{"diversity", func() (float64, error) { return metric.Diversity(samples, 4) }, 0.25, 1e-15},
		{"excess", func() (float64, error) { return metric.Excess(5, 3, 2), nil }, 2, 1e-15},
		{"excess below the floor", func() (float64, error) { return metric.Excess(3, 5, 2), nil }, 0, 0},
	} {
		got, err := c.f()
		if err != nil {
			t.Fatal(c.name, err)
		}
		closeTo(t, c.name, got, c.want, c.tol)
	}
}

func TestMomentsRefuse(t *testing.T) {
	one, two := [][]float64{{1, 2}}, [][]float64{{1, 2}, {3, 4}}
	for name, f := range map[string]func() (float64, error){
		"standard deviation of one": func() (float64, error) { return metric.Std(one) },
		"standard deviation of NaN": func() (float64, error) { return metric.Std([][]float64{{1}, {math.NaN()}}) },
		"diversity of one":          func() (float64, error) { return metric.Diversity(one, 1) },
		"diversity without unit":    func() (float64, error) { return metric.Diversity(two, 0) },
		"diversity to NaN":          func() (float64, error) { return metric.Diversity(two, math.NaN()) },
	} {
		if _, err := f(); err == nil || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: error %v, want one of one line", name, err)
		}
	}
}

func TestMeanSE(t *testing.T) {
	mean, se := metric.MeanSE([]float64{1, 2, 3, 6})
	// Four values of variance 14/3.
	if want := math.Sqrt(14.0 / 3 / 4); mean != 3 || math.Abs(se-want) > 1e-12 {
		t.Errorf("mean %g ± %g, want 3 ± %g", mean, se, want)
	}
	if mean, se = metric.MeanSE([]float64{5}); mean != 5 || se != 0 {
		t.Errorf("mean of one value %g ± %g, want 5 ± 0", mean, se)
	}
}

// The difference of two means of n standard normal numbers is N(0, 2/n), with mean size √(4/(π n)).
func TestFloor(t *testing.T) {
	const n = 50
	draw := func(rng *rand.Rand) [][]float64 { return normals(rng, n, []float64{0}, []float64{1}) }
	meansApart := func(a, b [][]float64) (float64, error) {
		return math.Abs(stat.Mean(slices.Concat(a...), nil) - stat.Mean(slices.Concat(b...), nil)), nil
	}
	mean, stdErr, err := metric.Floor(meansApart, draw, newRNG(1), 400)
	if err != nil {
		t.Fatal(err)
	}
	closeTo(t, "floor", mean, math.Sqrt(4/(math.Pi*n)), 3*stdErr)
	// The size of N(0, v) has variance v (1 - 2/π).
	closeTo(t, "standard error", stdErr, math.Sqrt(2./n*(1-2/math.Pi)/400), 0.1*stdErr)

	if _, _, err := metric.Floor(meansApart, draw, newRNG(1), 1); err == nil {
		t.Error("one repeat is accepted")
	}
	broken := errors.New("broken")
	fails := func(a, b [][]float64) (float64, error) { return 0, broken }
	if _, _, err := metric.Floor(fails, draw, newRNG(1), 2); !errors.Is(err, broken) {
		t.Errorf("error %v, want the metric's error", err)
	}
}

func TestHistogram(t *testing.T) {
	got, err := metric.Histogram([]int{0, 2, 2, 3}, 4)
	if err != nil {
		t.Fatal(err)
	}
	for c, want := range []float64{0.25, 0, 0.5, 0.25} {
		closeTo(t, "frequency", got[c], want, 0)
	}
	for name, f := range map[string]func() ([]float64, error){
		"no samples":     func() ([]float64, error) { return metric.Histogram(nil, 2) },
		"no classes":     func() ([]float64, error) { return metric.Histogram([]int{0}, 0) },
		"class too high": func() ([]float64, error) { return metric.Histogram([]int{2}, 2) },
		"class negative": func() ([]float64, error) { return metric.Histogram([]int{-1}, 2) },
	} {
		if _, err := f(); err == nil {
			t.Errorf("%s: bad input is accepted", name)
		}
	}
}

func TestTotalVariation(t *testing.T) {
	for _, c := range []struct {
		p, q []float64
		want float64
	}{
		{[]float64{1, 0}, []float64{0, 1}, 1},
		{[]float64{0.5, 0.5}, []float64{0.5, 0.5}, 0},
		{[]float64{0.5, 0.3, 0.2}, []float64{0.2, 0.3, 0.5}, 0.3},
	} {
		got, err := metric.TotalVariation(c.p, c.q)
		if err != nil {
			t.Fatal(err)
		}
		closeTo(t, "total variation", got, c.want, 1e-15)
	}
	for name, c := range map[string][2][]float64{
		"classes":     {{1}, {0.5, 0.5}},
		"nothing":     {nil, nil},
		"counts":      {{3, 4}, {5, 2}},
		"negative":    {{1.5, -0.5}, {0.5, 0.5}},
		"NaN":         {{0.5, 0.5}, {math.NaN(), 1}},
		"second sums": {{0.5, 0.5}, {0.5, 0.6}},
	} {
		if _, err := metric.TotalVariation(c[0], c[1]); err == nil {
			t.Errorf("%s: bad input is accepted", name)
		}
	}
}

// The floor from two thin pools, corrected, is that of independent samples against one pool.
func TestPoolFactor(t *testing.T) {
	rng := rand.New(rand.NewPCG(8, 1))
	const n, repeats = 1000, 30
	projections := metric.Projections2D(16)
	normal := func(n int, std float64) [][]float64 {
		out := make([][]float64, n)
		for i := range out {
			out[i] = []float64{std * rng.NormFloat64(), std * rng.NormFloat64()}
		}
		return out
	}
	// pool returns n samples of a pool from N(0, 1.5²) that is weighted to N(0, 1), and its
	// effective number.
	pool := func(size int) ([][]float64, float64) {
		points, weights := normal(size, 1.5), make([]float64, size)
		for i, x := range points {
			weights[i] = math.Exp(-floats.Dot(x, x) / 2 * (1 - 1/2.25))
		}
		sum, square := floats.Sum(weights), floats.Dot(weights, weights)
		floats.CumSum(weights, weights)
		out := make([][]float64, n)
		for i := range out {
			out[i] = points[min(sort.SearchFloat64s(weights, rng.Float64()*sum), size-1)]
		}
		return out, sum * sum / square
	}
	square := func(a, b [][]float64) float64 {
		d, err := metric.SlicedW2(a, b, projections)
		if err != nil {
			t.Fatal(err)
		}
		return d * d / repeats
	}
	var want, got, plain float64
	for range repeats {
		a, first := pool(300)
		b, second := pool(300)
		factor := metric.PoolFactor(n, first, second)
		d := square(a, b)
		want, got, plain = want+square(a, normal(n, 1)), got+d*factor*factor, plain+d
	}
	if math.Abs(got/want-1) > 0.15 || plain/want < 1.4 {
		t.Errorf("squared floor %.4g, want %.4g; without the factor %.4g", got, want, plain)
	}
	if f := metric.PoolFactor(n, math.Inf(1), math.Inf(1)); f != 1 {
		t.Errorf("factor %g of exact samples", f)
	}
}
