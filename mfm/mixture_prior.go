package mfm

import (
	"fmt"
	"math"
	"slices"

	"gonum.org/v1/gonum/mat"
	"gonum.org/v1/gonum/stat"

	"github.com/gomfm/gomfm/mfm/gmm"
)

// MixturePrior is a parametrization like [Gaussian] for data with modes that a single Gaussian does
// not describe, such as images. It models the data as
//
//	I_1 = m + B z + w
//
// with z from a mixture of Gaussians, or from independent ones of groups of its coordinates, and
// w ~ N(0, V_w) in the complement of the span of B.
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
	Mixture  *gmm.Mixture // distribution of z, in rank dimensions, or of its first coordinates
	// Independent are the distributions of the coordinates of z after those of Mixture: each takes
	// the next Dim() of them. Posteriors of such data are products, too. Mixtures of K_1, K_2, ...
	// components describe what a single one would need K_1 K_2 ... components for. Nil means none.
	Independent []*gmm.Mixture
	Rest        float64 // V_w, the variance in each direction
	Steps       int     // steps from s to u
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
// w(x)/Z; independent mixtures come nearer to its marginal distributions. samples, [n][dim], have
// the distribution p_1 and weights are their w, not negative and with a positive sum; see
// [gmm.Mixture.Refit]. The other fields do not change.
func (p *MixturePrior) Refit(samples [][]float64, weights []float64) (*MixturePrior, error) {
	if err := p.Validate(); err != nil {
		return nil, err
	}
	for i, x := range samples {
		if len(x) != len(p.Basis) {
			return nil, fmt.Errorf("mixture prior: sample %d has %d elements, want %d", i, len(x), len(p.Basis))
		}
	}
	all, at := p.coordinates(samples), 0
	factors := p.factors()
	for i, m := range factors {
		own := make([][]float64, len(all))
		for j, z := range all {
			own[j] = z[at : at+m.Dim()]
		}
		var err error
		if factors[i], err = m.Refit(own, weights, p.Rest); err != nil {
			return nil, fmt.Errorf("mixture prior: %w", err)
		}
		at += m.Dim()
	}
	out := *p
	if out.Mixture = factors[0]; p.Independent != nil {
		out.Independent = factors[1:]
	}
	return &out, nil
}

// factors returns the distributions of all coordinates of z, Mixture and Independent.
func (p *MixturePrior) factors() []*gmm.Mixture {
	return append([]*gmm.Mixture{p.Mixture}, p.Independent...)
}

// rank returns the number of coordinates of z.
func (p *MixturePrior) rank() int {
	sum := 0
	for _, m := range p.factors() {
		sum += m.Dim()
	}
	return sum
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
	if slices.Contains(p.Independent, nil) || len(p.Independent) > 0 && p.Labels != nil {
		return fmt.Errorf("mixture prior: Independent must have no nil, and cannot be given with Labels")
	}
	for i, row := range p.Basis {
		if len(row) != p.rank() {
			return fmt.Errorf("mixture prior: row %d of the basis has %d entries, the mixture has dimension %d",
				i, len(row), p.rank())
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
