package ad

import (
	"fmt"
	"slices"
	"strings"

	"github.com/gomlx/compute/shapes"
	"github.com/gomlx/gomlx/core/graph"
)

// rule returns the tangents of n's outputs for the tangents of its inputs. A nil tangent means zero
// on both sides. At least one tangent of the inputs is not nil.
type rule func(n *graph.Node, tangents []*graph.Node) []*graph.Node

// rules has every op that JVP can differentiate. init fills it: some rules call JVP themselves.
var rules = make(map[graph.NodeType]rule)

func init() {
	for _, table := range []map[graph.NodeType]rule{
		elementwiseRules(), structuralRules(), contractionRules(), reductionRules(), attentionRules(),
	} {
		for op, r := range table {
			rules[op] = r
		}
	}
	fillVJPs()
}

// linear is the rule of ops that are jointly linear in the inputs at the given positions (in all if
// none is given): the op itself, applied to the tangents. The other inputs keep their values.
func linear(positions ...int) rule {
	return func(n *graph.Node, tangents []*graph.Node) []*graph.Node {
		inputs := slices.Clone(n.Inputs())
		var moved bool
		for i, t := range tangents {
			if len(positions) == 0 || slices.Contains(positions, i) {
				inputs[i] = orZeros(t, inputs[i])
				moved = moved || t != nil
			}
		}
		if !moved {
			return nil
		}
		return one(n.CloneWithInputs(inputs...))
	}
}

// bilinear is the rule of ops that are linear in each of their two inputs: ẏ = op(ȧ, b) + op(a, ḃ).
func bilinear(n *graph.Node, tangents []*graph.Node) []*graph.Node {
	var sum *graph.Node
	if tangents[0] != nil {
		sum = n.CloneWithInputs(tangents[0], n.Inputs()[1])
	}
	if tangents[1] != nil {
		sum = add(sum, n.CloneWithInputs(n.Inputs()[0], tangents[1]))
	}
	return one(sum)
}

// constant is the rule of ops whose derivative is zero wherever they have one.
func constant(*graph.Node, []*graph.Node) []*graph.Node { return nil }

// same is the rule of ops that return their first input unchanged.
func same(_ *graph.Node, tangents []*graph.Node) []*graph.Node { return one(tangents[0]) }

// decomposed is the rule of ops that JVP differentiates through the simpler ops that build returns.
func decomposed(build func(n *graph.Node) []*graph.Node) rule {
	return func(n *graph.Node, tangents []*graph.Node) []*graph.Node {
		var xs, ts []*graph.Node // each input once, even if a node is several inputs
		for i, x := range n.Inputs() {
			if !slices.Contains(xs, x) {
				xs, ts = append(xs, x), append(ts, tangents[i])
			}
		}
		return JVP(build(n), xs, ts)
	}
}

// transposed derives the rule of an op with one output from its reverse-mode rule: w -> Jᵀw is
// linear, and the gradient of <Jᵀw, ẋ> in w is Jẋ. It does not depend on the value of w, here zero.
func transposed(vjp graph.VJP) rule {
	return func(n *graph.Node, tangents []*graph.Node) []*graph.Node {
		w := zerosLike(n)
		var sum *graph.Node
		for i, cotangent := range vjp(n, one(w), shapes.Make(n.DType())) {
			if cotangent != nil && tangents[i] != nil {
				sum = add(sum, inner(cotangent, tangents[i]))
			}
		}
		if sum == nil {
			return nil
		}
		return graph.Gradient(sum, w)
	}
}

// advice returns what to do about an op without a rule.
func advice(n *graph.Node) string {
	switch n.Type() {
	case graph.NodeTypeWhile, graph.NodeTypeIf, graph.NodeTypeCall:
		return "call ad.JVP within the body, or unroll it"
	}
	if strings.HasPrefix(opName(n), "Fused") {
		return fmt.Sprintf("set %s=0 in the environment: GoMLX then builds it from ops with rules", graph.FusionEnv)
	}
	return "write it with other ops, or put graph.StopGradient around its inputs if you do not need its derivative"
}

// opName returns the name of n's op, also of the ops missing from GoMLX's own list of names.
func opName(n *graph.Node) string {
	switch n.Type() {
	case graph.NodeTypeWhile:
		return "While"
	case graph.NodeTypeIf:
		return "If"
	case graph.NodeTypeSort:
		return "Sort"
	case graph.NodeTypeCall:
		return "Call"
	}
	return n.Type().String()
}

// one returns the tangents of an op with one output, nil if that tangent is zero.
func one(t *graph.Node) []*graph.Node {
	if t == nil {
		return nil
	}
	return []*graph.Node{t}
}

// add returns a + b. A nil node means zero.
func add(a, b *graph.Node) *graph.Node {
	if a == nil {
		return b
	}
	if b == nil {
		return a
	}
	return graph.Add(a, b)
}

// inner returns the sum of a·b over all elements.
func inner(a, b *graph.Node) *graph.Node { return graph.ReduceAllSum(graph.Mul(a, b)) }

// scalar returns v as a scalar of x's dtype. It avoids graph.Scalar, which caches scalars for the
// whole graph: one first made within a closure would be found, but out of scope, outside of it.
func scalar(x *graph.Node, v float64) *graph.Node { return graph.ConstAs(x, v) }

func zerosLike(x *graph.Node) *graph.Node { return graph.BroadcastToShape(scalar(x, 0), x.Shape()) }

func orZeros(t, x *graph.Node) *graph.Node {
	if t == nil {
		return zerosLike(x)
	}
	return t
}
