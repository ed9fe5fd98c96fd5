package metric_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/gomfm/gomfm/mfm/metric"
)

// ExpectedMax equals the mean over all subsets.
func TestExpectedMax(t *testing.T) {
	values := []float64{3, -1, 7, 2, 2}
	for n := 1; n <= len(values); n++ {
		sum, count := 0.0, 0.0
		for set := range 1 << len(values) {
			size, most := 0, math.Inf(-1)
			for i, v := range values {
				if set>>i&1 == 1 {
					size++
					most = max(most, v)
				}
			}
			if size == n {
				sum += most
				count++
			}
		}
		got, err := metric.ExpectedMax(values, n)
		if err != nil || math.Abs(got-sum/count) > 1e-12 {
			t.Errorf("maximum of %d: %g (%v), want %g", n, got, err, sum/count)
		}
	}
	lost := []float64{math.Inf(-1), 1, 2}
	if got, err := metric.ExpectedMax(lost, 3); err != nil || got != 2 {
		t.Errorf("maximum of all: %g, %v, want 2", got, err)
	}
	for _, n := range []int{0, 6} {
		if _, err := metric.ExpectedMax(values, n); err == nil {
			t.Errorf("n = %d of 5 is accepted", n)
		}
	}
	if _, err := metric.ExpectedMax([]float64{1, math.NaN()}, 1); err == nil {
		t.Error("NaN is accepted")
	}
}

// The largest of n uniform numbers has the mean n/(n+1), which the pool of the m numbers i/(m+1)
// has exactly.
func TestCandidatesFor(t *testing.T) {
	const m = 2000
	pool := make([]float64, m)
	for i := range pool {
		pool[i] = float64(m-i) / (m + 1)
	}
	for n, reward := range map[float64]float64{1: 0.5, 2: 2. / 3, 9: 0.9, 999: 0.999, 2.5: (2./3 + 3./4) / 2} {
		got, err := metric.CandidatesFor(pool, reward, 0, 1000, rand.New(rand.NewPCG(1, 1)))
		if err != nil || math.Abs(got.N-n) > 1e-6*n || got.Low > n || got.High < n {
			t.Errorf("reward %g: %+v (%v), want %g", reward, got, err, n)
		}
	}
	below, err := metric.CandidatesFor(pool, -3, 0, 10, rand.New(rand.NewPCG(1, 1)))
	if err != nil || below != (metric.Candidates{N: 1, Low: 1, High: 1}) {
		t.Errorf("a reward below the mean: %+v (%v), want 1", below, err)
	}
	beyond, err := metric.CandidatesFor(pool, 0.99, 0, 50, rand.New(rand.NewPCG(1, 1)))
	if err != nil || !math.IsInf(beyond.N, 1) || !math.IsInf(beyond.Low, 1) || !math.IsInf(beyond.High, 1) {
		t.Errorf("a reward of 99 candidates with at most 50: %+v (%v), want +Inf", beyond, err)
	}
	lost, err := metric.CandidatesFor([]float64{math.Inf(-1), 0, 1}, 0.5, 0, 3, rand.New(rand.NewPCG(1, 1)))
	if err != nil || lost.N != 2 { // the mean of two is 2/3
		t.Errorf("with a sample without reward: %+v (%v), want 2", lost, err)
	}
	for name, refuse := range map[string]func() error{
		"too many":     func() error { _, err := metric.CandidatesFor(pool, 0, 0, m+1, nil); return err },
		"none":         func() error { _, err := metric.CandidatesFor(nil, 0, 0, 1, nil); return err },
		"NaN reward":   func() error { _, err := metric.CandidatesFor(pool, math.NaN(), 0, 1, nil); return err },
		"NaN error":    func() error { _, err := metric.CandidatesFor(pool, 0, math.NaN(), 1, nil); return err },
		"NaN in pools": func() error { _, err := metric.CandidatesFor([]float64{math.NaN()}, 0, 0, 1, nil); return err },
	} {
		if refuse() == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// The interval has the true number, for exponential rewards whose largest of n has the mean
// 1 + 1/2 + ... + 1/n, in about 95 % of the cases.
func TestCandidatesInterval(t *testing.T) {
	const pools, samples = 40, 40
	rng := rand.New(rand.NewPCG(3, 4))
	mean := 0.0
	for n := 1; n <= 20; n++ {
		mean += 1 / float64(n)
	}
	covered := 0
	for range pools {
		pool := make([]float64, 3000)
		for i := range pool {
			pool[i] = rng.ExpFloat64()
		}
		steered := make([]float64, samples)
		for i := range steered {
			steered[i] = mean + rng.NormFloat64()
		}
		got, se := metric.MeanSE(steered)
		c, err := metric.CandidatesFor(pool, got, se, 500, rng)
		if err != nil {
			t.Fatal(err)
		}
		if c.Low <= 20 && 20 <= c.High {
			covered++
		}
	}
	if covered < 33 {
		t.Errorf("%d of %d intervals have the true number of candidates, want about 38", covered, pools)
	}
}

func TestCandidatesText(t *testing.T) {
	for want, c := range map[string]metric.Candidates{
		"31 [25, 40]": {N: 62, Low: 50, High: 80}, "> 500 [150, > 500]": {N: math.Inf(1), Low: 300, High: math.Inf(1)},
	} {
		if got := c.Text(0.5, 1000); got != want {
			t.Errorf("%+v is %q, want %q", c, got, want)
		}
	}
}
