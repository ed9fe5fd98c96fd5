package steer

import (
	"fmt"
	"math"

	. "github.com/gomlx/gomlx/core/graph"

	"github.com/gomfm/gomfm/mfm/internal/batch"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/solver"
)

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
// p_1(z_i) N(ε_i; 0, I)/p_{t'}(x'_i), so with γ_i = log p_{t'}(x'_i) the weights are those of samples
// of the tilted posterior. The paper approximates it, up to a constant, by the scores at both ends
// of the way,
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
