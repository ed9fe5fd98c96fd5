package steer

import (
	"fmt"
	"math"

	. "github.com/gomlx/gomlx/core/graph"
	. "github.com/gomlx/gomlx/support/exceptions"

	"github.com/gomfm/gomfm/mfm/internal/batch"
	"github.com/gomfm/gomfm/mfm/reward"
	"github.com/gomfm/gomfm/mfm/solver"
)

// Problem is what an estimate depends on: model and reward, with the factor Lambda of the reward,
// λ, a scalar of the states' type.
type Problem struct {
	Model  Model
	Reward reward.Reward
	Lambda *Node
	// Class is what model and reward are conditioned on, int32 [1], or [k] as for [Model.Given];
	// nil means nothing.
	Class *Node
	// DriftInX says that the drift that an estimate receives is b_t(x) at its x and t, as a
	// function of x that can be differentiated. If false, an estimator that needs this evaluates it
	// again.
	DriftInX bool
	// Varied says that the states of an estimate may have different times. If false, posterior
	// samples are drawn at the first of the times, and what depends on time alone is computed once.
	Varied bool
}

// Conditioned returns the problem with its model and reward conditioned on class; see
// [Model.Given].
func (p Problem) Conditioned(class *Node) Problem {
	p.Model, p.Class = p.Model.Given(class), class
	return p
}

// Condition returns the condition of the rows of x, [n, ...].
func (p Problem) Condition(x *Node) reward.Condition {
	if p.Class == nil {
		return reward.Condition{}
	}
	return reward.Condition{Class: labels(p.Class, x)}
}

// Estimate is an estimate of the value at states x, [n, ...].
type Estimate struct {
	Value    *Node // of V_t(x), [n]
	Gradient *Node // of ∇V_t(x), of x's shape; nil if it was not required

	// Statistics of the posterior samples of each state, [n]; nil if the estimator draws none.

	Effective *Node // effective number of samples: the exponential of the entropy of their weights
	Std       *Node // root mean square deviation of the samples from their mean, per element
	Reward    *Node // mean of λ r over the samples that have a reward, 0 if none has
	Rewarded  *Node // 1 if at least one sample has a reward, otherwise 0
	Bad       *Node // number of rewards that are NaN or +Inf
}

// Estimator estimates the value V_t and its gradient.
type Estimator interface {
	// Estimate builds the estimate at the states x, [n, ...], and times t, [n], which are equal
	// unless p.Varied. drift is b_t(x), already evaluated; in the first step of a run, where t is
	// [Config].Start, it is b_0(x). All further evaluations are added to counter. gradient says
	// whether the gradient is required.
	Estimate(p Problem, rng *solver.RNG, counter *Counter, t, x, drift *Node, gradient bool) Estimate
	// Samples returns N, the number of posterior samples for each state.
	Samples() int
	// Validate returns an error that names the first option that is out of range.
	Validate() error
	// String returns the name under which results are stored.
	String() string
}

// rewardOf builds λ r of samples, [n], and 1 for each reward that is NaN or +Inf; see
// [reward.Weighed].
func rewardOf(p Problem, counter *Counter, samples *Node) (rewards, bad *Node) {
	_, rewards, bad = rewardsOf(p, counter, samples)
	return rewards, bad
}

// rewardsOf is rewardOf with the reward r itself, without λ.
func rewardsOf(p Problem, counter *Counter, samples *Node) (plain, rewards, bad *Node) {
	counter.Reward(samples.Shape().Dim(0), 0)
	return reward.Weighed(p.Reward, p.Lambda, samples, p.Condition(samples))
}

// effectiveNumber returns the exponential of the entropy of the weights e^{l}, [n], for l, [n, N].
func effectiveNumber(l *Node) *Node {
	log := LogSoftmax(l, 1)
	return Exp(Neg(ReduceSum(Mul(Exp(log), log), 1)))
}

// describe sets the statistics of the posterior samples [n·N, ...] with rewards [n, N].
func (e *Estimate) describe(samples, rewards, bad *Node) {
	n, count := rewards.Shape().Dim(0), rewards.Shape().Dim(1)
	e.Effective = effectiveNumber(rewards)
	flat := Reshape(samples, n, count, -1)
	deviation := Sub(flat, ReduceAndKeep(flat, ReduceMean, 1))
	e.Std = Sqrt(ReduceMean(Square(deviation), 1, 2))
	least := Scalar(rewards.Graph(), rewards.DType(), reward.Least)
	has := ConvertDType(GreaterThan(rewards, least), rewards.DType())
	e.Rewarded = ReduceMax(has, 1)
	e.Reward = Div(ReduceSum(Mul(MaxScalar(rewards, reward.Least), has), 1), MaxScalar(ReduceSum(has, 1), 1))
	e.Bad = bad
}

// PosteriorSamples are the options of posterior sampling in an estimate.
type PosteriorSamples struct {
	// N is the number of posterior samples for each state.
	N int `json:"n"`
	// Antithetic draws the noise in pairs ε, -ε; N must be even.
	Antithetic bool `json:"antithetic"`
	// Shared uses the same noise for all states. Their errors are then correlated: differences
	// between states are estimated better, means over states worse.
	Shared bool `json:"shared"`
	// LeaveOneOut removes the bias of order 1/N by the jackknife: N times the estimate minus N-1
	// times the mean of the N estimates that each leave one sample out. It has no effect if N is 1.
	LeaveOneOut bool `json:"leave_one_out"`
}

// Samples returns N.
func (d PosteriorSamples) Samples() int { return d.N }

// SharesNoise returns Shared.
func (d PosteriorSamples) SharesNoise() bool { return d.Shared }

// Validate returns an error if N lies outside [1, 65536], or is odd with Antithetic.
func (d PosteriorSamples) Validate() error {
	if d.N < 1 || d.N > 1<<16 {
		return fmt.Errorf("n = %d posterior samples: must lie in [1, 65536]", d.N)
	}
	if d.Antithetic && d.N%2 != 0 {
		return fmt.Errorf("n = %d posterior samples in antithetic pairs: must be even", d.N)
	}
	return nil
}

// noise returns noise [n·N, ...], in which the N rows of a state are adjacent.
func (d PosteriorSamples) noise(rng *solver.RNG, x *Node) *Node {
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

// Draw builds N posterior samples for each state of x, [n·N, ...] with those of a state adjacent,
// their rewards λ r, [n, N], and for each state the number of rewards that are NaN or +Inf, [n]. It
// adds the evaluations to counter. It panics if the model has no posterior samples, and for
// Antithetic or Shared if they are not functions of the noise.
func (d PosteriorSamples) Draw(p Problem, rng *solver.RNG, counter *Counter, t, x *Node) (samples, rewards, bad *Node) {
	if p.Model.Posterior == nil {
		Panicf("the model has no posterior samples: use a map or the exact value")
	}
	if p.Model.Detached && (d.Antithetic || d.Shared) {
		Panicf("antithetic or shared noise has no effect: this model's posterior samples come from a closed form, " +
			"not from the noise; use independent noise, or a map")
	}
	rows := x.Shape().Dim(0) * d.N
	eps := d.noise(rng, x)
	times := Slice(t, AxisRange(0, 1))
	if p.Varied {
		times = batch.Repeat(t, d.N)
	}
	samples = solver.Unrolled(x.Graph(), func() *Node {
		return p.Model.Posterior(rng, eps, times, batch.Repeat(x, d.N), nil)
	})
	counter.Network(rows*p.Model.PosteriorNFE, 0)
	rewards, bad = rewardOf(p, counter, samples)
	return samples, Reshape(rewards, -1, d.N), ReduceSum(Reshape(bad, -1, d.N), 1)
}

// weights returns e^{λ r}, normalized over the samples of each state, from rewards [n, N].
func weights(rewards *Node) *Node { return Softmax(rewards, 1) }

// value returns the estimate of V_t, [n], from rewards [n, N].
func (d PosteriorSamples) value(rewards *Node) *Node {
	if d.LeaveOneOut {
		return jackknifed(rewards)
	}
	return batch.LogMeanExp(rewards)
}

// jackknifed returns N V - (N-1) mean_i V_{-i}, where V_{-i} is the value without sample i: the
// value without its bias of order 1/N.
func jackknifed(rewards *Node) *Node {
	n := rewards.Shape().Dim(1)
	if n == 1 {
		return batch.LogMeanExp(rewards)
	}
	// Σ_{j≠i} e^{r_j} = (1 - w_i) Σ_j e^{r_j}; 1 - w_i is bounded from below, since one sample may
	// have all the weight. V_{-i} - V = log((1 - w_i) N/(N-1)) is formed directly: in float32 it
	// would be lost beside N V.
	others := MaxScalar(OneMinus(weights(rewards)), leastWeight)
	logRatio := math.Log(float64(n) / float64(n-1))
	shift := ReduceMean(AddScalar(Log(others), logRatio), 1)
	return Sub(batch.LogMeanExp(rewards), MulScalar(shift, float64(n-1)))
}

// jackknifedWeights returns the weights of N Σ_i w_i X_i - (N-1) mean_i Σ_{j≠i} w_j X_j/(1-w_i),
// which sum to one, for the weights w of the samples, [n, N].
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

// leastWeight bounds the remaining weight when one sample is left out; float32 does not resolve
// less.
const leastWeight = 1e-6
