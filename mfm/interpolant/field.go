package interpolant

import (
	. "github.com/gomlx/gomlx/core/graph"
)

// Field returns b as the right-hand side of the unconditional ODE dx/dt = b_t(x), from noise at t =
// 0 to data at t = 1. class is int32 [batch] or nil.
func (b Drift) Field(class *Node) func(s, x *Node) *Node {
	return func(t, x *Node) *Node { return b(t, x, class) }
}

// ConditionalField returns b̄_s(.; t, x) of [ConditionalDrift] as the right-hand side of an ODE in
// s, from noise to the posterior p_{1|t}(.|x). t is [batch], x [batch, ...], class int32 [batch] or
// nil.
func ConditionalField(ip Schedule, b Drift, t, x, class *Node) func(s, x *Node) *Node {
	return func(s, xbar *Node) *Node { return ConditionalDrift(ip, b, s, xbar, t, x, class) }
}

// Field returns [Transition.ConditionalDrift] as the right-hand side of an ODE in s, from noise to
// p(x_{t'} | x_t = x).
func (tr Transition) Field(b Drift, t, x, class *Node) func(s, x *Node) *Node {
	return func(s, xbar *Node) *Node { return tr.ConditionalDrift(b, s, xbar, t, x, class) }
}
