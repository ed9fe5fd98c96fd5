package steer_test

import (
	"context"
	"fmt"
	"log"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/backend"
	"github.com/gomfm/gomfm/mfm/gmm"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/steer"
)

// A black-box reward is any function in Go: here an indicator, which has no useful gradient.
func ExampleNewBlackBox() {
	b, err := backend.New("go")
	if err != nil {
		log.Fatal(err)
	}
	quadrant := func(samples []float32, shape []int) ([]float64, error) {
		rewards := make([]float64, shape[0])
		for i, x := range mfm.Rows(samples, 2) {
			if x[0] > 0 && x[1] > 0 {
				rewards[i] = 1
			}
		}
		return rewards, nil
	}
	m := steer.FromMixture(gmm.Paper(), interpolant.Linear{})
	method := steer.BestOf{Config: steer.DefaultConfig(), N: 8}
	method.Steps = 10
	s, err := steer.NewBlackBox(b, m, quadrant, method)
	if err != nil {
		log.Fatal(err)
	}
	defer s.Finalize()
	result, err := s.Sample(context.Background(), 1, 100, nil)
	if err != nil {
		log.Fatal(err)
	}
	inside := 0.0
	for _, r := range result.Rewards {
		inside += r
	}
	fmt.Println("more than 80 of 100 are in the quadrant:", inside > 80)
	fmt.Println("NFE for each sample:", result.Counts.NFE()/100)
	// Output:
	// more than 80 of 100 are in the quadrant: true
	// NFE for each sample: 88
}
