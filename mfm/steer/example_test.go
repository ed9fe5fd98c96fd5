package steer_test

import (
	"context"
	"fmt"
	"log"

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
