package solver_test

import (
	"fmt"

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
