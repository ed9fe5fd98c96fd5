package steer

import (
	"fmt"
	"math"

	. "github.com/gomlx/gomlx/core/graph"

	"github.com/gomfm/gomfm/mfm/gmm"
	"github.com/gomfm/gomfm/mfm/internal/batch"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/solver"
)

// MFMG is MFM-G: it estimates the value from N posterior samples X_i = X_{0,1}(ε_i; t, x) and
// differentiates it through reward and map,
//
//	∇_x log (1/N) Σ_i e^{λ r(X_i)}.
type MFMG struct{ PosteriorSamples }

// String returns "mfm-g".
func (MFMG) String() string { return "mfm-g" }

// Estimate builds the estimate; see [Estimator].
func (m MFMG) Estimate(p Problem, rng *solver.RNG, counter *Counter, t, x, _ *Node, gradient bool) Estimate {
	if gradient {
		p.Model.MustReparameterize(m.String())
	}
	x = Identity(x)
	samples, rewards, bad := m.Draw(p, rng, counter, t, x)
	e := Estimate{Value: m.value(rewards)}
	e.describe(StopGradient(samples), StopGradient(rewards), StopGradient(bad))
	if gradient {
		e.Gradient = Gradient(ReduceAllSum(e.Value), x)[0]
		rows := rewards.Shape().Size()
		counter.Network(0, rows*p.Model.PosteriorNFE)
		counter.Reward(0, rows)
	}
	e.Value = StopGradient(e.Value)
	return e
}

// Baseline is what MFM-GF subtracts from the weighted mean of the posterior samples.
type Baseline string

// The baselines of [MFMGF].
const (
	// MeanBaseline is the plain mean of the same samples: errors that they share cancel.
	MeanBaseline Baseline = "mean"
	// DenoiserBaseline is D_t(x) of the drift: it is exact, but errors of the map do not cancel.
	DenoiserBaseline Baseline = "denoiser"
)

// MFMGF is MFM-GF, which needs no gradient of reward or map. The posterior samples X_i, weighted by
// the reward, estimate the mean of the tilted posterior, and
//
//	∇V_t(x) = (β_t/α_t²) (Σ_i w_i X_i - baseline),   w = softmax(λ r(X_i)),
//
// so that (σ_t²/2) ∇V_t = (β'_t - α'_t β_t/α_t) (Σ_i w_i X_i - baseline). With one sample and
// [MeanBaseline] the gradient is zero.
type MFMGF struct {
	PosteriorSamples
	Baseline Baseline `json:"baseline"`
}

// String returns "mfm-gf".
func (MFMGF) String() string { return "mfm-gf" }

// Validate returns an error that names the first option that is out of range.
func (m MFMGF) Validate() error {
	if m.Baseline != MeanBaseline && m.Baseline != DenoiserBaseline {
		return fmt.Errorf("baseline %q is unknown: use %s or %s", m.Baseline, MeanBaseline, DenoiserBaseline)
	}
	return m.PosteriorSamples.Validate()
}

// Estimate builds the estimate; see [Estimator].
func (m MFMGF) Estimate(p Problem, rng *solver.RNG, counter *Counter, t, x, drift *Node, gradient bool) Estimate {
	samples, rewards, bad := m.Draw(p, rng, counter, t, x)
	return m.combine(p, samples, rewards, bad, t, x, drift, gradient)
}

// combine builds the estimate from samples and their rewards.
func (m MFMGF) combine(p Problem, samples, rewards, bad, t, x, drift *Node, gradient bool) Estimate {
	e := Estimate{Value: m.value(rewards)}
	e.describe(samples, rewards, bad)
	if !gradient {
		return e
	}
	grouped := Reshape(samples, append([]int{x.Shape().Dim(0), m.N}, x.Shape().Dimensions[1:]...)...)
	w := weights(rewards)
	if m.LeaveOneOut {
		w = jackknifedWeights(w)
	}
	weighted := func(w, x *Node) *Node { return ReduceSum(Mul(x, batch.Like(w, x)), 1) }
	var shift *Node
	if m.Baseline == DenoiserBaseline {
		shift = Sub(weighted(w, grouped), denoiser(p.Model.Interpolant, drift, t, x))
	} else {
		// Σ_i (w_i - 1/N)(X_i - mean): near t = 1 both factors are small. Float32 resolves their
		// product, but not the difference of the two means.
		shift = weighted(AddScalar(w, -1/float64(m.N)), Sub(grouped, ReduceAndKeep(grouped, ReduceMean, 1)))
	}
	alpha, beta, _, _ := p.Model.Interpolant.Graph(batch.Like(t, x))
	e.Gradient = Mul(Div(beta, Square(alpha)), shift)
	return e
}

// denoiser returns D_t(x) = (α b - α' x)/(α β' - α' β).
func denoiser(ip interpolant.Schedule, drift, t, x *Node) *Node {
	return interpolant.Denoiser(ip, func(_, _, _ *Node) *Node { return drift }, t, x, nil)
}

// DPS is diffusion posterior sampling (Chung et al., arXiv 2209.14687). It approximates the value
// by the reward of the posterior mean,
//
//	V_t(x) ≈ λ r(D_t(x)).
//
// The error is Jensen's gap, which is small only if the posterior is narrow on the scale of the
// reward. D_t(x) comes from the drift of the same step, so in K steps a sample costs 4K + 1
// evaluations: the first step alone needs the drift twice, at 0 and at t_0.
type DPS struct{}

// String returns "dps".
func (DPS) String() string { return "dps" }

// Samples returns 0.
func (DPS) Samples() int { return 0 }

// Validate returns nil.
func (DPS) Validate() error { return nil }

func (DPS) reusesDrift() {}

// Estimate builds the estimate; see [Estimator].
func (DPS) Estimate(p Problem, _ *solver.RNG, counter *Counter, t, x, drift *Node, gradient bool) Estimate {
	if !gradient { // the given drift suffices
		v, bad := rewardOf(p, counter, denoiser(p.Model.Interpolant, drift, t, x))
		return Estimate{Value: v, Bad: bad}
	}
	n := x.Shape().Dim(0)
	if !p.DriftInX {
		x = Identity(x)
		drift = p.Model.Drift(t, x, nil)
		counter.Network(n*p.Model.driftNFE(), 0)
	}
	v, bad := rewardOf(p, counter, denoiser(p.Model.Interpolant, drift, t, x))
	counter.Network(0, n*p.Model.driftNFE())
	counter.Reward(0, n)
	return Estimate{
		Value: StopGradient(v), Gradient: Gradient(ReduceAllSum(v), x)[0], Bad: StopGradient(bad),
	}
}

// Exact is the value in closed form, for distributions and rewards that have one: the limit of the
// other estimators. Its evaluations are not counted. It holds for one λ, which its author includes
// in it: the λ of [Config] has no effect.
type Exact struct {
	Value    func(t, x *Node) *Node // V_t(x), [n]
	Gradient func(t, x *Node) *Node // ∇V_t(x), of x's shape; nil means that of Value
}

// String returns "exact".
func (Exact) String() string { return "exact" }

// Samples returns 0.
func (Exact) Samples() int { return 0 }

// Validate returns an error if Value is nil.
func (e Exact) Validate() error {
	if e.Value == nil {
		return fmt.Errorf("the exact estimator has no value: set Value")
	}
	return nil
}

// Estimate builds the estimate; see [Estimator].
func (e Exact) Estimate(_ Problem, _ *solver.RNG, _ *Counter, t, x, _ *Node, gradient bool) Estimate {
	x = Identity(x)
	out := Estimate{Value: e.Value(t, x)}
	switch {
	case gradient && e.Gradient != nil:
		out.Gradient = e.Gradient(t, x)
	case gradient:
		out.Gradient = Gradient(ReduceAllSum(out.Value), x)[0]
	}
	return out
}

// FromTilt returns the exact value for a mixture p and the target p* and logZ that
// [gmm.Mixture.Tilt] returns, for λ = 1: V_t = log p*_t - log p_t + log Z. Its gradient is the
// difference of the scores.
func FromTilt(mixture, target *gmm.Mixture, logZ float64, ip interpolant.Schedule) Exact {
	return Exact{
		Value: func(t, x *Node) *Node {
			return AddScalar(Sub(target.Like(x).LogMarginal(ip, t, x), mixture.Like(x).LogMarginal(ip, t, x)), logZ)
		},
		Gradient: func(t, x *Node) *Node {
			return Sub(target.Like(x).Score(ip, t, x), mixture.Like(x).Score(ip, t, x))
		},
	}
}

// WeightedDiamond is the estimator of Weighted Diamond Maps (section 5 of arXiv 2602.05993). It
// needs the flow map X of the unconditional ODE alone, no posterior samples: it adds noise to x_t,
// back to an earlier time t', and weights what the map makes of it,
//
//	x'_i = (β_{t'}/β_t) (x_t + α_t √(SNR-1) ε_i),   z_i = X_{t',1}(x'_i),   w = softmax(l),
//	l_i = λ r(z_i) - |x_t - β_t z_i|²/(2 α_t²) + γ_i + |ε_i|²/2,
//	g_i = ∇(λ r(z_i) - |x_t - β_t z_i|²/(2 α_t²)) + (β_{t'}/β_t) ∇log p_{t'}(x'_i),
//	∇V_t(x_t) ≈ Σ_i w_i g_i - ∇log p_t(x_t),
//
// where gradients of z_i pass through the map. Up to a factor, the density of z_i is
// p_1(z_i) N(ε_i; 0, I)/p_{t'}(x'_i), so with γ_i = log p_{t'}(x'_i) the weights are those of
// samples of the tilted posterior. The paper approximates it, up to a constant, by the scores at
// both ends of the way,
//
//	γ_i = (∇log p_{t'}(x_t) + ∇log p_{t'}(x'_i))·(x'_i - x_t)/2,
//
// which is exact for Gaussian data alone: otherwise a bias remains for any N. The value is
// log Σ_i e^{l_i} - log Σ_i e^{l_i - λ r(z_i)}.
//
// In K steps a sample costs about K(2 + 5N) evaluations: the drift at x_t and t, the score at x_t
// and t', and for each i the map, its backward pass, the score and the reward.
type WeightedDiamond struct {
	// N is the number of weighted samples for each state.
	N int `json:"n"`
	// SNR is the factor, above 1, by which the signal-to-noise ratio (β/α)² at t exceeds that at
	// t'. For Gaussian data the z_i have the variance of the posterior at 2 + α²/(β² V), where V is
	// that of the data; below, few of them carry the weight. A large factor makes the way long on
	// which γ is approximated. The paper's code uses 1.1 to 20, with weights e^{λ r} by default.
	SNR float64 `json:"snr"`
}

// DefaultSNR is the SNR of [WeightedDiamond] in [Options] that have none, the largest that the
// paper's code uses.
const DefaultSNR = 20.0

// String returns "weighted-diamond".
func (WeightedDiamond) String() string { return "weighted-diamond" }

// Samples returns N.
func (m WeightedDiamond) Samples() int { return m.N }

// Validate returns an error that names the first option that is out of range.
func (m WeightedDiamond) Validate() error {
	if !(m.SNR > 1 && m.SNR <= 1e6) {
		return fmt.Errorf("snr = %g: must lie in (1, 1e6]", m.SNR)
	}
	return PosteriorSamples{N: m.N}.Validate()
}

func (WeightedDiamond) reusesDrift() {}

// Estimate builds the estimate; see [Estimator].
func (m WeightedDiamond) Estimate(
	p Problem, rng *solver.RNG, counter *Counter, t, x, drift *Node, gradient bool,
) Estimate {
	ip, n := p.Model.Interpolant, x.Shape().Dim(0)
	score := func(t, x *Node) *Node {
		counter.Network(x.Shape().Dim(0)*p.Model.driftNFE(), 0)
		return StopGradient(interpolant.Score(ip, p.Model.Drift, t, StopGradient(x), nil))
	}
	sum := func(x *Node) *Node { return ReduceSum(Reshape(x, n, m.N, -1), -1) } // over elements, [n, N]

	x = Identity(x)
	alpha, beta, _, _ := ip.Graph(t)
	before := StopGradient(interpolant.EffectiveTime(ip, MulScalar(alpha, math.Sqrt(m.SNR)), beta))
	_, betaBefore, _, _ := ip.Graph(before)
	ratio := Div(betaBefore, beta)

	states, times, ratios := batch.Repeat(x, m.N), batch.Repeat(before, m.N), batch.Repeat(ratio, m.N)
	alphas, betas := batch.Like(batch.Repeat(alpha, m.N), states), batch.Like(batch.Repeat(beta, m.N), states)
	eps := PosteriorSamples{N: m.N}.noise(rng, x)
	noised := Add(states, MulScalar(Mul(alphas, eps), math.Sqrt(m.SNR-1)))
	noised = Mul(batch.Like(ratios, states), noised)
	ends := p.Model.flow(m.String(), counter, times, OnesLike(times), noised)
	rewards, bad := rewardOf(p, counter, ends)
	rewards, bad = Reshape(rewards, n, m.N), ReduceSum(Reshape(bad, n, m.N), 1)
	misfit := MulScalar(sum(Square(Div(Sub(states, Mul(betas, ends)), alphas))), -0.5)

	scores, way := score(times, noised), Sub(noised, states)
	line := sum(Mul(Add(batch.Repeat(score(before, x), m.N), scores), way))
	prior := StopGradient(Add(misfit, MulScalar(Add(line, sum(Square(eps))), 0.5)))
	logits := Add(prior, StopGradient(rewards))
	w := Softmax(logits, 1)

	e := Estimate{Value: Sub(batch.LogMeanExp(logits), batch.LogMeanExp(prior))}
	e.describe(StopGradient(ends), StopGradient(rewards), StopGradient(bad))
	e.Effective = effectiveNumber(logits)
	if !gradient {
		return e
	}
	rows := n * m.N
	counter.Network(0, rows*p.Model.FlowMapNFE)
	counter.Reward(0, rows)
	through := Gradient(ReduceAllSum(Mul(w, Add(rewards, misfit))), x)[0]
	weights := Mul(Reshape(w, rows), ratios)
	back := Mul(scores, batch.Like(weights, scores))
	back = Reshape(ReduceSum(Reshape(back, n, m.N, -1), 1), x.Shape().Dimensions...)
	here := drift
	if !p.DriftInX { // in the first step of a run the given drift is that of time 0
		counter.Network(n*p.Model.driftNFE(), 0)
		here = p.Model.Drift(t, x, nil)
	}
	given := func(_, _, _ *Node) *Node { return here }
	e.Gradient = Sub(Add(through, back), StopGradient(interpolant.Score(ip, given, t, x, nil)))
	return e
}
