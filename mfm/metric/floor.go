package metric

import (
	"fmt"
	"math"
	"math/rand/v2"

	"gonum.org/v1/gonum/stat"
)

// Floor returns the value of metric for two sets of exact samples: its mean over repeats pairs of
// sets, at least two, and the standard error of that mean. draw returns a new set of exact samples,
// of the size for which the metric is used. A metric that compares one set with exact moments
// ignores its second argument.
func Floor(
	metric func(a, b [][]float64) (float64, error), draw func(rng *rand.Rand) [][]float64, rng *rand.Rand, repeats int,
) (mean, stdErr float64, err error) {
	if repeats < 2 {
		return 0, 0, fmt.Errorf("floor over %d repeats: a standard error needs at least 2", repeats)
	}
	values := make([]float64, repeats)
	for i := range values {
		if values[i], err = metric(draw(rng), draw(rng)); err != nil {
			return 0, 0, fmt.Errorf("floor, repeat %d: %w", i, err)
		}
	}
	mean, sd := stat.MeanStdDev(values, nil)
	return mean, sd / math.Sqrt(float64(repeats)), nil
}

// PoolFactor returns the factor for a sliced W2 between n samples of each of two pools of weighted
// points, with the effective numbers first and second of points, +Inf for exact samples. The
// product is the floor for n independent samples compared with n samples of the first pool: the
// square of a distance between two finite sets grows with 1/n₁ + 1/n₂, where n samples of a pool of
// effective number e count as 1/(1/n + 1/e).
func PoolFactor(n int, first, second float64) float64 {
	wanted := 2/float64(n) + 1/first
	return math.Sqrt(wanted / (wanted + 1/second))
}
