package metric

import (
	"fmt"
	"math"
)

// Histogram returns the frequencies of k classes, [k], which sum to one. Classes lie in [0, k).
func Histogram(classes []int, k int) ([]float64, error) {
	if k < 1 || len(classes) == 0 {
		return nil, fmt.Errorf("histogram of %d samples in %d classes: need at least one of each", len(classes), k)
	}
	out := make([]float64, k)
	for i, c := range classes {
		if c < 0 || c >= k {
			return nil, fmt.Errorf("sample %d has class %d: must be 0 to %d", i, c, k-1)
		}
		out[c]++
	}
	for c := range out {
		out[c] /= float64(len(classes))
	}
	return out, nil
}

// TotalVariation returns ½ Σ |p_c - q_c|, in [0, 1], for two distributions over the same classes:
// the largest difference between the probabilities of any event.
func TotalVariation(p, q []float64) (float64, error) {
	if len(p) != len(q) {
		return 0, fmt.Errorf("distributions over %d and %d classes", len(p), len(q))
	}
	if err := checkDistribution("first", p); err != nil {
		return 0, err
	}
	if err := checkDistribution("second", q); err != nil {
		return 0, err
	}
	sum := 0.0
	for c := range p {
		sum += math.Abs(p[c] - q[c])
	}
	return sum / 2, nil
}

// checkDistribution returns an error unless p is a distribution, up to rounding to float32.
func checkDistribution(name string, p []float64) error {
	total := 0.0
	for c, v := range p {
		if !(v >= 0) {
			return fmt.Errorf("%s distribution has probability %v for class %d: must not be negative", name, v, c)
		}
		total += v
	}
	if !(math.Abs(total-1) <= 1e-4) {
		return fmt.Errorf("%s distribution sums to %v, must sum to 1", name, total)
	}
	return nil
}
