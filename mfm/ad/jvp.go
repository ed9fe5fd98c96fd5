// Package ad adds forward-mode automatic differentiation to GoMLX, which has only reverse mode.
//
// [JVP] adds the tangents of a graph's nodes to the same graph. A derivative along one direction
// costs about one more forward pass, whatever the number of outputs. The tangents are ordinary
// nodes, so [graph.Gradient] differentiates through them (the consistency losses of flow maps
// contain derivatives and need gradients), and so does JVP (higher derivatives). [DoubleReverse]
// computes the same product with reverse mode only and serves as a reference. [Canonical] rewrites
// convolutions for XLA's fast CPU code.
//
// Reverse mode through tangents, and through networks, needs rules (VJPs) that GoMLX v0.28 lacks,
// for example those of Pad, Reverse and Rsqrt. Importing this package adds them to
// [graph.VJPRegistration] before main starts. It keeps existing entries except the rule of
// convolutions. GoMLX's rule panics on dilated inputs (the gradient of a strided convolution has
// one) and returns wrong gradients for kernels of even size, so this package replaces it.
package ad

import (
	"slices"

	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/support/exceptions"
)

// JVP returns the Jacobian-vector product of the outputs with the tangents. For each output y it
// returns, with y's shape and dtype,
//
//	ẏ = Σ_i ∂y/∂x_i ẋ_i
//
// summed over the inputs x_i. A tangent ẋ_i has the shape and dtype of its input, floating point or
// complex. A nil tangent means zero and saves work: nodes that depend on no input with a tangent
// cost nothing. An output that depends on no such input gets zeros.
//
// An input can be any node, not only a parameter. Inputs count as independent variables even if one
// is computed from another. The derivative of graph.StopGradient and of ops that are constant
// almost everywhere (Sign, Floor, comparisons) is zero. The derivative of
// graph.IdentityWithCustomGradient is the transpose of its custom gradient, at a zero cotangent.
// JVP differentiates a fused op through the unfused version that GoMLX keeps beside it. At a kink
// it takes the same derivative as GoMLX's reverse mode; where elements tie in a ReduceMax, it takes
// their mean.
//
// JVP works inside the body of a While loop, on inputs and tangents of that body. It panics, as
// graph-building functions do, if a path from an input with a tangent to an output contains an op
// without a rule; the message names the op and says what to do. Among these ops are the control
// flow ops While, If, Sort and function calls, also if a closure captures a value with a tangent,
// and fused ops without an unfused version other than attention.
func JVP(outputs, inputs, tangents []*graph.Node) []*graph.Node {
	p := newPass(outputs, inputs, tangents)
	for _, n := range p.path(outputs) {
		if ts := p.propagate(n); ts != nil {
			p.tangents[n] = ts
		}
	}
	result := make([]*graph.Node, len(outputs))
	for i, y := range outputs {
		if result[i] = p.tangent(y); result[i] == nil {
			result[i] = zerosLike(y)
		}
	}
	return result
}

// pass is the state of one forward sweep.
type pass struct {
	inputs map[*graph.Node]bool // the independent variables; the sweep ignores their own inputs
	// tangents has one tangent per output of a node, nil for zero; no entry if all are zero.
	tangents map[*graph.Node][]*graph.Node
}

func newPass(outputs, inputs, tangents []*graph.Node) *pass {
	if len(inputs) != len(tangents) {
		exceptions.Panicf("ad.JVP: %d inputs and %d tangents: give one tangent for each input, nil for zero",
			len(inputs), len(tangents))
	}
	for i, y := range outputs {
		if y == nil {
			exceptions.Panicf("ad.JVP: output #%d is nil", i)
		}
	}
	p := &pass{inputs: make(map[*graph.Node]bool), tangents: make(map[*graph.Node][]*graph.Node)}
	for i, x := range inputs {
		t := tangents[i]
		switch {
		case x == nil:
			exceptions.Panicf("ad.JVP: input #%d is nil", i)
		case len(outputs) > 0 && x.Graph() != outputs[0].Graph():
			exceptions.Panicf("ad.JVP: input #%d is in graph %q, output #0 in %q: use nodes of one graph",
				i, x.Graph().Name(), outputs[0].Graph().Name())
		case p.inputs[x]:
			exceptions.Panicf("ad.JVP: input #%d (%s) repeats an earlier input: give each node once", i, x)
		case !differentiable(x):
			exceptions.Panicf("ad.JVP: input #%d is %s: want a floating-point or complex node", i, x.Shape())
		case t != nil && !t.Shape().Equal(x.Shape()):
			exceptions.Panicf("ad.JVP: tangent #%d is %s, its input %s: want the same shape and dtype",
				i, t.Shape(), x.Shape())
		}
		p.inputs[x] = true
		if t != nil {
			p.tangents[x] = one(t)
		}
	}
	return p
}

// tangent returns the tangent of a node with one output, nil for zero.
func (p *pass) tangent(n *graph.Node) *graph.Node {
	if ts := p.tangents[n]; ts != nil {
		return ts[0]
	}
	return nil
}

// path returns the nodes that the outputs depend on, in the order in which they were built. It
// omits the inputs and all nodes built before the first of them.
func (p *pass) path(outputs []*graph.Node) []*graph.Node {
	if len(p.tangents) == 0 || len(outputs) == 0 {
		return nil
	}
	first, last := graph.NodeId(-1), graph.NodeId(-1)
	for x := range p.tangents {
		if first < 0 || x.Id() < first {
			first = x.Id()
		}
	}
	needed := make(map[graph.NodeId]bool)
	for _, y := range outputs {
		needed[y.Id()] = true
		last = max(last, y.Id())
	}
	var path []*graph.Node
	nodes := outputs[0].Graph().Nodes()
	for id := last; id > first; id-- {
		n := nodes[id]
		if !needed[id] || p.inputs[n] || n.StopGradient() {
			continue
		}
		path = append(path, n)
		for _, in := range dependencies(n) {
			needed[in.Id()] = true
		}
	}
	slices.Reverse(path)
	return path
}

// dependencies returns the nodes that determine n's value as forward mode differentiates it.
func dependencies(n *graph.Node) []*graph.Node {
	if unfused := unfusedVersion(n); unfused != nil {
		return []*graph.Node{unfused}
	}
	if captured := capturedNodes(n); len(captured) > 0 {
		return append(captured, n.Inputs()...)
	}
	return n.Inputs()
}

// propagate returns the tangents of n's outputs, nil if all are zero.
func (p *pass) propagate(n *graph.Node) []*graph.Node {
	active := func(in *graph.Node) bool { return p.tangents[in] != nil }
	if !slices.ContainsFunc(dependencies(n), active) || n.NumOutputs() == 1 && !differentiable(n) {
		return nil
	}
	if unfused := unfusedVersion(n); unfused != nil {
		return p.tangents[unfused]
	}
	if n.Type() == graph.NodeTypeSplitNode {
		return one(p.tangents[n.Inputs()[0]][intField(n, "index")])
	}
	ts := make([]*graph.Node, len(n.Inputs()))
	for i, in := range n.Inputs() {
		ts[i] = p.tangent(in)
	}
	if n.CustomGradient() != nil {
		return transposed(n.CustomGradient())(n, ts)
	}
	r, ok := rules[n.Type()]
	if !ok {
		exceptions.Panicf("ad.JVP: op %s has no forward-mode rule (%s): %s", opName(n), n, advice(n))
	}
	return r(n, ts)
}

// differentiable reports whether values of n's dtype have tangents.
func differentiable(n *graph.Node) bool { return n.DType().IsFloat() || n.DType().IsComplex() }
