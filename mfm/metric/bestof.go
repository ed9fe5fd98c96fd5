package metric

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sort"
)

// ExpectedMax returns the mean maximum of n values drawn without replacement from values: the
// expected reward of Best-of-n. It is unbiased and has far less variance than the maximum of one
// draw. It returns an error if n is outside [1, len(values)] or a value is NaN.
func ExpectedMax(values []float64, n int) (float64, error) {
	m := len(values)
	if n < 1 || n > m {
		return 0, fmt.Errorf("n = %d for the maximum of n out of %d values: must lie in [1, %[2]d]", n, m)
	}
	sorted, err := sortedPool(values)
	if err != nil {
		return 0, err
	}
	return expectedMax(sorted, n, 0), nil
}

// sortedPool returns the values in increasing order, or an error if one is NaN.
func sortedPool(values []float64) ([]float64, error) {
	sorted := slices.Clone(values)
	slices.Sort(sorted)
	if len(sorted) > 0 && math.IsNaN(sorted[0]) { // NaN sorts first
		return nil, fmt.Errorf("maximum of %d values: some are NaN", len(values))
	}
	return sorted, nil
}

// expectedMax is ExpectedMax of sorted values, without those of at most a negligible probability.
func expectedMax(sorted []float64, n int, negligible float64) float64 {
	// The i-th smallest value, from 1, is the maximum of n with probability C(i-1, n-1)/C(m, n).
	m := len(sorted)
	mean, p := 0.0, float64(n)/float64(m)
	for i := m; i >= n; i-- {
		if p <= negligible {
			break // p falls, and stays zero
		}
		mean += p * sorted[i-1]
		p *= float64(i-n) / float64(i-1)
	}
	return mean
}

// Candidates is the number of candidates that Best-of-N needs for a reward, with a 95 % interval.
// +Inf means more candidates than were allowed.
type Candidates struct{ N, Low, High float64 }

// Text formats c times a factor, such as the cost of a candidate, as in 31 [25, 40]. Where more
// than most candidates are needed the number is a bound, as in > 202 [150, > 202].
func (c Candidates) Text(factor float64, most int) string {
	text := func(n float64) string {
		if math.IsInf(n, 1) {
			return fmt.Sprintf("> %.3g", float64(most)*factor)
		}
		return fmt.Sprintf("%.3g", n*factor)
	}
	return fmt.Sprintf("%s [%s, %s]", text(c.N), text(c.Low), text(c.High))
}

// resamples is the number of bootstrap samples of [CandidatesFor].
const resamples = 400

// CandidatesFor returns the number n of candidates, at most most, at which the expected reward of
// Best-of-n is mean. It is [ExpectedMax] of a pool of rewards of single samples, linear between
// whole numbers; n is 1 for every smaller reward. The interval is from the 2.5 % to the 97.5 %
// quantile over bootstrap samples of the pool, each for a reward drawn from N(mean, se²): se is the
// standard error of mean. A bootstrap sample repeats rewards: of n candidates from a pool
// of m about m (1 - (1 - 1/m)^n) are different, so that both ends are too large by the ratio. It
// returns an error if most is outside [1, len(pool)], a reward of the pool or the mean is NaN, or
// se is negative.
func CandidatesFor(pool []float64, mean, se float64, most int, rng *rand.Rand) (Candidates, error) {
	if most < 1 || most > len(pool) || math.IsNaN(mean) || !(se >= 0) {
		return Candidates{}, fmt.Errorf("up to %d candidates from %d for the reward %g ± %g: "+
			"most must lie in [1, %[2]d], the reward be a number, and its error not negative", most, len(pool), mean, se)
	}
	sorted, err := sortedPool(pool)
	if err != nil {
		return Candidates{}, err
	}
	all := make([]float64, resamples)
	counts, resampled := make([]int, len(sorted)), make([]float64, len(sorted))
	for i := range all {
		clear(counts)
		for range sorted {
			counts[rng.IntN(len(sorted))]++
		}
		next := resampled[:0] // in increasing order
		for k, count := range counts {
			for range count {
				next = append(next, sorted[k])
			}
		}
		all[i] = candidatesFor(next, mean+se*rng.NormFloat64(), most)
	}
	slices.Sort(all)
	return Candidates{candidatesFor(sorted, mean, most), all[resamples/40], all[resamples-1-resamples/40]}, nil
}

// candidatesFor is the number of candidates from a sorted pool, +Inf if most do not reach the
// reward.
func candidatesFor(sorted []float64, reward float64, most int) float64 {
	expected := func(n int) float64 { return expectedMax(sorted, n, 1e-18) }
	n := 1 + sort.Search(most, func(i int) bool { return expected(i+1) >= reward })
	if n > most {
		return math.Inf(1)
	}
	if n == 1 {
		return 1
	}
	low, high := expected(n-1), expected(n)
	if math.IsInf(low, -1) {
		return float64(n)
	}
	return float64(n-1) + (reward-low)/(high-low)
}
