// Package reward has the functions r by which generation is steered to the law p₁(x) e^{r(x)}/Z: graph functions of samples.
//
// A reward of -Inf says that a sample has no weight, as an indicator does. NaN and +Inf are mistakes: who uses a reward gives such a sample no weight either, and reports it
// ([Usable]).
package reward

import (
	. "github.com/gomlx/gomlx/core/graph"
	. "github.com/gomlx/gomlx/support/exceptions"
)

// Reward builds r(x) for samples x, [n, ...]: one number a sample, [n]. Rewards of this package accept states of any shape and read each as one vector of its elements;
// they panic, as graph functions do, where its length is not theirs.
type Reward func(x *Node) *Node

// Scaled returns factor · r.
func Scaled(r Reward, factor float64) Reward {
	return func(x *Node) *Node { return MulScalar(r(x), factor) }
}

// Sum returns r₁ + r₂ + ...: the target of the sum is that of each within that of the others. Of no rewards it is 0.
func Sum(rewards ...Reward) Reward {
	return func(x *Node) *Node {
		total := MulScalar(ReduceSum(flat(x), 1), 0)
		for _, r := range rewards {
			total = Add(total, r(x))
		}
		return total
	}
}

// noWeight is the reward that stands for -Inf where a finite number is needed: e^{noWeight} is zero in float32 beside any reward of use, and sums of it stay finite.
const noWeight = -1e30

// Least is below every reward that gives a sample weight, and above what [Usable] puts in the place of one that gives none.
const Least = -1e29

// Usable returns r, [n], with -Inf, NaN and +Inf replaced by -1e30, which gives a sample no weight but keeps softmax and log-sum-exp finite, and 1 where r was NaN or +Inf, 0
// elsewhere. No gradient comes through a replaced value.
func Usable(r *Node) (usable, bad *Node) {
	finite := IsFinite(r)
	minusInf := LessThan(r, Scalar(r.Graph(), r.DType(), -3e38))
	bad = ConvertDType(LogicalNot(LogicalOr(finite, minusInf)), r.DType())
	return Where(LogicalAnd(finite, GreaterThan(r, Scalar(r.Graph(), r.DType(), noWeight))), r, MulScalar(OnesLike(r), noWeight)), bad
}

// flat returns x as [n, elements of a sample].
func flat(x *Node) *Node {
	if x.Rank() < 1 {
		Panicf("reward: samples must be [n, ...], not %s", x.Shape())
	}
	if x.Rank() == 2 {
		return x
	}
	return Reshape(x, x.Shape().Dim(0), -1)
}

// vectors returns x as [n, dim], or panics.
func vectors(name string, x *Node, dim int) *Node {
	x = flat(x)
	if x.Shape().Dim(1) != dim {
		Panicf("reward %s: samples have %d elements, it is for %d", name, x.Shape().Dim(1), dim)
	}
	return x
}
