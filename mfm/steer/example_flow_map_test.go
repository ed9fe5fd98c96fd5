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
	"github.com/gomfm/gomfm/mfm/steer"
)

// Flow-map guidance of a standard normal distribution by the reward r(x) = x. The tilted
// distribution is N(1, 1), but the control moves the mean by ∫ dt/((1-t)² + t²) = π/2.
func ExampleFlowMapGuidance() {
	b, err := backend.New("go")
	if err != nil {
		log.Fatal(err)
	}
	normal, err := gmm.New([]float64{1}, [][]float64{{0}}, [][][]float64{{{1}}})
	if err != nil {
		log.Fatal(err)
	}
	method := steer.FlowMapGuidance{Config: steer.DefaultConfig(), Form: steer.JacobianForm}
	r := reward.Func(func(x *Node) *Node { return ReduceSum(x, 1) })
	s, err := steer.New(b, steer.FromGaussian(normal, interpolant.Linear{}), r, method)
	if err != nil {
		log.Fatal(err)
	}
	defer s.Finalize()
	result, err := s.Sample(context.Background(), 1, 5000, nil)
	if err != nil {
		log.Fatal(err)
	}
	mean := 0.0
	for _, x := range result.Samples {
		mean += float64(x) / 5000
	}
	fmt.Printf("%v: the mean is %.1f, for %d evaluations a sample\n", method, mean, result.Counts.NFE()/5000)
	// Output:
	// fmrg-j: the mean is 1.6, for 500 evaluations a sample
}
