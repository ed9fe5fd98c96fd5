package metric

import (
	"fmt"
	"math"
	"math/rand/v2"

	"gonum.org/v1/gonum/stat"
)

// Floor returns what metric gives for two sets of exact samples: its mean over repeats pairs of draws, at least two, and
// the standard error of that mean. Draw returns a fresh set of exact samples, of the size the metric is used with. A
// metric of one set against exact moments ignores its second argument.
func Floor(metric func(a, b [][]float64) (float64, error), draw func(rng *rand.Rand) [][]float64, rng *rand.Rand, repeats int) (mean, stdErr float64, err error) {
	if repeats < 2 {
		return 0, 0, fmt.Errorf("floor over %d repeats: at least 2 are needed for a standard error", repeats)
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
