package mixture_test

import (
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/experiment/mixture"
	"github.com/gomfm/gomfm/mfm/experiment/steering"
	"github.com/gomfm/gomfm/mfm/gmm"
	"github.com/gomfm/gomfm/mfm/internal/backendtest"
	"github.com/gomfm/gomfm/mfm/metric"
	"github.com/gomfm/gomfm/mfm/reward"
	"github.com/gomfm/gomfm/mfm/solver"
	"github.com/gomfm/gomfm/mfm/steer"
)

func setting(method string, dynamics steer.Dynamics, steps int) steering.Setting {
	c := steering.Setting{Method: method, N: 4, Particles: 512, Samples: 1024, Config: steer.DefaultConfig()}
	c.Config.Dynamics, c.Config.Steps = dynamics, steps
	return c
}

// With the paper's reward and the exact value, samples are as near to the target as exact ones and
// have its weights. Unsteered samples and those of DPS do not.
func TestSteering(t *testing.T) {
	b := backendtest.New(t)
	backendtest.NeedLoops(t, b)
	s, err := mixture.NewSteering("", gmm.Paper(), mixture.PaperReward())
	if err != nil {
		t.Fatal(err)
	}
	run := func(c steering.Setting) mixture.SteeringResult {
		t.Helper()
		if err := s.Check(c); err != nil {
			t.Fatal(err)
		}
		r, err := s.Run(t.Context(), b, c)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	for _, c := range []steering.Setting{
		setting("exact", steer.ODE, 400), setting("exact", steer.SDE, 800), setting("smc-exact", steer.SDE, 400),
	} {
		r := run(c)
		if r.RewardSE.IsZero() != (c.Method == "smc-exact") {
			t.Errorf("%s: the standard error of the reward is %g, want one of independent samples alone", c.Method,
				r.RewardSE.Float())
		}
		if r.SW2 > 3*math.Max(r.Floor, 0.1) {
			t.Errorf("%+v: far from the target", r)
		}
		for k, want := range []float64{0.5716, 0.3665, 0.0619} {
			if math.Abs(r.Weights[k]-want) > 0.06 {
				t.Errorf("%s: weight %d is %.3f, want %.3f", c.Method, k, r.Weights[k], want)
			}
		}
	}
	for _, method := range []string{"unsteered", "dps"} {
		if r := run(setting(method, steer.SDE, 200)); r.SW2 < 0.8 {
			t.Errorf("%+v: sliced W2 too small, want at least 0.8", r)
		}
	}
	far := setting("dps", steer.SDE, 20)
	far.Config.Lambda = 1e4
	if r := run(far); !r.Diverged || r.Lost < 1 || r.Lost > 1024 || r.SW2 != 0 ||
		r.Config.Lambda != 1e4 || r.Samples != 1024 || r.Steps != 20 {
		t.Errorf("%+v: want a diverged result with its settings", r)
	}
	again := setting("mfm-gf", steer.SDE, 50)
	if a, b := run(again), run(again); a.SW2 != b.SW2 || a.NFE != 50*(1+2*4) {
		t.Errorf("two runs of the same setting differ: %+v, %+v", a, b)
	}
}

// Different tasks have different fingerprints, and Check rejects invalid settings.
func TestSteeringTasks(t *testing.T) {
	seen := map[string]string{}
	for name, c := range map[string]struct {
		dir string
		m   *gmm.Mixture
		r   reward.LinearGaussian
	}{
		"paper":  {"", gmm.Paper(), mixture.PaperReward()},
		"sigma":  {"", gmm.Paper(), reward.LinearGaussian{A: [][]float64{{1.2, -0.8}}, Y: []float64{-1}, Sigma: 0.3}},
		"points": {"", newPoints(t), mixture.PaperReward()},
		"map":    {"../../../data/weights/gmm-semigroup-teacher", nil, mixture.PaperReward()},
	} {
		s, err := mixture.NewSteering(c.dir, c.m, c.r)
		if err != nil {
			t.Fatal(err)
		}
		if other, there := seen[s.Fingerprint]; there || s.Fingerprint == "" {
			t.Errorf("%s and %s have the same fingerprint %q", name, other, s.Fingerprint)
		}
		seen[s.Fingerprint] = name
	}
	s, err := mixture.NewSteering("", gmm.Paper(), mixture.PaperReward())
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(c *steering.Setting){
		"method": func(c *steering.Setting) { c.Method = "luck" },
		"detach": func(c *steering.Setting) { c.Method = "mfm-g" },
		"twist": func(c *steering.Setting) {
			c.Method, c.Particles, c.Config.Dynamics = "smc-mfm-g", c.Samples, steer.SDE
		},
		"lambda": func(c *steering.Setting) { c.Config.Lambda = 0 },
		"n":      func(c *steering.Setting) { c.N = 0 },
		"groups": func(c *steering.Setting) { c.Method, c.Particles, c.Config.Dynamics = "smc-dps", 1000, steer.SDE },
		"anti":   func(c *steering.Setting) { c.Antithetic = true },
		"shared": func(c *steering.Setting) { c.Shared = true },
		"kind": func(c *steering.Setting) {
			c.Method, c.Particles, c.Config.Dynamics, c.Resampling = "smc-dps", c.Samples, steer.SDE, "luck"
		},
		"sample": func(c *steering.Setting) { c.Samples = 1 },
		"solver": func(c *steering.Setting) { c.Config.Solver = solver.Scheme("leapfrog") },
	} {
		c := setting("mfm-gf", steer.ODE, 20)
		change(&c)
		if err := s.Check(c); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	line := reward.LinearGaussian{A: [][]float64{{1}}, Y: []float64{0}, Sigma: 1}
	if _, err := mixture.NewSteering("", gmm.Paper(), line); err == nil {
		t.Error("no error for a reward of another dimension")
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

// A setting may ask for posterior samples by several steps of the map or by its ODE, at a higher
// NFE. The exact samples of a mixture have no such options.
func TestPosteriorSettings(t *testing.T) {
	b := backendtest.New(t)
	s, err := mixture.NewSteering(smallMap, nil, mixture.PaperReward())
	if err != nil {
		t.Fatal(err)
	}
	const steps, n = 4, 2
	for _, of := range []struct {
		posterior mfm.Sampling
		steps     int
		nfe       float64 // of a posterior sample
	}{
		{"", 0, 1},
		{"", 3, 3},
		// The last of Heun's steps is Euler's.
		{mfm.ODESampling, 2, 3},
	} {
		c := setting("mfm-gf", steer.ODE, steps)
		c.N, c.Samples, c.Posterior, c.PosteriorSteps = n, 64, of.posterior, of.steps
		if err := s.Check(c); err != nil {
			t.Fatal(err)
		}
		r, err := s.Run(t.Context(), b, c)
		if err != nil {
			t.Fatal(err)
		}
		if want := steps + steps*n*(of.nfe+1); r.NFE != want || r.Posterior != of.posterior || r.PosteriorSteps != of.steps {
			t.Errorf("%+v: NFE %g, settings %+v; want %g", of, r.NFE, r.RunSettings, want)
		}
	}
	best := setting("best-of-n", steer.ODE, steps)
	best.Samples = 64
	if r, err := s.Run(t.Context(), b, best); err != nil || len(r.Warnings) != 0 {
		t.Errorf("Best-of-N, which draws no posterior samples, has the warnings %q (%v)", r.Warnings, err)
	}
	exact, err := mixture.NewSteering("", gmm.Paper(), mixture.PaperReward())
	if err != nil {
		t.Fatal(err)
	}
	c := setting("mfm-gf", steer.ODE, steps)
	c.PosteriorSteps = 3
	if err := exact.Check(c); err == nil || !strings.Contains(err.Error(), "closed form") {
		t.Errorf("several steps for exact posterior samples: error %v", err)
	}
	c.Posterior, c.PosteriorSteps = mfm.ODESampling, 0
	if err := s.Check(c); err == nil || !strings.Contains(err.Error(), "denoiser") {
		t.Errorf("posterior samples by one step of the ODE: error %v", err)
	}
	c.Posterior = ""
	c.Config.NoiseSchedule = func(float64) float64 { return 1 }
	if err := s.Check(c); err == nil || !strings.Contains(err.Error(), "noise schedule") {
		t.Errorf("a noise schedule, which the JSON of a setting lacks: error %v", err)
	}
	c.Config.NoiseSchedule = nil
	c.Posterior, c.PosteriorSteps = mfm.SDESampling, 3
	if err := s.Check(c); err == nil || !strings.Contains(err.Error(), "sde") {
		t.Errorf("posterior samples by an SDE: error %v", err)
	}
}

// The targets of the declared experiment are at 1.7, 3.6, 5.7 and 8.7 nats from the mixture:
// results have the closed form of the divergence, that of an integral over the plane, of the
// target's reward and of both log densities.
func TestTargetKL(t *testing.T) {
	b := backendtest.New(t)
	raw, err := os.ReadFile("../../../figures/grids/when_steering_pays_gmm.json")
	if err != nil {
		t.Fatal(err)
	}
	grid, err := steering.ParseGrid(raw)
	if err != nil {
		t.Fatal(err)
	}
	m, want := gmm.Paper(), []float64{1.7, 3.6, 5.7, 8.7}
	if len(grid.Rewards) != len(want) {
		t.Fatalf("%d rewards, want %d", len(grid.Rewards), len(want))
	}
	for i, named := range grid.Rewards {
		s, err := mixture.NewRewardSteering("", m, named.Reward)
		if err != nil {
			t.Fatal(err)
		}
		linear, err := reward.ParseLinearGaussian(named.Reward)
		if err != nil {
			t.Fatal(err)
		}
		c := setting("exact", steer.ODE, 200)
		r, err := s.Run(t.Context(), b, c)
		if err != nil {
			t.Fatal(err)
		}
		if kl, err := mixture.TargetKL(m, linear, 1); err != nil || math.Abs(kl-r.TargetKL.Float()) > 1e-9 {
			t.Errorf("%s: TargetKL is %g (%v), that of the result %g", named.Name, kl, err, r.TargetKL.Float())
		}
		if kl := r.TargetKL.Float(); !(math.Abs(kl-want[i]) < 0.05) || !r.TargetEffective.IsZero() {
			t.Errorf("%s: the target is at %.3f nats, want %.1f", named.Name, kl, want[i])
		}
		// Integrals of e^r, r e^r and e^r log p over the plane.
		z, mean, density := 0.0, 0.0, 0.0
		const n, end = 700, 7.0
		for k := range n * n {
			x := []float64{end * (2*float64(k%n)/n - 1), end * (2*float64(k/n)/n - 1)}
			v, log := linear.At(x), m.LogDensity(x)
			p := math.Exp(v+log) * (2 * end / n) * (2 * end / n)
			z, mean, density = z+p, mean+p*v, density+p*log
		}
		near := func(name string, got metric.Optional, want, tolerance float64) {
			if !(math.Abs(got.Float()-want) < tolerance) {
				t.Errorf("%s: %s is %.4f, want %.4f", named.Name, name, got.Float(), want)
			}
		}
		near("the divergence", r.TargetKL, mean/z-math.Log(z), 1e-3)
		near("the target's reward", r.RewardTarget, mean/z, 1e-3)
		near("the target's log density", r.LogDensityTarget, density/z, 0.2)
		near("the samples' log density", r.LogDensity, density/z, 0.3)
		near("the samples' reward", r.Reward, mean/z, 0.2)
		if q := r.RewardQuantiles; len(q) != 5 || !slices.IsSorted(q) || !(q[2] < 0 && q[2] > r.Reward.Float()) {
			t.Errorf("%s: quantiles %g of negative rewards with the mean %g and a long tail", named.Name, q, r.Reward.Float())
		}
	}
}

// Without a closed form the divergence is an estimate from samples of the mixture, with their
// effective number.
func TestEstimatedTargetKL(t *testing.T) {
	b := backendtest.New(t)
	linear := `{"kind": "linear_gaussian", "a": [[1.2, -0.8]], "y": [-1], "sigma": 0.5}`
	var results []mixture.SteeringResult
	for _, text := range []string{linear, `{"kind": "scaled", "factor": 1, "of": ` + linear + `}`} {
		s, err := mixture.NewRewardSteering("", gmm.Paper(), []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		s.RewardName = "near"
		r, err := s.Run(t.Context(), b, setting("unsteered", steer.ODE, 20))
		if err != nil {
			t.Fatal(err)
		}
		results = append(results, r)
	}
	exact, estimate := results[0], results[1]
	if e := estimate.TargetKL.Float() - exact.TargetKL.Float(); !(math.Abs(e) < 0.02) {
		t.Errorf("divergence %.4f, in closed form %.4f", estimate.TargetKL.Float(), exact.TargetKL.Float())
	}
	// Of a Gaussian likelihood: (E e^r)²/E e^{2r} of all 2^18 samples.
	if n := estimate.TargetEffective.Float(); !(n > 1<<14 && n < 1<<18) || !exact.TargetEffective.IsZero() {
		t.Errorf("an effective number of %.0f samples", n)
	}
	if estimate.RewardName != "near" || math.Abs(estimate.Reward.Float()-exact.Reward.Float()) > 1e-3 {
		t.Errorf("rewards %g and %g of %q", estimate.Reward.Float(), exact.Reward.Float(), estimate.RewardName)
	}
}
