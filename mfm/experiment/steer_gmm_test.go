package experiment_test

import (
	"math"
	"strings"
	"testing"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/experiment"
	"github.com/gomfm/gomfm/mfm/gmm"
	"github.com/gomfm/gomfm/mfm/internal/backendtest"
	"github.com/gomfm/gomfm/mfm/reward"
	"github.com/gomfm/gomfm/mfm/solver"
	"github.com/gomfm/gomfm/mfm/steer"
)

func steerCell(method string, dynamics steer.Dynamics, steps int) experiment.SteerCell {
	c := experiment.SteerCell{Method: method, N: 4, Particles: 512, Samples: 1024, Config: steer.DefaultConfig()}
	c.Config.Dynamics, c.Config.Steps = dynamics, steps
	return c
}

// The paper's reward: with the exact value samples are as near to the target as exact ones and have its weights, without steering and with the posterior's mean alone they have not.
func TestSteering(t *testing.T) {
	b := backendtest.New(t)
	backendtest.NeedLoops(t, b)
	s, err := experiment.NewSteering("", gmm.Paper(), experiment.PaperReward())
	if err != nil {
		t.Fatal(err)
	}
	run := func(c experiment.SteerCell) experiment.SteeringRow {
		t.Helper()
		if err := s.Check(c); err != nil {
			t.Fatal(err)
		}
		row, err := s.Run(t.Context(), b, c)
		if err != nil {
			t.Fatal(err)
		}
		return row
	}
	for _, c := range []experiment.SteerCell{steerCell("exact", steer.ODE, 400), steerCell("exact", steer.SDE, 800), steerCell("smc-exact", steer.SDE, 400)} {
		row := run(c)
		if row.SW2 > 3*math.Max(row.Floor, 0.1) {
			t.Errorf("%+v: far from the target", row)
		}
		for k, want := range []float64{0.5716, 0.3665, 0.0619} {
			if math.Abs(row.Weights[k]-want) > 0.06 {
				t.Errorf("%s: weight %d is %.3f, want %.3f", c.Method, k, row.Weights[k], want)
			}
		}
	}
	for _, method := range []string{"unsteered", "dps"} {
		if row := run(steerCell(method, steer.SDE, 200)); row.SW2 < 0.8 {
			t.Errorf("%+v: nearer to the target than it can be", row)
		}
	}
	far := steerCell("dps", steer.SDE, 20)
	far.Config.Lambda = 1e4
	if row := run(far); !row.Diverged || row.Lost < 1 || row.Lost > 1024 || row.SW2 != 0 || row.Unusual != "lambda=10000" || row.Samples != 1024 || row.Steps != 20 {
		t.Errorf("%+v: want it to have diverged, and its settings", row)
	}
	if a, b := run(steerCell("mfm-gf", steer.SDE, 50)), run(steerCell("mfm-gf", steer.SDE, 50)); a.SW2 != b.SW2 || a.NFE != 50*(1+2*4) {
		t.Errorf("two runs of one cell differ: %+v, %+v", a, b)
	}
}

// A reward times λ has its own target, and results of different problems are told apart.
func TestSteeringProblems(t *testing.T) {
	seen := map[string]string{}
	for name, c := range map[string]struct {
		dir string
		law *gmm.Mixture
		r   reward.LinearGaussian
	}{
		"paper":  {"", gmm.Paper(), experiment.PaperReward()},
		"sigma":  {"", gmm.Paper(), reward.LinearGaussian{A: [][]float64{{1.2, -0.8}}, Y: []float64{-1}, Sigma: 0.3}},
		"points": {"", newPoints(t), experiment.PaperReward()},
		"map":    {"../../data/weights/gmm-semigroup-teacher", nil, experiment.PaperReward()},
	} {
		s, err := experiment.NewSteering(c.dir, c.law, c.r)
		if err != nil {
			t.Fatal(err)
		}
		if other, there := seen[s.Problem]; there || s.Problem == "" {
			t.Errorf("%s and %s are one problem %q", name, other, s.Problem)
		}
		seen[s.Problem] = name
	}
	s, err := experiment.NewSteering("", gmm.Paper(), experiment.PaperReward())
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(c *experiment.SteerCell){
		"method": func(c *experiment.SteerCell) { c.Method = "luck" },
		"detach": func(c *experiment.SteerCell) { c.Method = "mfm-g" },
		"twist": func(c *experiment.SteerCell) {
			c.Method, c.Particles, c.Config.Dynamics = "smc-mfm-g", c.Samples, steer.SDE
		},
		"lambda": func(c *experiment.SteerCell) { c.Config.Lambda = 0 },
		"n":      func(c *experiment.SteerCell) { c.N = 0 },
		"sets":   func(c *experiment.SteerCell) { c.Method, c.Particles, c.Config.Dynamics = "smc-dps", 1000, steer.SDE },
		"anti":   func(c *experiment.SteerCell) { c.Antithetic = true },
		"shared": func(c *experiment.SteerCell) { c.Shared = true },
		"kind": func(c *experiment.SteerCell) {
			c.Method, c.Particles, c.Config.Dynamics, c.Resampling = "smc-dps", c.Samples, steer.SDE, "luck"
		},
		"sample": func(c *experiment.SteerCell) { c.Samples = 1 },
		"solver": func(c *experiment.SteerCell) { c.Config.Solver = solver.Method("leapfrog") },
	} {
		c := steerCell("mfm-gf", steer.ODE, 20)
		change(&c)
		if err := s.Check(c); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if _, err := experiment.NewSteering("", gmm.Paper(), reward.LinearGaussian{A: [][]float64{{1}}, Y: []float64{0}, Sigma: 1}); err == nil {
		t.Error("a reward of another dimension is taken")
	}
}

func newPoints(t *testing.T) *gmm.Mixture {
	t.Helper()
	m, err := gmm.Points([][]float64{{0, 1}, {2, 3}})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// Posterior samples may be drawn in several steps of the map or by its ODE, which costs as much more; of a mixture itself they come from the closed form alone.
func TestPosteriorOfACell(t *testing.T) {
	b := backendtest.New(t)
	s, err := experiment.NewSteering(smallMap, nil, experiment.PaperReward())
	if err != nil {
		t.Fatal(err)
	}
	const steps, n = 4, 2
	for _, of := range []struct {
		posterior mfm.Method
		steps     int
		nfe       float64 // of a posterior sample
		unusual   string
	}{{"", 0, 1, ""}, {"", 3, 3, "posterior_steps=3"}, {mfm.ODEMethod, 2, 3, "posterior=ode posterior_steps=2"}} { // the last of Heun's steps is Euler's
		c := steerCell("mfm-gf", steer.ODE, steps)
		c.N, c.Samples, c.Posterior, c.PosteriorSteps = n, 64, of.posterior, of.steps
		if err := s.Check(c); err != nil {
			t.Fatal(err)
		}
		row, err := s.Run(t.Context(), b, c)
		if err != nil {
			t.Fatal(err)
		}
		if want := steps + steps*n*(of.nfe+1); row.NFE != want || row.Unusual != of.unusual {
			t.Errorf("%+v: %g evaluations, settings %q; want %g", of, row.NFE, row.Unusual, want)
		}
	}
	law, err := experiment.NewSteering("", gmm.Paper(), experiment.PaperReward())
	if err != nil {
		t.Fatal(err)
	}
	c := steerCell("mfm-gf", steer.ODE, steps)
	c.PosteriorSteps = 3
	if err := law.Check(c); err == nil || !strings.Contains(err.Error(), "closed form") {
		t.Errorf("several steps of a mixture's closed form: error %v", err)
	}
	c.Posterior, c.PosteriorSteps = mfm.ODEMethod, 0
	if err := s.Check(c); err == nil || !strings.Contains(err.Error(), "denoiser") {
		t.Errorf("posterior samples by one step of the ODE: error %v", err)
	}
	c.Posterior = ""
	c.Config.NoiseSchedule = func(float64) float64 { return 1 }
	if err := s.Check(c); err == nil || !strings.Contains(err.Error(), "noise schedule") {
		t.Errorf("a noise schedule, which the cell's name lacks: error %v", err)
	}
	c.Config.NoiseSchedule = nil
	c.Posterior, c.PosteriorSteps = mfm.SDEMethod, 3
	if err := s.Check(c); err == nil || !strings.Contains(err.Error(), "sde") {
		t.Errorf("posterior samples by an SDE: error %v", err)
	}
}
