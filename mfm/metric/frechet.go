package metric

import (
	"errors"
	"fmt"
	"math"

	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/mat"
	"gonum.org/v1/gonum/stat"
)

// Moments are the mean, [dim], and the covariance, [dim, dim], of features.
type Moments struct {
	Mean       []float64
	Covariance *mat.SymDense
}

// NewMoments returns the moments of samples, [n][dim] with n >= 2. weights has one non-negative
// weight per sample, with a positive sum; nil means equal weights.
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
			return Moments{}, errors.New("all weights are zero")
		}
		// The covariance divides by this sum less one: scale it to the number of samples.
		scaled = make([]float64, len(weights))
		floats.ScaleTo(scaled, float64(len(samples))/total, weights)
	}
	x := dense(samples, dim)
	m := Moments{Mean: make([]float64, dim), Covariance: new(mat.SymDense)}
	for j := range m.Mean {
		m.Mean[j] = stat.Mean(mat.Col(nil, j, x), scaled)
	}
	stat.CovarianceMatrix(m.Covariance, x, scaled)
	return m, nil
}

// Std returns √(trace of the covariance / dim), as [Std] does for samples.
func (m Moments) Std() float64 {
	return math.Sqrt(mat.Trace(m.Covariance) / float64(len(m.Mean)))
}

// Frechet returns |m_a - m_b|² + tr(A + B - 2 (A^½ B A^½)^½), the squared Fréchet distance of two
// Gaussians. This is their squared W2 distance, and the FID if the features come from a network
// (Heusel et al., arXiv 1706.08500). Between n samples of a distribution with covariance I and the
// distribution itself its mean is dim (dim+5)/(4n): the floor to report with it.
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

// squareRoot returns the symmetric square root of a covariance. It sets eigenvalues that rounding
// made negative to zero.
func squareRoot(c *mat.SymDense) (*mat.Dense, error) {
	var eig mat.EigenSym
	if !eig.Factorize(c, true) {
		return nil, errors.New("covariance has no eigenvectors: are all features finite?")
	}
	var v, scaled, root mat.Dense
	eig.VectorsTo(&v)
	values := eig.Values(nil)
	scaled.Apply(func(_, j int, x float64) float64 { return x * math.Sqrt(max(values[j], 0)) }, &v)
	root.Mul(&scaled, v.T())
	return &root, nil
}
