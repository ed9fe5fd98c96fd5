package gmm

import (
	"fmt"
	"math"

	. "github.com/gomlx/gomlx/support/exceptions"
	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/mat"
)

// Tilt returns the law p₁(x) e^{r(x)}/Z for the log-likelihood r(x) = -|y - A x|²/(2 σ²) of linear Gaussian measurements, a [m][dim], y [m], sigma > 0, and log Z. With
// S_k = A C_k Aᵀ + σ² I and the gain K_k = C_k Aᵀ S_k⁻¹ it is the mixture of
//
//	N(m_k + K_k (y - A m_k), C_k - K_k A C_k),   weights ∝ w_k √(σ^{2m}/det S_k) e^{-½ (y - A m_k)ᵀ S_k⁻¹ (y - A m_k)}.
//
// It is the oracle of steering. Conditioned on I_1, what happens before does not know of the reward, so the tilted law's own drift b* and marginals p*_t, at every t, are those that an
// exactly steered process has, and with them the value V_t(x) = log E[e^{r(I_1)} | I_t = x] = log p*_t(x) - log p_t(x) + log Z. It panics if the shapes do not go with the mixture.
func (m *Mixture) Tilt(a [][]float64, y []float64, sigma float64) (target *Mixture, logZ float64, err error) {
	if len(a) != len(y) || len(a) == 0 {
		Panicf("%d rows of a for %d measurements", len(a), len(y))
	}
	if !(sigma > 0) || math.IsInf(sigma, 0) {
		return nil, 0, fmt.Errorf("tilting a mixture: sigma = %g must be positive and finite", sigma)
	}
	design := mat.NewDense(len(a), m.dim, nil)
	for i, row := range a {
		m.check(fmt.Sprintf("row %d of a", i), row)
		design.SetRow(i, row)
	}
	target = &Mixture{dim: m.dim, logWeights: make([]float64, m.Len()), means: make([][]float64, m.Len()), covs: make([]*covariance, m.Len())}
	updates := make(map[*covariance]*update) // keeps shared covariances shared
	for k, c := range m.covs {
		u := updates[c]
		if u == nil {
			if u, err = newUpdate(c, design, sigma); err != nil {
				return nil, 0, fmt.Errorf("tilting component %d of a mixture: %w", k, err)
			}
			updates[c] = u
		}
		miss := mat.NewVecDense(len(y), nil)
		miss.MulVec(design, mat.NewVecDense(m.dim, append([]float64(nil), m.means[k]...)))
		miss.SubVec(mat.NewVecDense(len(y), append([]float64(nil), y...)), miss)
		var solved, shift mat.VecDense
		if err := u.s.SolveVecTo(&solved, miss); err != nil {
			return nil, 0, fmt.Errorf("tilting component %d of a mixture: %w", k, err)
		}
		shift.MulVec(u.cat, &solved)
		target.means[k] = append([]float64(nil), m.means[k]...)
		floats.Add(target.means[k], shift.RawVector().Data)
		target.covs[k] = u.after
		target.logWeights[k] = m.logWeights[k] + float64(len(y))*math.Log(sigma) - u.s.LogDet()/2 - mat.Dot(miss, &solved)/2
	}
	logZ = floats.LogSumExp(target.logWeights)
	floats.AddConst(-logZ, target.logWeights)
	target.weights = normalise(target.logWeights)
	return target, logZ, nil
}

// update is what a measurement does to every component of one covariance C.
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
		return nil, fmt.Errorf("the measurements' covariance A C Aᵀ + σ² I is not positive definite in float64: is sigma = %g far below the spread?", sigma)
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
		return nil, fmt.Errorf("its covariance after the measurement %w", err)
	}
	u.after = after
	return u, nil
}
