package gaussian_test

import (
	"math"
	"testing"

	"github.com/gomfm/gomfm/mfm/experiment/gaussian"
	"github.com/gomfm/gomfm/mfm/experiment/steering"
	"github.com/gomfm/gomfm/mfm/internal/backendtest"
	"github.com/gomfm/gomfm/mfm/solver"
	"github.com/gomfm/gomfm/mfm/steer"
)

func setting(method string, n, steps int) steering.Setting {
	s := steering.Setting{Method: method, N: n, Samples: 4096, Config: steer.DefaultConfig()}
	s.Baseline = steer.MeanBaseline
	s.Config.Steps, s.Config.Solver = steps, solver.Heun
	return s
}

// With a linear reward the gradients of MFM-G and DPS are exact for one sample: both reach the
// tilted distribution, as the exact value does. Unsteered samples are the data, and Best-of-N has
// its mean and distance in closed form. Nothing changes the components across the reward.
func TestTask(t *testing.T) {
	b := backendtest.New(t)
	backendtest.NeedLoops(t, b)
	task, err := gaussian.New(gaussian.Problem{Dim: 8, KL: 2})
	if err != nil {
		t.Fatal(err)
	}
	const n = 16
	for method, want := range map[string]struct{ mean, std, distance float64 }{
		"exact":     {2, 1, 0},
		"mfm-g":     {2, 1, 0},
		"dps":       {2, 1, 0},
		"unsteered": {0, 1, 2},
		"best-of-n": {gaussian.ExpectedMaximum(n), 0.54, gaussian.BestOfW2(n, 2)},
	} {
		s := setting(method, n, 60)
		s.Pool = method == "unsteered"
		if method == "mfm-g" {
			s.N = 1
		}
		if err := task.Check(s); err != nil {
			t.Fatal(err)
		}
		r, err := task.Run(t.Context(), b, s)
		if err != nil {
			t.Fatal(err)
		}
		if math.Abs(r.Mean-want.mean) > 0.02+5*r.MeanSE || math.Abs(r.Std-want.std) > 0.06 ||
			math.Abs(r.W2-want.distance) > 0.1 || math.Abs(r.Across-1) > 0.02 {
			t.Errorf("%s: mean %.3f ± %.3f, standard deviation %.3f, distance %.3f, across %.3f; want %+v and 1",
				method, r.Mean, r.MeanSE, r.Std, r.W2, r.Across, want)
		}
		// Quantiles of a normal distribution along the reward, times |a|; those of Best-of-N are not
		// normal.
		for i, z := range []float64{-1.645, -0.674, 0, 0.674, 1.645} {
			if q := task.Length() * (want.mean + want.std*z); method != "best-of-n" && math.Abs(r.RewardQuantiles[i]-q) > 0.25 {
				t.Errorf("%s: quantile %d of the reward is %.3f, want %.3f", method, i, r.RewardQuantiles[i], q)
			}
		}
		if pool := r.PoolRewards; (len(pool) == 4096) != s.Pool || s.Pool && pool[2047] > pool[2048] {
			t.Errorf("%s: a pool of %d rewards", method, len(pool))
		}
		if r.TargetKL.Float() != 2 || !r.TargetEffective.IsZero() {
			t.Errorf("%s: the target is at %g nats, want 2 in closed form", method, r.TargetKL.Float())
		}
		if kl := (want.mean*want.mean+want.std*want.std-1)/2 - math.Log(want.std); math.Abs(r.Reached-kl) > 0.15 {
			t.Errorf("%s: %.2f nats from the data, want %.2f", method, r.Reached, kl)
		}
	}
}

// Problems and settings out of range are errors.
func TestCheck(t *testing.T) {
	for _, p := range []gaussian.Problem{{Dim: 0, KL: 1}, {Dim: 2, KL: 0}, {Dim: 2, KL: math.NaN()}, {Dim: 4096, KL: 1}} {
		if _, err := gaussian.New(p); err == nil {
			t.Errorf("%+v: no error", p)
		}
	}
	task, err := gaussian.New(gaussian.Problem{Dim: 2, KL: 1})
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(s *steering.Setting){
		"method": func(s *steering.Setting) { s.Method = "luck" },
		"class":  func(s *steering.Setting) { s.Class = new(int) },
		"power":  func(s *steering.Setting) { s.Config.LambdaPower = 1 },
		"n":      func(s *steering.Setting) { s.N = 0 },
	} {
		s := setting("mfm-g", 1, 20)
		if change(&s); task.Check(s) == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
