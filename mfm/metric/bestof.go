package metric

import (
	"fmt"
	"math"
	"slices"
)

// ExpectedMax returns the mean maximum of n values drawn without replacement from values: the
// expected reward of Best-of-n. It is unbiased and has far less variance than the maximum of one
// draw. It returns an error if n is outside [1, len(values)] or a value is NaN.
func ExpectedMax(values []float64, n int) (float64, error) {
	m := len(values)
	if n < 1 || n > m {
		return 0, fmt.Errorf("n = %d for the maximum of n out of %d values: must lie in [1, %[2]d]", n, m)
	}
	sorted := slices.Clone(values)
	slices.Sort(sorted)
	if math.IsNaN(sorted[0]) { // NaN sorts first
		return 0, fmt.Errorf("maximum of %d out of %d values: some are NaN", n, m)
	}
	// The i-th smallest value, from 1, is the maximum of n with probability C(i-1, n-1)/C(m, n).
	mean, p := 0.0, float64(n)/float64(m)
	for i := m; i >= n; i-- {
		if p == 0 {
			break // p stays zero
		}
		mean += p * sorted[i-1]
		p *= float64(i-n) / float64(i-1)
	}
	return mean, nil
}
