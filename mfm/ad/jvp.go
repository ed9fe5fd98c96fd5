// Package ad adds forward-mode automatic differentiation to GoMLX, which has reverse mode only.
//
// [JVP] writes the tangents of a graph's nodes next to the nodes themselves, in the same graph: derivatives along one
// direction cost about one more forward pass, whatever the number of outputs. Its nodes are ordinary ones, so
// [graph.Gradient] runs through them (losses made of derivatives, as those of flow maps, have gradients) and so does JVP
// (higher derivatives). [DoubleReverse] computes the same from reverse mode alone, to check against.
//
// Reverse mode through tangents, and through networks, needs rules (VJPs) that GoMLX v0.28 lacks, of Pad, Reverse and Rsqrt
// among others. Importing this package adds them to [graph.VJPRegistration] before main starts. Entries that exist stay, save
// that of convolutions, which panics on dilated inputs (the gradient of a strided convolution is one) and gives wrong gradients
// for kernels of even size; it is replaced.
package ad

import (
	"slices"

	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/support/exceptions"
)

// JVP returns the Jacobian-vector product of outputs by tangents: for each output y, of y's shape and dtype,
//
//	ẏ = Σ_i ∂y/∂x_i ẋ_i
//
// over the inputs x_i with tangents ẋ_i of the same shape and dtype, floating point or complex. A nil tangent stands for
// zero and is cheaper: what depends on no input with a tangent costs nothing. An output that depends on none of them gets zeros.
//
// Inputs need not be parameters, any node will do; they count as independent variables even where one is computed
// from another. graph.StopGradient and the ops that are constant almost everywhere (Sign, Floor, comparisons) have zero
// derivative. graph.IdentityWithCustomGradient has the transpose of its custom gradient, taken at a cotangent of zero. Fused
// ops are differentiated by the unfused version that GoMLX keeps beside them. Where an op has a kink, the derivative
// is the one that GoMLX's reverse mode takes; where several elements tie for a ReduceMax, their mean.
//
// JVP works inside the body of a While loop, on inputs and tangents of that body. It panics, as graph-building functions do, with the op's
// name and what to do, on a path through an op that has no rule: the control flow While, If, Sort and function calls, also
// when it is a closure's captured value that carries the tangent, and fused ops without an unfused version.
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
	inputs   map[*graph.Node]bool          // the independent variables: their own inputs don't count
	tangents map[*graph.Node][]*graph.Node // one tangent an output of the node, nil where it is zero; no entry where all are
}

func newPass(outputs, inputs, tangents []*graph.Node) *pass {
	if len(inputs) != len(tangents) {
		exceptions.Panicf("ad.JVP: %d inputs and %d tangents: give one tangent an input, nil for zero", len(inputs), len(tangents))
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
			exceptions.Panicf("ad.JVP: input #%d is in graph %q, output #0 in %q: they must be in one", i, x.Graph().Name(), outputs[0].Graph().Name())
		case p.inputs[x]:
			exceptions.Panicf("ad.JVP: input #%d (%s) is among the inputs before: what depends on which of them can't be told", i, x)
		case !differentiable(x):
			exceptions.Panicf("ad.JVP: input #%d is %s: only floating-point and complex nodes have tangents", i, x.Shape())
		case t != nil && !t.Shape().Equal(x.Shape()):
			exceptions.Panicf("ad.JVP: tangent #%d is %s, its input %s: they must be equal", i, t.Shape(), x.Shape())
		}
		p.inputs[x] = true
		if t != nil {
			p.tangents[x] = one(t)
		}
	}
	return p
}

// tangent of a node with one output, nil for zero.
func (p *pass) tangent(n *graph.Node) *graph.Node {
	if ts := p.tangents[n]; ts != nil {
		return ts[0]
	}
	return nil
}

// path returns the nodes that the outputs are computed from, in the order in which they were built, without the inputs
// and what was built before all of them.
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

// dependencies returns the nodes that n's value, as forward mode sees it, is computed from.
func dependencies(n *graph.Node) []*graph.Node {
	if unfused := unfusedVersion(n); unfused != nil {
		return []*graph.Node{unfused}
	}
	if captured := capturedNodes(n); len(captured) > 0 {
		return append(captured, n.Inputs()...)
	}
	return n.Inputs()
}

// propagate returns the tangents of n's outputs, nil where all are zero.
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
