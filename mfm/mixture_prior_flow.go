package mfm

import (
	"math"
	"slices"

	. "github.com/gomlx/gomlx/core/graph"
	. "github.com/gomlx/gomlx/support/exceptions"

	"github.com/gomfm/gomfm/mfm/gmm"
	"github.com/gomfm/gomfm/mfm/internal/batch"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/nn"
)

// Velocity returns the average velocity, see [MixturePrior]. It panics if [MixturePrior.Validate]
// returns an error.
func (p *MixturePrior) Velocity(ip interpolant.Schedule, f Network, in nn.Inputs) *Node {
	if err := p.Validate(); err != nil {
		panic(err)
	}
	whole := p.Gaussian.flow(ip, in)
	centered := in
	centered.Xbar, centered.X = Sub(in.Xbar, Mul(whole.betaS, whole.mean)), whole.context
	prior, mean := p.flow(ip, centered)
	raw := whole.inputs(in)
	raw.Fused, raw.FusedT = Div(mean, Sqrt(whole.variance)), p.Gaussian.combinedTime(ip, in.U, in.T)
	return Add(Add(Mul(whole.slopeBeta, whole.mean), prior), Mul(whole.scale(), f(raw)))
}

// flow returns p_{s,u} for data and states without their means, and the mean of the data given x
// and the state that p leads to.
func (p *MixturePrior) flow(ip interpolant.Schedule, in nn.Inputs) (velocity, mean *Node) {
	rest := &Gaussian{Variance: []float64{p.Rest}}
	outside := rest.flow(ip, in).velocity()
	inside, meanInside := p.inside(ip, in)
	velocity = Add(outside, p.lift(Sub(inside, p.project(outside)), in.X))

	// Outside the span x̄ moves by the velocity of the rest; the component of the sum inside is not
	// used.
	arrived := in
	arrived.S, arrived.Xbar = in.U, Add(in.Xbar, Mul(batch.Like(Sub(in.U, in.S), in.X), outside))
	meanOutside := rest.flow(ip, arrived).dataMean()
	return velocity, Add(meanOutside, p.lift(Sub(meanInside, p.project(meanOutside)), in.X))
}

// inside returns, in the coordinates of the span, the average velocity and the mean of the data
// given x and the state that it leads to.
//
// Gaussian data of variance V has a posterior with mean μ and variance c, and its flow preserves y
// = (x̄ - β_s μ)/√ν_s. Along the flow of the mixture, with the angle tan φ = √c β_s/α_s,
//
//	dy/dφ = ((D - μ)/√c - y sin φ)/cos φ
//
// where D is the mean of the data under the mixture given x̄ and x. Toward t = 1 this is nearly
// constant, because every component's posterior has the same variance there, whereas steps in s
// would leave noise in the sample. A mode of the standard deviation w √c turns at cos φ ≈ w, so
// that the steps near π/2 should be about as long as w: see Power. Both rules take steps of φ and
// do not evaluate at φ = π/2, which is s = 1.
func (p *MixturePrior) inside(ip interpolant.Schedule, in nn.Inputs) (velocity, mean *Node) {
	diagonal := in.S == in.U
	in.Xbar, in.X = p.project(in.Xbar), p.project(in.X)
	in = in.PerRow()
	inSpan := p.denoiser(ip, in)
	reference := (&Gaussian{Variance: []float64{p.spanVariance()}}).flow(ip, in)
	c, mu := reference.c, reference.mu
	denoiser := func(s, xbar *Node) *Node {
		t, x := interpolant.EffectiveObservation(ip, s, xbar, in.T, in.X)
		return inSpan(t, x)
	}
	root := Sqrt(c)
	rootS, rootU := Sqrt(reference.nuS), Sqrt(reference.nuU)
	cos, sin := Div(reference.alphaS, rootS), Div(Mul(root, reference.betaS), rootS)
	slope := func(cos, sin, y *Node) *Node {
		s := interpolant.EffectiveTime(ip, Mul(cos, root), sin)
		alpha, beta, _, _ := ip.Graph(s)
		xbar := Add(Mul(beta, mu), Mul(Sqrt(Add(Square(alpha), Mul(c, Square(beta)))), y))
		deviation := Div(Sub(denoiser(Reshape(s, -1), xbar), mu), root)
		return Div(Sub(deviation, Mul(y, sin)), MaxScalar(cos, 1e-3))
	}
	start := Div(reference.r, rootS)
	// The angle from s to u divided by u - s, finite at u = s.
	gap := batch.Like(Sub(in.U, in.S), in.X)
	rate := Mul(root, Sub(Mul(reference.slopeBeta, reference.alphaS), Mul(reference.slopeAlpha, reference.betaS)))
	overlap := Add(Mul(reference.alphaS, reference.alphaU), Mul(c, Mul(reference.betaS, reference.betaU)))
	rate = Div(rate, Add(overlap, Mul(rootS, rootU)))
	rate = Mul(MulScalar(rate, 2), arctanRatio(Mul(rate, gap)))

	if diagonal {
		k := slope(cos, sin, start)
		return Add(reference.velocity(), Mul(Mul(rootU, rate), k)), denoiser(in.U, in.Xbar)
	}
	way := Mul(rate, gap)
	y := start
	var slopes *Node // their mean over the way
	for i := range p.Steps {
		at := func(angle *Node, y *Node) *Node {
			c, s := Cos(angle), Sin(angle)
			return slope(Sub(Mul(cos, c), Mul(sin, s)), Add(Mul(sin, c), Mul(cos, s)), y)
		}
		from, length := p.fraction(i), p.fraction(i+1)-p.fraction(i)
		// after returns the slope at a fraction of the step, which begins with the slope k.
		after := func(part float64, k *Node) *Node {
			return at(MulScalar(way, from+length*part), Add(y, Mul(MulScalar(way, length*part), k)))
		}
		first := at(MulScalar(way, from), y)
		var k *Node
		if p.Order == 3 {
			k = Add(MulScalar(first, 0.25), MulScalar(after(2./3, after(1./3, first)), 0.75))
		} else {
			k = after(0.5, first)
		}
		k = MulScalar(k, length)
		y = Add(y, Mul(way, k))
		if slopes == nil {
			slopes = k
		} else {
			slopes = Add(slopes, k)
		}
	}
	velocity = Add(reference.velocity(), Mul(Mul(rootU, rate), slopes))
	return velocity, denoiser(in.U, Add(in.Xbar, Mul(gap, velocity)))
}

// fraction returns the fraction of the way from s to u after k steps.
func (p *MixturePrior) fraction(k int) float64 {
	power := p.Power
	if power == 0 {
		power = 1
	}
	return 1 - math.Pow(1-float64(k)/float64(p.Steps), power)
}

// denoiser returns the function that builds the mean of z given observations x, [batch, rank], at
// the times t.
func (p *MixturePrior) denoiser(ip interpolant.Schedule, in nn.Inputs) func(t, x *Node) *Node {
	first := p.mixture(in)
	if len(p.Independent) == 0 {
		return func(t, x *Node) *Node { return first.Denoiser(ip, t, x) }
	}
	all := []*gmm.GraphMixture{first}
	for _, m := range p.Independent {
		all = append(all, m.Like(in.X))
	}
	return func(t, x *Node) *Node {
		means, at := make([]*Node, len(all)), 0
		for i, m := range p.factors() {
			means[i] = all[i].Denoiser(ip, t, Slice(x, AxisRange(), AxisRange(at, at+m.Dim())))
			at += m.Dim()
		}
		return Concatenate(means, -1)
	}
}

// mixture returns the mixture of the rows' classes.
func (p *MixturePrior) mixture(in nn.Inputs) *gmm.GraphMixture {
	m := p.Mixture.Like(in.X)
	if p.Labels == nil || in.Class == nil {
		return m
	}
	class := InsertAxes(in.Class, -1)
	none := GreaterThan(class, Scalar(class.Graph(), class.DType(), slices.Max(p.Labels)))
	same := Equal(class, InsertAxes(ConstAsDType(class.Graph(), class.DType(), p.Labels), 0))
	return m.Restricted(LogicalOr(same, none))
}

// arctanRatio returns arctan(w)/w for w in [0, 1]. It halves the angle twice, after which the
// series is exact to float64.
func arctanRatio(w *Node) *Node {
	half := w
	scale := OnesLike(w)
	for range 2 {
		down := AddScalar(Sqrt(OnePlus(Square(half))), 1)
		half, scale = Div(half, down), MulScalar(Div(scale, down), 2)
	}
	square := Square(half)
	series := ZerosLike(w)
	for n := 10; n >= 0; n-- {
		series = AddScalar(Mul(series, Neg(square)), 1/float64(2*n+1))
	}
	return Mul(series, scale)
}

// spanVariance returns the mean variance of z per coordinate.
func (p *MixturePrior) spanVariance() float64 {
	variance := 0.
	for _, m := range p.factors() {
		deviation := m.Std()
		variance += deviation * deviation * (float64(m.Dim()) / float64(p.rank()))
	}
	return variance
}

// project returns Bᵀx, [batch, rank], for x [batch, ...].
func (p *MixturePrior) project(x *Node) *Node {
	flat := Reshape(x, x.Shape().Dim(0), -1)
	if n := flat.Shape().Dim(1); n != len(p.Basis) {
		Panicf("mixture prior for samples of %d elements, not for states %s", len(p.Basis), x.Shape())
	}
	return Einsum("bi,ij->bj", flat, ConstAsDType(x.Graph(), x.DType(), p.Basis))
}

// lift returns B z with the shape of like.
func (p *MixturePrior) lift(z, like *Node) *Node {
	x := Einsum("bj,ij->bi", z, ConstAsDType(z.Graph(), z.DType(), p.Basis))
	return Reshape(x, like.Shape().Dimensions...)
}

// Whiten divides err by σ_s. See [Gaussian.Whiten].
func (p *MixturePrior) Whiten(ip interpolant.Schedule, s, t, err *Node) *Node {
	return p.Gaussian.Whiten(ip, s, t, err)
}
