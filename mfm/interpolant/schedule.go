// Package interpolant defines the stochastic interpolants
//
//	I_t = α_t I_0 + β_t I_1,   I_0 ~ N(0, I) noise,   I_1 data,   t in [0, 1],
//
// by their [Schedule] (α, β), and computes what follows from the [Drift] b_t(x) = E[dI_t/dt | I_t =
// x] alone: the denoiser, the score, the drift to the posterior of the data given I_t = x
// ([ConditionalDrift], known as GLASS) and the drift to a later state I_{t'} ([Transition]).
//
// Functions of nodes build graphs and panic as graph functions do.
package interpolant

import (
	"fmt"
	"math"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
)

// Schedule is the pair (α, β) of an interpolant I_t = α_t I_0 + β_t I_1 between noise I_0 ~ N(0, I)
// at t = 0 and data I_1 at t = 1 (Albergo, Boffi and Vanden-Eijnden, arXiv 2303.08797). It has α_0
// = β_1 = 1 and α_1 = β_0 = 0; α decreases and β increases. The Wronskian α β' - α' β is positive
// on all of [0, 1], because denoisers and scores divide by it. So α must not reach zero at t = 1
// with slope zero.
//
// A new schedule needs only these two methods. If it also implements [EffectiveTimer], [MeanSloper]
// or [GLASSer], its closed form replaces the general numerical one.
type Schedule interface {
	// At returns α_t, β_t and their time derivatives for t in [0, 1].
	At(t float64) (alpha, beta, dAlpha, dBeta float64)
	// Graph computes At on a node of times of any shape and float type. It may panic, as graph
	// functions do.
	Graph(t *Node) (alpha, beta, dAlpha, dBeta *Node)
}

// EffectiveTimer is a [Schedule] that inverts its ratio β/α in closed form.
type EffectiveTimer interface {
	// EffectiveTime returns the t at which (α_t, β_t) is proportional to (a, b). a and b are
	// nonnegative and not both zero.
	EffectiveTime(a, b *Node) *Node
}

// MeanSloper is a [Schedule] that computes its divided differences in closed form.
type MeanSloper interface {
	// MeanSlopes returns (α_u - α_s)/(u - s) and (β_u - β_s)/(u - s), or α'_s and β'_s where u = s.
	MeanSlopes(s, u *Node) (alpha, beta *Node)
}

// Linear is the schedule (1-t, t) of flow matching and rectified flow. It is the default
// everywhere.
type Linear struct{}

// Trigonometric is the schedule (cos πt/2, sin πt/2). It preserves the variance of whitened data.
type Trigonometric struct{}

// VariancePreserving is the schedule (√(1-t²), t). Its α' is unbounded as t -> 1. The schedule is
// therefore held constant from 1 - t = 5e-7 on, where α reaches 1e-3, so that everything stays
// finite in float32.
type VariancePreserving struct{}

const variancePreservingFloor = 1e-6 // of α²

// At returns (1-t, t, -1, 1).
func (Linear) At(t float64) (alpha, beta, dAlpha, dBeta float64) { return 1 - t, t, -1, 1 }

// Graph is At on a node.
func (Linear) Graph(t *Node) (alpha, beta, dAlpha, dBeta *Node) {
	return OneMinus(t), t, Neg(OnesLike(t)), OnesLike(t)
}

// EffectiveTime returns b/(a+b).
func (Linear) EffectiveTime(a, b *Node) *Node { return Div(b, Add(a, b)) }

// MeanSlopes returns (-1, 1).
func (Linear) MeanSlopes(s, u *Node) (alpha, beta *Node) { return Neg(OnesLike(s)), OnesLike(s) }

// String returns "linear".
func (Linear) String() string { return string(LinearName) }

// At returns the cosine and sine of πt/2 and their derivatives.
func (Trigonometric) At(t float64) (alpha, beta, dAlpha, dBeta float64) {
	const ω = math.Pi / 2
	sin, cos := math.Sincos(ω * t)
	return cos, sin, -ω * sin, ω * cos
}

// Graph is At on a node. It computes cos(πt/2) as sin(π(1-t)/2), which keeps its relative precision
// near t = 1.
func (Trigonometric) Graph(t *Node) (alpha, beta, dAlpha, dBeta *Node) {
	const ω = math.Pi / 2
	alpha, beta = Sin(MulScalar(OneMinus(t), ω)), Sin(MulScalar(t, ω))
	return alpha, beta, MulScalar(beta, -ω), MulScalar(alpha, ω)
}

// EffectiveTime returns 2/π atan2(b, a).
func (Trigonometric) EffectiveTime(a, b *Node) *Node { return MulScalar(Atan2(b, a), 2/math.Pi) }

// MeanSlopes uses cos u - cos s = -2 sin((u+s)/2) sin((u-s)/2), the same for the sine, and the
// series of sin(x)/x at zero.
func (Trigonometric) MeanSlopes(s, u *Node) (alpha, beta *Node) {
	const ω = math.Pi / 2
	half := MulScalar(Sub(u, s), ω/2) // within [-π/4, π/4]
	mid := MulScalar(Add(u, s), ω/2)
	sq := Square(half)
	// sin(x)/x up to x^10: on the whole range the error is below float32 rounding, and 1e-11 in
	// float64.
	sinc := OnesLike(half)
	for k := 5; k >= 1; k-- {
		sinc = OneMinus(Mul(DivScalar(sq, float64(2*k*(2*k+1))), sinc))
	}
	sinc = MulScalar(sinc, ω)
	return Neg(Mul(Sin(mid), sinc)), Mul(Cos(mid), sinc)
}

// String returns "trigonometric".
func (Trigonometric) String() string { return string(TrigonometricName) }

// At returns √(1-t²), t and their derivatives. α is at least 1e-3.
func (VariancePreserving) At(t float64) (alpha, beta, dAlpha, dBeta float64) {
	alpha = math.Sqrt(math.Max((1-t)*(1+t), variancePreservingFloor))
	return alpha, t, -t / alpha, 1
}

// Graph is At on a node.
func (VariancePreserving) Graph(t *Node) (alpha, beta, dAlpha, dBeta *Node) {
	alpha = Sqrt(MaxScalar(Mul(OneMinus(t), OnePlus(t)), variancePreservingFloor))
	return alpha, t, Neg(Div(t, alpha)), OnesLike(t)
}

// EffectiveTime returns b/√(a²+b²).
func (VariancePreserving) EffectiveTime(a, b *Node) *Node {
	return Div(b, Sqrt(Add(Square(a), Square(b))))
}

// MeanSlopes uses α_u - α_s = -(u²-s²)/(α_u+α_s).
func (vp VariancePreserving) MeanSlopes(s, u *Node) (alpha, beta *Node) {
	alphaS, _, _, _ := vp.Graph(s)
	alphaU, _, _, _ := vp.Graph(u)
	return Neg(Div(Add(u, s), Add(alphaU, alphaS))), OnesLike(s)
}

// String returns "vp".
func (VariancePreserving) String() string { return string(VariancePreservingName) }

// Name is the name of a built-in schedule in configurations.
type Name string

// The names.
const (
	LinearName             Name = "linear"        // of [Linear]
	TrigonometricName      Name = "trigonometric" // of [Trigonometric]
	VariancePreservingName Name = "vp"            // of [VariancePreserving]
)

// Schedule returns the schedule of that name. It returns an error for an unknown name.
func (n Name) Schedule() (Schedule, error) {
	for _, ip := range []Schedule{Linear{}, Trigonometric{}, VariancePreserving{}} {
		if string(n) == fmt.Sprint(ip) {
			return ip, nil
		}
	}
	return nil, fmt.Errorf("interpolant %q is unknown: use %s, %s or %s",
		n, LinearName, TrigonometricName, VariancePreservingName)
}

// EffectiveTime returns the t at which (α_t, β_t) is proportional to (a, b): the time at which I_t
// is as informative about the data as the observation b I_1 + a ε. a and b have the same shape, are
// nonnegative and not both zero.
//
// A schedule without [EffectiveTimer] is inverted by search to the precision of the dtype. First
// derivatives are those of the inverse function, second ones are wrong.
func EffectiveTime(ip Schedule, a, b *Node) *Node {
	if closed, ok := ip.(EffectiveTimer); ok {
		return closed.EffectiveTime(a, b)
	}
	// Each round splits the interval into 64 bins and counts those below t, which yields six bits
	// of t. (Bisection, one bit per round, makes a chain that XLA takes minutes to compile.)
	const bins = 64
	rounds := 5
	if a.DType().Size() == 8 {
		rounds = 9
	}
	fixedA, fixedB := StopGradient(InsertAxes(a, -1)), StopGradient(InsertAxes(b, -1))
	low, width := ZerosLike(fixedA), 1.0
	edges := OnePlus(Iota(a.Graph(), shapes.Make(a.DType(), bins-1), 0))
	for range rounds {
		width /= bins
		alpha, beta, _, _ := ip.Graph(Add(low, MulScalar(ExpandLeftToRank(edges, low.Rank()), width)))
		below := ConvertDType(GreaterThan(Mul(fixedB, alpha), Mul(fixedA, beta)), a.DType())
		low = Add(low, MulScalar(ReduceAndKeep(below, ReduceSum, -1), width))
	}
	t := Squeeze(AddScalar(low, width/2), -1)
	// The search has no derivatives. By the implicit function theorem, those of the t with
	// F(t, a, b) = b α_t - a β_t = 0 are those of F over a β'_t - b α'_t. F - sg F is 0.
	alpha, beta, dAlpha, dBeta := ip.Graph(t)
	f := Sub(Mul(b, alpha), Mul(a, beta))
	// The slope is 0 where both derivatives vanish, as at the ends of some schedules.
	slope := StopGradient(MaxScalar(Sub(Mul(a, dBeta), Mul(b, dAlpha)), 1e-6))
	return Add(t, Div(Sub(f, StopGradient(f)), slope))
}

// MeanSlopes returns (α_u - α_s)/(u - s) and (β_u - β_s)/(u - s), or the derivatives where u = s.
//
// For a schedule without [MeanSloper] it computes the quotient, or where |u - s| < 1e-4 the mean of
// the derivatives at the two nodes of the Gauss-Legendre rule. Both are computed in float64 for
// every dtype, because in float32 the rounding error of the quotient is 1e-7/|u - s|. In float64
// the error is below 1e-11 if the fifth derivative is below 1e8, so in float32 only the rounding of
// the result remains.
func MeanSlopes(ip Schedule, s, u *Node) (alpha, beta *Node) {
	if closed, ok := ip.(MeanSloper); ok {
		return closed.MeanSlopes(s, u)
	}
	dtype := s.DType()
	s, u = ConvertDType(s, dtypes.Float64), ConvertDType(u, dtypes.Float64)
	alphaS, betaS, _, _ := ip.Graph(s)
	alphaU, betaU, _, _ := ip.Graph(u)
	gap, middle := Sub(u, s), MulScalar(Add(s, u), 0.5)
	node := MulScalar(gap, 0.5/math.Sqrt(3))
	_, _, dAlpha1, dBeta1 := ip.Graph(Sub(middle, node))
	_, _, dAlpha2, dBeta2 := ip.Graph(Add(middle, node))

	near := LessThan(Abs(gap), Scalar(gap.Graph(), dtypes.Float64, 1e-4))
	gap = Where(near, OnesLike(gap), gap)
	slope := func(from, to, d1, d2 *Node) *Node {
		return ConvertDType(Where(near, MulScalar(Add(d1, d2), 0.5), Div(Sub(to, from), gap)), dtype)
	}
	return slope(alphaS, alphaU, dAlpha1, dAlpha2), slope(betaS, betaU, dBeta1, dBeta2)
}
