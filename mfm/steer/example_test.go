package steer_test

import (
	"context"
	"fmt"
	"log"

	. "github.com/gomlx/gomlx/core/graph"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/backend"
	"github.com/gomfm/gomfm/mfm/gmm"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/reward"
	"github.com/gomfm/gomfm/mfm/steer"
)

// MFM-GF on exact posterior samples steers the paper's mixture toward points with x₁ + x₂ > 2. With
// a trained map use FromMap instead of FromMixture, and MFMG instead of MFMGF.
func ExampleSteerer() {
	b, err := backend.New("go")
	if err != nil {
		log.Fatal(err)
	}
	gf := steer.MFMGF{PosteriorSamples: steer.PosteriorSamples{N: 16}, Baseline: steer.MeanBaseline}
	method := steer.Guided{Config: steer.DefaultConfig(), Estimator: gf}
	method.Steps = 8
	m := steer.FromMixture(gmm.Paper(), interpolant.Linear{})
	r := reward.HalfPlane{A: []float64{1, 1}, Offset: 2, Width: 0.2}.Reward()
	s, err := steer.New(b, m, r, method)
	if err != nil {
		log.Fatal(err)
	}
	defer s.Finalize()
	result, err := s.Sample(context.Background(), 1, 100, nil)
	if err != nil {
		log.Fatal(err)
	}
	beyond := 0
	for _, x := range mfm.Rows(result.Samples, 2) {
		if x[0]+x[1] > 2 {
			beyond++
		}
	}
	fmt.Println("more than 80 of 100 are beyond the line:", beyond > 80)
	fmt.Println("NFE for each sample:", result.Counts.NFE()/100)
	// Output:
	// more than 80 of 100 are beyond the line: true
	// NFE for each sample: 264
}

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

// MFM-G without a map: posterior samples of a drift, here that of a standard normal distribution,
// are solutions of its conditional ODE. For the reward r(x) = x the tilted distribution is N(1, 1).
func ExampleFromTeacher() {
	b, err := backend.New("go")
	if err != nil {
		log.Fatal(err)
	}
	normal, err := gmm.New([]float64{1}, [][]float64{{0}}, [][][]float64{{{1}}})
	if err != nil {
		log.Fatal(err)
	}
	ip := interpolant.Linear{}
	drift := func(t, x, _ *Node) *Node { return normal.Like(x).Drift(ip, t, x) }
	m := steer.FromTeacher(drift, ip, []int{1}, 3)
	method := steer.Guided{
		Config: steer.DefaultConfig(), Estimator: steer.MFMG{PosteriorSamples: steer.PosteriorSamples{N: 2}},
	}
	method.Steps = 12
	r := reward.Func(func(x *Node) *Node { return ReduceSum(x, 1) })
	s, err := steer.New(b, m, r, method)
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
	fmt.Printf("the mean is %.1f\n", mean)
	fmt.Println("NFE for each posterior sample:", m.PosteriorNFE)
	// Output:
	// the mean is 1.0
	// NFE for each posterior sample: 5
}
