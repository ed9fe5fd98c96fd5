package alignment

import (
	"math"
	"math/rand/v2"
	"slices"

	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/stat"

	"github.com/gomfm/gomfm/mfm/metric"
)

// valuesOf returns log mean e^r of each subset of n rewards of the given number for each state,
// [samples/n][states]. It is NaN if no reward of the subset is finite.
func valuesOf(rewards []float64, samples, n int) [][]float64 {
	subsets := make([][]float64, samples/n)
	for from := 0; from < len(rewards); from += n {
		value := math.NaN()
		if of := usable(rewards[from : from+n]); len(of) > 0 {
			value = floats.LogSumExp(of) - math.Log(float64(n))
		}
		i := from % samples / n
		subsets[i] = append(subsets[i], value)
	}
	return subsets
}

// effective returns the smallest effective number of samples over states of so many rewards each, 0
// if a state has no finite reward.
func effective(rewards []float64, samples int) float64 {
	least := math.Inf(1)
	for of := range slices.Chunk(rewards, samples) {
		number := 0.0
		if of = usable(of); len(of) > 0 {
			sum, square := floats.LogSumExp(of), 0.0
			for _, v := range of {
				square += math.Exp(2 * (v - sum))
			}
			number = 1 / square
		}
		least = min(least, number)
	}
	return least
}

// defined returns the pairs of numbers of which neither is NaN, and no weights.
func defined(a, b []float64) (x, y, weights []float64) {
	for i := range a {
		if !math.IsNaN(a[i]) && !math.IsNaN(b[i]) {
			x, y = append(x, a[i]), append(y, b[i])
		}
	}
	return x, y, nil
}

// pearson returns the mean correlation of subsets of estimates with the reference at the given
// states, over the subsets for which it is defined; NaN if it is defined for none.
func pearson(subsets [][]float64, reference []float64, states []int) float64 {
	var all []float64
	for _, values := range subsets {
		a, b := make([]float64, len(states)), make([]float64, len(states))
		for i, s := range states {
			a[i], b[i] = values[s], reference[s]
		}
		x, y, _ := defined(a, b)
		if len(x) > 1 {
			if c := stat.Correlation(x, y, nil); !math.IsNaN(c) {
				all = append(all, c)
			}
		}
	}
	return stat.Mean(all, nil)
}

// bootstraps is the number of bootstrap samples of a standard error.
const bootstraps = 200

// compared returns e with the comparison of subsets of estimates with the reference. Bootstrap
// samples of the states come from rng.
func (e ValueEstimate) compared(subsets [][]float64, reference []float64, rng *rand.Rand) ValueEstimate {
	var differences []float64
	count := 0
	for _, values := range subsets {
		x, y, _ := defined(values, reference)
		for i := range x {
			differences = append(differences, x[i]-y[i])
		}
		for _, v := range values {
			if math.IsNaN(v) {
				count++
			}
		}
	}
	e.Undefined = float64(count) / float64(len(subsets)*len(reference))
	states := make([]int, len(reference))
	for i := range states {
		states[i] = i
	}
	e.Pearson = metric.Some(pearson(subsets, reference, states))
	var all []float64
	for range bootstraps {
		for i := range states {
			states[i] = rng.IntN(len(reference))
		}
		if p := pearson(subsets, reference, states); !math.IsNaN(p) {
			all = append(all, p)
		}
	}
	e.PearsonSE = metric.Some(stat.StdDev(all, nil))
	e.Bias = metric.Some(stat.Mean(differences, nil))
	e.RMS = metric.Some(floats.Norm(differences, 2) / math.Sqrt(float64(len(differences))))
	return e
}
