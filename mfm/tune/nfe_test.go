package tune_test

import (
	"testing"

	"github.com/gomfm/gomfm/mfm/steer"
	"github.com/gomfm/gomfm/mfm/tune"
)

// Evaluations of a state by hand: a drift that guidance evaluates twice counts twice, a backward
// pass two, and a posterior sample one with its reward.
func TestNFE(t *testing.T) {
	four := steer.PosteriorSamples{N: 4}
	for _, tc := range []struct {
		objective     tune.Objective
		plain, guided int
	}{
		{tune.PlugIn{Estimator: steer.MFMG{PosteriorSamples: four}}, 1 + 4*4, 2 + 4*4},
		{tune.PlugIn{Estimator: steer.MFMGF{PosteriorSamples: four}}, 1 + 4*2, 2 + 4*2},
		{tune.PlugIn{Estimator: steer.DPS{}}, 1 + 3 + 1, 2 + 6 + 1}, // the base drift, and again with a gradient
		{tune.RewardWeighted{}, 1 + 1, 2 + 1},
		{tune.AdjointMatching{}, 1 + 1 + 2, 2 + 2 + 4}, // a step of the path, the base drift with a gradient
	} {
		for drift, want := range map[int]int{0: tc.plain, 1: tc.plain, 2: tc.guided} {
			if got := tc.objective.NFE(steer.Model{PosteriorNFE: 1, DriftNFE: drift}); got != want {
				t.Errorf("%v with %d evaluations of a drift: %d, want %d", tc.objective, drift, got, want)
			}
		}
	}
}
