// Package solver integrates ordinary and stochastic differential equations inside a compiled graph,
// and provides the loop and the random numbers that this needs.
package solver

import (
	. "github.com/gomlx/gomlx/core/graph"
	. "github.com/gomlx/gomlx/support/exceptions"

	"github.com/gomfm/gomfm/mfm/internal/batch"
)

// Field is the right-hand side of dx/dt = f(t, x). For times s [batch] and states x [batch, ...] it
// returns a node of x's shape. Everything else that it depends on is in its closure. A guided field
// is a sum of fields.
type Field func(s, x *Node) *Node

// Scheme is a numerical scheme for ordinary differential equations.
type Scheme string

// The schemes.
const (
	Euler Scheme = "euler" // first order, one evaluation per step
	Heun  Scheme = "heun"  // second order, two evaluations per step but one in the last
)

// Evaluations returns the number of evaluations of the field in the given number of steps.
func (s Scheme) Evaluations(steps int) int {
	if s == Heun {
		return 2*steps - 1
	}
	return steps
}

// Integrate integrates dx/ds = f(s, x) from x, [batch, ...], at the first of times to the last,
// with one step between neighboring times, in one compiled loop. rng is for a field that draws
// random numbers from it, and otherwise nil. It panics for an unknown scheme.
//
// The last step of Heun's method is an Euler step, as in Karras et al., arXiv 2206.00364: the field
// is never evaluated at the last time, where that of singular data has no limit, and a second-order
// error in one step preserves order two.
func Integrate(rng *RNG, scheme Scheme, times []float64, f Field, x *Node) *Node {
	euler := func(row []*Node, x *Node) *Node {
		return Add(x, Mul(row[2], f(batch.Every(row[0], x), x)))
	}
	heun := func(row []*Node, x *Node) *Node {
		first := f(batch.Every(row[0], x), x)
		second := f(batch.Every(row[1], x), Add(x, Mul(row[2], first)))
		return Add(x, Mul(row[2], MulScalar(Add(first, second), 0.5)))
	}
	var table [][]float64
	for k := 1; k < len(times); k++ {
		table = append(table, []float64{times[k-1], times[k], times[k] - times[k-1]})
	}
	switch {
	case scheme == Euler:
		return Scan(rng, table, x, euler)
	case scheme == Heun && len(table) > 0:
		last := len(table) - 1
		return Scan(rng, table[last:], Scan(rng, table[:last], x, heun), euler)
	case scheme == Heun:
		return x
	}
	Panicf("solver %q is unknown: use %s or %s", scheme, Euler, Heun)
	return nil
}

// Scan replaces x by step(row, x) for each row of the table in turn. The table, [steps][columns],
// is known when the graph is built; a row is passed as scalars of x's type. If rng is not nil, its
// state is carried through the loop, so that step may draw from it.
func Scan(rng *RNG, table [][]float64, x *Node, step func(row []*Node, x *Node) *Node) *Node {
	if len(table) == 0 {
		return x
	}
	rows := ConstAsDType(x.Graph(), x.DType(), table)
	state := []*Node{x}
	if rng != nil {
		state = append(state, rng.State)
	}
	state = Loop(len(table), state, func(i *Node, state []*Node) []*Node {
		if rng != nil {
			rng.State = state[1]
		}
		next := []*Node{step(batch.Of(rows, i), state[0])}
		if rng != nil {
			next = append(next, rng.State)
		}
		return next
	})
	if rng != nil {
		rng.State = state[1]
	}
	return state[0]
}
