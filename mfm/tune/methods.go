package tune

import (
	"fmt"
	"math"

	. "github.com/gomlx/gomlx/core/graph"

	"github.com/gomfm/gomfm/mfm/internal/batch"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/solver"
	"github.com/gomfm/gomfm/mfm/steer"
)

// most is the largest exponent of a weight: the square of e^most is a float32 with room for a sum. Where a batch has a larger one, all of its weights are scaled down alike: against overflow, at the price of a bias in such a batch, which with a running offset means one whose largest weight is e^20 times the mean.
const most = 20

// unknownOffset is below every offset: one that is not above it stands for none.
const unknownOffset = -1e29

// MetaTuning is MFM-FT: the weights w = e^{λ r(X) - c} of N posterior samples X = X_{0,1}(ε; t, x) of a map, and their gradients through reward and map,
//
//	E[w] D = (σ_t²/2) E[∇_x w],
//
// each a plain mean, so that the fixed point is b* for any N, for any law of the states.
type MetaTuning struct {
	steer.Draws
	// Reference draws more samples at each state, whose mean weight plus Floor times e^c takes the place of e^c there. With one c for all, a state counts as e^{V_t(x)}, as it does in the tilted law, and one that the reward
	// wants left, e^{V - c} times more slowly, is learned last; with reference draws states down to V = c + log Floor count alike. The mean weight alone would not do: it is near zero where the reference draws miss
	// what the reward wants, and the variance has no bound. 0 draws for one c.
	Reference int     `json:"reference"`
	Floor     float64 `json:"floor"`
	// GradientFree takes E[∇_x w] by the covariance of weight and sample that it is for exact posteriors,
	//
	//	E[∇_x w] = (β_t/α_t²) E[w (X - D̂_t(x))],   D̂_t(x) = E[I_1 | I_t = x],
	//
	// as MFM-GF does: no gradient of reward or map, and no variance from a reward that is steep at its edges and flat elsewhere, as a classifier's. With one draw D̂_t(x) is the base's denoiser, otherwise the mean of a state's
	// other draws. Neither is biased where the draws are the posterior's; what a map's draws are off in the mean is a bias with one draw, and cancels with more, whose scatter is smaller, too.
	GradientFree bool `json:"gradient_free"`
}

// String returns "mfm-ft", or "mfm-ft-gf" without gradients.
func (m MetaTuning) String() string {
	if m.GradientFree {
		return "mfm-ft-gf"
	}
	return "mfm-ft"
}

// Needs returns none.
func (MetaTuning) Needs() Needs { return Needs{} }

// NFE returns N (3 k + 1) for a map of k evaluations a sample, N (k + 1) without gradients, with the reference draws' and the base drift's.
func (m MetaTuning) NFE(p steer.Model) int {
	if m.GradientFree {
		return 1 + (m.N+m.Reference)*(p.PosteriorNFE+1)
	}
	return 1 + m.N*(3*p.PosteriorNFE+1) + m.Reference*(p.PosteriorNFE+1)
}

// Validate returns an error that names the first option that makes no sense.
func (m MetaTuning) Validate() error {
	if m.LeaveOneOut {
		return fmt.Errorf("leave_one_out: MFM-FT has no bias to take off, use false")
	}
	if m.GradientFree && m.Antithetic {
		return fmt.Errorf("antithetic draws without gradients: a state's other draws must not depend on the one that they are taken off, use false")
	}
	if m.Reference < 0 || m.Reference > 1<<16 {
		return fmt.Errorf("reference = %d draws: must lie in [0, 65536]", m.Reference)
	}
	if m.Reference > 0 && !(m.Floor > 0 && m.Floor <= 1e6) {
		return fmt.Errorf("floor = %g: must lie in (0, 1e6], since weights have no bound without it", m.Floor)
	}
	return m.Draws.Validate()
}

// Regress builds the regressand; see [Method].
func (m MetaTuning) Regress(p Problem, rng *solver.RNG, s States) Regressand {
	if !m.GradientFree {
		p.Model.MustReparameterize(m.String())
	}
	p.Varied = true
	ledger := steer.NewLedger(s.X.Graph())
	x := Identity(s.X)
	samples, rewards, _ := m.Draw(p.Problem, rng, ledger, s.T, x)
	c := p.offset(rewards)
	if m.Reference > 0 {
		_, others, _ := steer.Draws{N: m.Reference}.Draw(p.Problem, rng, ledger, s.T, StopGradient(s.X))
		reference := InsertAxes(batch.LogMeanExp(others), -1)
		c = AddScalar(c, math.Log(m.Floor))
		top := Max(reference, c)
		c = StopGradient(Add(top, Log(Add(Exp(Sub(reference, top)), Exp(Sub(c, top))))))
	}
	each := Exp(Sub(rewards, c))
	w := ReduceMean(each, 1)
	var vector *Node
	if m.GradientFree {
		vector = m.covariance(p, s, each, samples)
	} else {
		gradient := Gradient(ReduceAllSum(w), x)[0]
		vector = Mul(batch.Like(p.Noise.Half(p.Model.Interpolant, s.T), gradient), gradient)
	}
	return Regressand{Weight: StopGradient(w), Vector: StopGradient(vector), LogWeight: StopGradient(batch.LogMeanExp(rewards))}
}

// leastAlpha bounds α_t from below where the covariance is divided by its square, and so the variance of single draws toward t = 1, at the price of a bias beyond t = 0.999 (linear schedule).
const leastAlpha = 1e-3

// covariance returns (σ_t²/2) (β_t/α_t²) mean_i w_i (X_i - D̂_t(x)), of the states' shape, for weights [n, N] and samples [n N, ...].
func (m MetaTuning) covariance(p Problem, s States, weights, samples *Node) *Node {
	ip := p.Model.Interpolant
	draws := Reshape(samples, append([]int{s.X.Shape().Dim(0), m.N}, s.X.Shape().Dimensions[1:]...)...)
	var off *Node
	if m.N == 1 {
		off = Sub(draws, InsertAxes(interpolant.Denoiser(ip, func(_, _, _ *Node) *Node { return s.Base }, s.T, s.X, nil), 1))
	} else { // X_i less the mean of the others
		n := float64(m.N)
		off = MulScalar(Sub(draws, ReduceAndKeep(draws, ReduceMean, 1)), n/(n-1))
	}
	mean := ReduceMean(Mul(batch.Like(weights, off), off), 1)
	alpha, beta, _, _ := ip.Graph(s.T)
	factor := Div(Mul(p.Noise.Half(ip, s.T), beta), Square(MaxScalar(alpha, leastAlpha)))
	return Mul(batch.Like(factor, mean), mean)
}

// offset returns c for a batch of rewards λ r, [n] or [n, N]: the problem's, or else the logarithm of the batch's mean weight; where it is one for all, raised if a weight would be larger than e^most.
func (p Problem) offset(rewards *Node) *Node {
	if p.Offset != nil && p.Offset.Rank() == 1 {
		return batch.Like(p.Offset, rewards)
	}
	c := Reshape(batch.LogMeanExp(Reshape(rewards, 1, -1))) // of this batch, where none is known
	if p.Offset != nil {
		known := GreaterThan(p.Offset, Scalar(c.Graph(), p.Offset.DType(), unknownOffset))
		c = Where(known, ConvertDType(p.Offset, c.DType()), c)
	}
	c = Max(c, AddScalar(ReduceAllMax(rewards), -most))
	return StopGradient(c)
}

// PlugIn regresses the correction on (σ_t²/2) ∇V̂_t of an estimator of steering: with [steer.MFMG] the gradient of the logarithm of a mean, with [steer.MFMGF] self-normalised weights. Both are ratios of means, and so biased by
// order 1/N; with [steer.Exact] it is the regression on the truth.
type PlugIn struct{ steer.Estimator }

// String returns "plug-in-" with the estimator's name.
func (m PlugIn) String() string { return "plug-in-" + m.Estimator.String() }

// Needs returns none.
func (PlugIn) Needs() Needs { return Needs{} }

// NFE returns what the estimator evaluates for one state.
func (m PlugIn) NFE(p steer.Model) int {
	n := m.DrawCount()
	switch m.Estimator.(type) {
	case steer.MFMG:
		return 1 + n*(3*p.PosteriorNFE+1)
	case steer.DPS:
		return 4
	case steer.Exact:
		return 1
	}
	return 1 + n*(p.PosteriorNFE+1)
}

// Regress builds the regressand; see [Method].
func (m PlugIn) Regress(p Problem, rng *solver.RNG, s States) Regressand {
	p.Varied = true
	e := m.Estimate(p.Problem, rng, steer.NewLedger(s.X.Graph()), s.T, s.X, s.Base, true)
	half := p.Noise.Half(p.Model.Interpolant, s.T)
	return Regressand{Vector: StopGradient(Mul(batch.Like(half, e.Gradient), e.Gradient))}
}

// RewardWeighted is reward-weighted flow matching on samples of the data: w = e^{λ r(x₁) - c} and g = w (dI_t/dt - b). Its fixed point is that of MFM-FT under Doob's schedule, without a map and without a gradient of
// the reward; what it learns from are the samples there are, and it does not know what lies between them.
type RewardWeighted struct{}

// String returns "reward-weighted".
func (RewardWeighted) String() string { return "reward-weighted" }

// Needs returns data.
func (RewardWeighted) Needs() Needs { return Needs{Data: true} }

// NFE returns 2: the base drift and the reward.
func (RewardWeighted) NFE(steer.Model) int { return 2 }

// Validate returns nil.
func (RewardWeighted) Validate() error { return nil }

// Regress builds the regressand; see [Method].
func (RewardWeighted) Regress(p Problem, _ *solver.RNG, s States) Regressand {
	_, r, _ := p.Reward.Weighed(p.Lambda, s.Data)
	r = StopGradient(r)
	w := Exp(Sub(r, p.offset(r)))
	v := Sub(s.Velocity, s.Base)
	return Regressand{Weight: w, Vector: StopGradient(Mul(batch.Like(w, v), v)), LogWeight: r}
}
