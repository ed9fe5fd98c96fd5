package metric

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"

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

// KernelSubsets are random subsets of two sets of features, as the published KID uses them.
type KernelSubsets struct {
	Subsets int `json:"subsets"` // pairs of subsets
	Size    int `json:"size"`    // features of each, without repetitions
}

// DefaultKernelSubsets are those of torch-fidelity and clean-fid.
func DefaultKernelSubsets() KernelSubsets { return KernelSubsets{Subsets: 100, Size: 1000} }

// Distance returns the mean of the kernel distance of [KernelStream] over pairs of random subsets
// of two sets of features, [n][dim] and [m][dim], and its standard deviation over the pairs: the
// KID of torch-fidelity if the features are those of its network. Each subset has no repetitions,
// but the subsets overlap: the deviation is not a standard error. Size must lie in [2, min(n, m)],
// Subsets be positive. An ended ctx is an error.
func (k KernelSubsets) Distance(ctx context.Context, a, b [][]float64, rng *rand.Rand) (mean, std float64, err error) {
	if k.Subsets < 1 || k.Size < 2 || k.Size > min(len(a), len(b)) {
		return 0, 0, fmt.Errorf("%d subsets of %d of %d and %d features: must be positive, and the size in [2, %d]",
			k.Subsets, k.Size, len(a), len(b), min(len(a), len(b)))
	}
	subset := func(rows [][]float64) [][]float64 {
		part := make([][]float64, k.Size)
		for i, at := range rng.Perm(len(rows))[:k.Size] {
			part[i] = rows[at]
		}
		return part
	}
	var s KernelStream
	for range k.Subsets {
		if ctx.Err() != nil {
			return 0, 0, fmt.Errorf("kernel distance: %w", context.Cause(ctx))
		}
		if err := s.Add(subset(a), subset(b)); err != nil {
			return 0, 0, err
		}
	}
	return s.mean, math.Sqrt(s.scatter / s.n), nil
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

// kernelBatches is the number of pairs of batches in [KernelOfBatches], if the sets are large
// enough.
const kernelBatches = 10

// KernelOfBatches returns the kernel distance of two sets of features, [n][dim] and [m][dim] with
// n, m >= 4, see [KernelStream], and its standard error, over at most ten pairs of batches that
// take every k-th row. It returns an error for fewer features and for different dimensions.
func KernelOfBatches(a, b [][]float64) (distance, se float64, err error) {
	if _, err := checkPair(a, b, 4); err != nil { // two pairs of two features
		return 0, 0, fmt.Errorf("kernel distance: %w", err)
	}
	batches := min(kernelBatches, len(a)/2, len(b)/2)
	part := func(rows [][]float64, k int) (part [][]float64) {
		for i := k; i < len(rows); i += batches {
			part = append(part, rows[i])
		}
		return part
	}
	var s KernelStream
	for k := range batches {
		if err := s.Add(part(a, k), part(b, k)); err != nil {
			return 0, 0, err
		}
	}
	return s.Distance()
}
