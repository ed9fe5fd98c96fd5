package metric_test

import (
	"math"
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
