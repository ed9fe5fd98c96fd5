package experiment

import (
	"fmt"
	"math"

	"gonum.org/v1/gonum/floats"
)

// Empirical returns the exact posterior under the empirical law, the training images as a mixture of points: the probability of each of
// them given x_t = x,
//
//	w_j ∝ exp(-|x - β_t y_j|² / (2 α_t²)),
//
// [images]. x is one flat image; t must lie in [0, 1), where α_t is not zero.
func (e *Digits) Empirical(t float64, x []float32) ([]float64, error) {
	size := e.Data.Dim()
	alpha, beta, _, _ := e.Map.Interpolant.At(t)
	if !(t >= 0 && t < 1) || len(x) != size {
		return nil, fmt.Errorf("empirical posterior of %d pixels at t = %g: want %d pixels and t in [0, 1)", len(x), t, size)
	}
	pixels := e.Data.Float32()
	w := make([]float64, e.Data.N)
	for j := range w {
		square := 0.0
		for i, y := range pixels[j*size : (j+1)*size] {
			d := float64(x[i]) - beta*float64(y)
			square += d * d
		}
		w[j] = -square / (2 * alpha * alpha)
	}
	floats.AddConst(-floats.LogSumExp(w), w)
	for j := range w {
		w[j] = math.Exp(w[j])
	}
	return w, nil
}

// EmpiricalMean returns the mean of the training images under weights such as those of [Digits.Empirical], a flat image.
func (e *Digits) EmpiricalMean(weights []float64) []float32 {
	size, pixels := e.Data.Dim(), e.Data.Float32()
	mean := make([]float64, size)
	for j, w := range weights {
		if w == 0 {
			continue
		}
		for i, y := range pixels[j*size : (j+1)*size] {
			mean[i] += w * float64(y)
		}
	}
	out := make([]float32, size)
	for i, m := range mean {
		out[i] = float32(m)
	}
	return out
}
