package steer

import (
	. "github.com/gomlx/gomlx/core/graph"

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
