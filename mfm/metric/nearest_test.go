package metric_test

import (
	"context"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/gomfm/gomfm/mfm/metric"
)

// Distances are those of all pairs, in more than one part of a row as well.
func TestNearest(t *testing.T) {
	for _, dim := range []int{1, 3, 256, 700} {
		nearest(t, dim, 7, 20, 1e-12, func(v float64) float64 { return v })
		nearest(t, dim, 7, 20, 1e-5, func(v float64) float32 { return float32(v) })
	}
	nearest(t, 3, 5, 1, 1e-12, func(v float64) float64 { return v })
	rows := [][]float64{{1, 2}, {3, 4}}
	if got, err := metric.Nearest(t.Context(), rows[1:], rows); err != nil || len(got) != 1 || got[0] != 0 {
		t.Errorf("a copy has the distances %v (%v), want 0", got, err)
	}
	for name, sets := range map[string][2][][]float64{
		"no samples": {nil, rows}, "no reference": {rows, nil}, "other dimension": {rows, {{1}}}, "ragged": {rows, {{1, 2}, {1}}},
		"not finite": {rows, {{1, math.NaN()}}},
	} {
		if got, err := metric.Nearest(t.Context(), sets[0], sets[1]); err == nil {
			t.Errorf("%s: %v is no error", name, got)
		}
	}
	ended, end := context.WithCancel(t.Context())
	end()
	if _, err := metric.Nearest(ended, rows, rows); err == nil {
		t.Error("an ended context is no error")
	}
}

// A sample counts by its nearest version; of an even number there are two medians.
func TestMedianNearest(t *testing.T) {
	reference, samples := [][]float64{{0}, {100}}, [][]float64{{4}, {1}, {90}, {2}}
	lower, upper, err := metric.MedianNearest(t.Context(), reference, samples)
	if err != nil || lower != 2 || upper != 4 {
		t.Errorf("medians of 1, 2, 4 and 10 are %g and %g (%v)", lower, upper, err)
	}
	lower, upper, err = metric.MedianNearest(t.Context(), reference, samples, [][]float64{{0}, {3}, {103}, {7}})
	if err != nil || lower != 1 || upper != 2 {
		t.Errorf("medians of 0, 1, 2 and 3 are %g and %g (%v)", lower, upper, err)
	}
	if lower, upper, err = metric.MedianNearest(t.Context(), reference, samples[:3]); err != nil || lower != 4 || upper != 4 {
		t.Errorf("median of 1, 4 and 10 is %g and %g (%v)", lower, upper, err)
	}
	for name, others := range map[string][][]float64{"fewer others": samples[1:], "other dimension": {{1, 2}}} {
		if _, _, err := metric.MedianNearest(t.Context(), reference, samples, others); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// nearest compares [metric.Nearest] of random sets with the definition, up to a relative tolerance.
func nearest[T float32 | float64](t *testing.T, dim, n, m int, tolerance float64, convert func(float64) T) {
	t.Helper()
	rng := rand.New(rand.NewPCG(1, uint64(dim)))
	random := func(rows int) [][]T {
		set := make([][]T, rows)
		for i := range set {
			for range dim {
				set[i] = append(set[i], convert(rng.NormFloat64()))
			}
		}
		return set
	}
	samples, reference := random(n), random(m)
	got, err := metric.Nearest(t.Context(), samples, reference)
	if err != nil || len(got) != n {
		t.Fatalf("%d distances of %d samples: %v", len(got), n, err)
	}
	for i, a := range samples {
		best := math.Inf(1)
		for _, b := range reference {
			sum := 0.
			for j := range a {
				d := float64(a[j]) - float64(b[j])
				sum += d * d
			}
			best = min(best, math.Sqrt(sum/float64(dim)))
		}
		if math.Abs(got[i]-best) > tolerance*best {
			t.Errorf("%d dimensions: sample %d is at %g, want %g", dim, i, got[i], best)
		}
	}
}
