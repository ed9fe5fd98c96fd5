package mfm

import (
	. "github.com/gomlx/gomlx/core/graph"
)

// Transition is a transition kernel p(x_{t'} | x_t) of the interpolant, from time t to To > t. The noises of the two
// states have correlation Rho: 0 draws fresh noise around the data, [DDPM] makes the pair Markov. With To = 1 it is the
// posterior, whatever Rho.
type Transition struct {
	Interpolant Interpolant
	To          *Node // t', [batch], in (t, 1]
	Rho         *Node // correlation of the noises in I_t and I_{t'}, [batch], in [0, 1)
}

// DDPM returns the correlation (α_{t'} β_t)/(α_t β_{t'}) at which I_t is I_{t'} scaled down with independent noise added,
// the transition of a diffusion run backwards. t and to are [batch], t < to.
func DDPM(ip Interpolant, t, to *Node) *Node {
	alpha, beta, _, _ := ip.Graph(t)
	alphaTo, betaTo, _, _ := ip.Graph(to)
	return Div(Mul(alphaTo, beta), MaxScalar(Mul(alpha, betaTo), 1e-12))
}

// DDPMCorrelation is [DDPM] for one pair of times 0 <= t < to <= 1 on the host.
func DDPMCorrelation(ip Interpolant, t, to float64) float64 {
	alpha, beta, _, _ := ip.At(t)
	alphaTo, betaTo, _, _ := ip.At(to)
	return alphaTo * beta / (alpha * betaTo)
}

// ConditionalDrift returns the drift at inner time s that carries fresh noise (s = 0) along x̄_s = α_s ε + β_s I_{t'} to
// a sample of p(x_{t'} | x_t = x) (s = 1), from the unconditional drift b alone (GLASS flows, arXiv 2509.25170). s and t are
// [batch], xbar and x [batch, ...]; t < 1.
//
// Given the data z, y = (x, x̄) is Gaussian with mean μ z, μ = (β_t, β_s β_{t'}), and covariance Σ with entries α_t²,
// β_s ρ α_{t'} α_t and α_s² + β_s² α_{t'}². Both looks together weigh λ = μᵀΣ⁻¹μ, so E[z | y] = D_{t*}(x*) at
// β*²/α*² = λ and x* = β* μᵀΣ⁻¹y/λ, and with g the covariance of dx̄_s/ds and y given z
//
//	b̄ = β'_s β_{t'} D + gᵀ Σ⁻¹ (y - μ D),   g = (β'_s ρ α_{t'} α_t, α_s α'_s + β_s β'_s α_{t'}²).
//
// Where Σ is singular (s = 1 and t' = 1) use the package's ConditionalDrift, which takes that limit.
func (tr Transition) ConditionalDrift(b Drift, s, xbar, t, x, class *Node) *Node {
	ip := tr.Interpolant
	a, c, dA, dC := ip.Graph(s) // inner schedule: x̄_s = a ε + c I_{t'}
	alpha, beta, _, _ := ip.Graph(t)
	alphaTo, betaTo, _, _ := ip.Graph(tr.To)

	cross := Mul(tr.Rho, Mul(alphaTo, alpha)) // covariance of the two noises
	s11, s12 := Square(alpha), Mul(c, cross)
	s22 := Add(Square(a), Square(Mul(c, alphaTo)))
	det := MaxScalar(Sub(Mul(s11, s22), Square(s12)), 1e-12)
	m1, m2 := beta, Mul(c, betaTo)
	// solve returns Σ⁻¹ (v1, v2).
	solve := func(v1, v2 *Node) (w1, w2 *Node) {
		return Div(Sub(Mul(s22, v1), Mul(s12, v2)), det), Div(Sub(Mul(s11, v2), Mul(s12, v1)), det)
	}
	p1, p2 := solve(m1, m2)
	lambda := MaxScalar(Add(Mul(p1, m1), Mul(p2, m2)), 1e-24)
	root := Sqrt(lambda)
	tStar := EffectiveTime(ip, OnesLike(root), root)
	alphaStar, betaStar, dAlphaStar, dBetaStar := ip.Graph(tStar)
	// β*/λ = α*/√λ, since β* = α* √λ: divide the one that is known better.
	scale := Where(GreaterThan(root, OnesLike(root)), Div(betaStar, lambda), Div(alphaStar, root))
	xStar := Add(Mul(batchLike(Mul(scale, p1), x), x), Mul(batchLike(Mul(scale, p2), x), xbar))

	w := wronskian(alphaStar, betaStar, dAlphaStar, dBetaStar)
	denoised := Sub(Mul(batchLike(Div(alphaStar, w), x), b(tStar, xStar, class)), Mul(batchLike(Div(dAlphaStar, w), x), xStar))

	q1, q2 := solve(Mul(dC, cross), Add(Mul(a, dA), Mul(Mul(c, dC), Square(alphaTo))))
	drift := Mul(batchLike(Mul(dC, betaTo), x), denoised)
	drift = Add(drift, Mul(batchLike(q1, x), Sub(x, Mul(batchLike(m1, x), denoised))))
	return Add(drift, Mul(batchLike(q2, x), Sub(xbar, Mul(batchLike(m2, x), denoised))))
}
