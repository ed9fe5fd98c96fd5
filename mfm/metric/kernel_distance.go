package metric

import (
	"fmt"
	"math"

	"gonum.org/v1/gonum/floats"
)

// KernelStream accumulates the kernel distance of two sets of features that arrive in pairs of
// batches: the mean over the pairs of the unbiased squared maximum mean discrepancy with the kernel
// (x·y/dim + 1)³, which is the KID if the features come from a network (Bińkowski et al., arXiv
// 1801.01401). Unlike [Frechet] it has no bias for any number of features, and may be negative.
// Streams merge. The zero value is an empty stream.
type KernelStream struct {
	n, mean, scatter float64 // of the pairs of batches; scatter is the sum of squared deviations
}

// Add adds a pair of batches, [n][dim] and [m][dim] with n, m >= 2; 1,000 each are usual.
func (s *KernelStream) Add(a, b [][]float64) error {
	dim, err := checkPair(a, b, 2)
	if err != nil {
		return err
	}
	kernel := func(x, y []float64) float64 {
		k := floats.Dot(x, y)/float64(dim) + 1
		return k * k * k
	}
	n, m := float64(len(a)), float64(len(b))
	distance := sumOver(a, a, kernel, true)/(n*(n-1)) + sumOver(b, b, kernel, true)/(m*(m-1)) -
		2*sumOver(a, b, kernel, false)/(n*m)
	s.Merge(KernelStream{n: 1, mean: distance})
	return nil
}

// Merge adds the pairs of another stream.
func (s *KernelStream) Merge(other KernelStream) {
	if other.n == 0 {
		return
	}
	n, difference := s.n+other.n, other.mean-s.mean
	s.scatter += other.scatter + difference*difference*s.n*other.n/n
	s.mean += difference * other.n / n
	s.n = n
}

// Distance returns the kernel distance and its standard error over the pairs of batches. It returns
// an error for less than two pairs.
func (s *KernelStream) Distance() (mean, se float64, err error) {
	if s.n < 2 {
		return 0, 0, fmt.Errorf("kernel distance of %g pairs of batches, need at least 2", s.n)
	}
	return s.mean, math.Sqrt(s.scatter / (s.n - 1) / s.n), nil
}

// sumOver returns the sum of k(x, y) over the rows x of a and y of b, without x = y if the sets are
// the same one. It adds the rows in order, so that the result does not depend on the goroutines.
func sumOver(a, b [][]float64, k func(x, y []float64) float64, same bool) float64 {
	sums := make([]float64, len(a))
	parallel(len(a), func() func(i int) {
		return func(i int) {
			for j, y := range b {
				if !same || i != j {
					sums[i] += k(a[i], y)
				}
			}
		}
	})
	return floats.Sum(sums)
}
