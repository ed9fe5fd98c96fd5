package ad

import (
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
)

// fillVJPs registers a reverse-mode rule for the ops that have none in GoMLX: the rules below for
// some linear ops, the transposed forward-mode rule for all others. It replaces the rule of
// convolutions.
func fillVJPs() {
	for op, vjp := range map[NodeType]VJP{
		NodeTypePad:                 padVJP,
		NodeTypeReverse:             reverseVJP,
		NodeTypeSelectAndScatterMax: selectAndScatterVJP,
		NodeTypeSelectAndScatterMin: selectAndScatterVJP,
	} {
		fillVJP(op, vjp)
	}
	for op, r := range rules {
		fillVJP(op, transposedRule(r))
	}
	VJPRegistration[NodeTypeConvGeneral] = convolutionVJP
}

func fillVJP(op NodeType, vjp VJP) {
	if _, ok := VJPRegistration[op]; !ok {
		VJPRegistration[op] = vjp
	}
}

// transposedRule derives a reverse-mode rule from a forward-mode one: ẋ -> Jẋ is linear, and the
// gradient of <w, Jẋ> in ẋ is Jᵀw. It does not depend on the value of ẋ, which is zero.
func transposedRule(r rule) VJP {
	return func(n *Node, cotangents []*Node, _ shapes.Shape) []*Node {
		result := make([]*Node, len(n.Inputs()))
		tangents := make([]*Node, len(n.Inputs()))
		var variables []*Node
		for i, x := range n.Inputs() {
			if differentiable(x) {
				tangents[i] = zerosLike(x)
				variables = append(variables, tangents[i])
			}
		}
		if len(variables) == 0 {
			return result
		}
		var sum *Node
		for i, t := range r(n, tangents) {
			if t != nil && cotangents[i] != nil {
				sum = add(sum, inner(cotangents[i], t))
			}
		}
		if sum == nil {
			return result
		}
		gradients := Gradient(sum, variables...)
		for i, t := range tangents {
			if t != nil {
				result[i], gradients = gradients[0], gradients[1:]
			}
		}
		return result
	}
}

// reverseVJP is the rule of Reverse, which is its own transpose.
func reverseVJP(n *Node, cotangents []*Node, _ shapes.Shape) []*Node {
	return []*Node{n.CloneWithInputs(cotangents[0])}
}

// padVJP picks the cotangents of the input's elements from the padded array; the rest is the
// cotangent of the padding value. Elements that negative padding cuts off get zero.
func padVJP(n *Node, cotangents []*Node, _ shapes.Shape) []*Node {
	x, w := n.Inputs()[0], cotangents[0]
	uncut := make([]PadAxis, x.Rank())
	specs := make([]SliceAxisSpec, x.Rank())
	for axis, pad := range padding(n) {
		uncut[axis] = PadAxis{Start: max(0, -pad.Start), End: max(0, -pad.End)}
		start, dim := max(0, pad.Start), x.Shape().Dimensions[axis]
		specs[axis] = AxisRange(start, start+dim+max(0, dim-1)*pad.Interior).Stride(pad.Interior + 1)
	}
	byX := Slice(Pad(w, scalar(w, 0), uncut...), specs...)
	return []*Node{byX, Sub(ReduceAllSum(w), ReduceAllSum(byX))}
}

// padding returns the padding of each axis of a Pad node.
func padding(n *Node) []PadAxis {
	pads := make([]PadAxis, n.Rank())
	config := field(n, "axesConfig")
	for axis := range config.Len() {
		c := config.Index(axis)
		pads[axis] = PadAxis{
			Start:    int(c.FieldByName("Start").Int()),
			End:      int(c.FieldByName("End").Int()),
			Interior: int(c.FieldByName("Interior").Int()),
		}
	}
	return pads
}

// selectAndScatterVJP is the rule of the op that scatters each value of its second input to the
// position of the extremum in a window of the first. The transpose reads the cotangents at these
// positions, as the tangent of the pooling by that extremum does.
func selectAndScatterVJP(n *Node, cotangents []*Node, _ shapes.Shape) []*Node {
	x, combine, sign := n.Inputs()[0], Max, -1
	if n.Type() == NodeTypeSelectAndScatterMin {
		combine, sign = Min, 1
	}
	pooled := windowOf(n, "windowStrides").reduce(x, Infinity(x.Graph(), x.DType(), sign), combine)
	return []*Node{nil, JVP(one(pooled), one(x), cotangents)[0]}
}
