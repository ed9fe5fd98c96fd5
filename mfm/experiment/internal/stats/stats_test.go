package stats

import (
	"math"
	"math/rand/v2"
	"testing"
)

func TestCategorical(t *testing.T) {
	rng, p := rand.New(rand.NewPCG(1, 1)), []float64{0.2, 0, 0.5, 0.3}
	const n = 20_000
	counts := make([]float64, len(p))
	for range n {
		counts[Categorical(rng, p)]++
	}
	for c, want := range p {
		se := math.Sqrt(want * (1 - want) / n)
		if math.Abs(counts[c]/n-want) > 4*se {
			t.Errorf("class %d has frequency %g, want %g ± %g", c, counts[c]/n, want, se)
		}
	}
	if got := Categorical(rng, []float64{0, 1 - 1e-16, 0}); got != 1 {
		t.Errorf("class %d has probability 0, want class 1", got)
	}
}

// A sample counts once, however many of its values are not finite.
func TestCountNonFinite(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(-1))
	for _, c := range []struct {
		values []float32
		want   int
	}{
		{[]float32{1, -1e6, 0, 2}, 0}, {[]float32{nan, inf, 0, 2}, 1}, {[]float32{1.1e6, 0, 0, inf}, 2}, {nil, 0},
	} {
		if got := CountNonFinite(c.values, 2); got != c.want {
			t.Errorf("%v: %d samples are not finite, want %d", c.values, got, c.want)
		}
	}
}
