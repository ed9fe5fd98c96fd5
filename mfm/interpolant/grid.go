package interpolant

import (
	"fmt"
	"math"
)

// Grid is the time grid of a sampler's steps.
type Grid struct {
	// Steps is the number of steps K, in [1, 1e6].
	Steps int `json:"steps"`
	// Power is p in t_k = from + (to - from) (k/K)^p, in (0, 100]. p = 1 is uniform; a larger p
	// shortens the steps at the noise end and lengthens those at the data end.
	Power float64 `json:"power"`
}

// maxSteps bounds the number of steps: a request for a million evaluations per sample is a mistake.
const maxSteps = 1_000_000

// Validate returns an error if the number of steps is outside [1, 1e6] or the power outside (0,
// 100].
func (g Grid) Validate() error {
	if g.Steps < 1 || g.Steps > maxSteps {
		return fmt.Errorf("steps = %d: must lie in [1, %d]", g.Steps, maxSteps)
	}
	if !(g.Power > 0 && g.Power <= 100) {
		return fmt.Errorf("power = %g: a power must lie in (0, 100]", g.Power)
	}
	return nil
}

// Times returns t_0 = from, ..., t_K = to. Both ends are exact.
func (g Grid) Times(from, to float64) []float64 {
	times := make([]float64, g.Steps+1)
	for k := range times {
		times[k] = from + (to-from)*math.Pow(float64(k)/float64(g.Steps), g.Power)
	}
	times[g.Steps] = to
	return times
}
