package gaussian

import (
	"context"

	"github.com/gomlx/compute"

	"github.com/gomfm/gomfm/mfm/experiment/run"
	"github.com/gomfm/gomfm/mfm/experiment/steering"
	"github.com/gomfm/gomfm/mfm/steer"
)

// Test is the value of [Result].Test.
const Test = "gaussian"

// Setting is one steered run of a problem: all that a [Result] depends on.
type Setting struct {
	Problem
	Steering steering.Setting `json:"steering"`
}

// Run draws the samples of the setting and compares them with the tilted distribution. The options
// are those of other experiments and have no effect.
func (s Setting) Run(ctx context.Context, b compute.Backend, _ run.Options) (Result, error) {
	t, err := New(s.Problem)
	if err != nil {
		return Result{}, err
	}
	if err := t.Check(s.Steering); err != nil {
		return Result{}, err
	}
	return t.Run(ctx, b, s.Steering)
}

// Grid returns a comparison of methods, each on the problems of all given dimensions and
// divergences in nats, with 4,096 samples in 100 steps: MFM-G, MFM-GF and DPS by the ODE,
// sequential Monte Carlo with 512 particles by the SDE, and Best-of-16.
func Grid(dims []int, kls []float64) []Setting {
	var all []Setting
	for _, dim := range dims {
		for _, kl := range kls {
			add := func(method string, n int) {
				s := Setting{Problem{Dim: dim, KL: kl}, steering.Setting{
					Method: method, N: n, Samples: 4096, Config: steer.DefaultConfig(),
				}}
				entry, _ := steer.Lookup(method) // the methods below exist
				if entry.Baseline {
					s.Steering.Baseline = steer.MeanBaseline
				}
				if entry.Filter {
					s.Steering.Config.Dynamics, s.Steering.Particles = steer.SDE, 512
				}
				all = append(all, s)
			}
			for _, n := range []int{1, 2, 4} {
				add("mfm-g", n)
			}
			for _, n := range []int{4, 16, 64} {
				add("mfm-gf", n)
			}
			add("dps", 1)
			add("smc-dps", 1)
			add("smc-mfm-gf", 4)
			add("best-of-n", 16)
		}
	}
	return all
}
