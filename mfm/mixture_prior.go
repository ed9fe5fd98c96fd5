package mfm

import (
	"fmt"
	"math"

	. "github.com/gomlx/gomlx/core/graph"
	. "github.com/gomlx/gomlx/support/exceptions"
	"gonum.org/v1/gonum/mat"
	"gonum.org/v1/gonum/stat"

	"github.com/gomfm/gomfm/mfm/gmm"
	"github.com/gomfm/gomfm/mfm/internal/batch"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/nn"
)

// MixturePrior is [Gaussian] with a mixture of Gaussians in its place, for data whose modes a single one does not know: images. The data's law is taken to be
//
//	I_1 = m + B z + w    z from a mixture in the span of B, w ~ N(0, V_w) in its complement.
//
// The complement's share of the velocity is that of [Gaussian]. The mixture's conditional drift is a closed form (GLASS, see [interpolant.ConditionalDrift]), the flow map of that is not; it is integrated from s to u inside
// the graph, in a few steps of the midpoint rule in rank dimensions. With p_{s,u} for the sum of both,
//
//	v_{s,u} = p_{s,u} + σ_s F
//
// with σ_s and the network's inputs of the Gaussian law of the same moments, but for Fused, which is the data's mean under the mixture's law given x and the point X_{s,u} that p leads to, and FusedT, which is taken there, too. At F = 0 the map
// draws from the mixture's posteriors: the network is left with what sets data apart from the mixture. Still one evaluation of the network is a sample.
type MixturePrior struct {
	// Gaussian has the data's mean, and its variance, one number.
	Gaussian *Gaussian
	// Basis has orthonormal columns, B: [dim][rank].
	Basis [][]float64
	// Law of z, in rank dimensions.
	Law *gmm.Mixture
	// Rest is V_w, of each direction.
	Rest float64
	// Steps from s to u, of two evaluations of the mixture's denoiser each.
	Steps int
}

// FitMixturePrior returns the prior of samples, [n][dim], n > dim: a basis of their first principal axes, as many as rank, and a mixture fitted in them; see [gmm.Fit]. Its Floor is V_w.
func FitMixturePrior(samples [][]float64, rank, steps int, fit func(coordinates [][]float64, floor float64) (*gmm.Mixture, error)) (*MixturePrior, error) {
	whole, err := FitGaussian(samples)
	if err != nil {
		return nil, err
	}
	dim := len(whole.Mean)
	if rank < 1 || rank >= dim {
		return nil, fmt.Errorf("prior of rank %d for samples of dimension %d: give a rank from 1 to %d", rank, dim, dim-1)
	}
	p := &MixturePrior{Gaussian: &Gaussian{Mean: whole.Mean, Variance: []float64{stat.Mean(whole.Variance, nil)}}, Basis: make([][]float64, dim), Steps: steps}
	p.Rest = max(stat.Mean(whole.Variance[:dim-rank], nil), posteriorFloor) // variances ascend
	for i, row := range whole.Basis {
		p.Basis[i] = row[dim-rank:]
	}
	if p.Law, err = fit(p.coordinates(samples), p.Rest); err != nil {
		return nil, err
	}
	return p, p.Validate()
}

// Refit returns the prior with its mixture a step nearer to that of the law p_1(x) w(x)/Z, p_1 being the law of samples, [n][dim], and weights their w, not negative and of a positive sum; see [gmm.Mixture.Refit]. What is outside the
// basis stays.
func (p *MixturePrior) Refit(samples [][]float64, weights []float64) (*MixturePrior, error) {
	if err := p.Validate(); err != nil {
		return nil, err
	}
	for i, x := range samples {
		if len(x) != len(p.Basis) {
			return nil, fmt.Errorf("prior: sample %d has %d elements, want %d", i, len(x), len(p.Basis))
		}
	}
	out := *p
	var err error
	if out.Law, err = p.Law.Refit(p.coordinates(samples), weights, p.Rest); err != nil {
		return nil, fmt.Errorf("prior: %w", err)
	}
	return &out, nil
}

// coordinates returns Bᵀ(x - m) of samples.
func (p *MixturePrior) coordinates(samples [][]float64) [][]float64 {
	dim, rank := len(p.Basis), len(p.Basis[0])
	basis := mat.NewDense(dim, rank, nil)
	for i, row := range p.Basis {
		basis.SetRow(i, row)
	}
	out := make([][]float64, len(samples))
	centered := mat.NewVecDense(dim, nil)
	for i, x := range samples {
		for j, v := range x {
			centered.SetVec(j, v-p.Gaussian.Mean[j])
		}
		z := mat.NewVecDense(rank, nil)
		z.MulVec(basis.T(), centered)
		out[i] = z.RawVector().Data
	}
	return out
}

// Validate returns an error if the parts do not fit together.
func (p *MixturePrior) Validate() error {
	if p.Gaussian == nil || p.Law == nil {
		return fmt.Errorf("mixture prior: Gaussian and Law are both needed")
	}
	if err := p.Gaussian.Validate(); err != nil {
		return err
	}
	dim := len(p.Gaussian.Mean)
	if len(p.Gaussian.Variance) != 1 || len(p.Gaussian.Basis) > 0 || p.Gaussian.NoFusion || len(p.Basis) != dim {
		return fmt.Errorf("mixture prior: want a Gaussian with one variance, no basis, with fusion, and as many means as Basis has rows, %d", len(p.Basis))
	}
	for i, row := range p.Basis {
		if len(row) != p.Law.Dim() {
			return fmt.Errorf("mixture prior: row %d of the basis has %d entries, the mixture has dimension %d", i, len(row), p.Law.Dim())
		}
	}
	if !(p.Rest > 0) || math.IsInf(p.Rest, 0) {
		return fmt.Errorf("mixture prior: variance of the rest %g is not positive and finite", p.Rest)
	}
	if p.Steps < 1 {
		return fmt.Errorf("mixture prior: %d steps of its flow: give at least 1", p.Steps)
	}
	return nil
}

// String returns "mixture".
func (p *MixturePrior) String() string { return "mixture" }

// Velocity returns the average velocity; see [MixturePrior]. It panics with Validate's error.
func (p *MixturePrior) Velocity(ip interpolant.Schedule, f Network, in nn.Inputs) *Node {
	if err := p.Validate(); err != nil {
		panic(err)
	}
	whole := p.Gaussian.law(ip, in)
	centered := in
	centered.Xbar, centered.X = Sub(in.Xbar, Mul(whole.betaS, whole.mean)), whole.context
	prior, mean := p.flow(ip, centered)
	raw := whole.inputs(in)
	raw.Fused, raw.FusedT = Div(mean, Sqrt(whole.variance)), p.Gaussian.fusedTime(ip, in.U, in.T)
	return Add(Add(Mul(whole.slopeBeta, whole.mean), prior), Mul(whole.scale(), f(raw)))
}

// flow returns p_{s,u} for data and states without their means, and the data's mean given the point that it leads to.
func (p *MixturePrior) flow(ip interpolant.Schedule, in nn.Inputs) (velocity, mean *Node) {
	rest := &Gaussian{Variance: []float64{p.Rest}}
	outside := rest.law(ip, in).velocity()
	inside, meanInside := p.inside(ip, in)
	velocity = Add(outside, p.lift(Sub(inside, p.project(outside)), in.X))

	// Outside the span x̄ moves on by the rest's velocity; what the sum is inside is not looked at.
	arrived := in
	arrived.S, arrived.Xbar = in.U, Add(in.Xbar, Mul(batch.Like(Sub(in.U, in.S), in.X), outside))
	meanOutside := rest.law(ip, arrived).fused()
	return velocity, Add(meanOutside, p.lift(Sub(meanInside, p.project(meanOutside)), in.X))
}

// inside returns, in the span's coordinates, the average velocity and the data's mean given the point that it leads to.
//
// A Gaussian law of variance V has the posterior mean μ and variance c, and its flow keeps y = (x̄ - β_s μ)/√ν_s. Along the mixture's flow, with the angle tan φ = √c β_s/α_s,
//
//	dy/dφ = ((D - μ)/√c - y sin φ)/cos φ,
//
// D being the mixture's mean of the data given x̄ and x. Towards t = 1, where steps in s would leave noise standing, this is nearly constant: every component's posterior has that same variance there. The
// midpoint rule takes equal steps of φ, and does not look at φ = π/2, s = 1.
func (p *MixturePrior) inside(ip interpolant.Schedule, in nn.Inputs) (velocity, mean *Node) {
	diagonal := in.S == in.U
	in.Xbar, in.X = p.project(in.Xbar), p.project(in.X)
	in = in.PerRow()
	law := p.Law.OnGraph(in.X.Graph(), in.X.DType())
	reference := (&Gaussian{Variance: []float64{p.spanVariance()}}).law(ip, in)
	c, mu := reference.c, reference.mu
	denoiser := func(s, xbar *Node) *Node {
		t, look := interpolant.EffectiveObservation(ip, s, xbar, in.T, in.X)
		return law.Denoiser(ip, t, look)
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
	// The angle from s to u over u - s, finite at u = s.
	gap := batch.Like(Sub(in.U, in.S), in.X)
	rate := Mul(root, Sub(Mul(reference.slopeBeta, reference.alphaS), Mul(reference.slopeAlpha, reference.betaS)))
	rate = Div(rate, Add(Add(Mul(reference.alphaS, reference.alphaU), Mul(c, Mul(reference.betaS, reference.betaU))), Mul(rootS, rootU)))
	rate = Mul(MulScalar(rate, 2), arctanRatio(Mul(rate, gap)))

	if diagonal {
		k := slope(cos, sin, start)
		return Add(reference.velocity(), Mul(Mul(rootU, rate), k)), denoiser(in.U, in.Xbar)
	}
	step := DivScalar(Mul(rate, gap), float64(p.Steps))
	y := start
	var sum *Node
	for i := range p.Steps {
		at := func(angle *Node, y *Node) *Node {
			c, s := Cos(angle), Sin(angle)
			return slope(Sub(Mul(cos, c), Mul(sin, s)), Add(Mul(sin, c), Mul(cos, s)), y)
		}
		k := at(MulScalar(step, float64(i)), y)
		k = at(MulScalar(step, float64(i)+0.5), Add(y, Mul(MulScalar(step, 0.5), k)))
		y = Add(y, Mul(step, k))
		if sum == nil {
			sum = k
		} else {
			sum = Add(sum, k)
		}
	}
	velocity = Add(reference.velocity(), Mul(Mul(rootU, rate), DivScalar(sum, float64(p.Steps))))
	return velocity, denoiser(in.U, Add(in.Xbar, Mul(gap, velocity)))
}

// arctanRatio returns arctan(w)/w for w in [0, 1]: the angle is halved twice, and its series then exact to float64.
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

// spanVariance returns the mean variance of the mixture along the axes of its space.
func (p *MixturePrior) spanVariance() float64 {
	spread := p.Law.Spread()
	return spread * spread
}

// project returns Bᵀx, [batch, rank], of x [batch, ...].
func (p *MixturePrior) project(x *Node) *Node {
	flat := Reshape(x, x.Shape().Dim(0), -1)
	if n := flat.Shape().Dim(1); n != len(p.Basis) {
		Panicf("mixture prior is for samples of %d elements, not for %s", len(p.Basis), x.Shape())
	}
	return Einsum("bi,ij->bj", flat, ConstAsDType(x.Graph(), x.DType(), p.Basis))
}

// lift returns B z in the shape of like.
func (p *MixturePrior) lift(z, like *Node) *Node {
	x := Einsum("bj,ij->bi", z, ConstAsDType(z.Graph(), z.DType(), p.Basis))
	return Reshape(x, like.Shape().Dimensions...)
}

// Whiten divides err by σ_s, see [Gaussian.Whiten].
func (p *MixturePrior) Whiten(ip interpolant.Schedule, s, t, err *Node) *Node {
	return p.Gaussian.Whiten(ip, s, t, err)
}
