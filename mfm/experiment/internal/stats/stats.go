// Package stats has the small statistics that the experiments share.
package stats

import (
	"math"
	"math/rand/v2"
	"slices"

	"gonum.org/v1/gonum/floats"
)

// ArgMax returns the most likely class for each row of probabilities, [n][classes].
func ArgMax(probabilities [][]float64) []int {
	out := make([]int, len(probabilities))
	for i, p := range probabilities {
		out[i] = floats.MaxIdx(p)
	}
	return out
}

// Categorical returns a random class with the probabilities p, which sum to 1.
func Categorical(rng *rand.Rand, p []float64) int {
	u := rng.Float64()
	for c, v := range p {
		if u -= v; u < 0 {
			return c
		}
	}
	return floats.MaxIdx(p)
}

// Finite reports whether all values are finite and at most 1e6 in absolute value. Larger values
// mean that a run has diverged.
func Finite(values []float32) bool { return CountNonFinite(values, 1) == 0 }

// CountNonFinite returns the number of samples, flat with size elements each, that have a value for
// which [Finite] is false.
func CountNonFinite(values []float32, size int) int {
	n := 0
	for sample := range slices.Chunk(values, size) {
		if slices.ContainsFunc(sample, func(v float32) bool { return !(math.Abs(float64(v)) <= 1e6) }) {
			n++
		}
	}
	return n
}

// ClassShares returns the shares of the classes among labels, which lie in [0, classes). They sum
// to 1; nil without classes.
func ClassShares(classes int, labels []int32) []float64 {
	if classes == 0 {
		return nil
	}
	shares := make([]float64, classes)
	for _, label := range labels {
		shares[label] += 1 / float64(len(labels))
	}
	return shares
}

// Labels returns n labels drawn by the shares of their classes.
func Labels(seed int64, n int, shares []float64) []int32 {
	rng := rand.New(rand.NewPCG(uint64(seed), 29))
	labels := make([]int32, n)
	for i := range labels {
		labels[i] = int32(Categorical(rng, shares))
	}
	return labels
}
