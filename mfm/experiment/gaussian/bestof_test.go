package gaussian_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/gomfm/gomfm/mfm/experiment/gaussian"
)

// Means of the largest of n standard normal numbers are those of tables of order statistics.
func TestExpectedMaximum(t *testing.T) {
	for n, want := range map[float64]float64{
		1: 0, 2: 1 / math.Sqrt(math.Pi), 3: 1.5 / math.Sqrt(math.Pi), 5: 1.1629644736, 10: 1.5387527308,
		100: 2.5075936340, 1000: 3.2414357770,
	} {
		if got := gaussian.ExpectedMaximum(n); math.Abs(got-want) > 1e-8 {
			t.Errorf("n = %g: mean %.10f, want %.10f", n, got, want)
		}
	}
}

// The divergence of Best-of-N is that of its samples' density, and its distance that of its
// samples.
func TestBestOfAgainstSamples(t *testing.T) {
	const sets = 40000
	rng := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{1, 4, 64} {
		largest := make([]float64, sets)
		kl := 0.0
		for i := range largest {
			largest[i] = math.Inf(-1)
			for range n {
				largest[i] = max(largest[i], rng.NormFloat64())
			}
			kl += math.Log(float64(n)) + float64(n-1)*math.Log(1-math.Erfc(largest[i]/math.Sqrt2)/2)
		}
		if got, want := gaussian.BestOfKL(float64(n)), kl/sets; math.Abs(got-want) > 5*1.0/math.Sqrt(sets) {
			t.Errorf("n = %d: divergence %.4f, samples have %.4f", n, got, want)
		}
		slices.Sort(largest)
		for _, mean := range []float64{0, 2} {
			sum := 0.0
			for i, z := range largest {
				target := mean + math.Sqrt2*math.Erfinv(2*(float64(i)+0.5)/sets-1)
				sum += (z - target) * (z - target) / sets
			}
			if got, want := gaussian.BestOfW2(float64(n), mean), math.Sqrt(sum); math.Abs(got-want) > 0.02 {
				t.Errorf("n = %d, mean %g: distance %.4f, samples have %.4f", n, mean, got, want)
			}
		}
	}
}

// The inverses invert, and the number of candidates for a divergence is about e^{kl+1}.
func TestCandidates(t *testing.T) {
	for _, kl := range []float64{0, 0.3, 1, 4, 12} {
		if got := gaussian.BestOfKL(gaussian.CandidatesForKL(kl)); math.Abs(got-kl) > 1e-9 {
			t.Errorf("candidates for %g nats reach %g", kl, got)
		}
	}
	if got := gaussian.CandidatesForKL(12) / math.Exp(13); math.Abs(got-1) > 1e-4 {
		t.Errorf("candidates for 12 nats are %g times e^13", got)
	}
	for _, mean := range []float64{0, 0.5642, 2, 5} {
		if got := gaussian.ExpectedMaximum(gaussian.CandidatesForMean(mean)); math.Abs(got-mean) > 1e-9 {
			t.Errorf("candidates for a mean of %g reach %g", mean, got)
		}
	}
	if got := gaussian.CandidatesForMean(9); !math.IsInf(got, 1) {
		t.Errorf("candidates for a mean of 9: %g, want +Inf", got)
	}
}
