package figure_test

import (
	"math"
	"math/rand/v2"
)

// mixture holds the means of the mixture of the paper, with equal weights and covariance 0.5 I.
var mixture = [][]float64{{-3, -3}, {0, 0}, {3, 3}}

// density returns the density of I_t for data of the mixture, up to its normalization.
func density(t float64) func(x, y float64) float64 {
	v := (1-t)*(1-t) + 0.5*t*t
	return func(x, y float64) float64 {
		sum := 0.0
		for _, m := range mixture {
			dx, dy := x-t*m[0], y-t*m[1]
			sum += math.Exp(-(dx*dx + dy*dy) / (2 * v))
		}
		return sum / v
	}
}

// samples returns n samples of the same distribution.
func samples(rng *rand.Rand, t float64, n int) [][]float64 {
	sd := math.Sqrt((1-t)*(1-t) + 0.5*t*t)
	out := make([][]float64, n)
	for i := range out {
		m := mixture[rng.IntN(len(mixture))]
		out[i] = []float64{t*m[0] + sd*rng.NormFloat64(), t*m[1] + sd*rng.NormFloat64()}
	}
	return out
}

func newRand(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 1)) }
