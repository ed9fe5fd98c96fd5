package metric

import (
	"context"
	"fmt"
	"math"
	"slices"
)

// PrecisionRecall returns the improved precision and recall of Kynkäänniemi et al. (arXiv
// 1904.06991) of samples, [n][dim], against reference, [m][dim]. A ball about each row of a set
// reaches to its k-th nearest other row. Precision is the share of the samples that lie in a ball
// of the reference, recall the share of the reference that lies in a ball of the samples, rims
// included; k = 3 is usual, and n and m must exceed it. Both fall with the number of rows: compare
// sets of equal sizes only. Time is proportional to (n+m)²·dim at most, on all CPUs. An ended ctx
// is an error.
func PrecisionRecall[T float32 | float64](ctx context.Context, samples, reference [][]T, k int) (
	precision, recall float64, err error) {
	if k < 1 {
		return 0, 0, fmt.Errorf("precision and recall with k = %d neighbors: must be positive", k)
	}
	if _, err := checkPair(samples, reference, k+1); err != nil {
		return 0, 0, err
	}
	ofSamples, ofReference := radii(ctx, samples, k), radii(ctx, reference, k)
	precision = covered(ctx, samples, reference, ofReference)
	recall = covered(ctx, reference, samples, ofSamples)
	if ctx.Err() != nil {
		return 0, 0, fmt.Errorf("precision and recall: %w", context.Cause(ctx))
	}
	return precision, recall, nil
}

// radii returns the squared distance of each row to its k-th nearest other row.
func radii[T float32 | float64](ctx context.Context, rows [][]T, k int) []float64 {
	squares := make([]float64, len(rows))
	parallel(len(rows), func() func(i int) {
		nearest := make([]float64, k) // ascending
		return func(i int) {
			if ctx.Err() != nil {
				return
			}
			for j := range nearest {
				nearest[j] = math.Inf(1)
			}
			for j, row := range rows {
				if d := squaredDistanceUpTo(nearest[k-1], rows[i], row); j != i && d < nearest[k-1] {
					at, _ := slices.BinarySearch(nearest, d)
					copy(nearest[at+1:], nearest[at:])
					nearest[at] = d
				}
			}
			squares[i] = nearest[k-1]
		}
	})
	return squares
}

// covered returns the share of rows that lie in a ball about one of centers.
func covered[T float32 | float64](ctx context.Context, rows, centers [][]T, squares []float64) float64 {
	inside := make([]float64, len(rows))
	parallel(len(rows), func() func(i int) {
		return func(i int) {
			if ctx.Err() != nil {
				return
			}
			for j, center := range centers {
				// The least number above: a distance that is cut short is at least that.
				limit := math.Nextafter(squares[j], math.Inf(1))
				if squaredDistanceUpTo(limit, rows[i], center) < limit {
					inside[i] = 1
					return
				}
			}
		}
	})
	sum := 0.
	for _, v := range inside {
		sum += v
	}
	return sum / float64(len(rows))
}
