// Package reward has the functions r by which generation is steered to the law p₁(x) e^{r(x)}/Z: graph functions of samples.
//
// A reward of -Inf says that a sample has no weight, as an indicator does. NaN and +Inf are mistakes: who uses a reward gives such a sample no weight either, and reports it
// ([Reward.Weighed]).
package reward

import (
	"slices"

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

// Weighed builds λ r(x) for samples x, [n, ...], as it weighs them; lambda is a scalar of r's type, nil for 1. plain is r as it came, [n]. usable is λ r, [n], and -1e30, which is below [Least], for a sample that has no
// weight: where r is -Inf, whatever the sign of λ, and where r or λ r is NaN or +Inf, of which bad tells, see [Usable]. No gradient comes through a sample without weight, even if that of r there is infinite or NaN.
func (r Reward) Weighed(lambda, x *Node) (plain, usable, bad *Node) {
	var weightless *Node // known once r is
	x = IdentityWithCustomGradient(x, func(_, v *Node) *Node {
		return Where(BroadcastToShape(weightless, v.Shape()), ZerosLike(v), v)
	})
	plain = r(x)
	usable, bad = Usable(plain)
	if lambda != nil {
		scaled, over := Usable(Mul(lambda, usable))
		none := LessThan(usable, Scalar(x.Graph(), usable.DType(), Least))
		usable = Where(none, usable, scaled)
		bad = Where(none, bad, over)
	}
	weightless = LessThan(usable, Scalar(x.Graph(), usable.DType(), Least))
	weightless = Reshape(weightless, append([]int{x.Shape().Dim(0)}, slices.Repeat([]int{1}, x.Rank()-1)...)...)
	return plain, usable, bad
}

// Usable returns r, [n], with -Inf, NaN and +Inf replaced by -1e30, which gives a sample no weight but keeps softmax and log-sum-exp finite, and 1 where r was NaN or +Inf, 0
// elsewhere. Gradients of r that are infinite or NaN where it is replaced stay NaN: where gradients are taken use [Reward.Weighed].
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
