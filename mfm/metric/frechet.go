package metric

import (
	"fmt"
	"math"

	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/mat"
	"gonum.org/v1/gonum/stat"
)

// Moments are mean and covariance of features.
type Moments struct {
	Mean       []float64
	Covariance *mat.SymDense
}

// NewMoments returns the moments of samples, at least two, [n][dim], that count as weights say: not negative, one for each, with a positive sum; nil: all alike.
func NewMoments(samples [][]float64, weights []float64) (Moments, error) {
	dim, err := check("samples", samples, 2)
	if err != nil {
		return Moments{}, err
	}
	if weights != nil && len(weights) != len(samples) {
		return Moments{}, fmt.Errorf("%d weights for %d samples", len(weights), len(samples))
	}
	for i, w := range weights {
		if !(w >= 0) || math.IsInf(w, 0) {
			return Moments{}, fmt.Errorf("weight %d is %v: must be finite and not negative", i, w)
		}
	}
	scaled := weights
	if weights != nil {
		total := floats.Sum(weights)
		if total == 0 {
			return Moments{}, fmt.Errorf("the weights are all zero")
		}
		scaled = make([]float64, len(weights)) // to a sum of the number of samples, less one of which a covariance is divided by
		floats.ScaleTo(scaled, float64(len(samples))/total, weights)
	}
	x := mat.NewDense(len(samples), dim, nil)
	for i, row := range samples {
		x.SetRow(i, row)
	}
	m := Moments{Mean: make([]float64, dim), Covariance: new(mat.SymDense)}
	for j := range m.Mean {
		m.Mean[j] = stat.Mean(mat.Col(nil, j, x), scaled)
	}
	stat.CovarianceMatrix(m.Covariance, x, scaled)
	return m, nil
}

// Spread returns the root mean square deviation per dimension, as [Spread] of the samples does.
func (m Moments) Spread() float64 {
	return math.Sqrt(mat.Trace(m.Covariance) / float64(len(m.Mean)))
}

// Frechet returns the squared Fréchet distance of two Gaussians, |m_a - m_b|² + tr(A + B - 2 (A^½ B A^½)^½): the squared W2 between them, and the FID where the
// features are a network's (Heusel et al., arXiv 1706.08500). Between n samples of a law with covariance I and the law itself it is dim (dim+5)/(4n) in the mean: a floor to be drawn beside it.
func Frechet(a, b Moments) (float64, error) {
	n := len(a.Mean)
	if n == 0 || len(b.Mean) != n || a.Covariance.SymmetricDim() != n || b.Covariance.SymmetricDim() != n {
		return 0, fmt.Errorf("moments of %d and %d features", n, len(b.Mean))
	}
	root, err := squareRoot(a.Covariance)
	if err != nil {
		return 0, err
	}
	var half, product mat.Dense
	half.Mul(root, b.Covariance)
	product.Mul(&half, root)
	middle := mat.NewSymDense(n, nil)
	for i := range n {
		for j := range i + 1 {
			middle.SetSym(i, j, (product.At(i, j)+product.At(j, i))/2)
		}
	}
	crossed, err := squareRoot(middle)
	if err != nil {
		return 0, err
	}
	d := floats.Distance(a.Mean, b.Mean, 2)
	return max(d*d+mat.Trace(a.Covariance)+mat.Trace(b.Covariance)-2*mat.Trace(crossed), 0), nil
}

// squareRoot returns the symmetric square root of a covariance; eigenvalues that rounding made negative are zero.
func squareRoot(c *mat.SymDense) (*mat.Dense, error) {
	var eig mat.EigenSym
	if !eig.Factorize(c, true) {
		return nil, fmt.Errorf("eigenvectors of a covariance not found: are all features finite?")
	}
	var v, scaled, root mat.Dense
	eig.VectorsTo(&v)
	values := eig.Values(nil)
	scaled.Apply(func(_, j int, x float64) float64 { return x * math.Sqrt(max(values[j], 0)) }, &v)
	root.Mul(&scaled, v.T())
	return &root, nil
}
