package solver_test

import (
	"math"
	"slices"
	"testing"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"gonum.org/v1/gonum/stat"
	"gonum.org/v1/gonum/stat/distuv"

	"github.com/gomfm/gomfm/mfm/internal/backendtest"
	"github.com/gomfm/gomfm/mfm/solver"
)

// sample returns the nodes of build for the generator with the given seed.
func sample(t *testing.T, seed int64, build func(rng *solver.RNG) []*Node) []*tensors.Tensor {
	t.Helper()
	state, err := RNGStateFromSeed(seed)
	if err != nil {
		t.Fatal(err)
	}
	exec := MustNewExec(backendtest.New(t), func(state *Node) []*Node { return build(&solver.RNG{State: state}) })
	defer exec.Finalize()
	out, err := exec.Call(state)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func normal(t *testing.T, seed int64, dtype dtypes.DType, n int) []float64 {
	out := sample(t, seed, func(rng *solver.RNG) []*Node {
		return []*Node{ConvertDType(rng.Normal(shapes.Make(dtype, n)), dtypes.Float64)}
	})
	return tensors.MustCopyFlatData[float64](out[0])
}

// kolmogorov returns √n sup |F_n - F|, which exceeds 1.95 with probability 0.001.
func kolmogorov(values []float64, cdf func(float64) float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	n, worst := float64(len(sorted)), 0.0
	for i, v := range sorted {
		f := cdf(v)
		worst = max(worst, f-float64(i)/n, float64(i+1)/n-f)
	}
	return math.Sqrt(n) * worst
}

func TestNormal(t *testing.T) {
	const n = 200_001 // odd, so that half of the last pair is dropped
	for _, dtype := range []dtypes.DType{dtypes.Float32, dtypes.Float64} {
		x := normal(t, 1, dtype, n)
		if len(x) != n {
			t.Fatalf("%s: %d numbers, want %d", dtype, len(x), n)
		}
		if d := kolmogorov(x, distuv.UnitNormal.CDF); d > 1.95 {
			t.Errorf("%s: Kolmogorov distance %.2f/√n, want at most 1.95/√n", dtype, d)
		}
		// Moments 1 to 4 with the standard errors √(m_{2k} - m_k²)/√n of a normal distribution.
		for k, want := range map[int][2]float64{1: {0, 1}, 2: {1, 2}, 3: {0, 15}, 4: {3, 96}} {
			sum := 0.0
			for _, v := range x {
				sum += math.Pow(v, float64(k))
			}
			if se := math.Sqrt(want[1] / n); math.Abs(sum/n-want[0]) > 4*se {
				t.Errorf("%s: moment %d is %.4f ± %.4f, want %g", dtype, k, sum/n, se, want[0])
			}
		}
		// The two numbers of a pair are independent, and so are their squares.
		half := n / 2
		first, second := x[:half], x[half+1:]
		square := func(v []float64) []float64 {
			out := make([]float64, len(v))
			for i := range v {
				out[i] = v[i] * v[i]
			}
			return out
		}
		for name, r := range map[string]float64{
			"pairs":         stat.Correlation(first, second, nil),
			"their squares": stat.Correlation(square(first), square(second), nil),
		} {
			if se := 1 / math.Sqrt(float64(half)); math.Abs(r) > 4*se {
				t.Errorf("%s: correlation of %s is %.4f ± %.4f", dtype, name, r, se)
			}
		}
	}
}

func TestUniform(t *testing.T) {
	const n = 100_000
	out := sample(t, 2, func(rng *solver.RNG) []*Node {
		return []*Node{rng.Uniform(shapes.Make(dtypes.Float64, n)), rng.Below(7, n)}
	})
	u := tensors.MustCopyFlatData[float64](out[0])
	if low, high := slices.Min(u), slices.Max(u); low < 0 || high >= 1 {
		t.Errorf("uniform numbers from %g to %g, want within [0, 1)", low, high)
	}
	if d := kolmogorov(u, distuv.UnitUniform.CDF); d > 1.95 {
		t.Errorf("Kolmogorov distance %.2f/√n, want at most 1.95/√n", d)
	}
	counts := make([]float64, 7)
	for _, k := range tensors.MustCopyFlatData[int32](out[1]) {
		counts[k]++
	}
	for k, c := range counts {
		if se := math.Sqrt(n * 6.0 / 49); math.Abs(c-n/7.0) > 4*se {
			t.Errorf("%g samples are %d, want %g ± %.0f", c, k, n/7.0, se)
		}
	}
}

// Successive samples differ, and the same seed gives the same samples.
func TestRNGState(t *testing.T) {
	three := func(seed int64) []*tensors.Tensor {
		return sample(t, seed, func(rng *solver.RNG) []*Node {
			shape := shapes.Make(dtypes.Float32, 5, 3)
			return []*Node{rng.Normal(shape), rng.Normal(shape), rng.State}
		})
	}
	a, b, c := three(1), three(1), three(2)
	if !a[0].Equal(b[0]) || !a[1].Equal(b[1]) || !a[2].Equal(b[2]) {
		t.Error("the same seed gives other numbers")
	}
	if a[0].Equal(a[1]) {
		t.Error("the second sample equals the first")
	}
	if a[0].Equal(c[0]) {
		t.Error("another seed gives the same numbers")
	}
}
