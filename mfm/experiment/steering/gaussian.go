package steering

import (
	"errors"
	"fmt"
	"math"

	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/mat"
	"gonum.org/v1/gonum/stat"
)

// Gaussian is a normal distribution with the moments of data, for the divergence of a target that
// few or no data represent: a reward that is a function of k statistics of a sample moves the
// distribution of these statistics alone, and the divergence is theirs.
type Gaussian struct {
	mean     []float64
	variance []float64  // along the principal axes
	axes     *mat.Dense // [k][k], an axis a column
}

// NewGaussian returns the Gaussian with mean and covariance of points, [n][k]. It returns an error
// for fewer than two points, for points of no elements or of different lengths, and for elements
// that are not finite.
func NewGaussian(points [][]float64) (*Gaussian, error) {
	if len(points) < 2 || len(points[0]) == 0 {
		return nil, fmt.Errorf("gaussian of %d points: give at least two, with elements", len(points))
	}
	k := len(points[0])
	rows := mat.NewDense(len(points), k, nil)
	for i, p := range points {
		if len(p) != k {
			return nil, fmt.Errorf("gaussian: point %d has %d elements, the first has %d", i, len(p), k)
		}
		if floats.HasNaN(p) || math.IsInf(floats.Norm(p, 1), 0) {
			return nil, fmt.Errorf("gaussian: point %d is %v: its elements must be finite", i, p)
		}
		rows.SetRow(i, p)
	}
	var covariance mat.SymDense
	stat.CovarianceMatrix(&covariance, rows, nil)
	var eigen mat.EigenSym
	if !eigen.Factorize(&covariance, true) {
		return nil, errors.New("gaussian: the covariance of the points has no eigenvalues")
	}
	g := &Gaussian{mean: make([]float64, k), variance: eigen.Values(nil), axes: new(mat.Dense)}
	eigen.VectorsTo(g.axes)
	for j := range k {
		g.mean[j] = stat.Mean(mat.Col(nil, j, rows), nil)
		g.variance[j] = max(g.variance[j], 0) // rounding may make it negative
	}
	return g, nil
}

// MeasuredKL returns the divergence, in nats, of the Gaussian tilted by the likelihood
// exp(-|y - x|²/(2 σ²)) from the Gaussian, for y [k] and σ > 0:
//
//	½ Σ_i [ σ²/(s_i+σ²) - 1 + s_i d_i²/(s_i+σ²)² + log((s_i+σ²)/σ²) ],
//
// with the variances s_i along the principal axes, along which y - mean is d.
func (g *Gaussian) MeasuredKL(y []float64, sigma float64) float64 {
	kl, noise := 0.0, sigma*sigma
	for i, s := range g.variance {
		d := 0.0
		for j, v := range y {
			d += g.axes.At(j, i) * (v - g.mean[j])
		}
		kl += (noise/(s+noise) - 1 + s*d*d/((s+noise)*(s+noise)) + math.Log1p(s/noise)) / 2
	}
	return kl
}
