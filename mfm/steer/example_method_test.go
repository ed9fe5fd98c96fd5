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

// shift is a method of one's own: it tilts the standard normal distribution by e^{a x}. The value
// has the gradient a t/((1-t)² + t²) for all x, so the tilted distribution is N(a, 1).
type shift struct {
	steer.Guided
	a float64
}

func (shift) String() string { return "shift" }

func (m shift) Build(p steer.Problem, rng *solver.RNG, counter *steer.Counter, noise *Node) steer.Outcome {
	base := p.Model.Drift
	p.Model.Drift = func(t, x, class *Node) *Node {
		s := OneMinus(t) // (σ_t²/2) ∇V_t = a (1-t)/((1-t)² + t²)
		steering := MulScalar(Div(s, Add(Square(s), Square(t))), m.a)
		return Add(base(t, x, class), InsertAxes(steering, -1))
	}
	return m.Guided.Build(p, rng, counter, noise)
}

// A method of one's own implements Method. It may embed a method of the package and change the
// model that it runs.
func ExampleMethod() {
	b, err := backend.New("go")
	if err != nil {
		log.Fatal(err)
	}
	normal, err := gmm.New([]float64{1}, [][]float64{{0}}, [][][]float64{{{1}}})
	if err != nil {
		log.Fatal(err)
	}
	m := steer.FromGaussian(normal, interpolant.Linear{})
	none := reward.Func(func(x *Node) *Node { return ReduceSum(ZerosLike(x), 1) })
	method := shift{Guided: steer.Guided{Config: steer.DefaultConfig()}, a: 2}
	s, err := steer.New(b, m, none, method)
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
	// shift: the mean is 2.0
}
