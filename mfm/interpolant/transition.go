package interpolant

import (
	. "github.com/gomlx/gomlx/core/graph"

	"github.com/gomfm/gomfm/mfm/internal/batch"
)

// Transition is the transition kernel p(x_{t'} | x_t) of an interpolant from time t to a later time
// t'. The noises of the two states have correlation Rho: 0 uses independent noise for x_{t'},
// [DDPMCorrelation] makes the pair Markov. For t' = 1 it is the posterior, for every Rho.
type Transition struct {
	Interpolant Schedule // (α, β) of the interpolant
	To          *Node    // t', [batch], in (t, 1]
	Rho         *Node    // correlation of the noises in I_t and I_{t'}, [batch], in [0, 1)
}

// DDPMCorrelation returns the correlation (α_{t'} β_t)/(α_t β_{t'}) for which I_t is I_{t'} scaled
// down plus independent noise: the transition of a diffusion run backward, for 0 <= t < to <= 1.
func DDPMCorrelation(ip Schedule, t, to float64) float64 {
	alpha, beta, _, _ := ip.At(t)
	alphaTo, betaTo, _, _ := ip.At(to)
	return alphaTo * beta / (alpha * betaTo)
}

// ConditionalDrift returns the drift at inner time s that transports fresh noise at s = 0 along
// x̄_s = α_s ε + β_s I_{t'} to a sample of p(x_{t'} | x_t = x) at s = 1. It needs the unconditional
// drift b alone (GLASS flows, arXiv 2509.25170). s and t are [batch], xbar and x [batch, ...]; s is
// in [0, 1], t < t'.
//
// Given the data z, x = β_t z + α_t ε₁ and I_{t'} = β_{t'} z + α_{t'} (ρ ε₁ + √(1-ρ²) ε₂).
// Subtracting from x̄ what x implies about its noise gives
//
//	y = x̄ - β_s ρ (α_{t'}/α_t) x = B z + k ε₃,
//	B = β_s (β_{t'} - ρ β_t α_{t'}/α_t),   k² = α_s² + β_s² α_{t'}² (1-ρ²),
//
// an observation of z whose noise is independent of ε₁. x and y combine as in the function
// [ConditionalDrift] into the state x* at time t*, which determines E[z] and the mean of ε* = cos φ
// ε₁ + sin φ ε₃. The rest of the noise is known: η = sin φ ε₁ - cos φ ε₃ = (β_s β_{t'} x - β_t
// x̄)/h. Hence
//
//	b̄ = β'_s β_{t'} E[z] + β'_s ρ α_{t'} E[ε₁] + k'_s E[ε₃].
//
// The covariance of (x, x̄) is never inverted and differences lose no more digits than the inputs
// have, so float32 suffices as far as it represents α_t. For t' = 1 it is the function
// [ConditionalDrift].
func (tr Transition) ConditionalDrift(b Drift, s, xbar, t, x, class *Node) *Node {
	ip := tr.Interpolant
	a, c, dA, dC := ip.Graph(s) // inner schedule: x̄_s = a ε + c I_{t'}
	alpha, beta, _, _ := ip.Graph(t)
	alphaTo, betaTo, _, _ := ip.Graph(tr.To)

	// The standard deviation of the noise shared with x, and the variance of the rest.
	shared := Mul(tr.Rho, alphaTo)
	fresh := Mul(Square(alphaTo), Mul(OneMinus(tr.Rho), OnePlus(tr.Rho)))
	k := Sqrt(Add(Square(a), Mul(Square(c), fresh)))
	// Without fresh noise k = α_s, which is zero at s = 1.
	whole := Equal(k, ZerosLike(k))
	dK := Where(whole, dA, Div(Add(Mul(a, dA), Mul(Mul(c, dC), fresh)), Where(whole, OnesLike(k), k)))
	ratio := Div(shared, alpha)
	o := combine(ip, k, Mul(c, Sub(betaTo, Mul(ratio, beta))), alpha, beta)
	state := o.state(Sub(xbar, Mul(batch.Like(Mul(c, ratio), x), x)), x)

	// If neither observation depends on z (s = t = 0), x is its own noise.
	blind := LessOrEqual(o.h, Scalar(c.Graph(), c.DType(), 1e-12))
	ofX := Where(blind, OnesLike(c), Div(Mul(c, betaTo), o.h))
	ofXbar := Where(blind, ZerosLike(c), Div(beta, o.h))
	known := Sub(Mul(batch.Like(ofX, x), x), Mul(batch.Like(ofXbar, x), xbar))

	// E[z] = (α* b - α*' x*)/W* and E[ε*] = (β*' x* - β* b)/W* with the Wronskian W* at t*.
	byData, byNoise := Mul(dC, betaTo), Add(Mul(Mul(dC, shared), o.cos), Mul(dK, o.sin))
	w := Wronskian(o.alpha, o.beta, o.dAlpha, o.dBeta)
	byState := Div(Sub(Mul(byNoise, o.dBeta), Mul(byData, o.dAlpha)), w)
	byDrift := Div(Sub(Mul(byData, o.alpha), Mul(byNoise, o.beta)), w)
	byKnown := Sub(Mul(Mul(dC, shared), o.sin), Mul(dK, o.cos))
	drift := Add(Mul(batch.Like(byState, x), state), Mul(batch.Like(byDrift, x), b(o.time, state, class)))
	return Add(drift, Mul(batch.Like(byKnown, x), known))
}
