package interpolant

import (
	. "github.com/gomlx/gomlx/core/graph"

	"github.com/gomfm/gomfm/mfm/internal/batch"
)

// Drift gives the unconditional drift b_t(x) = E[dI_t/dt | I_t = x] for t [batch] and x [batch, ...], of x's shape. class
// is int32 [batch], or nil where there are none. A closed form, a trained flow, a frozen map and a data set's own posterior mean are
// all drifts; whatever weights one has it brings along in its closure.
type Drift func(t, x, class *Node) *Node

// GLASSer is an [Schedule] that knows the coefficients of its conditional drift in closed form. [ConditionalDrift]
// says what they are; alphaS to betaT are the schedule at s and t, h is √(α_t²β_s² + α_s²β_t²), all [batch].
type GLASSer interface {
	GLASS(alphaS, betaS, alphaT, betaT, h *Node) (x, xbar, drift *Node)
}

// ConditionalDrift returns b̄_s(x̄; t, x) = E[dĪ_s/ds | Ī_s = x̄, I_t = x], the drift that carries fresh noise at s = 0 to
// a sample of the posterior p_{1|t}(.|x) at s = 1, from the unconditional drift b alone ("GLASS", arXiv 2509.25170; here at
// t' = 1). s and t are [batch], xbar and x [batch, ...].
//
// x and x̄ are two independent Gaussian looks at the same data. Weighted by their precisions they are one look, the state
// x* at the effective time t* where β*²/α*² = β_t²/α_t² + β_s²/α_s²; hence E[I_1 | x, x̄] = D_{t*}(x*), and
//
//	b̄ = c_x x + c_x̄ x̄ + c_b b_{t*}(x*).
//
// No term divides by α, so float32 serves for s and t in [0, 1]. Where both are 1 the posterior is the point x and the
// drift is finite but meaningless.
func ConditionalDrift(ip Schedule, b Drift, s, xbar, t, x, class *Node) *Node {
	alphaS, betaS, dAlphaS, dBetaS := ip.Graph(s)
	alphaT, betaT, _, _ := ip.Graph(t)
	look := combine(ip, alphaS, betaS, alphaT, betaT)
	state := look.state(xbar, x)
	var cX, cXbar, cB *Node
	if closed, ok := ip.(GLASSer); ok {
		cX, cXbar, cB = closed.GLASS(alphaS, betaS, alphaT, betaT, look.h)
	} else {
		cX, cXbar, cB = generalGLASS(look, betaS, betaT, dAlphaS, dBetaS)
	}
	sum := Mul(batch.Like(cX, x), x)
	sum = Add(sum, Mul(batch.Like(cXbar, x), xbar))
	return Add(sum, Mul(batch.Like(cB, x), b(look.time, state, class)))
}

// EffectiveLook returns the effective time t* [batch] and state x* [batch, ...] at which I_{t*} tells as much about the
// data as Ī_s = x̄ and I_t = x do together. The posterior mean given both is D_{t*}(x*).
func EffectiveObservation(ip Schedule, s, xbar, t, x *Node) (tStar, xStar *Node) {
	alphaS, betaS, _, _ := ip.Graph(s)
	alphaT, betaT, _, _ := ip.Graph(t)
	look := combine(ip, alphaS, betaS, alphaT, betaT)
	return look.time, look.state(xbar, x)
}

// look is the fusion of two observations at noise levels (α_s, β_s) and (α_t, β_t). With h = √(α_t²β_s² + α_s²β_t²)
// the ratio β*/α* is h/(α_s α_t), and x* = scale (α_s cos φ x + α_t sin φ x̄), cos φ = β_t α_s/h, sin φ = β_s α_t/h.
type observation struct {
	h, cos, sin  *Node
	time, scale  *Node // t*, and α*/(α_s α_t) = β*/h
	wX, wXbar    *Node // weights of x and x̄ in x*
	alpha, dBeta *Node // schedule at t*
	beta, dAlpha *Node
}

func combine(ip Schedule, alphaS, betaS, alphaT, betaT *Node) observation {
	const tiny = 1e-12
	tb, sb := Mul(alphaT, betaS), Mul(alphaS, betaT)
	h := Sqrt(MaxScalar(Add(Square(tb), Square(sb)), tiny*tiny))
	a := Mul(alphaS, alphaT)
	l := observation{h: h, cos: Div(sb, h), sin: Div(tb, h)}
	// Nothing seen yet (s = t = 0) leaves φ open: take x̄, so that the drift is b_0(x̄).
	blind := LessOrEqual(h, Scalar(h.Graph(), h.DType(), tiny))
	l.cos, l.sin = Where(blind, ZerosLike(h), l.cos), Where(blind, OnesLike(h), l.sin)
	l.time = EffectiveTime(ip, a, h)
	l.alpha, l.beta, l.dAlpha, l.dBeta = ip.Graph(l.time)
	// α* = scale a and β* = scale h: divide the larger pair.
	l.scale = Where(GreaterThan(a, h), Div(l.alpha, MaxScalar(a, tiny)), Div(l.beta, h))
	l.wX, l.wXbar = Mul(l.scale, Mul(alphaS, l.cos)), Mul(l.scale, Mul(alphaT, l.sin))
	exact := LogicalAnd(blind, LessThan(a, h)) // s = t = 1: both looks are the data
	l.wX = Where(exact, OnesLike(h), l.wX)
	return l
}

func (l observation) state(xbar, x *Node) *Node {
	return Add(Mul(batch.Like(l.wX, x), x), Mul(batch.Like(l.wXbar, x), xbar))
}

// generalGLASS takes the coefficients from b̄ = α'_s E[ε̄] + β'_s D. Of the noise ε̄ in x̄ the part cos φ η is known, since η = (β_s x - β_t x̄)/h holds
// no data, and the rest is sin φ ε*, ε* being the noise in x*; with the Wronskian W, E[ε*] = (β*' x* - β* b)/W* and D = (α* b - α*' x*)/W*.
func generalGLASS(l observation, betaS, betaT, dAlphaS, dBetaS *Node) (x, xbar, drift *Node) {
	w := Wronskian(l.alpha, l.beta, l.dAlpha, l.dBeta)
	sin := Mul(dAlphaS, l.sin)
	state := Div(Sub(Mul(sin, l.dBeta), Mul(dBetaS, l.dAlpha)), w)
	known := Div(Mul(dAlphaS, l.cos), l.h)
	x = Sub(Mul(state, l.wX), Mul(known, betaS))
	xbar = Add(Mul(state, l.wXbar), Mul(known, betaT))
	return x, xbar, Div(Sub(Mul(dBetaS, l.alpha), Mul(sin, l.beta)), w)
}

// GLASS returns the coefficients of [ConditionalDrift] for the linear schedule: with k = α_s α_t + h,
// c_x = α_s β_t/(h k), c_x̄ = -α_s β_t² (1 + α_s α_t/(h + α_t β_s))/(h k), c_b = α_t/k.
func (Linear) GLASS(alphaS, betaS, alphaT, betaT, h *Node) (x, xbar, drift *Node) {
	a := Mul(alphaS, alphaT)
	k := Add(a, h)
	x = Div(Mul(alphaS, betaT), Mul(h, k))
	xbar = Neg(Mul(Mul(x, betaT), OnePlus(Div(a, Add(h, Mul(alphaT, betaS))))))
	return x, xbar, Div(alphaT, k)
}

// GLASS returns the coefficients of [ConditionalDrift] for the trigonometric schedule: with m = α_t² + α_s² β_t² and
// ω = π/2, c_x = ω α_s β_t/m, c_x̄ = -ω α_s β_s β_t²/m, c_b = α_t/√m.
func (Trigonometric) GLASS(alphaS, betaS, alphaT, betaT, h *Node) (x, xbar, drift *Node) {
	const ω = 1.5707963267948966
	m := combinedVariance(alphaS, alphaT, betaT)
	x = MulScalar(Div(Mul(alphaS, betaT), m), ω)
	return x, Neg(Mul(x, Mul(betaS, betaT))), Div(alphaT, Sqrt(m))
}

// GLASS returns the coefficients of [ConditionalDrift] for the variance-preserving schedule: with m = α_t² + α_s² β_t²,
// c_x = β_t/m, c_x̄ = -β_s β_t²/m, c_b = α_t²/m.
func (VariancePreserving) GLASS(alphaS, betaS, alphaT, betaT, h *Node) (x, xbar, drift *Node) {
	m := combinedVariance(alphaS, alphaT, betaT)
	x = Div(betaT, m)
	return x, Neg(Mul(x, Mul(betaS, betaT))), Div(Square(alphaT), m)
}

// looksVariance returns α_t² + α_s² β_t², which is α_s²α_t² + h² where α² + β² = 1.
func combinedVariance(alphaS, alphaT, betaT *Node) *Node {
	return MaxScalar(Add(Square(alphaT), Square(Mul(alphaS, betaT))), 1e-12)
}
