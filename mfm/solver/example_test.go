package solver_test

import (
	"fmt"
	"math"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"

	"github.com/gomfm/gomfm/mfm/backend"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/solver"
)

// Integrate solves dx/ds = f(s, x) inside a graph; here f = x, whose solution at 1 is e.
func ExampleIntegrate() {
	b, err := backend.New("go")
	if err != nil {
		fmt.Println(err)
		return
	}
	times := interpolant.Grid{Steps: 100, Power: 1}.Times(0, 1)
	exec := MustNewExec(b, func(x *Node) *Node {
		return solver.Integrate(nil, solver.Heun, times, func(_, x *Node) *Node { return x }, x)
	})
	out, err := exec.Call1([][]float32{{1}})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%.3f\n", tensors.MustCopyFlatData[float32](out)[0])
	// Output: 2.718
}

// A scheme of one's own by Scan: the midpoint rule x + h f(x + f(x) h/2) for dx/ds = f(x). Here
// f(x) = x, and the solution at 1 is e. A row of the table has the length h of a step.
func ExampleScan() {
	b, err := backend.New("go")
	if err != nil {
		fmt.Println(err)
		return
	}
	const steps = 100
	table := make([][]float64, steps)
	for k := range table {
		table[k] = []float64{1.0 / steps}
	}
	f := func(x *Node) *Node { return x }
	midpoint := func(row []*Node, x *Node) *Node {
		h := row[0]
		middle := Add(x, Mul(MulScalar(h, 0.5), f(x)))
		return Add(x, Mul(h, f(middle)))
	}
	exec := MustNewExec(b, func(x *Node) *Node { return solver.Scan(nil, table, x, midpoint) })
	out, err := exec.Call1([][]float32{{1}})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%.3f, exact %.3f\n", tensors.MustCopyFlatData[float32](out)[0], math.E)
	// Output: 2.718, exact 2.718
}
