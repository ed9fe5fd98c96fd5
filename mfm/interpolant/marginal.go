package interpolant

import (
	. "github.com/gomlx/gomlx/core/graph"

	"github.com/gomfm/gomfm/mfm/internal/batch"
)

// Denoiser returns D_t(x) = E[I_1 | I_t = x] = (α b - α' x)/(α β' - α' β) for the drift b, [batch,
// ...].
func Denoiser(ip Schedule, b Drift, t, x, class *Node) *Node {
	alpha, beta, dAlpha, dBeta := ip.Graph(batch.Like(t, x))
	return Div(Sub(Mul(alpha, b(t, x, class)), Mul(dAlpha, x)), Wronskian(alpha, beta, dAlpha, dBeta))
}

// Score returns ∇ log p_t(x) = (β b - β' x)/(α (α β' - α' β)) for the drift b, [batch, ...]. α is
// at least 1e-3 here, because near t = 1 the score of singular data is infinite.
func Score(ip Schedule, b Drift, t, x, class *Node) *Node {
	alpha, beta, dAlpha, dBeta := ip.Graph(batch.Like(t, x))
	w := Wronskian(alpha, beta, dAlpha, dBeta)
	return Div(Sub(Mul(beta, b(t, x, class)), Mul(dBeta, x)), Mul(MaxScalar(alpha, 1e-3), w))
}

// StateAt returns I_t = α_t noise + β_t data for times t [batch] and states [batch, ...].
func StateAt(ip Schedule, t, noise, data *Node) *Node {
	alpha, beta, _, _ := ip.Graph(batch.Like(t, data))
	return Add(Mul(alpha, noise), Mul(beta, data))
}

// VelocityAt returns dI_t/dt = α'_t noise + β'_t data for times t [batch] and states [batch, ...].
func VelocityAt(ip Schedule, t, noise, data *Node) *Node {
	_, _, dAlpha, dBeta := ip.Graph(batch.Like(t, data))
	return Add(Mul(dAlpha, noise), Mul(dBeta, data))
}

// Wronskian returns α β' - α' β, which is positive on [0, 1].
func Wronskian(alpha, beta, dAlpha, dBeta *Node) *Node {
	return Sub(Mul(alpha, dBeta), Mul(dAlpha, beta))
}
