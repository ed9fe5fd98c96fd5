package ad_test

import (
	"fmt"
	"log"

	. "github.com/gomlx/gomlx/core/graph"

	"github.com/gomfm/gomfm/mfm/ad"
	"github.com/gomfm/gomfm/mfm/backend"
)

// The tangent of y = x² along ẋ is 2xẋ, and the gradient of Σ ẏ² in x is 8xẋ².
func ExampleJVP() {
	b, err := backend.New("")
	if err != nil {
		log.Fatal(err)
	}
	exec := MustNewExec(b, func(x, tangent *Node) (*Node, *Node) {
		y := Square(x)
		dy := ad.JVP([]*Node{y}, []*Node{x}, []*Node{tangent})[0]
		loss := ReduceAllSum(Square(dy))
		return dy, Gradient(loss, x)[0]
	})
	dy, slope := exec.MustCall2([]float64{1, 2, 3}, []float64{1, 1, 0.5})
	fmt.Println(dy.Value())
	fmt.Println(slope.Value())
	// Output:
	// [2 4 3]
	// [8 16 6]
}
