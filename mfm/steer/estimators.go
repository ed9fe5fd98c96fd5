package steer

import (
	"fmt"
	"math"

	"github.com/gomfm/gomfm/mfm/internal/batch"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/solver"

	. "github.com/gomlx/gomlx/core/graph"

	"github.com/gomfm/gomfm/mfm/gmm"
)

// MFMG is MFM-G: the value from N posterior samples X_i = X_{0,1}(ε_i; t, x), and its gradient through reward and map,
//
//	∇_x log (1/N) Σ_i e^{λ r(X_i)}.
type MFMG struct{ Draws }

// String returns "mfm-g".
func (MFMG) String() string { return "mfm-g" }

// Estimate builds the estimate; see [Estimator].
func (m MFMG) Estimate(p Problem, rng *solver.RNG, ledger *Ledger, t, x, _ *Node, gradient bool) Estimate {
	if gradient {
		p.Model.MustReparameterize(m.String())
	}
	x = Identity(x)
	samples, rewards, bad := m.Draw(p, rng, ledger, t, x)
	e := Estimate{Value: m.value(rewards)}
	e.summary(StopGradient(samples), StopGradient(rewards), StopGradient(bad))
	if gradient {
		e.Gradient = Gradient(ReduceAllSum(e.Value), x)[0]
		rows := rewards.Shape().Size()
		ledger.Network(0, rows*p.Model.PosteriorNFE)
		ledger.Reward(0, rows)
	}
	e.Value = StopGradient(e.Value)
	return e
}

// Baseline is what MFM-GF takes off the weighted mean of its draws.
type Baseline string

// The baselines.
const (
	MeanBaseline     Baseline = "mean"     // the plain mean of the same draws: what they have in common cancels
	DenoiserBaseline Baseline = "denoiser" // D_t(x), from the drift: exact, but errors of the map do not cancel
)

// MFMGF is MFM-GF: no gradient of reward or map. The draws X_i, weighted by the reward, give the mean of the tilted posterior, and
//
//	∇V_t(x) = (β_t/α_t²) (Σ_i w_i X_i - baseline),   w = softmax(λ r(X_i)),
//
// so that (σ_t²/2) ∇V_t = (β'_t - α'_t β_t/α_t) (Σ_i w_i X_i - baseline). With one draw and the mean as the baseline it is zero.
type MFMGF struct {
	Draws
	Baseline Baseline `json:"baseline"`
}

// String returns "mfm-gf".
func (MFMGF) String() string { return "mfm-gf" }

// Validate returns an error that names the first option that makes no sense.
func (m MFMGF) Validate() error {
	if m.Baseline != MeanBaseline && m.Baseline != DenoiserBaseline {
		return fmt.Errorf("baseline %q is unknown: use %s or %s", m.Baseline, MeanBaseline, DenoiserBaseline)
	}
	return m.Draws.Validate()
}

// Estimate builds the estimate; see [Estimator].
func (m MFMGF) Estimate(p Problem, rng *solver.RNG, ledger *Ledger, t, x, drift *Node, gradient bool) Estimate {
	samples, rewards, bad := m.Draw(p, rng, ledger, t, x)
	return m.combine(p, samples, rewards, bad, t, x, drift, gradient)
}

// combine is the estimate from draws whose rewards are known.
func (m MFMGF) combine(p Problem, samples, rewards, bad, t, x, drift *Node, gradient bool) Estimate {
	e := Estimate{Value: m.value(rewards)}
	e.summary(samples, rewards, bad)
	if !gradient {
		return e
	}
	draws := Reshape(samples, append([]int{x.Shape().Dim(0), m.N}, x.Shape().Dimensions[1:]...)...)
	w := weights(rewards)
	if m.LeaveOneOut {
		w = jackknifedWeights(w)
	}
	mean := func(w, draws *Node) *Node { return ReduceSum(Mul(draws, batch.Like(w, draws)), 1) }
	var shift *Node
	if m.Baseline == DenoiserBaseline {
		shift = Sub(mean(w, draws), denoiser(p.Model.Interpolant, drift, t, x))
	} else { // Σ_i (w_i - 1/N)(X_i - mean): near t = 1 both are small, and float32 keeps their product, of which a difference of two means has nothing left
		shift = mean(AddScalar(w, -1/float64(m.N)), Sub(draws, ReduceAndKeep(draws, ReduceMean, 1)))
	}
	alpha, beta, _, _ := p.Model.Interpolant.Graph(batch.Like(t, x))
	e.Gradient = Mul(Div(beta, Square(alpha)), shift)
	return e
}

// jackknifedWeights returns, for the weights w of draws [n, N], those of N Σ_i w_i X_i - (N-1) mean_i Σ_{j≠i} w_j X_j/(1-w_i), which sum to one.
func jackknifedWeights(w *Node) *Node {
	n := float64(w.Shape().Dim(1))
	if n == 1 {
		return w
	}
	inverse := Inverse(MaxScalar(OneMinus(w), leastWeight))
	others := Sub(ReduceAndKeep(inverse, ReduceSum, 1), inverse) // Σ_{i≠j} 1/(1-w_i)
	raw := Mul(w, AddScalar(MulScalar(others, -(n-1)/n), n))
	return Div(raw, ReduceAndKeep(raw, ReduceSum, 1))
}

// denoiser returns D_t(x) = (α b - α' x)/(α β' - α' β).
func denoiser(ip interpolant.Schedule, drift, t, x *Node) *Node {
	return interpolant.Denoiser(ip, func(_, _, _ *Node) *Node { return drift }, t, x, nil)
}

// DPS is diffusion posterior sampling (Chung et al., arXiv 2209.14687): it takes the reward of the posterior's mean for the value,
//
//	V_t(x) ≈ λ r(D_t(x)),
//
// which is wrong by Jensen's gap unless the posterior is narrow on the reward's scale.
type DPS struct{}

// String returns "dps".
func (DPS) String() string { return "dps" }

// DrawCount returns 0.
func (DPS) DrawCount() int { return 0 }

// Validate returns nil.
func (DPS) Validate() error { return nil }

// Estimate builds the estimate; see [Estimator].
func (DPS) Estimate(p Problem, _ *solver.RNG, ledger *Ledger, t, x, drift *Node, gradient bool) Estimate {
	if !gradient { // the drift is known: no other evaluation
		v, bad := rewardOf(p, ledger, denoiser(p.Model.Interpolant, drift, t, x))
		return Estimate{Value: v, Bad: bad}
	}
	x = Identity(x)
	v, bad := rewardOf(p, ledger, interpolant.Denoiser(p.Model.Interpolant, p.Model.Drift, t, x, nil)) // another pass than the drift's, whose time is 0 in the first step; counted once, as by the paper
	n := x.Shape().Dim(0)
	ledger.Network(0, n)
	ledger.Reward(0, n)
	return Estimate{Value: StopGradient(v), Gradient: Gradient(ReduceAllSum(v), x)[0], Bad: StopGradient(bad)}
}

// Exact is the value in closed form, for a law and a reward that have one: what all other estimators aim at. Neither counts as an evaluation. It is that of λ r for one λ, which whoever makes it puts into it: the λ of
// [Config] does not reach it.
type Exact struct {
	Value    func(t, x *Node) *Node // V_t(x), [n]
	Gradient func(t, x *Node) *Node // ∇V_t(x), of x's shape; nil: that of Value
}

// String returns "exact".
func (Exact) String() string { return "exact" }

// DrawCount returns 0.
func (Exact) DrawCount() int { return 0 }

// Validate returns an error where there is no value.
func (e Exact) Validate() error {
	if e.Value == nil {
		return fmt.Errorf("the exact estimator has no value: give it one")
	}
	return nil
}

// Estimate builds the estimate; see [Estimator].
func (e Exact) Estimate(_ Problem, _ *solver.RNG, _ *Ledger, t, x, _ *Node, gradient bool) Estimate {
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

func logRatio(n int) float64 { return math.Log(float64(n) / float64(n-1)) }

// FromTilt returns the exact value for a mixture and the target that [gmm.Mixture.Tilt] gives with logZ, λ = 1: log p*_t - log p_t + log Z, whose gradient is the difference of two scores.
func FromTilt(law, target *gmm.Mixture, logZ float64, ip interpolant.Schedule) Exact {
	return Exact{
		Value: func(t, x *Node) *Node {
			return AddScalar(Sub(target.LogMarginalGraph(ip, t, x), law.LogMarginalGraph(ip, t, x)), logZ)
		},
		Gradient: func(t, x *Node) *Node { return Sub(target.ScoreGraph(ip, t, x), law.ScoreGraph(ip, t, x)) },
	}
}
