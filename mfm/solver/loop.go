package solver

import (
	"fmt"
	"slices"

	. "github.com/gomlx/gomlx/core/graph"
	. "github.com/gomlx/gomlx/support/exceptions"

	"github.com/gomfm/gomfm/mfm/ad"
	"github.com/gomfm/gomfm/mfm/backend"
	"github.com/gomfm/gomfm/mfm/internal/xlafix"
)

// Loop runs body n times inside the graph: body receives the state and returns the state after step
// i, with the same shapes. i is an int32 scalar. On a backend with loops it is one compiled While,
// whose memory does not grow with n. On a backend without loops, and inside the body of another
// loop, body is built n times.
//
// body may use nodes, variables and constants from outside, take gradients and create variables.
// What does not depend on i and the state is computed once, before the loop. Loop panics if body
// changes the number or a shape of the state's nodes.
func Loop(n int, state []*Node, body func(i *Node, state []*Node) []*Node) []*Node {
	if n <= 0 {
		return state
	}
	g := state[0].Graph()
	if n == 1 || !backend.Loops(g.Backend()) || g.State(insideLoop{}) != nil {
		for i := range n {
			state = body(Const(g, int32(i)), standIns(state))
		}
		return state
	}
	inside := recordBody(g, state, body)
	initial := append(append([]*Node{Const(g, int32(0))}, state...), inside.outside...)
	parameters := func(g *Graph) []*Node {
		p := make([]*Node, len(initial))
		for k, x := range initial {
			p[k] = Parameter(g, fmt.Sprintf("state%d", k), x.Shape())
		}
		return p
	}
	condition := NewClosure(g, func(g *Graph) []*Node {
		return []*Node{LessThan(parameters(g)[0], Const(g, int32(n)))}
	})
	step := NewClosure(g, func(g *Graph) []*Node {
		return xlafix.OwnReductions(g, func() []*Node { return inside.replay(g, parameters(g)) })
	})
	return While(condition, step, initial...)[1 : len(state)+1]
}

// Unrolled calls build with every [Loop] unrolled. A gradient does not pass through a compiled
// While, so a loop that needs one must be built like this. Memory and compile time grow with the
// number of steps.
func Unrolled[T any](g *Graph, build func() T) T {
	if g.State(insideLoop{}) != nil {
		return build()
	}
	g.AttachState(insideLoop{}, true)
	defer g.AttachState(insideLoop{}, nil)
	return build()
}

// insideLoop is the key under which a graph records that the body of a loop is being built: go-xla
// has no nested loops.
type insideLoop struct{}

// recording is a body built outside any loop, to be replayed inside one. Building it inside
// directly fails for three reasons: a closure cannot create the parameter of a variable, GoMLX
// shares a scalar constant of one closure with all others, and go-xla (v0.4) cannot add or multiply
// a node of a closure and one from outside. So nodes from outside are passed in with the state. The
// compiler drops the recorded body, because nothing uses it.
type recording struct {
	inputs  []*Node // stand-ins for the count and the state
	results []*Node
	nodes   []*Node // nodes between inputs and results, in the order of computation
	outside []*Node // nodes they use other than inputs and small constants
}

func recordBody(g *Graph, state []*Node, body func(i *Node, state []*Node) []*Node) *recording {
	g.AttachState(insideLoop{}, true)
	defer g.AttachState(insideLoop{}, nil)
	r := &recording{inputs: append([]*Node{Const(g, int32(0))}, standIns(state)...)}
	r.results = body(r.inputs[0], slices.Clone(r.inputs[1:]))
	if len(r.results) != len(state) {
		Panicf("the body of a loop returns %d nodes for a state of %d", len(r.results), len(state))
	}
	for k, x := range r.results {
		if !x.Shape().Equal(state[k].Shape()) {
			Panicf("the body of a loop returns shape %s for node %d of the state, which has shape %s",
				x.Shape(), k, state[k].Shape())
		}
	}
	r.trace(g)
	return r
}

// standIns returns new nodes for the state. So a gradient of body in its state is not also one in
// other nodes that equal the state in the first step.
func standIns(state []*Node) []*Node {
	out := make([]*Node, len(state))
	for k, x := range state {
		out[k] = Identity(x)
	}
	return out
}

// trace finds nodes and outside. A node belongs inside if it depends on the inputs and a result
// depends on it.
func (r *recording) trace(g *Graph) {
	first := r.inputs[0].Id()
	all := g.Nodes()[first:]
	depends, needed := make(map[*Node]bool), make(map[*Node]bool)
	for _, x := range r.inputs {
		depends[x] = true
	}
	for _, x := range all {
		depends[x] = depends[x] || slices.ContainsFunc(x.Inputs(), func(in *Node) bool { return depends[in] })
	}
	use := func(x *Node) {
		if !needed[x] && !depends[x] && x.ConstantValue() == nil {
			r.outside = append(r.outside, x)
		}
		needed[x] = true
	}
	for _, x := range r.results {
		use(x)
	}
	for _, x := range slices.Backward(all) {
		if needed[x] && depends[x] && !slices.Contains(r.inputs, x) {
			r.nodes = append(r.nodes, x)
			for _, in := range x.Inputs() {
				use(in)
			}
		}
	}
	slices.Reverse(r.nodes)
}

// replay builds the body in a closure whose parameters are the count, the state and the nodes from
// outside, and returns their values after the step.
func (r *recording) replay(g *Graph, parameters []*Node) []*Node {
	here := make(map[*Node]*Node)
	for k, x := range append(slices.Clone(r.inputs), r.outside...) {
		here[x] = parameters[k]
	}
	at := func(x *Node) *Node {
		if _, ok := here[x]; !ok { // a small constant
			here[x] = ConstTensor(g, x.ConstantValue())
		}
		return here[x]
	}
	for _, x := range r.nodes {
		inputs := make([]*Node, len(x.Inputs()))
		for k, in := range x.Inputs() {
			inputs[k] = at(in)
		}
		if g.Backend().HasSharedBuffers() { // a CPU
			here[x] = ad.Canonical(x, inputs...)
		} else {
			here[x] = x.CloneWithInputs(inputs...)
		}
	}
	next := []*Node{Add(parameters[0], Const(g, int32(1)))}
	for _, x := range r.results {
		next = append(next, at(x))
	}
	return append(next, parameters[len(r.inputs):]...)
}
