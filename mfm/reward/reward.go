// Package reward has reward functions r that steer generation to the tilted distribution p₁(x)
// e^{r(x)}/Z. A [Reward] is a graph function of samples. Its kinds are likelihoods
// ([LinearGaussian], [BlockAverage], [LogMixture]), preferences ([Quadratic], [Box], [HalfPlane],
// [StrokeMass]), functions of a classifier ([ClassMixture], [ClassProbability],
// [LogProbability]) and properties of pictures ([Brightness], [Color], [Symmetry]). [Sum] and
// [Scaled] combine rewards, and [Parse] reads them from JSON. A [Host] reward is a black box in
// plain Go, such as [Compressibility]. Below this package, text has rewards by trained networks,
// most of them for a prompt, and classifier those by a classifier of ImageNet.
//
// A reward of -Inf means that a sample has no weight, as under an indicator. NaN and +Inf are
// errors: [Weighed] gives such a sample no weight and flags it.
package reward

import (
	"slices"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"
	. "github.com/gomlx/gomlx/support/exceptions"
)

// Reward is a graph function of samples. The rewards of this package accept samples of any shape
// and treat each as one vector of its elements. They panic if its length is wrong.
type Reward interface {
	// Build builds r(x), [n], for samples x, [n, ...], that were generated under the condition c.
	// Weights of its own, if any, are variables in scope.
	Build(scope *model.Scope, x *Node, c Condition) *Node
}

// Condition is what samples were generated under.
type Condition struct {
	// Class has the labels of the samples, int32 [n], or one label for all, [1]. Nil means none, and
	// so does a label equal to the number of classes.
	Class *Node
}

// Func is a reward of samples alone, without weights of its own.
type Func func(x *Node) *Node

// Build returns f(x).
func (f Func) Build(_ *model.Scope, x *Node, _ Condition) *Node { return f(x) }

// Scope is the scope of the weights of rewards in a store.
const Scope = "/reward"

// Host is a black-box reward in plain Go, for what cannot be a graph: a simulator, another program,
// a person. Its argument has all samples, flattened, and their shape, [n, ...]. It returns one
// number per sample and has no gradient. Its results are treated as those of a [Reward]: -Inf, NaN
// and +Inf give no weight, and NaN and +Inf are reported. An error ends the run.
type Host func(samples []float32, shape []int) ([]float64, error)

// noWeight is the finite value that stands for -Inf: e^{noWeight} is zero in float32 relative to
// any useful reward, and sums of it stay finite.
const noWeight = -1e30

// Least is below every reward of a sample with weight, and above the value that [Usable] assigns to
// a sample without weight.
const Least = -1e29

// Values builds r(x), [n], with the weights of r in [Scope] of the graph's store. A graph without a
// store is one for rewards without weights.
func Values(r Reward, x *Node, c Condition) *Node {
	var scope *model.Scope
	if store := model.GetStore(x); store != nil {
		scope = store.Scope(Scope)
	}
	return r.Build(scope, x, c)
}

// Weighed builds λ r(x) for samples x, [n, ...], that were generated under c, with the weights of r
// in [Scope] of the graph's store. lambda is a scalar of r's type; nil means 1. plain is r(x), [n].
// usable is λ r(x), [n], or -1e30, which is below [Least], for a sample without weight: where r is
// -Inf, whatever the sign of λ, and where r or λ r is NaN or +Inf. bad is 1 where one of these is
// NaN or +Inf, else 0, as in [Usable]. Samples without weight have zero gradient, even if the
// gradient of r is infinite or NaN there.
func Weighed(r Reward, lambda, x *Node, c Condition) (plain, usable, bad *Node) {
	var weightless *Node // set below, once r is known
	x = IdentityWithCustomGradient(x, func(_, v *Node) *Node {
		return Where(BroadcastToShape(weightless, v.Shape()), ZerosLike(v), v)
	})
	plain = Values(r, x, c)
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

// Usable returns r, [n], with -Inf, NaN and +Inf replaced by -1e30, which gives a sample no weight
// but keeps softmax and log-sum-exp finite; bad is 1 where r is NaN or +Inf, else 0. Gradients of r
// that are infinite or NaN at replaced values stay NaN: to take gradients use [Weighed].
func Usable(r *Node) (usable, bad *Node) {
	finite := IsFinite(r)
	minusInf := LessThan(r, Scalar(r.Graph(), r.DType(), -3e38))
	bad = ConvertDType(LogicalNot(LogicalOr(finite, minusInf)), r.DType())
	kept := LogicalAnd(finite, GreaterThan(r, Scalar(r.Graph(), r.DType(), noWeight)))
	return Where(kept, r, MulScalar(OnesLike(r), noWeight)), bad
}

// flat returns x as [n, elements of a sample].
func flat(x *Node) *Node {
	if x.Rank() < 1 {
		Panicf("reward: samples must be [n, ...], got %s", x.Shape())
	}
	if x.Rank() == 2 {
		return x
	}
	return Reshape(x, x.Shape().Dim(0), -1)
}

// vectors returns x as [n, dim]. It panics if samples do not have dim elements.
func vectors(name string, x *Node, dim int) *Node {
	x = flat(x)
	if x.Shape().Dim(1) != dim {
		Panicf("reward %s: samples have %d elements, want %d", name, x.Shape().Dim(1), dim)
	}
	return x
}
