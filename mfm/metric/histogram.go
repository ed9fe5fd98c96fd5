package metric

import (
	"fmt"
	"math"
)

// Histogram returns the frequency of each of k classes, [k], which sum to one. Classes are numbers in [0, k).
func Histogram(classes []int, k int) ([]float64, error) {
	if k < 1 || len(classes) == 0 {
		return nil, fmt.Errorf("histogram of %d samples in %d classes: at least one of each is needed", len(classes), k)
	}
	out := make([]float64, k)
	for i, c := range classes {
		if c < 0 || c >= k {
			return nil, fmt.Errorf("sample %d is of class %d: classes are 0 to %d", i, c, k-1)
		}
		out[c]++
	}
	for c := range out {
		out[c] /= float64(len(classes))
	}
	return out, nil
}

// TotalVariation returns ½ Σ |p_c - q_c|, in [0, 1], for two laws on the same classes: the largest difference in the
// probability that they give any event.
func TotalVariation(p, q []float64) (float64, error) {
	if len(p) != len(q) {
		return 0, fmt.Errorf("laws of %d and %d classes", len(p), len(q))
	}
	if err := checkLaw("first", p); err != nil {
		return 0, err
	}
	if err := checkLaw("second", q); err != nil {
		return 0, err
	}
	sum := 0.0
	for c := range p {
		sum += math.Abs(p[c] - q[c])
	}
	return sum / 2, nil
}

// checkLaw allows for probabilities that were rounded to float32.
func checkLaw(name string, law []float64) error {
	total := 0.0
	for c, v := range law {
		if !(v >= 0) {
			return fmt.Errorf("%s law has %v for class %d: probabilities are not negative", name, v, c)
		}
		total += v
	}
	if !(math.Abs(total-1) <= 1e-4) {
		return fmt.Errorf("%s law sums to %v, not 1", name, total)
	}
	return nil
}
