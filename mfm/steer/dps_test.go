package steer_test

import (
	"math"
	"testing"

	. "github.com/gomlx/gomlx/core/graph"

	"github.com/gomfm/gomfm/mfm/gmm"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/solver"
	"github.com/gomfm/gomfm/mfm/steer"
)

// freshDPS is DPS that evaluates the drift again in each step.
type freshDPS struct{ steer.DPS }

func (freshDPS) String() string { return "fresh-dps" }

func (m freshDPS) Estimate(
	p steer.Problem, rng *solver.RNG, counter *steer.Counter, t, x, drift *Node, gradient bool,
) steer.Estimate {
	p.DriftInX = false
	return m.DPS.Estimate(p, rng, counter, t, x, drift, gradient)
}

// The denoiser from the drift of the step gives the samples of one that is evaluated again, up to
// rounding, and saves an evaluation in each step but the first.
func TestDPSReusesTheDrift(t *testing.T) {
	mixture, ip, r := gmm.Paper(), interpolant.Linear{}, measured().Reward()
	m, k := steer.FromMixture(mixture, ip), steps(t, 20)
	heun := config(steer.ODE, k)
	heun.Solver = solver.Heun
	for name, c := range map[string]steer.Config{
		"ODE": config(steer.ODE, k), "SDE": config(steer.SDE, k), "Heun": heun,
	} {
		const n = 100
		got := sample(t, newSteerer(t, m, r, steer.Guided{Config: c, Estimator: steer.DPS{}}), 1, n)
		want := sample(t, newSteerer(t, m, r, steer.Guided{Config: c, Estimator: freshDPS{}}), 1, n)
		for i, v := range want.Samples {
			if math.Abs(float64(got.Samples[i]-v)) > 1e-4*(1+math.Abs(float64(v))) {
				t.Errorf("%s: element %d is %g, with a drift that is evaluated again %g", name, i, got.Samples[i], v)
			}
		}
		saved := k - 1
		if name == "Heun" {
			saved = 2 * (k - 1)
		}
		if got.Counts.Network != want.Counts.Network-int64(n*saved) ||
			got.Counts.NetworkBackward != want.Counts.NetworkBackward {
			t.Errorf("%s: %+v, with a drift that is evaluated again %+v, want %d less for each sample",
				name, got.Counts, want.Counts, saved)
		}
	}
}
