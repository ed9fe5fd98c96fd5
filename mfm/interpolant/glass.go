package interpolant

import (
	. "github.com/gomlx/gomlx/core/graph"

	"github.com/gomfm/gomfm/mfm/internal/batch"
)

// Drift returns the unconditional drift b_t(x) = E[dI_t/dt | I_t = x] for t [batch] and x [batch,
// ...], with x's shape. class is int32 [batch], or nil if there are no classes. Closed forms,
// trained flows, frozen maps and the posterior mean of a data set are all drifts. A drift with
// weights holds them in its closure.
type Drift func(t, x, class *Node) *Node

// GLASSer is a [Schedule] that computes the coefficients c_x, c_x̄ and c_b of [ConditionalDrift] in
// closed form.
type GLASSer interface {
	// GLASS returns c_x, c_x̄ and c_b, [batch] each. alphaS to betaT are the schedule at s and t,
	// and h is √(α_t²β_s² + α_s²β_t²) > 0, all [batch].
	GLASS(alphaS, betaS, alphaT, betaT, h *Node) (x, xbar, drift *Node)
}

// ConditionalDrift returns the GLASS drift (arXiv 2509.25170, here with t' = 1)
//
//	b̄_s(x̄; t, x) = E[dĪ_s/ds | Ī_s = x̄, I_t = x],   Ī_s = α_s Ī_0 + β_s I_1,   I_1 ~ p_{1|t}(.|x),
//
// which transports fresh noise Ī_0 at s = 0 to a sample of the posterior p_{1|t}(.|x) at s = 1. It
// needs the unconditional drift b alone. s and t are [batch], xbar and x [batch, ...], class is
// int32 [batch] or nil.
//
// x and x̄ are two independent Gaussian observations of the same data. Weighted by their precisions
// they combine into one observation, the state x* at the effective time t* where β*²/α*² =
// β_t²/α_t² + β_s²/α_s². Hence E[I_1 | x, x̄] = D_{t*}(x*), and
//
//	b̄ = c_x x + c_x̄ x̄ + c_b b_{t*}(x*).
//
// No term divides by α, so float32 suffices for all s and t in [0, 1]. At s = t = 1 the posterior
// is the point x, and the drift is finite but has no meaning.
func ConditionalDrift(ip Schedule, b Drift, s, xbar, t, x, class *Node) *Node {
	alphaS, betaS, dAlphaS, dBetaS := ip.Graph(s)
	alphaT, betaT, _, _ := ip.Graph(t)
	o := combine(ip, alphaS, betaS, alphaT, betaT)
	state := o.state(xbar, x)
	var cX, cXbar, cB *Node
	if closed, ok := ip.(GLASSer); ok {
		cX, cXbar, cB = closed.GLASS(alphaS, betaS, alphaT, betaT, o.h)
	} else {
		cX, cXbar, cB = generalGLASS(o, betaS, betaT, dAlphaS, dBetaS)
	}
	sum := Mul(batch.Like(cX, x), x)
	sum = Add(sum, Mul(batch.Like(cXbar, x), xbar))
	return Add(sum, Mul(batch.Like(cB, x), b(o.time, state, class)))
}

// EffectiveObservation returns the effective time t* [batch] and state x* [batch, ...] at which
// I_{t*} = x* is as informative about the data as Ī_s = x̄ and I_t = x are together. The posterior
// mean given both is D_{t*}(x*).
func EffectiveObservation(ip Schedule, s, xbar, t, x *Node) (tStar, xStar *Node) {
	alphaS, betaS, _, _ := ip.Graph(s)
	alphaT, betaT, _, _ := ip.Graph(t)
	o := combine(ip, alphaS, betaS, alphaT, betaT)
	return o.time, o.state(xbar, x)
}

// observation combines two observations at noise levels (α_s, β_s) and (α_t, β_t) into one. With h
// = √(α_t²β_s² + α_s²β_t²) the ratio β*/α* is h/(α_s α_t), and x* = scale (α_s cos φ x + α_t sin φ
// x̄) with cos φ = β_t α_s/h and sin φ = β_s α_t/h.
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
	o := observation{h: h, cos: Div(sb, h), sin: Div(tb, h)}
	// At s = t = 0 neither observation depends on the data and φ is undetermined. Use x̄ alone, so
	// that the drift is b_0(x̄).
	blind := LessOrEqual(h, Scalar(h.Graph(), h.DType(), tiny))
	o.cos, o.sin = Where(blind, ZerosLike(h), o.cos), Where(blind, OnesLike(h), o.sin)
	o.time = EffectiveTime(ip, a, h)
	o.alpha, o.beta, o.dAlpha, o.dBeta = ip.Graph(o.time)
	// α* = scale a and β* = scale h: divide the larger pair.
	o.scale = Where(GreaterThan(a, h), Div(o.alpha, MaxScalar(a, tiny)), Div(o.beta, h))
	o.wX, o.wXbar = Mul(o.scale, Mul(alphaS, o.cos)), Mul(o.scale, Mul(alphaT, o.sin))
	exact := LogicalAnd(blind, LessThan(a, h)) // s = t = 1: both observations are the data
	o.wX = Where(exact, OnesLike(h), o.wX)
	return o
}

func (o observation) state(xbar, x *Node) *Node {
	return Add(Mul(batch.Like(o.wX, x), x), Mul(batch.Like(o.wXbar, x), xbar))
}

// generalGLASS computes the coefficients from b̄ = α'_s E[ε̄] + β'_s D. The noise ε̄ of x̄ has two
// parts: cos φ η is known, because η = (β_s x - β_t x̄)/h contains no data, and sin φ ε*, where ε*
// is the noise of x*. With the Wronskian W* at t*, E[ε*] = (β*' x* - β* b)/W* and D = (α* b - α*'
// x*)/W*.
func generalGLASS(o observation, betaS, betaT, dAlphaS, dBetaS *Node) (x, xbar, drift *Node) {
	w := Wronskian(o.alpha, o.beta, o.dAlpha, o.dBeta)
	sin := Mul(dAlphaS, o.sin)
	state := Div(Sub(Mul(sin, o.dBeta), Mul(dBetaS, o.dAlpha)), w)
	known := Div(Mul(dAlphaS, o.cos), o.h)
	x = Sub(Mul(state, o.wX), Mul(known, betaS))
	xbar = Add(Mul(state, o.wXbar), Mul(known, betaT))
	return x, xbar, Div(Sub(Mul(dBetaS, o.alpha), Mul(sin, o.beta)), w)
}

// GLASS returns the coefficients of [ConditionalDrift] for the linear schedule. With k = α_s α_t +
// h,
//
//	c_x = α_s β_t/(h k),   c_x̄ = -α_s β_t² (1 + α_s α_t/(h + α_t β_s))/(h k),   c_b = α_t/k.
func (Linear) GLASS(alphaS, betaS, alphaT, betaT, h *Node) (x, xbar, drift *Node) {
	a := Mul(alphaS, alphaT)
	k := Add(a, h)
	x = Div(Mul(alphaS, betaT), Mul(h, k))
	xbar = Neg(Mul(Mul(x, betaT), OnePlus(Div(a, Add(h, Mul(alphaT, betaS))))))
	return x, xbar, Div(alphaT, k)
}

// GLASS returns the coefficients of [ConditionalDrift] for the trigonometric schedule. With m =
// α_t² + α_s² β_t² and ω = π/2,
//
//	c_x = ω α_s β_t/m,   c_x̄ = -ω α_s β_s β_t²/m,   c_b = α_t/√m.
func (Trigonometric) GLASS(alphaS, betaS, alphaT, betaT, h *Node) (x, xbar, drift *Node) {
	const ω = 1.5707963267948966
	m := combinedVariance(alphaS, alphaT, betaT)
	x = MulScalar(Div(Mul(alphaS, betaT), m), ω)
	return x, Neg(Mul(x, Mul(betaS, betaT))), Div(alphaT, Sqrt(m))
}

// GLASS returns the coefficients of [ConditionalDrift] for the variance-preserving schedule. With m
// = α_t² + α_s² β_t²,
//
//	c_x = β_t/m,   c_x̄ = -β_s β_t²/m,   c_b = α_t²/m.
func (VariancePreserving) GLASS(alphaS, betaS, alphaT, betaT, h *Node) (x, xbar, drift *Node) {
	m := combinedVariance(alphaS, alphaT, betaT)
	x = Div(betaT, m)
	return x, Neg(Mul(x, Mul(betaS, betaT))), Div(Square(alphaT), m)
}

// combinedVariance returns α_t² + α_s² β_t², which equals α_s²α_t² + h² if α² + β² = 1.
func combinedVariance(alphaS, alphaT, betaT *Node) *Node {
	return MaxScalar(Add(Square(alphaT), Square(Mul(alphaS, betaT))), 1e-12)
}
