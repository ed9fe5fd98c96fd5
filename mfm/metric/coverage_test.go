package metric_test

import (
	"math"
	"testing"

	"github.com/gomfm/gomfm/mfm/metric"
)

// The mean over all ranks is the share. By hand for four samples and a half: 5 · 0.5/2 = 1.25 ranks
// are left out at each end.
func TestCoverage(t *testing.T) {
	for rank, want := range []float64{0, 0.75, 1, 0.75, 0} {
		if got := metric.Coverage(rank, 4, 0.5); math.Abs(got-want) > 1e-12 {
			t.Errorf("rank %d of 4: %g, want %g", rank, got, want)
		}
	}
	for _, n := range []int{0, 1, 2, 3, 4, 64, 101} {
		for _, share := range []float64{0.01, 0.3, 0.5, 0.9} {
			mean := 0.
			for rank := range n + 1 {
				mean += metric.Coverage(rank, n, share) / float64(n+1)
			}
			if math.Abs(mean-share) > 1e-12 {
				t.Errorf("%d samples: the mean is %g, want %g", n, mean, share)
			}
		}
	}
}
