package metric_test

import (
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"

	"gonum.org/v1/gonum/stat"

	"github.com/gomfm/gomfm/mfm/metric"
)

func newRNG(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 2)) }

// normals returns n samples from a normal distribution with independent coordinates.
func normals(rng *rand.Rand, n int, mean, std []float64) [][]float64 {
	out := make([][]float64, n)
	for i := range out {
		out[i] = make([]float64, len(mean))
		for j := range mean {
			out[i][j] = mean[j] + std[j]*rng.NormFloat64()
		}
	}
	return out
}

func sw2(t testing.TB, a, b, projections [][]float64) float64 {
	t.Helper()
	d, err := metric.SlicedW2(a, b, projections)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func closeTo(t *testing.T, what string, got, want, tol float64) {
	t.Helper()
	if !(math.Abs(got-want) <= tol) {
		t.Errorf("%s: got %v, want %v ± %v", what, got, want, tol)
	}
}

// A shift by δ moves every quantile along θ by θ·δ.
func TestSlicedW2OfShift(t *testing.T) {
	rng := newRNG(1)
	for _, projections := range [][][]float64{metric.Projections2D(64), metric.RandomProjections(rng, 50, 2)} {
		a := normals(rng, 500, []float64{0, 1}, []float64{1, 2})
		shift := []float64{0.3, -0.7}
		b := make([][]float64, len(a))
		for i, x := range a {
			b[i] = []float64{x[0] + shift[0], x[1] + shift[1]}
		}
		square := 0.0
		for _, p := range projections {
			d := p[0]*shift[0] + p[1]*shift[1]
			square += d * d / float64(len(projections))
		}
		closeTo(t, "shifted samples", sw2(t, a, b, projections), math.Sqrt(square), 1e-13)
		closeTo(t, "same samples", sw2(t, a, a, projections), 0, 0)
	}
}

// Directions have unit length. For evenly spaced angles the mean of (θ·δ)² is exactly |δ|²/2.
func TestProjections(t *testing.T) {
	for _, p := range [][][]float64{metric.Projections2D(256), metric.RandomProjections(newRNG(3), 256, 7)} {
		for _, v := range p {
			norm := 0.0
			for _, x := range v {
				norm += x * x
			}
			closeTo(t, "length", norm, 1, 1e-14)
		}
	}
	a, b := [][]float64{{0, 0}}, [][]float64{{3, 4}}
	closeTo(t, "evenly spaced", sw2(t, a, b, metric.Projections2D(256)), 5/math.Sqrt2, 1e-13)
	// On the sphere in 7 dimensions E (θ·δ)² = |δ|²/7, with a standard deviation below twice that.
	a, b = [][]float64{make([]float64, 7)}, [][]float64{{3, 0, 0, 4, 0, 0, 0}}
	d := sw2(t, a, b, metric.RandomProjections(newRNG(5), 10000, 7))
	closeTo(t, "random", d*d, 25./7, 3*2*25./7/100)
}

// Along θ the distributions are N(0, θ·S1 θ) and N(θ·δ, θ·S2 θ), so W₂² = (θ·δ)² + (σ1 - σ2)².
// Finite sets add their floor.
func TestSlicedW2OfGaussians(t *testing.T) {
	const n, repeats = 8192, 8
	projections := metric.Projections2D(32)
	delta, std1, std2 := []float64{1, 0.5}, []float64{1, 0.5}, []float64{0.4, 1.2}
	want := 0.0
	for _, p := range projections {
		d := p[0]*delta[0] + p[1]*delta[1]
		s := math.Hypot(p[0]*std1[0], p[1]*std1[1]) - math.Hypot(p[0]*std2[0], p[1]*std2[1])
		want += (d*d + s*s) / float64(len(projections))
	}
	rng := newRNG(7)
	squares := make([]float64, repeats)
	for i := range squares {
		d := sw2(t, normals(rng, n, []float64{0, 0}, std1), normals(rng, n, delta, std2), projections)
		squares[i] = d * d
	}
	floor := sw2(t, normals(rng, n, delta, std2), normals(rng, n, delta, std2), projections)
	mean, sd := stat.MeanStdDev(squares, nil)
	closeTo(t, "squared distance", mean, want, 4*sd/math.Sqrt(repeats)+floor*floor)
}

// Sets of different sizes are compared as if their samples were repeated up to equal sizes.
func TestSlicedW2OfUnequalSizes(t *testing.T) {
	rng := newRNG(9)
	projections := metric.Projections2D(16)
	for _, c := range [][2]int{{1, 5}, {4, 6}, {7, 3}, {8, 16}} {
		a := normals(rng, c[0], []float64{0, 0}, []float64{1, 1})
		b := normals(rng, c[1], []float64{1, 0}, []float64{2, 1})
		var a2, b2 [][]float64
		for range c[1] {
			a2 = append(a2, a...)
		}
		for range c[0] {
			b2 = append(b2, b...)
		}
		closeTo(t, "unequal sizes", sw2(t, a, b, projections), sw2(t, a2, b2, projections), 1e-14)
		closeTo(t, "same samples", sw2(t, a, a2, projections), 0, 0)
		closeTo(t, "exchanged sets", sw2(t, b, a, projections), sw2(t, a, b, projections), 1e-14)
	}
}

func TestSlicedW2IgnoresOrderAndWorkers(t *testing.T) {
	rng := newRNG(11)
	a := normals(rng, 300, []float64{0, 0, 0}, []float64{1, 2, 3})
	b := normals(rng, 200, []float64{0, 1, 0}, []float64{2, 2, 2})
	projections := metric.RandomProjections(rng, 40, 3)
	want := sw2(t, a, b, projections)
	shuffled := slices.Clone(a)
	rng.Shuffle(len(a), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
	closeTo(t, "shuffled", sw2(t, shuffled, b, projections), want, 0)
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	closeTo(t, "one worker", sw2(t, a, b, projections), want, 0)
}

// In one dimension W₂² is the mean squared difference of the sorted numbers, whatever their values.
func TestSortedAsByTheStandardLibrary(t *testing.T) {
	rng := newRNG(13)
	special := []float64{
		0, math.Copysign(0, -1), 5e-324, -5e-324, 1e100, -1e100, 1, 1, 1, -1, math.Nextafter(1, 2), math.Pi, -math.Pi,
	}
	for _, n := range []int{1, 2, 13, 1000} {
		a, b := make([]float64, n), make([]float64, n)
		for i := range a {
			a[i], b[i] = math.Ldexp(rng.NormFloat64(), rng.IntN(40)-20), rng.NormFloat64()
			if i < len(special) && n < 1000 {
				a[i] = special[i]
			}
		}
		rows := func(v []float64) [][]float64 {
			out := make([][]float64, len(v))
			for i := range v {
				out[i] = []float64{v[i]}
			}
			return out
		}
		got := sw2(t, rows(a), rows(b), [][]float64{{1}})
		slices.Sort(a)
		slices.Sort(b)
		square := 0.0
		for i := range a {
			square += (a[i] - b[i]) * (a[i] - b[i]) / float64(n)
		}
		closeTo(t, "distance over its exact value", got/math.Sqrt(square), 1, 1e-13)
	}
}

func TestSlicedW2Refuses(t *testing.T) {
	ok, nan := [][]float64{{1, 2}}, math.NaN()
	for name, c := range map[string][3][][]float64{
		"no first":            {nil, ok, ok},
		"no second":           {ok, nil, ok},
		"no projections":      {ok, ok, nil},
		"no coordinates":      {{{}}, {{}}, {{}}},
		"ragged":              {{{1, 2}, {1}}, ok, ok},
		"dimensions":          {{{1}}, ok, ok},
		"projection":          {ok, ok, {{1}}},
		"NaN":                 {{{nan, 1}}, ok, ok},
		"infinite":            {ok, {{1, math.Inf(1)}}, ok},
		"NaN in a projection": {ok, ok, {{1, nan}}},
	} {
		if _, err := metric.SlicedW2(c[0], c[1], c[2]); err == nil {
			t.Errorf("%s: bad input is accepted", name)
		}
	}
}

func BenchmarkSlicedW2(b *testing.B) {
	rng := newRNG(1)
	zero, one := []float64{0, 0}, []float64{1, 1}
	x, y, projections := normals(rng, 8192, zero, one), normals(rng, 8192, zero, one), metric.Projections2D(256)
	for b.Loop() {
		sw2(b, x, y, projections)
	}
}
