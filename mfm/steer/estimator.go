package steer

import (
	"fmt"

	. "github.com/gomlx/gomlx/core/graph"
	. "github.com/gomlx/gomlx/support/exceptions"

	"github.com/gomfm/gomfm/mfm/internal/batch"
	"github.com/gomfm/gomfm/mfm/reward"
	"github.com/gomfm/gomfm/mfm/solver"
)

// Problem is a model and the reward that its samples shall have. Lambda is the factor λ of the reward, a scalar of the states' type.
type Problem struct {
	Model  Model
	Reward reward.Reward
	Lambda *Node
	// Varied says that the times of an estimate's states may differ: without it posterior samples are drawn at the first one, and what depends on time alone is computed once.
	Varied bool
}

// Estimate is what an estimator says of the value at states x, [n, ...].
type Estimate struct {
	Value    *Node // of V_t(x), [n]
	Gradient *Node // of ∇V_t(x), of x's shape; nil where none was asked for
	// What the estimator's draws were like, [n] each; nil where it has none.
	Effective *Node // e to the entropy of the draws' weights: how many count
	Spread    *Node // root mean square deviation of the draws, per element
	Reward    *Node // mean of λ r over the draws that have one, 0 where none has
	Rewarded  *Node // 1 where a draw has one, 0 elsewhere
	Bad       *Node // number of rewards that were NaN or +Inf
}

// Estimator estimates the value V_t and its gradient.
type Estimator interface {
	// Estimate builds the estimate at states x, [n, ...], and times t, [n], of which no two differ unless p.Varied says so. drift is b_t(x), known already; in the first step of a run, where t is [Config].Start, it is b_0(x). The
	// ledger is told what is evaluated beyond that. gradient says whether one is wanted.
	Estimate(p Problem, rng *solver.RNG, ledger *Ledger, t, x, drift *Node, gradient bool) Estimate
	// DrawCount returns the number of posterior samples that it draws for a state, N.
	DrawCount() int
	// Validate returns an error that names the first option that makes no sense.
	Validate() error
	// String returns the name under which results go.
	String() string
}

// Draws says how the posterior samples of an estimate are drawn.
type Draws struct {
	// N is their number for a state.
	N int `json:"n"`
	// Antithetic draws noise in pairs ε, -ε; N is even then.
	Antithetic bool `json:"antithetic"`
	// Shared gives all states the same noise, so that their errors are alike: differences between states are then estimated better, means over states worse.
	Shared bool `json:"shared"`
	// LeaveOneOut takes the estimate's bias of order 1/N off by the jackknife: N times the estimate less N-1 times the mean of those that each leave one draw out. With one draw it does nothing.
	LeaveOneOut bool `json:"leave_one_out"`
}

// DrawCount returns N.
func (d Draws) DrawCount() int { return d.N }

// Validate returns an error for a number of draws outside [1, 65536], and for pairs of an odd number.
func (d Draws) Validate() error {
	if d.N < 1 || d.N > 1<<16 {
		return fmt.Errorf("n = %d draws: must lie in [1, 65536]", d.N)
	}
	if d.Antithetic && d.N%2 != 0 {
		return fmt.Errorf("n = %d draws in antithetic pairs: must be even", d.N)
	}
	return nil
}

// noise returns [n·N, ...], the draws of a state one after the other.
func (d Draws) noise(rng *solver.RNG, x *Node) *Node {
	dims := append([]int(nil), x.Shape().Dimensions...)
	states, n := dims[0], d.N
	if d.Shared {
		states = 1
	}
	if d.Antithetic {
		n /= 2
	}
	shape := x.Shape().Clone()
	shape.Dimensions = append([]int{states, n}, dims[1:]...)
	eps := rng.Normal(shape)
	if d.Antithetic {
		eps = Concatenate([]*Node{eps, Neg(eps)}, 1)
	}
	if d.Shared {
		eps = BroadcastToDims(eps, append([]int{dims[0], d.N}, dims[1:]...)...)
	}
	dims[0] *= d.N
	return Reshape(eps, dims...)
}

// Draw builds N posterior samples for each state of x, [n·N, ...], one state's after the other's, and their rewards λ r, [n, N], of which bad [n] were no numbers. The ledger is told. It panics for a model without posterior samples, and
// for antithetic or shared draws of one whose samples are not made of the noise.
func (d Draws) Draw(p Problem, rng *solver.RNG, ledger *Ledger, t, x *Node) (samples, rewards, bad *Node) {
	if p.Model.Posterior == nil {
		Panicf("this model has no posterior samples to draw: use the exact value, or a map")
	}
	if p.Model.Detached && (d.Antithetic || d.Shared) {
		Panicf("antithetic or shared draws of a model whose posterior samples come from a closed form, not from the noise: use independent ones, or a map")
	}
	rows := x.Shape().Dim(0) * d.N
	eps := d.noise(rng, x)
	common := Slice(t, AxisRange(0, 1))
	if p.Varied {
		common = batch.Repeat(t, d.N)
	}
	samples = solver.Unrolled(x.Graph(), func() *Node { return p.Model.Posterior(rng, eps, common, batch.Repeat(x, d.N)) })
	ledger.Network(rows*p.Model.PosteriorNFE, 0)
	rewards, bad = rewardOf(p, ledger, samples)
	return samples, Reshape(rewards, -1, d.N), ReduceSum(Reshape(bad, -1, d.N), 1)
}

// rewardOf returns λ r of samples, [n], with what has no weight at a large negative number, and 1 for each that was no number.
func rewardOf(p Problem, ledger *Ledger, samples *Node) (rewards, bad *Node) {
	_, rewards, bad = rewardsOf(p, ledger, samples)
	return rewards, bad
}

// rewardsOf is rewardOf with r as it came, λ left out.
func rewardsOf(p Problem, ledger *Ledger, samples *Node) (plain, rewards, bad *Node) {
	ledger.Reward(samples.Shape().Dim(0), 0)
	return p.Reward.Weighed(p.Lambda, samples)
}

// summary fills in what the draws were like. rewards are [n, N], samples [n·N, ...].
func (e *Estimate) summary(samples, rewards, bad *Node) {
	n, draws := rewards.Shape().Dim(0), rewards.Shape().Dim(1)
	log := LogSoftmax(rewards, 1)
	e.Effective = Exp(Neg(ReduceSum(Mul(Exp(log), log), 1)))
	flat := Reshape(samples, n, draws, -1)
	deviation := Sub(flat, ReduceAndKeep(flat, ReduceMean, 1))
	e.Spread = Sqrt(ReduceMean(Square(deviation), 1, 2))
	has := ConvertDType(GreaterThan(rewards, Scalar(rewards.Graph(), rewards.DType(), reward.Least)), rewards.DType())
	e.Rewarded = ReduceMax(has, 1)
	e.Reward = Div(ReduceSum(Mul(MaxScalar(rewards, reward.Least), has), 1), MaxScalar(ReduceSum(has, 1), 1))
	e.Bad = bad
}

// weights returns e^{λ r} of draws [n, N], normalised over a state's draws.
func weights(rewards *Node) *Node { return Softmax(rewards, 1) }

// value is the estimate of V_t, [n], from draws whose rewards are [n, N].
func (d Draws) value(rewards *Node) *Node {
	if d.LeaveOneOut {
		return jackknifed(rewards)
	}
	return batch.LogMeanExp(rewards)
}

// jackknifed returns the value with its bias of order 1/N taken off: N V - (N-1) mean_i V_{-i}, V_{-i} that of all draws but the i-th.
func jackknifed(rewards *Node) *Node {
	n := rewards.Shape().Dim(1)
	if n == 1 {
		return batch.LogMeanExp(rewards)
	}
	// Σ_{j≠i} e^{r_j} = (1 - w_i) Σ_j e^{r_j}; 1 - w_i is held off zero where one draw has all the weight.
	// V_{-i} - V = log((1 - w_i) N/(N-1)): N V is not formed, beside which float32 would lose the difference.
	others := MaxScalar(OneMinus(weights(rewards)), leastWeight)
	shift := ReduceMean(AddScalar(Log(others), logRatio(n)), 1)
	return Sub(batch.LogMeanExp(rewards), MulScalar(shift, float64(n-1)))
}

// leastWeight bounds the weight that is left when one draw is left out, which float32 does not resolve below.
const leastWeight = 1e-6
