package gmm

import (
	"fmt"
	"math"

	"gonum.org/v1/gonum/integrate/quad"

	"github.com/gomfm/gomfm/mfm/interpolant"
)

// FlowMap returns X_{s,u}(x), [dim], the state at time u of the flow of a single Gaussian N(m, C)
// that is at x at time s:
//
//	X_{s,u}(x) = β_u m + √(ν_u/ν_s) (x - β_s m),   ν_t = α_t² I + β_t² C.
//
// It solves dx/dt = b_t(x) for s and u in either order. It returns an error for a mixture of
// several components, whose flow map has no closed form.
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

// AverageVelocity returns v_{s,u}(x) = (X_{s,u}(x) - x)/(u - s), [dim], for a single Gaussian, or
// its limit b_s(x) at u = s:
//
//	v_{s,u}(x) = β̇ m + (ν_s + √(ν_s ν_u))⁻¹ ν̇ (x - β_s m)
//
// with the mean slopes β̇ and ν̇ of β and ν over [s, u]. Its errors are those of [Mixture.FlowMap].
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

// ConditionalFlowMap returns X_{s,u}(x̄; t, x), [dim]: the flow map of the posterior p_{1|t}(.|x)
// of a single Gaussian. Its one step X_{0,1}(ε; t, x) from noise ε is an exact posterior sample.
// Its errors are those of [Mixture.FlowMap].
func (m *Mixture) ConditionalFlowMap(
	ip interpolant.Schedule, s, u float64, xbar []float64, t float64, x []float64,
) ([]float64, error) {
	return m.Posterior(ip, t, x).FlowMap(ip, s, u, xbar)
}

// ConditionalAverageVelocity returns v_{s,u}(x̄; t, x), [dim], the quantity that a meta flow map
// learns, for a single Gaussian. At u = s it is [Mixture.ConditionalDrift]. Its errors are those of
// [Mixture.FlowMap].
func (m *Mixture) ConditionalAverageVelocity(
	ip interpolant.Schedule, s, u float64, xbar []float64, t float64, x []float64,
) ([]float64, error) {
	return m.Posterior(ip, t, x).AverageVelocity(ip, s, u, xbar)
}

func (m *Mixture) checkSingle() error {
	if m.Len() != 1 {
		return fmt.Errorf("mixture has %d components: the flow map has a closed form for one component only", m.Len())
	}
	return nil
}

// meanSlopes returns the means of (α²)' and β' over [s, u], which are (α_u² - α_s²)/(u - s) and
// (β_u - β_s)/(u - s) without the cancellation in these quotients for u near s.
func meanSlopes(ip interpolant.Schedule, s, u float64) (alphaSquare, beta float64) {
	for i, w := range quadrature.weights {
		alpha, _, dAlpha, dBeta := ip.At(s + quadrature.nodes[i]*(u-s))
		alphaSquare += w * 2 * alpha * dAlpha
		beta += w * dBeta
	}
	return alphaSquare, beta
}

// quadrature is the Gauss-Legendre rule on [0, 1]. Its eight nodes integrate the slopes of the
// usual schedules over all of [0, 1] to 1e-14.
var quadrature = func() (q struct{ nodes, weights [8]float64 }) {
	quad.Legendre{}.FixedLocations(q.nodes[:], q.weights[:], 0, 1)
	return q
}()
