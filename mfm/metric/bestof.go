package metric

import (
	"fmt"
	"math"
	"slices"
)

// ExpectedMax returns the mean of the largest of n values that are drawn without replacement from all of them: what Best-of-n has as its reward, without bias and with far less noise than from drawing once. It returns an
// error for n outside of [1, len(values)] and for NaN.
func ExpectedMax(values []float64, n int) (float64, error) {
	m := len(values)
	if n < 1 || n > m {
		return 0, fmt.Errorf("largest of %d out of %d values: must lie in [1, %[2]d]", n, m)
	}
	sorted := slices.Clone(values)
	slices.Sort(sorted)
	if math.IsNaN(sorted[0]) { // which sorts first
		return 0, fmt.Errorf("largest of %d values: some are NaN", n)
	}
	// The i-th smallest, from 1, is the largest of n with probability C(i-1, n-1)/C(m, n).
	mean, p := 0.0, float64(n)/float64(m)
	for i := m; i >= n; i-- {
		if p == 0 {
			break // and all that come
		}
		mean += p * sorted[i-1]
		p *= float64(i-n) / float64(i-1)
	}
	return mean, nil
}
