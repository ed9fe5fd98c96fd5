package gmm

import "github.com/gomfm/gomfm/mfm/interpolant"

// PosteriorWeights returns P(component k | I_t = x), [components]. For [Points] these are the
// probabilities of the data points given x: the softmax of -|x - β_t y_k|²/(2 α_t²).
func (m *Mixture) PosteriorWeights(ip interpolant.Schedule, t float64, x []float64) []float64 {
	m.check("x", x)
	alpha, beta, _, _ := ip.At(t)
	return m.responsibilities(alpha, beta, x)
}

// Posterior returns the distribution p_{1|t}(.|x) of I_1 given I_t = x. It is a mixture with
// weights r_k, means m_k + β C_k (α² I + β² C_k)⁻¹ (x - β m_k) and covariances α² C_k (α² I + β²
// C_k)⁻¹. At t = 0 it is the mixture itself; at t = 1 it is the point x if the mixture has a
// density.
func (m *Mixture) Posterior(ip interpolant.Schedule, t float64, x []float64) *Mixture {
	m.check("x", x)
	alpha, beta, _, _ := ip.At(t)
	post := &Mixture{
		dim:        m.dim,
		logWeights: m.logJoint(alpha, beta, x),
		means:      make([][]float64, m.Len()),
		covs:       make([]*covariance, m.Len()),
	}
	post.weights = normalize(post.logWeights)
	scaled := make(map[*covariance]*covariance) // preserves sharing
	for k, c := range m.covs {
		if _, done := scaled[c]; !done {
			scaled[c] = c.scaled(func(v float64) float64 {
				return alpha * alpha * v / marginalVariance(alpha, beta, v)
			})
		}
		post.covs[k] = scaled[c]
		post.means[k] = m.posteriorMean(k, alpha, beta, x)
	}
	return post
}

// posteriorMean returns E[I_1 | I_t = x, component k]. For a point it is the point itself, not a
// copy.
func (m *Mixture) posteriorMean(k int, alpha, beta float64, x []float64) []float64 {
	c := m.covs[k]
	if c.isZero() {
		return m.means[k]
	}
	y := make([]float64, m.dim)
	m.residual(y, k, beta, x)
	for j, v := range c.variances {
		y[j] *= beta * v / marginalVariance(alpha, beta, v)
	}
	mean := append([]float64(nil), m.means[k]...)
	c.addFromBasis(mean, 1, y)
	return mean
}

// ConditionalDrift returns b̄_s(x̄; t, x) = E[dĪ_s/ds | Ī_s = x̄], [dim], for Ī_s = α_s Ī_0 + β_s
// I_1 with I_1 ~ p_{1|t}(.|x) and fresh noise Ī_0: the drift that transports noise to the
// posterior. It is computed as the drift of [Mixture.Posterior], without the GLASS identity, so
// that each can check the other. For many s or x̄ with one (t, x), compute the posterior once and
// use its [Mixture.Drift].
func (m *Mixture) ConditionalDrift(
	ip interpolant.Schedule, s float64, xbar []float64, t float64, x []float64,
) []float64 {
	return m.Posterior(ip, t, x).Drift(ip, s, xbar)
}

// ConditionalDenoiser returns E[I_1 | Ī_s = x̄, I_t = x], [dim]: the denoiser of the posterior.
func (m *Mixture) ConditionalDenoiser(
	ip interpolant.Schedule, s float64, xbar []float64, t float64, x []float64,
) []float64 {
	return m.Posterior(ip, t, x).Denoiser(ip, s, xbar)
}
