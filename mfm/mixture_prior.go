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
	"github.com/gomfm/gomfm/mfm/nn"
)

// MixturePrior is [Gaussian] with a mixture of Gaussians in its place, for data whose modes a single one does not know: images. The data's law is taken to be
//
//	I_1 = m + B z + w    z from a mixture in the span of B, w ~ N(0, V_w) in its complement.
//
// The complement's share of the velocity is that of [Gaussian]. The mixture's conditional drift is a closed form (GLASS, see [ConditionalDrift]), the flow map of that is not; it is integrated from s to u inside
// the graph, by Heun's method in a few steps of rank dimensions, which cost a percent of what a network does. With p_{s,u} for the sum of both,
//
//	v_{s,u} = p_{s,u} + σ_s F
//
// with σ_s and the network's inputs of the Gaussian law of the same moments, but for Fused, which is the data's mean under the mixture's law given x and the point X_{s,u} that p leads to. At F = 0 the map
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
	// Steps of Heun's method from s to u, two evaluations of the mixture's drift each.
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
	if len(p.Gaussian.Variance) != 1 || len(p.Gaussian.Basis) > 0 || len(p.Basis) != dim {
		return fmt.Errorf("mixture prior: want a Gaussian with one variance, no basis, and as many means as Basis has rows, %d", len(p.Basis))
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
func (p *MixturePrior) Velocity(ip Interpolant, f Network, in nn.Inputs) *Node {
	if err := p.Validate(); err != nil {
		panic(err)
	}
	whole := p.Gaussian.law(ip, in)
	centered := in
	centered.Xbar, centered.X = Sub(in.Xbar, Mul(whole.betaS, whole.mean)), whole.context
	prior, mean := p.flow(ip, centered)
	raw := whole.inputs(in)
	raw.Fused, raw.FusedT = Div(mean, Sqrt(whole.variance)), p.Gaussian.fusedTime(ip, in.S, in.T)
	return Add(Add(Mul(whole.slopeBeta, whole.mean), prior), Mul(whole.scale(), f(raw)))
}

// flow returns p_{s,u} for data and states without their means, and the data's mean given the point that it leads to.
func (p *MixturePrior) flow(ip Interpolant, in nn.Inputs) (velocity, mean *Node) {
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
func (p *MixturePrior) inside(ip Interpolant, in nn.Inputs) (velocity, mean *Node) {
	in.Xbar, in.X = p.project(in.Xbar), p.project(in.X)
	in = in.PerRow()
	law := p.Law.OnGraph(in.X.Graph(), in.X.DType())
	gap := Sub(in.U, in.S)
	at := func(i int) *Node {
		if i == p.Steps {
			return in.U // without rounding
		}
		return Add(in.S, MulScalar(gap, float64(i)/float64(p.Steps)))
	}
	drift := func(s, z *Node) *Node {
		return ConditionalDrift(ip, func(t, x, _ *Node) *Node { return law.Drift(ip, t, x) }, s, z, in.T, in.X, nil)
	}
	h := batch.Like(DivScalar(gap, float64(p.Steps)), in.X)
	end := in.Xbar
	for i := range p.Steps {
		slope := drift(at(i), end)
		slope = MulScalar(Add(slope, drift(at(i+1), Add(end, Mul(h, slope)))), 0.5)
		end = Add(end, Mul(h, slope))
		if velocity == nil {
			velocity = slope
		} else {
			velocity = Add(velocity, slope)
		}
	}
	t, look := EffectiveLook(ip, in.U, end, in.T, in.X)
	return DivScalar(velocity, float64(p.Steps)), law.Denoiser(ip, t, look)
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
func (p *MixturePrior) Whiten(ip Interpolant, s, t, err *Node) *Node {
	return p.Gaussian.Whiten(ip, s, t, err)
}
