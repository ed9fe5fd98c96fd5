package mfm

import (
	"fmt"
	"math"
	"slices"

	. "github.com/gomlx/gomlx/core/graph"
	. "github.com/gomlx/gomlx/support/exceptions"
	"gonum.org/v1/gonum/mat"
	"gonum.org/v1/gonum/stat"

	"github.com/gomfm/gomfm/mfm/gmm"
	"github.com/gomfm/gomfm/mfm/internal/batch"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/nn"
)

// MixturePrior is a parametrization like [Gaussian] for data with modes that a single Gaussian does
// not describe, such as images. It models the data as
//
//	I_1 = m + B z + w
//
// with z from a mixture of Gaussians and w ~ N(0, V_w) in the complement of the span of B.
//
// The velocity in the complement is that of [Gaussian]. In the span the mixture has a conditional
// drift in closed form (GLASS, see [interpolant.ConditionalDrift]), but no flow map. The drift is
// therefore integrated from s to u inside the graph, in a few steps in rank dimensions. With the
// sum p_{s,u} of both velocities,
//
//	v_{s,u} = p_{s,u} + σ_s F.
//
// σ_s and the inputs of the network are those of the Gaussian with the same moments, except the
// combined observation: Fused is the mean of the data under the model given x and the state that p
// leads to at u, and FusedT is computed at u. At F = 0 the map samples the posteriors of the model;
// the network learns how the data differs from it. One sample still needs one evaluation of the
// network. Numbers of evaluations do not count the 2 or 3 of each step, and one more, of the
// mixture's denoiser that each of them includes; times do.
type MixturePrior struct {
	Gaussian *Gaussian    // mean of the data, [dim], and its variance, one number
	Basis    [][]float64  // B with orthonormal columns, [dim][rank]
	Mixture  *gmm.Mixture // distribution of z, in rank dimensions
	Rest     float64      // V_w, the variance in each direction
	Steps    int          // steps from s to u
	// Order is that of the rule of a step, and the number of its evaluations of the mixture's
	// denoiser: 2, which 0 means too, the midpoint rule, or 3, Heun's rule of third order.
	Order int
	// Power p shortens the steps toward u, which modes that are narrow beside the whole need: they
	// end at the fractions 1 - (1 - k/Steps)^p of the way. It lies in [1, 5], beyond which the first
	// step is nearly the whole way; 0 means 1, equal steps.
	Power float64
	// Labels are the classes of the components, one each, in which every class from 0 occurs. Given
	// a class, the data are the mixture of its components alone; a larger label and no class mean
	// all of them. Nil means that the mixture does not depend on the class.
	Labels []int32
}

// FitMixturePrior returns the prior of samples, [n][dim], n > dim. Its basis are their first rank
// principal axes, and fit returns its mixture for the coordinates along them, for example by
// [gmm.Fit] with Floor = floor, which is V_w.
func FitMixturePrior(
	samples [][]float64, rank, steps int, fit func(coordinates [][]float64, floor float64) (*gmm.Mixture, error),
) (*MixturePrior, error) {
	whole, err := FitGaussian(samples)
	if err != nil {
		return nil, err
	}
	dim := len(whole.Mean)
	if rank < 1 || rank >= dim {
		return nil, fmt.Errorf("mixture prior of rank %d for samples of dimension %d: give a rank from 1 to %d",
			rank, dim, dim-1)
	}
	gaussian := &Gaussian{Mean: whole.Mean, Variance: []float64{stat.Mean(whole.Variance, nil)}}
	p := &MixturePrior{Gaussian: gaussian, Basis: make([][]float64, dim), Steps: steps}
	p.Rest = max(stat.Mean(whole.Variance[:dim-rank], nil), posteriorFloor) // variances ascend
	for i, row := range whole.Basis {
		p.Basis[i] = row[dim-rank:]
	}
	if p.Mixture, err = fit(p.coordinates(samples), p.Rest); err != nil {
		return nil, err
	}
	return p, p.Validate()
}

// Refit returns the prior with its mixture one step nearer to that of the distribution p_1(x)
// w(x)/Z. samples, [n][dim], have the distribution p_1 and weights are their w, not negative and
// with a positive sum; see [gmm.Mixture.Refit]. The other fields do not change.
func (p *MixturePrior) Refit(samples [][]float64, weights []float64) (*MixturePrior, error) {
	if err := p.Validate(); err != nil {
		return nil, err
	}
	for i, x := range samples {
		if len(x) != len(p.Basis) {
			return nil, fmt.Errorf("mixture prior: sample %d has %d elements, want %d", i, len(x), len(p.Basis))
		}
	}
	out := *p
	var err error
	if out.Mixture, err = p.Mixture.Refit(p.coordinates(samples), weights, p.Rest); err != nil {
		return nil, fmt.Errorf("mixture prior: %w", err)
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

// Validate returns an error if the parts are invalid or do not fit together.
func (p *MixturePrior) Validate() error {
	if p.Gaussian == nil || p.Mixture == nil {
		return fmt.Errorf("mixture prior: Gaussian and Mixture are both needed")
	}
	if err := p.Gaussian.Validate(); err != nil {
		return err
	}
	dim := len(p.Gaussian.Mean)
	if len(p.Gaussian.Variance) != 1 || len(p.Gaussian.Basis) > 0 || p.Gaussian.NoFusion || len(p.Basis) != dim {
		return fmt.Errorf("mixture prior: want a Gaussian with one variance, no basis, NoFusion unset, "+
			"and as many means as Basis has rows, %d", len(p.Basis))
	}
	for i, row := range p.Basis {
		if len(row) != p.Mixture.Dim() {
			return fmt.Errorf("mixture prior: row %d of the basis has %d entries, the mixture has dimension %d",
				i, len(row), p.Mixture.Dim())
		}
	}
	if !(p.Rest > 0) || math.IsInf(p.Rest, 0) {
		return fmt.Errorf("mixture prior: variance of the rest = %g is not positive and finite", p.Rest)
	}
	if p.Steps < 1 {
		return fmt.Errorf("mixture prior: steps = %d: must be at least 1", p.Steps)
	}
	if p.Order != 0 && p.Order != 2 && p.Order != 3 {
		return fmt.Errorf("mixture prior: order = %d: must be 2 or 3", p.Order)
	}
	if p.Power != 0 && !(p.Power >= 1 && p.Power <= 5) {
		return fmt.Errorf("mixture prior: power = %g: must lie in [1, 5]", p.Power)
	}
	if p.Labels == nil {
		return nil
	}
	if len(p.Labels) != p.Mixture.Len() {
		return fmt.Errorf("mixture prior: %d labels for %d components: give one each", len(p.Labels), p.Mixture.Len())
	}
	for class := range max(slices.Max(p.Labels), 0) + 1 {
		if !slices.Contains(p.Labels, class) {
			return fmt.Errorf("mixture prior: no component has the label %d: number the classes from 0", class)
		}
	}
	if slices.Min(p.Labels) < 0 {
		return fmt.Errorf("mixture prior: label %d: must not be negative", slices.Min(p.Labels))
	}
	return nil
}

// String returns "mixture".
func (p *MixturePrior) String() string { return string(MixtureName) }

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
	mixture := p.mixture(in)
	reference := (&Gaussian{Variance: []float64{p.spanVariance()}}).flow(ip, in)
	c, mu := reference.c, reference.mu
	denoiser := func(s, xbar *Node) *Node {
		t, x := interpolant.EffectiveObservation(ip, s, xbar, in.T, in.X)
		return mixture.Denoiser(ip, t, x)
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

// spanVariance returns the mean variance of the mixture per dimension.
func (p *MixturePrior) spanVariance() float64 {
	deviation := p.Mixture.Std()
	return deviation * deviation
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
