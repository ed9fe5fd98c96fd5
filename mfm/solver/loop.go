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

// Loop runs body n times inside the graph: state goes in, and the state after step i, with the same shapes, comes out. i is an
// int32 scalar. On a backend with loops it is one compiled While, whose memory does not grow with n; on one without, and inside the body of another
// loop, body is built n times.
//
// Body may use nodes, variables and constants from outside, take gradients, and make variables; what does not depend on i and state is computed once,
// before the loop. It panics if body changes a shape.
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

// Unrolled builds with every [Loop] unrolled, as inside the body of another one: a gradient does not go through a compiled While, so what is to have one must be built like this. Memory and
// compile time grow with the number of steps.
func Unrolled[T any](g *Graph, build func() T) T {
	if g.State(insideLoop{}) != nil {
		return build()
	}
	g.AttachState(insideLoop{}, true)
	defer g.AttachState(insideLoop{}, nil)
	return build()
}

// insideLoop is the key under which a graph remembers that the body of a loop is being built: go-xla has no loops in loops.
type insideLoop struct{}

// recording is a body that was built outside of any loop, to be repeated inside. Building it there directly would not do: the parameter of a
// variable cannot be made in a closure, GoMLX hands out a scalar constant that one closure made to all others, and go-xla (v0.4) does not
// add, or multiply, a node of a closure and one from outside. So what comes from outside is handed in with the state; the compiler drops the
// body that was recorded, since nothing uses it.
type recording struct {
	inputs  []*Node // stand-ins for the count and the state
	results []*Node
	nodes   []*Node // those between, in the order of computation
	outside []*Node // what they use beside inputs and small constants
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
			Panicf("the body of a loop returns shape %s for node %d of the state, which is %s", x.Shape(), k, state[k].Shape())
		}
	}
	r.trace(g)
	return r
}

// standIns returns nodes of their own for the state, so that a body that takes a gradient in its state does not take it in other nodes that happen to be the
// same in the first step.
func standIns(state []*Node) []*Node {
	out := make([]*Node, len(state))
	for k, x := range state {
		out[k] = Identity(x)
	}
	return out
}

// trace finds nodes and outside: a node belongs inside if it depends on the inputs and a result depends on it.
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

// replay builds the body in the closure of which the parameters are the count, the state and what comes from outside, and returns what these are after the step.
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
