package tune

import (
	. "github.com/gomlx/gomlx/core/graph"

	"github.com/gomfm/gomfm/mfm/internal/batch"
	"github.com/gomfm/gomfm/mfm/reward"
	"github.com/gomfm/gomfm/mfm/solver"
	"github.com/gomfm/gomfm/mfm/steer"
)

// PlugIn regresses the correction on (σ_t²/2) ∇V̂_t with an estimator of steering: with
// [steer.MFMG] the gradient of the logarithm of a mean, with [steer.MFMGF] self-normalized weights.
// Both are ratios of means, with a bias of order 1/N. With [steer.Exact] it regresses on the exact
// correction.
type PlugIn struct{ steer.Estimator }

// String returns "plug-in-" with the estimator's name.
func (m PlugIn) String() string { return "plug-in-" + m.Estimator.String() }

// Needs returns the zero value.
func (PlugIn) Needs() Needs { return Needs{} }

// NFE returns the number of evaluations of the estimator and of the base drift for each state.
func (m PlugIn) NFE(p steer.Model) int {
	n, d := m.Samples(), max(p.DriftNFE, 1)
	switch m.Estimator.(type) {
	case steer.MFMG:
		return d + n*(3*p.PosteriorNFE+1)
	case steer.DPS: // evaluates the base drift again, with a gradient
		return 4*d + 1
	case steer.Exact:
		return d
	case steer.WeightedDiamond: // evaluates the base drift at x again, for two scores
		return 3*d + n*(d+3*p.FlowMapNFE+1)
	}
	return d + n*(p.PosteriorNFE+1)
}

// Regress builds the regressand; see [Objective].
func (m PlugIn) Regress(p Problem, rng *solver.RNG, s States) Regressand {
	p.Varied = true
	e := m.Estimate(p.Problem, rng, steer.NewCounter(s.X.Graph()), s.T, s.X, s.Base, true)
	half := p.Noise.Half(p.Model.Interpolant, s.T)
	return Regressand{Vector: StopGradient(Mul(batch.Like(half, e.Gradient), e.Gradient))}
}

// RewardWeighted is reward-weighted flow matching on data: w = e^{λ r(x₁) - c} and g = w (dI_t/dt -
// b). Its fixed point is that of MFM-FT with Doob's schedule. It needs neither a map nor a gradient
// of the reward, but learns only from the given data, not from what lies between.
type RewardWeighted struct{}

// String returns "reward-weighted".
func (RewardWeighted) String() string { return "reward-weighted" }

// Needs returns Data.
func (RewardWeighted) Needs() Needs { return Needs{Data: true} }

// NFE returns the number of evaluations of the base drift, and 1 for the reward.
func (RewardWeighted) NFE(p steer.Model) int { return max(p.DriftNFE, 1) + 1 }

// Validate returns nil.
func (RewardWeighted) Validate() error { return nil }

// Regress builds the regressand; see [Objective].
func (RewardWeighted) Regress(p Problem, _ *solver.RNG, s States) Regressand {
	_, r, _ := reward.Weighed(p.Reward, p.Lambda, s.Data, p.Condition(s.Data))
	r = StopGradient(r)
	w := Exp(Sub(r, p.offset(r)))
	v := Sub(s.Velocity, s.Base)
	return Regressand{Weight: w, Vector: StopGradient(Mul(batch.Like(w, v), v)), LogWeight: r}
}

// AdjointMatching regresses the correction on the lean adjoint along on-policy paths
// (Domingo-Enrich et al., arXiv 2409.08861): a(1) = λ ∇r(X_1), carried back through the base's SDE,
//
//	-da/dt = (∇_x [2 b_t - (β'/β) x])ᵀ a,   g = (σ_t²/2) a.
//
// It needs no map, but a reward with a gradient and a whole path for each target. At the optimum,
// and only there, a has the mean ∇V.
type AdjointMatching struct{}

// String returns "adjoint".
func (AdjointMatching) String() string { return "adjoint" }

// Needs returns Paths.
func (AdjointMatching) Needs() Needs { return Needs{Paths: true} }

// NFE returns 5 for each state, times the evaluations of a drift: the step of the path, the base
// drift, and, as the adjoint is carried back, the base drift again with its backward pass.
func (AdjointMatching) NFE(p steer.Model) int { return 5 * max(p.DriftNFE, 1) }

// Validate returns nil.
func (AdjointMatching) Validate() error { return nil }

// Regress builds the regressand; see [Objective].
func (AdjointMatching) Regress(p Problem, _ *solver.RNG, s States) Regressand {
	paths := s.Paths
	p.Problem = p.Conditioned(paths.Class)
	end := Identity(StopGradient(paths.End))
	_, r, _ := reward.Weighed(p.Reward, p.Lambda, end, p.Condition(end))
	a := Gradient(ReduceAllSum(r), end)[0]
	steps := len(paths.Times) - 1
	table := make([][]float64, steps)
	for k := range table {
		t := paths.Times[k]
		_, beta, _, dBeta := p.Model.Interpolant.At(t)
		table[k] = []float64{t, paths.Times[k+1] - t, dBeta / beta}
	}
	rows := ConstAsDType(a.Graph(), a.DType(), table)
	adjoints := ZerosLike(paths.X)
	state := solver.Loop(steps, []*Node{a, adjoints}, func(i *Node, state []*Node) []*Node {
		k := Sub(Const(i.Graph(), int32(steps-1)), i) // backward
		row := batch.Of(rows, k)
		a := state[0]
		x := Identity(batch.Row(paths.X, k))
		drift := Sub(MulScalar(p.Model.Drift(batch.Every(row[0], x), x, nil), 2), Mul(row[2], x))
		a = Add(a, Mul(row[1], Gradient(ReduceAllSum(Mul(drift, StopGradient(a))), x)[0]))
		return []*Node{StopGradient(a), batch.SetRow(state[1], k, a)}
	})
	g := Reshape(state[1], s.X.Shape().Dimensions...)
	half := p.Noise.Half(p.Model.Interpolant, s.T)
	return Regressand{Vector: StopGradient(Mul(batch.Like(half, g), g))}
}
