package gmm

import (
	. "github.com/gomlx/gomlx/core/graph"
	. "github.com/gomlx/gomlx/support/exceptions"

	"github.com/gomfm/gomfm/mfm/interpolant"
)

// FlowMap returns X_{s,u}(x), [batch, dim], for times s and u [batch] and a single Gaussian. See
// [Mixture.FlowMap]. It panics for several components.
func (m *GraphMixture) FlowMap(ip interpolant.Schedule, s, u, x *Node) *Node {
	at := m.interval(ip, s, u, x)
	y := Add(Mul(Sqrt(Div(at.marginalU, at.marginalS)), at.residual), Mul(at.betaU, m.means))
	return m.combine(m.Weights(), y)
}

// AverageVelocity returns v_{s,u}(x) = (X_{s,u}(x) - x)/(u - s), [batch, dim], for a single
// Gaussian. It is smooth through u = s, where it is the drift. See [Mixture.AverageVelocity]. It
// panics for several components.
func (m *GraphMixture) AverageVelocity(ip interpolant.Schedule, s, u, x *Node) *Node {
	at := m.interval(ip, s, u, x)
	slopeAlphaSquare, slopeBeta := meanSlopesGraph(ip, s, u)
	slopeAlphaSquare, slopeBeta = m.column(slopeAlphaSquare), m.column(slopeBeta)
	slopeBetaSquare := Mul(slopeBeta, Add(at.betaS, at.betaU))
	factor := Div(
		Add(slopeAlphaSquare, Mul(slopeBetaSquare, m.variances)),
		Add(at.marginalS, Sqrt(Mul(at.marginalS, at.marginalU))))
	return m.combine(m.Weights(), Add(Mul(factor, at.residual), Mul(slopeBeta, m.means)))
}

// interval holds the flow of a Gaussian at both ends of [s, u].
type interval struct {
	betaS, betaU         *Node // [batch, 1, 1]
	residual             *Node // Uᵀ (x - β_s m), [batch, 1, dim]
	marginalS, marginalU *Node // α² + β² λ, [batch, 1, dim]
}

func (m *GraphMixture) interval(ip interpolant.Schedule, s, u, x *Node) interval {
	if m.components() != 1 {
		Panicf("mixture has %d components: the flow map has a closed form for one component only", m.components())
	}
	alphaS, betaS, _, _ := m.schedule(ip, s, x)
	alphaU, betaU, _, _ := m.schedule(ip, u, x)
	residual, marginalS, _ := m.joint(alphaS, betaS, x)
	return interval{betaS, betaU, residual, marginalS, m.marginal(alphaU, betaU)}
}

// meanSlopesGraph is meanSlopes for s and u [batch].
func meanSlopesGraph(ip interpolant.Schedule, s, u *Node) (alphaSquare, beta *Node) {
	constant := func(v []float64) *Node { return InsertAxes(ConstAsDType(s.Graph(), s.DType(), v), 0) }
	nodes, weights := constant(quadrature.nodes[:]), constant(quadrature.weights[:])
	alpha, _, dAlpha, dBeta := ip.Graph(Add(InsertAxes(s, -1), Mul(nodes, InsertAxes(Sub(u, s), -1))))
	alphaSquare = ReduceSum(Mul(MulScalar(weights, 2), Mul(alpha, dAlpha)), -1)
	return alphaSquare, ReduceSum(Mul(weights, dBeta), -1)
}
