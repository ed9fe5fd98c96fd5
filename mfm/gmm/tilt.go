package gmm

import (
	"fmt"
	"math"

	. "github.com/gomlx/gomlx/support/exceptions"
	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/mat"
)

// Tilt returns the tilted distribution p₁(x) e^{r(x)}/Z and log Z for the log-likelihood r(x) = -|y
// - A x|²/(2 σ²) of linear Gaussian measurements: a is [m][dim], y [m], sigma > 0. With S_k = A C_k
// Aᵀ + σ² I and the gain K_k = C_k Aᵀ S_k⁻¹ it is the mixture of
//
//	N(m_k + K_k (y - A m_k), C_k - K_k A C_k)
//
// with weights ∝ w_k √(σ^{2m}/det S_k) e^{-½ (y - A m_k)ᵀ S_k⁻¹ (y - A m_k)}.
//
// It is the exact reference for steering. Given I_1, the path before does not depend on the reward.
// So the drift b* and the marginals p*_t of the tilted mixture, at every t, are those of an exactly
// steered process, and the value is
//
//	V_t(x) = log E[e^{r(I_1)} | I_t = x] = log p*_t(x) - log p_t(x) + log Z.
//
// Tilt returns an error if sigma is not positive and finite or too small for float64. It panics if
// shapes do not fit.
func (m *Mixture) Tilt(a [][]float64, y []float64, sigma float64) (target *Mixture, logZ float64, err error) {
	if len(a) != len(y) || len(a) == 0 {
		Panicf("a has %d rows for %d measurements: give one row for each, and at least one", len(a), len(y))
	}
	if !(sigma > 0) || math.IsInf(sigma, 0) {
		return nil, 0, fmt.Errorf("tilting a mixture: sigma = %g must be positive and finite", sigma)
	}
	design := mat.NewDense(len(a), m.dim, nil)
	for i, row := range a {
		m.check(fmt.Sprintf("row %d of a", i), row)
		design.SetRow(i, row)
	}
	n := m.Len()
	target = &Mixture{
		dim: m.dim, logWeights: make([]float64, n), means: make([][]float64, n), covs: make([]*covariance, n),
	}
	updates := make(map[*covariance]*update) // preserves sharing
	for k, c := range m.covs {
		u := updates[c]
		if u == nil {
			if u, err = newUpdate(c, design, sigma); err != nil {
				return nil, 0, fmt.Errorf("tilting component %d of a mixture: %w", k, err)
			}
			updates[c] = u
		}
		residual := mat.NewVecDense(len(y), nil)
		residual.MulVec(design, mat.NewVecDense(m.dim, append([]float64(nil), m.means[k]...)))
		residual.SubVec(mat.NewVecDense(len(y), append([]float64(nil), y...)), residual)
		var solved, shift mat.VecDense
		if err := u.s.SolveVecTo(&solved, residual); err != nil {
			return nil, 0, fmt.Errorf("tilting component %d of a mixture: %w", k, err)
		}
		shift.MulVec(u.cat, &solved)
		target.means[k] = append([]float64(nil), m.means[k]...)
		floats.Add(target.means[k], shift.RawVector().Data)
		target.covs[k] = u.after
		target.logWeights[k] = m.logWeights[k] + float64(len(y))*math.Log(sigma) -
			u.s.LogDet()/2 - mat.Dot(residual, &solved)/2
	}
	logZ = floats.LogSumExp(target.logWeights)
	floats.AddConst(-logZ, target.logWeights)
	target.weights = normalize(target.logWeights)
	return target, logZ, nil
}

// update is the effect of a measurement on every component with the same covariance C.
type update struct {
	s     mat.Cholesky // of A C Aᵀ + σ² I
	cat   *mat.Dense   // C Aᵀ
	after *covariance
}

func newUpdate(c *covariance, a *mat.Dense, sigma float64) (*update, error) {
	n := len(c.variances)
	before := mat.NewSymDense(n, nil)
	c.addTo(before, 1)
	u := &update{cat: new(mat.Dense)}
	u.cat.Mul(before, a.T())
	var s mat.Dense
	s.Mul(a, u.cat)
	m, _ := s.Dims()
	sym := mat.NewSymDense(m, nil)
	for i := range m {
		for j := range i + 1 {
			sym.SetSym(i, j, (s.At(i, j)+s.At(j, i))/2)
		}
		sym.SetSym(i, i, sym.At(i, i)+sigma*sigma)
	}
	if !u.s.Factorize(sym) {
		return nil, fmt.Errorf("A C Aᵀ + σ² I is not positive definite in float64: sigma = %g may be too small", sigma)
	}
	var solved, gain mat.Dense
	if err := u.s.SolveTo(&solved, u.cat.T()); err != nil {
		return nil, err
	}
	gain.Mul(u.cat, &solved)
	entries := rows(before)
	for i := range entries {
		for j := range entries[i] {
			entries[i][j] -= (gain.At(i, j) + gain.At(j, i)) / 2
		}
	}
	after, err := newCovariance(entries, n)
	if err != nil {
		return nil, fmt.Errorf("covariance after the measurement %w", err)
	}
	u.after = after
	return u, nil
}
