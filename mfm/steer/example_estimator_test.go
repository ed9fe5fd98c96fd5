package steer_test

import (
	"context"
	"fmt"
	"log"

	. "github.com/gomlx/gomlx/core/graph"

	"github.com/gomfm/gomfm/mfm/backend"
	"github.com/gomfm/gomfm/mfm/gmm"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/reward"
	"github.com/gomfm/gomfm/mfm/solver"
	"github.com/gomfm/gomfm/mfm/steer"
)

// linearValue is an estimator of one's own: the value of the reward r(x) = x for standard normal
// data. Given x_t = x the data is N(t x/d, (1-t)²/d) with d = (1-t)² + t², so
//
//	V_t(x) = log E[e^{λ r}] = λ t x/d + λ² (1-t)²/(2d).
type linearValue struct{}

func (linearValue) Samples() int    { return 0 }
func (linearValue) Validate() error { return nil }
func (linearValue) String() string  { return "linear-value" }

func (linearValue) Estimate(
	p steer.Problem, _ *solver.RNG, _ *steer.Counter, t, x, _ *Node, gradient bool,
) steer.Estimate {
	noise := Square(OneMinus(t))
	d := Add(noise, Square(t))
	slope := Mul(p.Lambda, Div(t, d)) // [n]
	variance := Mul(Square(p.Lambda), Div(noise, d))
	e := steer.Estimate{Value: Add(Mul(slope, Reshape(x, -1)), MulScalar(variance, 0.5))}
	if gradient {
		e.Gradient = InsertAxes(slope, -1) // of x's shape, [n, 1]
	}
	return e
}

// An estimator of one's own guides a run. The tilted distribution is N(λ, 1).
func ExampleEstimator() {
	b, err := backend.New("go")
	if err != nil {
		log.Fatal(err)
	}
	normal, err := gmm.New([]float64{1}, [][]float64{{0}}, [][][]float64{{{1}}})
	if err != nil {
		log.Fatal(err)
	}
	method := steer.Guided{Config: steer.DefaultConfig(), Estimator: linearValue{}}
	method.Lambda = 2
	r := reward.Func(func(x *Node) *Node { return ReduceSum(x, 1) })
	s, err := steer.New(b, steer.FromGaussian(normal, interpolant.Linear{}), r, method)
	if err != nil {
		log.Fatal(err)
	}
	defer s.Finalize()
	result, err := s.Sample(context.Background(), 1, 2000, nil)
	if err != nil {
		log.Fatal(err)
	}
	mean := 0.0
	for _, x := range result.Samples {
		mean += float64(x) / 2000
	}
	fmt.Printf("%v: the mean is %.1f\n", method, mean)
	// Output:
	// linear-value: the mean is 2.0
}
