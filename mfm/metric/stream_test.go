package metric

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"gonum.org/v1/gonum/mat"
)

func normals(rng *rand.Rand, n, dim int, mean float64) [][]float64 {
	out := make([][]float64, n)
	for i := range out {
		out[i] = make([]float64, dim)
		for j := range out[i] {
			out[i][j] = mean + float64(j+1)*rng.NormFloat64()
		}
	}
	return out
}

// Batches of unequal size, in two merged streams, have the moments of the whole set.
func TestMomentStream(t *testing.T) {
	x := normals(rand.New(rand.NewPCG(1, 2)), 500, 3, 1e3) // a large mean shows cancellation
	want, err := NewMoments(x, nil)
	if err != nil {
		t.Fatal(err)
	}
	var a, b MomentStream
	for _, part := range []struct {
		s        *MomentStream
		from, to int
	}{{&a, 0, 1}, {&a, 1, 101}, {&b, 101, 490}, {&b, 490, 500}} {
		if err := part.s.Add(x[part.from:part.to]); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.Merge(&b); err != nil || a.N() != 500 || b.N() != 399 {
		t.Fatalf("merged %d and %d features, error %v", a.N(), b.N(), err)
	}
	got, err := a.Moments()
	if err != nil {
		t.Fatal(err)
	}
	var difference mat.Dense
	difference.Sub(got.Covariance, want.Covariance)
	if d := mat.Norm(&difference, 2); d > 1e-10*mat.Norm(want.Covariance, 2) {
		t.Errorf("covariance differs by %g", d)
	}
	for j, m := range got.Mean {
		if math.Abs(m-want.Mean[j]) > 1e-10 {
			t.Errorf("mean %d is %v, want %v", j, m, want.Mean[j])
		}
	}
	if err := a.Add([][]float64{{1}}); err == nil || a.N() != 500 {
		t.Errorf("another dimension: %d features, error %v", a.N(), err)
	}
	if _, err := new(MomentStream).Moments(); err == nil {
		t.Error("moments of an empty stream")
	}
}

// In one dimension E k(x, y) is a polynomial in the moments: for x ~ N(0, 1) and y ~ N(μ, 1), k =
// (xy + 1)³ has the mean Σ_p C(3, p) E[x^p] E[y^p].
func TestKernelDistance(t *testing.T) {
	const mu = 0.5
	moments := func(m float64) [4]float64 { return [4]float64{1, m, m*m + 1, m*m*m + 3*m} }
	mean := func(a, b [4]float64) (sum float64) {
		for p, c := range []float64{1, 3, 3, 1} {
			sum += c * a[p] * b[p]
		}
		return sum
	}
	x, y := moments(0), moments(mu)
	want := mean(x, x) + mean(y, y) - 2*mean(x, y)
	rng := rand.New(rand.NewPCG(5, 6))
	var s, same, half KernelStream
	for i := range 400 {
		a, b, c := normals(rng, 60, 1, 0), normals(rng, 40, 1, mu), normals(rng, 40, 1, 0)
		part := &s
		if i%2 == 1 {
			part = &half
		}
		if err := part.Add(a, b); err != nil {
			t.Fatal(err)
		}
		if err := same.Add(a, c); err != nil {
			t.Fatal(err)
		}
	}
	s.Merge(half)
	for _, tc := range []struct {
		name   string
		stream KernelStream
		want   float64
	}{{"shifted", s, want}, {"the same distribution", same, 0}} {
		got, se, err := tc.stream.Distance()
		if err != nil || math.Abs(got-tc.want) > 3*se || se > 0.25 {
			t.Errorf("%s: %.4f ± %.4f, want %.4f, error %v", tc.name, got, se, tc.want, err)
		}
	}
	if _, _, err := new(KernelStream).Distance(); err == nil {
		t.Error("an empty stream has a distance")
	}
}

// Two pairs of batches need four features of each set.
func TestKernelOfBatches(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	few, enough := normals(rng, 3, 2, 0), normals(rng, 4, 2, 0)
	for name, pair := range map[string][2][][]float64{"first": {few, enough}, "second": {enough, few}} {
		if _, _, err := KernelOfBatches(pair[0], pair[1]); err == nil || !strings.Contains(err.Error(), "need at least 4") {
			t.Errorf("3 features in the %s set: error %v", name, err)
		}
	}
	if _, se, err := KernelOfBatches(enough, enough); err != nil || se == 0 {
		t.Errorf("4 features: standard error %g, error %v", se, err)
	}
}
