package metric

import (
	"context"
	"fmt"
	"math"
	"slices"
)

// Nearest returns for each sample, [n][dim], its distance to the nearest row of reference,
// [m][dim], as the root mean square of the dim differences. Distances to training data that are far
// below those of held-out data show memorized samples. Time is proportional to n·m·dim, on all
// CPUs; there are no copies of the sets. An ended ctx is an error.
func Nearest[T float32 | float64](ctx context.Context, samples, reference [][]T) ([]float64, error) {
	dim, err := checkPair(samples, reference, 1)
	if err != nil {
		return nil, err
	}
	distances := make([]float64, len(samples))
	parallel(len(samples), func() (work func(i int)) {
		return func(i int) {
			if ctx.Err() != nil {
				return
			}
			best := math.Inf(1)
			for _, row := range reference {
				best = min(best, squaredDistanceUpTo(best, samples[i], row))
			}
			distances[i] = math.Sqrt(best / float64(dim))
		}
	})
	if ctx.Err() != nil {
		return nil, fmt.Errorf("searching the nearest rows of samples: %w", context.Cause(ctx))
	}
	return distances, nil
}

// MedianNearest returns the median over i of the distance of samples[i], or of others[k][i] if that
// is nearer, to the nearest row of reference, see [Nearest]. others are further versions of the
// samples, such as their mirror images. Of an even number of samples, lower and upper are the two
// distances in the middle; of an odd number they are equal.
func MedianNearest[T float32 | float64](ctx context.Context, reference, samples [][]T, others ...[][]T) (
	lower, upper float64, err error) {
	nearest, err := Nearest(ctx, samples, reference)
	if err != nil {
		return 0, 0, err
	}
	for _, other := range others {
		distances, err := Nearest(ctx, other, reference)
		if err == nil && len(distances) != len(nearest) {
			err = fmt.Errorf("%d samples with %d others: give as many", len(nearest), len(distances))
		}
		if err != nil {
			return 0, 0, err
		}
		for i, d := range distances {
			nearest[i] = min(nearest[i], d)
		}
	}
	slices.Sort(nearest)
	n := len(nearest)
	return nearest[(n-1)/2], nearest[n/2], nil
}

// squaredDistanceUpTo returns |x - y|², or a number of at least limit if that is at least limit.
// Sums of up to 256 squares have the precision of T.
func squaredDistanceUpTo[T float32 | float64](limit float64, x, y []T) float64 {
	const part = 256
	sum := 0.
	for from := 0; from < len(x) && sum < limit; from += part {
		a, b := x[from:min(from+part, len(x))], y[from:min(from+part, len(x))]
		var partial T
		for i, v := range a {
			d := v - b[i]
			partial += d * d
		}
		sum += float64(partial)
	}
	return sum
}
