package interpolant_test

import (
	"fmt"

	. "github.com/gomlx/gomlx/core/graph"

	"github.com/gomfm/gomfm/mfm/backend"
	"github.com/gomfm/gomfm/mfm/interpolant"
)

// parabola is a user-defined schedule: a type with two methods.
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

// The GLASS drift for data from N(0, 1), whose unconditional drift is (2t-1)/(t² + (1-t)²) x. At
// s = 0 it is the posterior mean minus the noise. For x_t = 1 at t = 1/2 the posterior mean is 1;
// the noise is 0.2.
func ExampleConditionalDrift() {
	b, err := backend.New("go")
	if err != nil {
		fmt.Println(err)
		return
	}
	drift := func(t, x, _ *Node) *Node {
		t = InsertAxes(t, -1)
		return Mul(x, Div(AddScalar(MulScalar(t, 2), -1), Add(Square(t), Square(OneMinus(t)))))
	}
	s, xbar := []float64{0}, [][]float64{{0.2}}
	t, x := []float64{0.5}, [][]float64{{1}}
	v, err := CallOnce(b, func(s, xbar, t, x *Node) *Node {
		return interpolant.ConditionalDrift(interpolant.Linear{}, drift, s, xbar, t, x, nil)
	}, s, xbar, t, x)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%.4f\n", v.Value())
	// Output: [[0.8000]]
}
