package gmm

import (
	"fmt"
	"math"

	"gonum.org/v1/gonum/integrate/quad"

	"github.com/gomfm/gomfm/mfm/interpolant"
)

// FlowMap returns X_{s,u}(x), [dim]: where the flow of a single Gaussian N(m, C), started at x at time s, is at time u,
//
//	X_{s,u}(x) = β_u m + √(ν_u/ν_s) (x - β_s m)      ν_t = α_t² I + β_t² C
//
// It is the solution of dx/dt = b_t(x) for s and u in either order. It returns an error for a mixture of more than one
// component, whose flow map has no closed form.
func (m *Mixture) FlowMap(ip interpolant.Schedule, s, u float64, x []float64) ([]float64, error) {
	m.check("x", x)
	if err := m.checkSingle(); err != nil {
		return nil, err
	}
	alphaS, betaS, _, _ := ip.At(s)
	alphaU, betaU, _, _ := ip.At(u)
	return m.expectation(alphaS, betaS, x, betaU, func(variance, marginal float64) float64 {
		return math.Sqrt(marginalVariance(alphaU, betaU, variance) / marginal)
	}), nil
}

// AverageVelocity returns v_{s,u}(x) = (X_{s,u}(x) - x)/(u - s), [dim], for a single Gaussian, and its limit b_s(x) where u = s:
//
//	v_{s,u}(x) = β̇ m + (ν_s + √(ν_s ν_u))⁻¹ ν̇ (x - β_s m)
//
// where β̇ and ν̇ are the mean slopes of β and ν over [s, u]. Errors are those of [Mixture.FlowMap].
func (m *Mixture) AverageVelocity(ip interpolant.Schedule, s, u float64, x []float64) ([]float64, error) {
	m.check("x", x)
	if err := m.checkSingle(); err != nil {
		return nil, err
	}
	alphaS, betaS, _, _ := ip.At(s)
	alphaU, betaU, _, _ := ip.At(u)
	slopeAlphaSquare, slopeBeta := meanSlopes(ip, s, u)
	slopeBetaSquare := slopeBeta * (betaS + betaU)
	return m.expectation(alphaS, betaS, x, slopeBeta, func(variance, marginal float64) float64 {
		root := math.Sqrt(marginal * marginalVariance(alphaU, betaU, variance))
		return (slopeAlphaSquare + slopeBetaSquare*variance) / (marginal + root)
	}), nil
}

// ConditionalFlowMap returns X_{s,u}(x̄; t, x), [dim]: the flow map of a single Gaussian's posterior p_{1|t}(.|x), whose one
// step X_{0,1}(ε; t, x) from noise ε is an exact posterior sample. Errors are those of [Mixture.FlowMap].
func (m *Mixture) ConditionalFlowMap(ip interpolant.Schedule, s, u float64, xbar []float64, t float64, x []float64) ([]float64, error) {
	return m.Posterior(ip, t, x).FlowMap(ip, s, u, xbar)
}

// ConditionalAverageVelocity returns v_{s,u}(x̄; t, x), [dim], what a meta flow map learns, for a single Gaussian. At u = s it is
// [Mixture.ConditionalDrift]. Errors are those of [Mixture.FlowMap].
func (m *Mixture) ConditionalAverageVelocity(ip interpolant.Schedule, s, u float64, xbar []float64, t float64, x []float64) ([]float64, error) {
	return m.Posterior(ip, t, x).AverageVelocity(ip, s, u, xbar)
}

func (m *Mixture) checkSingle() error {
	if m.Len() != 1 {
		return fmt.Errorf("mixture has %d components: the flow map is known in closed form for one only", m.Len())
	}
	return nil
}

// meanSlopes returns the mean over [s, u] of (α²)' and β': (α_u² - α_s²)/(u - s) and (β_u - β_s)/(u - s) without the
// cancellation that the quotients suffer where u is near s.
func meanSlopes(ip interpolant.Schedule, s, u float64) (alphaSquare, beta float64) {
	for i, w := range quadrature.weights {
		alpha, _, dAlpha, dBeta := ip.At(s + quadrature.nodes[i]*(u-s))
		alphaSquare += w * 2 * alpha * dAlpha
		beta += w * dBeta
	}
	return alphaSquare, beta
}

// quadrature is Gauss and Legendre's rule on [0, 1]. Eight nodes integrate the slopes of the usual schedules over the
// whole of it to 1e-14.
var quadrature = func() (q struct{ nodes, weights [8]float64 }) {
	quad.Legendre{}.FixedLocations(q.nodes[:], q.weights[:], 0, 1)
	return q
}()
