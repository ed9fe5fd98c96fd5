package interpolant

import (
	. "github.com/gomlx/gomlx/core/graph"

	"github.com/gomfm/gomfm/mfm/internal/batch"
)

// Transition is a transition kernel p(x_{t'} | x_t) of the interpolant, from time t to To > t. The noises of the two
// states have correlation Rho: 0 draws fresh noise around the data, [DDPM] makes the pair Markov. With To = 1 it is the
// posterior, whatever Rho.
type Transition struct {
	Interpolant Schedule
	To          *Node // t', [batch], in (t, 1]
	Rho         *Node // correlation of the noises in I_t and I_{t'}, [batch], in [0, 1)
}

// DDPM returns the correlation (α_{t'} β_t)/(α_t β_{t'}) at which I_t is I_{t'} scaled down with independent noise added,
// the transition of a diffusion run backwards. t and to are [batch], t < to.
func DDPM(ip Schedule, t, to *Node) *Node {
	alpha, beta, _, _ := ip.Graph(t)
	alphaTo, betaTo, _, _ := ip.Graph(to)
	return Div(Mul(alphaTo, beta), MaxScalar(Mul(alpha, betaTo), 1e-12))
}

// DDPMCorrelation is [DDPM] for one pair of times 0 <= t < to <= 1 on the host.
func DDPMCorrelation(ip Schedule, t, to float64) float64 {
	alpha, beta, _, _ := ip.At(t)
	alphaTo, betaTo, _, _ := ip.At(to)
	return alphaTo * beta / (alpha * betaTo)
}

// ConditionalDrift returns the drift at inner time s that carries fresh noise (s = 0) along x̄_s = α_s ε + β_s I_{t'} to
// a sample of p(x_{t'} | x_t = x) (s = 1), from the unconditional drift b alone (GLASS flows, arXiv 2509.25170). s and t are
// [batch], xbar and x [batch, ...]; s is in [0, 1], t < t'.
//
// Given the data z, x = β_t z + α_t ε₁ and I_{t'} = β_{t'} z + α_{t'} (ρ ε₁ + √(1-ρ²) ε₂). So x̄ less what x says of its noise,
//
//	y = x̄ - β_s ρ (α_{t'}/α_t) x = B z + k ε₃,   B = β_s (β_{t'} - ρ β_t α_{t'}/α_t),   k² = α_s² + β_s² α_{t'}² (1-ρ²),
//
// is a look at z whose noise is independent of ε₁, and both looks are fused as those of the package's ConditionalDrift are:
// into the state x* at time t*, which knows z and ε* = cos φ ε₁ + sin φ ε₃. The rest of the noise, η = sin φ ε₁ - cos φ ε₃,
// is (β_s β_{t'} x - β_t x̄)/h, and
//
//	b̄ = β'_s β_{t'} E[z] + β'_s ρ α_{t'} E[ε₁] + k'_s E[ε₃].
//
// The covariance of (x, x̄) is nowhere inverted and no difference cancels that the inputs do not leave, so float32 serves as far as
// it holds α_t. At t' = 1 it is the package's ConditionalDrift.
func (tr Transition) ConditionalDrift(b Drift, s, xbar, t, x, class *Node) *Node {
	ip := tr.Interpolant
	a, c, dA, dC := ip.Graph(s) // inner schedule: x̄_s = a ε + c I_{t'}
	alpha, beta, _, _ := ip.Graph(t)
	alphaTo, betaTo, _, _ := ip.Graph(tr.To)

	shared := Mul(tr.Rho, alphaTo)                                        // standard deviation of the noise that x knows of
	fresh := Mul(Square(alphaTo), Mul(OneMinus(tr.Rho), OnePlus(tr.Rho))) // variance of the rest
	k := Sqrt(Add(Square(a), Mul(Square(c), fresh)))
	// k falls to zero at s = 1 where nothing is fresh; there k = α_s.
	whole := Equal(k, ZerosLike(k))
	dK := Where(whole, dA, Div(Add(Mul(a, dA), Mul(Mul(c, dC), fresh)), Where(whole, OnesLike(k), k)))
	ratio := Div(shared, alpha)
	look := combine(ip, k, Mul(c, Sub(betaTo, Mul(ratio, beta))), alpha, beta)
	state := look.state(Sub(xbar, Mul(batch.Like(Mul(c, ratio), x), x)), x)

	// Where fuse finds that neither look shows z (s = t = 0), x is its own noise.
	blind := LessOrEqual(look.h, Scalar(c.Graph(), c.DType(), 1e-12))
	ofX := Where(blind, OnesLike(c), Div(Mul(c, betaTo), look.h))
	ofXbar := Where(blind, ZerosLike(c), Div(beta, look.h))
	known := Sub(Mul(batch.Like(ofX, x), x), Mul(batch.Like(ofXbar, x), xbar))

	// E[z] = (α* b - α*' x*)/W* and E[ε*] = (β*' x* - β* b)/W*, W* being the Wronskian at t*.
	byData, byNoise := Mul(dC, betaTo), Add(Mul(Mul(dC, shared), look.cos), Mul(dK, look.sin))
	w := Wronskian(look.alpha, look.beta, look.dAlpha, look.dBeta)
	byState := Div(Sub(Mul(byNoise, look.dBeta), Mul(byData, look.dAlpha)), w)
	byDrift := Div(Sub(Mul(byData, look.alpha), Mul(byNoise, look.beta)), w)
	byKnown := Sub(Mul(Mul(dC, shared), look.sin), Mul(dK, look.cos))
	drift := Add(Mul(batch.Like(byState, x), state), Mul(batch.Like(byDrift, x), b(look.time, state, class)))
	return Add(drift, Mul(batch.Like(byKnown, x), known))
}
