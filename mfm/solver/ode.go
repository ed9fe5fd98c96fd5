package solver

import (
	. "github.com/gomlx/gomlx/core/graph"
	. "github.com/gomlx/gomlx/support/exceptions"

	"github.com/gomfm/gomfm/mfm/internal/batch"
)

// Field is the right-hand side of dx/ds = f(s, x): for times s [batch] and states x [batch, ...] it returns a node of x's shape. What
// else it depends on it brings along. A guided field is a sum of fields.
type Field func(s, x *Node) *Node

// Solver is a method for ordinary differential equations.
type Method string

// The solvers.
const (
	Euler Method = "euler" // first order, one evaluation a step
	Heun  Method = "heun"  // second order, two evaluations a step but one in the last
)

// evaluations returns how often a field is evaluated in the given number of steps.
func (s Method) Evaluations(steps int) int {
	if s == Heun {
		return 2*steps - 1
	}
	return steps
}

// Integrate carries x, [batch, ...], along dx/ds = f(s, x) from the first of times to the last, one step between neighbours, in one compiled
// loop. rng is for a field that draws from it, and nil where none does.
//
// Heun's last step is one of Euler's, as in Karras et al., arXiv 2206.00364: the field is never evaluated at the last time, where that of singular data has no
// limit, and an error of second order in one step leaves the method's order at two. It panics on a solver that is unknown.
func Integrate(rng *RNG, solver Method, times []float64, f Field, x *Node) *Node {
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
	case solver == Euler:
		return Scan(rng, table, x, euler)
	case solver == Heun && len(table) > 0:
		last := len(table) - 1
		return Scan(rng, table[last:], Scan(rng, table[:last], x, heun), euler)
	case solver == Heun:
		return x
	}
	Panicf("solver %q is unknown: use %s or %s", solver, Euler, Heun)
	return nil
}

// Scan replaces x by step(row, x) for one row of the table after another. The table, [steps][columns], is known when the graph is built; a
// row comes as scalars of x's type. rng, if not nil, is carried along, so that step may draw from it.
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
