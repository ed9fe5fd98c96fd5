package gmm

import (
	"fmt"
	"math"

	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/mat"
)

// covariance is U diag(variances) Uᵀ, decomposed once: in the basis U every α² I + β² C is
// diagonal.
type covariance struct {
	variances []float64  // eigenvalues, none negative
	basis     *mat.Dense // U; nil for the coordinate axes
}

// tolerance is the relative deviation from a symmetric and from a positive semi-definite matrix
// that a covariance may have. It admits matrices printed with ten digits.
const tolerance = 1e-9

// newCovariance checks and decomposes a [dim][dim] matrix. Its errors continue a sentence that
// begins with "covariance k of the mixture".
func newCovariance(entries [][]float64, dim int) (*covariance, error) {
	if len(entries) != dim {
		return nil, fmt.Errorf("has %d rows, its mean has %d entries", len(entries), dim)
	}
	largest := 0.0
	for i, row := range entries {
		if len(row) != dim {
			return nil, fmt.Errorf("has %d entries in row %d, its mean has %d", len(row), i, dim)
		}
		for j, v := range row {
			if !(math.Abs(v) <= maxMagnitude) {
				return nil, fmt.Errorf("has %v at (%d, %d): entries must be at most %g in magnitude",
					v, i, j, maxMagnitude)
			}
			largest = math.Max(largest, math.Abs(v))
		}
	}
	diagonal := true
	sym := mat.NewSymDense(dim, nil)
	for i, row := range entries {
		sym.SetSym(i, i, row[i])
		for j := range i {
			if math.Abs(row[j]-entries[j][i]) > tolerance*largest {
				return nil, fmt.Errorf("is not symmetric: %v at (%d, %d), %v at (%d, %d)",
					row[j], i, j, entries[j][i], j, i)
			}
			sym.SetSym(i, j, row[j])
			diagonal = diagonal && row[j] == 0 && entries[j][i] == 0
		}
	}
	c, err := decompose(sym, diagonal)
	if err != nil {
		return nil, err
	}
	for i, v := range c.variances {
		if !(v >= -tolerance*largest) { // NaN too
			return nil, fmt.Errorf("has eigenvalue %v: it must be positive semi-definite", v)
		}
		c.variances[i] = math.Max(v, 0)
	}
	return c, nil
}

func decompose(sym *mat.SymDense, diagonal bool) (*covariance, error) {
	n := sym.SymmetricDim()
	if diagonal {
		variances := make([]float64, n)
		for i := range variances {
			variances[i] = sym.At(i, i)
		}
		return &covariance{variances: variances}, nil
	}
	var eigen mat.EigenSym
	if !eigen.Factorize(sym, true) {
		return nil, fmt.Errorf("could not be decomposed into eigenvectors")
	}
	basis := new(mat.Dense)
	eigen.VectorsTo(basis)
	return &covariance{variances: eigen.Values(nil), basis: basis}, nil
}

// toBasis replaces x by its coordinates in the eigenbasis, Uᵀ x.
func (c *covariance) toBasis(x []float64) {
	if c.basis == nil {
		return
	}
	v := mat.NewVecDense(len(x), x)
	v.MulVec(c.basis.T(), mat.VecDenseCopyOf(v))
}

// addFromBasis adds w U y to dst.
func (c *covariance) addFromBasis(dst []float64, w float64, y []float64) {
	if c.basis == nil {
		floats.AddScaled(dst, w, y)
		return
	}
	var x mat.VecDense
	x.MulVec(c.basis, mat.NewVecDense(len(y), y))
	floats.AddScaled(dst, w, x.RawVector().Data)
}

// addTo adds w times the covariance to dst.
func (c *covariance) addTo(dst *mat.SymDense, w float64) {
	for j, v := range c.variances {
		if c.basis == nil {
			dst.SetSym(j, j, dst.At(j, j)+w*v)
		} else {
			dst.SymRankOne(dst, w*v, c.basis.ColView(j))
		}
	}
}

// scaled returns the covariance with the same eigenvectors and with each variance v replaced by
// f(v).
func (c *covariance) scaled(f func(variance float64) float64) *covariance {
	variances := make([]float64, len(c.variances))
	for j, v := range c.variances {
		variances[j] = f(v)
	}
	return &covariance{variances: variances, basis: c.basis}
}

// isZero reports whether the component is a single point.
func (c *covariance) isZero() bool { return floats.Max(c.variances) == 0 }

// rows copies a symmetric matrix into slices.
func rows(s *mat.SymDense) [][]float64 {
	n := s.SymmetricDim()
	out := make([][]float64, n)
	for i := range out {
		out[i] = make([]float64, n)
		for j := range out[i] {
			out[i][j] = s.At(i, j)
		}
	}
	return out
}
