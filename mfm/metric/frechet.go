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

// Frechet returns |m_a - m_b|² + tr(A + B - 2 (A B)^½), the squared Fréchet distance of two
// Gaussians. This is their squared W2 distance, and the FID if the features come from a network
// (Heusel et al., arXiv 1706.08500). Between n samples of a distribution with covariance I and the
// distribution itself its mean is dim (dim+5)/(4n): the floor to report with it.
//
// With A = F Fᵀ and B = G Gᵀ, by Cholesky factors with pivots, tr (A B)^½ is the sum of the
// singular values of Fᵀ G. Unlike square roots of eigenvalues it loses no digits where they are
// small: the error is about 1e-16 dim of the traces. For singular covariances, of at most dim
// features, the factors leave out what rounding hides, up to 1e-8 dim of the traces in the worst
// case. Frechet returns an error unless the moments have the same number of features, all finite.
func Frechet(a, b Moments) (float64, error) {
	n := len(a.Mean)
	if n == 0 || len(b.Mean) != n || a.Covariance.SymmetricDim() != n || b.Covariance.SymmetricDim() != n {
		return 0, fmt.Errorf("moments of %d and %d features", n, len(b.Mean))
	}
	f, err := factor(a)
	if err != nil {
		return 0, err
	}
	g, err := factor(b)
	if err != nil {
		return 0, err
	}
	return frechet(a.Mean, b.Mean, mat.Trace(a.Covariance), mat.Trace(b.Covariance), f, g)
}

// FrechetOfSamples returns the [Frechet] distance of the moments of two sets of features, [n][dim]
// with n >= 2. For sets of at most dim features its cost grows with dim instead of dim³: F and G
// are then the features less their mean, divided by √(n-1). It returns an error unless both sets
// have the same number of features, all finite.
func FrechetOfSamples(a, b [][]float64) (float64, error) {
	dim, err := checkPair(a, b, 2)
	if err != nil {
		return 0, err
	}
	if max(len(a), len(b)) > dim {
		first, err := NewMoments(a, nil)
		if err != nil {
			return 0, err
		}
		second, err := NewMoments(b, nil)
		if err != nil {
			return 0, err
		}
		return Frechet(first, second)
	}
	firstMean, f := centered(a)
	secondMean, g := centered(b)
	return frechet(firstMean, secondMean, squares(f), squares(g), f, g)
}

// centered returns the mean of features, and a matrix F with F Fᵀ their covariance.
func centered(rows [][]float64) (mean []float64, f *mat.Dense) {
	mean = sampleMean(rows)
	m := mat.NewDense(len(rows), len(mean), nil)
	for i, row := range rows {
		floats.SubTo(m.RawRowView(i), row, mean)
	}
	m.Scale(1/math.Sqrt(float64(len(rows)-1)), m)
	return mean, mat.DenseCopyOf(m.T())
}

// squares returns the sum of the squares of the elements.
func squares(m *mat.Dense) float64 { return floats.Dot(m.RawMatrix().Data, m.RawMatrix().Data) }

// frechet returns the distance from the means, the traces of the covariances and their factors F
// and G, nil for a covariance of zero.
func frechet(meanA, meanB []float64, traceA, traceB float64, f, g *mat.Dense) (float64, error) {
	crossed := 0.
	if f != nil && g != nil {
		var product mat.Dense
		product.Mul(f.T(), g)
		var svd mat.SVD
		if !svd.Factorize(&product, mat.SVDNone) {
			return 0, errors.New("the product of two covariances has no singular values")
		}
		crossed = floats.Sum(svd.Values(nil))
	}
	d := floats.Distance(meanA, meanB, 2)
	return max(d*d+traceA+traceB-2*crossed, 0), nil
}

// factor returns a matrix F of full column rank with F Fᵀ the covariance up to rounding, or nil if
// that is zero.
func factor(m Moments) (*mat.Dense, error) {
	n := len(m.Mean)
	for i, mean := range m.Mean {
		if mean-mean != 0 {
			return nil, fmt.Errorf("the mean of feature %d is %v: all features must be finite", i, mean)
		}
		for j := range i + 1 {
			if v := m.Covariance.At(i, j); v-v != 0 || i == j && v < 0 {
				return nil, fmt.Errorf("the covariance has %v at row %d, column %d: must be finite, and a variance not negative",
					v, i, j)
			}
		}
	}
	var c mat.PivotedCholesky
	c.Factorize(m.Covariance, -1)
	rank, u := c.Rank(), c.RawU()
	if rank == 0 {
		return nil, nil
	}
	f := mat.NewDense(n, rank, nil)
	for k, row := range c.ColumnPivots(nil) {
		for j := range min(k+1, rank) {
			f.Set(row, j, u.At(j, k))
		}
	}
	return f, nil
}
