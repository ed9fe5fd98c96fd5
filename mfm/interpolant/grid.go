package interpolant

import (
	"fmt"
	"math"
)

// Grid places the times of a sampler's steps.
type Grid struct {
	// Steps is their number, K.
	Steps int `json:"steps"`
	// Power is p in t_k = from + (to - from) (k/K)^p: 1 is uniform, more makes the steps at the noise end shorter, less those at the data end.
	Power float64 `json:"power"`
}

// maxSteps bounds the number of steps: a million evaluations a sample is a mistake.
const maxSteps = 1_000_000

// Validate returns an error for a number of steps outside [1, 1e6] and a power outside (0, 100].
func (g Grid) Validate() error {
	if g.Steps < 1 || g.Steps > maxSteps {
		return fmt.Errorf("steps = %d: must lie in [1, %d]", g.Steps, maxSteps)
	}
	if !(g.Power > 0 && g.Power <= 100) {
		return fmt.Errorf("power = %g: a power must lie in (0, 100]", g.Power)
	}
	return nil
}

// Times returns t_0 = from, ..., t_K = to, both ends exactly.
func (g Grid) Times(from, to float64) []float64 {
	times := make([]float64, g.Steps+1)
	for k := range times {
		times[k] = from + (to-from)*math.Pow(float64(k)/float64(g.Steps), g.Power)
	}
	times[g.Steps] = to
	return times
}
