package interpolant_test

import (
	"fmt"

	. "github.com/gomlx/gomlx/core/graph"

	"github.com/gomfm/gomfm/mfm/backend"
	"github.com/gomfm/gomfm/mfm/interpolant"
)

// A schedule of one's own is a type with two methods.
type parabola struct{}

func (parabola) At(t float64) (alpha, beta, dAlpha, dBeta float64) {
	return (1 - t) * (1 + t), t, -2 * t, 1
}

func (parabola) Graph(t *Node) (alpha, beta, dAlpha, dBeta *Node) {
	return Mul(OneMinus(t), OnePlus(t)), t, MulScalar(t, -2), OnesLike(t)
}

func ExampleSchedule() {
	b, err := backend.New("go")
	if err != nil {
		fmt.Println(err)
		return
	}
	// Noise 1 and data 1 at t = 1/2.
	x, err := CallOnce(b, func(t, noise, data *Node) *Node { return interpolant.StateAt(parabola{}, t, noise, data) },
		[]float32{0.5}, [][]float32{{1}}, [][]float32{{1}})
	fmt.Println(x, err)
	// Output: [1][1]float32{{1.25}} <nil>
}
