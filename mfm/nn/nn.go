// Package nn has the backbones of meta flow maps, which consist of the layers of package layer. A
// [Backbone] is a network F(s, u, x̄; t, x, class) on the fields of [Inputs]. [MLP] is a backbone
// for vectors, [UNet] one for images, [DiT] one for images or latents. [Classifier] is a network
// for images that returns logits, [EfficientNet] a published one that evaluates pictures; a
// [LatentCodec] maps images to latents and back. Each has a configuration with a Validate method.
//
// Networks panic as graph functions do. Images are [batch, height, width, channels]. The variables
// of a network are in the scope that it receives.
package nn

import (
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"
	. "github.com/gomlx/gomlx/support/exceptions"
)

// Inputs are the inputs of a backbone. The leading axis of every field is the batch. Times are
// [batch], or all of them [1] if all rows share the same times, as in a sampler: functions of the
// times alone are then computed once. Backbones that need [batch] call [Inputs.PerRow].
type Inputs struct {
	S, U *Node // times of the conditional flow, 0 <= s <= u <= 1, [batch]
	T    *Node // time of the context, in [0, 1], [batch]
	Xbar *Node // state x̄ of the conditional flow at time s, [batch, ...]
	X    *Node // context x_t that the posterior is conditioned on, of Xbar's shape
	// Fused is the combined observation of x̄ and x: the posterior mean of the data given both,
	// under the parametrization's Gaussian, of Xbar's shape. FusedT is its effective time, [batch]:
	// 0 for no information, 1 for all. A parametrization with a flow of its own evaluates both
	// where that flow leads x̄ at time U. Both are nil if the parametrization has none. A backbone
	// may ignore them: they are functions of the other fields.
	Fused, FusedT *Node
	// Class has labels, int32 [batch]. Nil, or a label equal to the number of classes, means none.
	Class *Node
	// Guidance and ContextGuidance are the scales of guidance by the class and by the context that
	// a network trained with them is to apply, [batch] or [1] in the type of the times. Nil means 1,
	// no guidance. Networks without these inputs ignore them. Losses and samplers set Guidance for a
	// network that is trained with several scales. They leave ContextGuidance at 1, because samples
	// guided by the context do not have its posterior; it is for weights that were trained elsewhere.
	Guidance, ContextGuidance *Node
}

// Backbone builds a network on the graph of its inputs, with its weights in scope, and returns a
// node of Xbar's shape. It panics on invalid inputs. A user's own network is such a function.
type Backbone func(scope *model.Scope, in Inputs) *Node

// check panics if a field is missing or its shape does not match the others.
func (in Inputs) check(classes int) {
	for _, f := range []struct {
		name string
		node *Node
	}{{"S", in.S}, {"U", in.U}, {"T", in.T}, {"Xbar", in.Xbar}, {"X", in.X}} {
		if f.node == nil {
			Panicf("nn.Inputs: %s is nil: only Fused, FusedT, Class, Guidance and ContextGuidance may be nil", f.name)
		}
	}
	if in.Xbar.Rank() < 2 || !in.X.Shape().Equal(in.Xbar.Shape()) {
		Panicf("nn.Inputs: Xbar and X must have the same shape [batch, ...], not %s, %s", in.Xbar.Shape(), in.X.Shape())
	}
	batch := in.Xbar.Shape().Dimensions[0]
	if (in.Fused == nil) != (in.FusedT == nil) {
		Panicf("nn.Inputs: one of Fused and FusedT is nil: set both or neither")
	}
	if in.Fused != nil && !in.Fused.Shape().Equal(in.Xbar.Shape()) {
		Panicf("nn.Inputs: Fused must have Xbar's shape %s, got %s", in.Xbar.Shape(), in.Fused.Shape())
	}
	rows := 0
	if in.S.Rank() == 1 {
		rows = in.S.Shape().Dimensions[0]
	}
	for _, t := range in.times() {
		isVector := t.Rank() == 1 && (rows == batch || rows == 1) && t.Shape().Dimensions[0] == rows
		if !isVector || t.DType() != in.Xbar.DType() && !in.Xbar.DType().IsFloat16() {
			Panicf("nn.Inputs: times must all be (%s)[%d], or all [1], got %s", in.Xbar.DType(), batch, t.Shape())
		}
	}
	for _, scale := range []*Node{in.Guidance, in.ContextGuidance} {
		if scale != nil && (scale.Rank() != 1 || scale.DType() != in.T.DType() ||
			scale.Shape().Dim(0) != batch && scale.Shape().Dim(0) != 1) {
			Panicf("nn.Inputs: guidance scales must be (%s)[%d], or [1], got %s", in.T.DType(), batch, scale.Shape())
		}
	}
	if in.Class == nil {
		return
	}
	if classes == 0 {
		Panicf("nn.Inputs: class labels given to a backbone with Classes = 0")
	}
	if in.Class.Rank() != 1 || in.Class.Shape().Dimensions[0] != batch || !in.Class.DType().IsInt() {
		Panicf("nn.Inputs: class labels must be integers [%d], got %s", batch, in.Class.Shape())
	}
}

// PerRow returns the inputs with times of shape [1] broadcast to [batch].
func (in Inputs) PerRow() Inputs {
	for _, t := range []**Node{&in.S, &in.U, &in.T, &in.FusedT, &in.Guidance, &in.ContextGuidance} {
		if *t != nil {
			*t = BroadcastToDims(*t, in.Xbar.Shape().Dimensions[0])
		}
	}
	return in
}

// states returns x̄, x and, if present, the combined observation.
func (in Inputs) states() []*Node {
	states := []*Node{in.Xbar, in.X}
	if in.Fused != nil {
		states = append(states, in.Fused)
	}
	return states
}

// times returns s, u, t and, if present, the effective time of the combined observation.
func (in Inputs) times() []*Node {
	times := []*Node{in.S, in.U, in.T}
	if in.FusedT != nil {
		times = append(times, in.FusedT)
	}
	return times
}

// must panics with err if it is not nil.
func must(err error) {
	if err != nil {
		panic(err)
	}
}
