// Package nn holds the backbones of a meta flow map, networks F(s, u, x̄; t, x, class) that may also be shown what x̄ and x say together (see [Inputs]), and the layers
// they are made of.
//
// Layers are functions that build graphs out of primitive GoMLX ops only, so that both forward mode (mfm/ad) and reverse
// mode differentiate them; they panic as graph functions do. Images are [batch, height, width, channels]. The variables of
// a layer live in the scope it is given.
package nn

import (
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"
	. "github.com/gomlx/gomlx/support/exceptions"
)

// Inputs of a backbone. Batch is the leading axis of every field. Times are [batch], or all of them [1] where the rows have their times in common, as a
// sampler's do: what depends on times alone is then computed once. [Inputs.PerRow] is for backbones that take [batch] only.
type Inputs struct {
	S, U *Node // times of the conditional flow, 0 <= s <= u <= 1, [batch]
	T    *Node // time of the context, in [0, 1], [batch]
	Xbar *Node // state of the conditional flow at time s, [batch, ...]
	X    *Node // context x_t that the posterior is conditioned on, same shape as Xbar
	// What x̄ and x say together about the data: Fused of Xbar's shape, FusedT in [0, 1], [batch], how much that is; of a parametrization with a flow of its own, what they say where that has led x̄ at U. Both are nil
	// where the parametrization gives none; a backbone may leave them aside, for they follow from the other fields.
	Fused, FusedT *Node
	Class         *Node // class labels, int32 [batch], the number of classes standing for "no class"; nil: unconditional
}

// Backbone builds the network on the graph of its inputs, its weights in scope, and returns a node of Xbar's shape.
// It is the one function a user writes to bring a network of their own. It panics on inputs it can't take.
type Backbone func(scope *model.Scope, in Inputs) *Node

// check panics where a field is missing or its shape doesn't go with the others'.
func (in Inputs) check(classes int) {
	for _, f := range []struct {
		name string
		node *Node
	}{{"S", in.S}, {"U", in.U}, {"T", in.T}, {"Xbar", in.Xbar}, {"X", in.X}} {
		if f.node == nil {
			Panicf("nn.Inputs: %s is nil, every field but Fused, FusedT and Class is needed", f.name)
		}
	}
	if in.Xbar.Rank() < 2 || !in.X.Shape().Equal(in.Xbar.Shape()) {
		Panicf("nn.Inputs: Xbar and X must have one shape [batch, ...], they have %s and %s", in.Xbar.Shape(), in.X.Shape())
	}
	batch := in.Xbar.Shape().Dimensions[0]
	if (in.Fused == nil) != (in.FusedT == nil) {
		Panicf("nn.Inputs: Fused and FusedT go together, one of them is nil")
	}
	if in.Fused != nil && !in.Fused.Shape().Equal(in.Xbar.Shape()) {
		Panicf("nn.Inputs: Fused must have Xbar's shape %s, not %s", in.Xbar.Shape(), in.Fused.Shape())
	}
	rows := 0
	if in.S.Rank() == 1 {
		rows = in.S.Shape().Dimensions[0]
	}
	for _, t := range in.times() {
		if t.Rank() != 1 || (rows != batch && rows != 1) || t.Shape().Dimensions[0] != rows || t.DType() != in.Xbar.DType() {
			Panicf("nn.Inputs: times must be (%s)[%d], or all of them [1], beside a state %s, not %s", in.Xbar.DType(), batch, in.Xbar.Shape(), t.Shape())
		}
	}
	if in.Class == nil {
		return
	}
	if classes == 0 {
		Panicf("nn.Inputs: class labels given to a backbone that is configured with Classes = 0")
	}
	if in.Class.Rank() != 1 || in.Class.Shape().Dimensions[0] != batch || !in.Class.DType().IsInt() {
		Panicf("nn.Inputs: class labels must be integers [%d], not %s", batch, in.Class.Shape())
	}
}

// PerRow returns the inputs with times that are one for all rows repeated to [batch].
func (in Inputs) PerRow() Inputs {
	for _, t := range []**Node{&in.S, &in.U, &in.T, &in.FusedT} {
		if *t != nil {
			*t = BroadcastToDims(*t, in.Xbar.Shape().Dimensions[0])
		}
	}
	return in
}

// states returns x̄, x and, where it is given, what they say together.
func (in Inputs) states() []*Node {
	states := []*Node{in.Xbar, in.X}
	if in.Fused != nil {
		states = append(states, in.Fused)
	}
	return states
}

// times returns s, u, t and, where it is given, the time of what x̄ and x say together.
func (in Inputs) times() []*Node {
	times := []*Node{in.S, in.U, in.T}
	if in.FusedT != nil {
		times = append(times, in.FusedT)
	}
	return times
}
