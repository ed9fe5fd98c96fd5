package steer_test

import (
	"context"
	"fmt"

	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/backend"
	"github.com/gomfm/gomfm/mfm/gmm"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/reward"
	"github.com/gomfm/gomfm/mfm/steer"
)

// Samples of the paper's mixture, steered toward points with x₁ + x₂ > 2 by MFM-GF on exact posterior samples. With a trained map, FromMap takes the place of FromMixture, and MFMG that of MFMGF.
func ExampleSteerer() {
	b, err := backend.New("go")
	if err != nil {
		fmt.Println(err)
		return
	}
	config := steer.DefaultConfig()
	config.Steps = 8
	method := steer.Guided{Config: config, Estimator: steer.MFMGF{Draws: steer.Draws{N: 16}, Baseline: steer.MeanBaseline}}
	right := reward.HalfPlane{A: []float64{1, 1}, Offset: 2, Width: 0.2}
	s, err := steer.New(b, model.NewStore(), steer.FromMixture(gmm.Paper(), interpolant.Linear{}), right.Reward(), []int{2}, method)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer s.Finalize()
	result, err := s.Sample(context.Background(), 1, 100, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	there := 0
	for _, x := range mfm.Rows(result.Samples, 2) {
		if x[0]+x[1] > 2 {
			there++
		}
	}
	fmt.Println("more than 80 of 100 are there:", there > 80)
	fmt.Println("evaluations a sample:", result.Counts.NFE()/100)
	// Output:
	// more than 80 of 100 are there: true
	// evaluations a sample: 264
}
