package steer_test

import (
	"context"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/gomfm/gomfm/mfm/gmm"
	"github.com/gomfm/gomfm/mfm/internal/backendtest"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/reward"
	"github.com/gomfm/gomfm/mfm/solver"
	"github.com/gomfm/gomfm/mfm/steer"
)

// measuredInGo is the reward measured in plain Go.
func measuredInGo(samples []float32, shape []int) ([]float64, error) {
	r := measured()
	out := make([]float64, shape[0])
	for i := range out {
		misfit := r.Y[0]
		for j, a := range r.A[0] {
			misfit -= a * float64(samples[2*i+j])
		}
		out[i] = -misfit * misfit / (2 * r.Sigma * r.Sigma)
	}
	return out, nil
}

func newBlackBox(t testing.TB, r reward.Host, method steer.Method) *steer.Steerer {
	t.Helper()
	m := steer.FromMixture(gmm.Paper(), interpolant.Linear{})
	s, err := steer.NewBlackBox(backendtest.New(t), m, r, method)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Finalize)
	return s
}

// A black-box reward gives the same results as the same reward on the device, for every method that
// needs no gradient.
func TestBlackBoxReward(t *testing.T) {
	const n, k = 12, 5
	draws := steer.PosteriorSamples{N: 4}
	gf := steer.MFMGF{PosteriorSamples: draws, Baseline: steer.MeanBaseline}
	for _, m := range []steer.Method{
		steer.Guided{Config: config(steer.ODE, k)},
		steer.Guided{Config: config(steer.ODE, k), Estimator: gf},
		steer.Guided{
			Config:    config(steer.SDE, k),
			Estimator: steer.MFMGF{PosteriorSamples: draws, Baseline: steer.DenoiserBaseline},
		},
		steer.BestOf{Config: config(steer.ODE, k), N: 3},
		steer.OneStepBestOf{Config: config(steer.ODE, 1), N: 3},
		steer.SMC{Config: config(steer.SDE, k), Particles: n, Resampling: steer.Systematic, Threshold: 0.5},
		steer.SMC{Config: config(steer.SDE, k), Particles: n, Twist: gf, Resampling: steer.Systematic, Threshold: 1},
		steer.Search{Config: config(steer.SDE, k), Particles: 2, N: 3, Selection: steer.Greedy, Transition: steer.DDPM},
		steer.Search{
			Config: config(steer.SDE, k), Particles: 2, N: 3, Selection: steer.SoftmaxSelection,
			Transition: steer.Renoise,
		},
	} {
		evaluated := 0
		counting := func(samples []float32, shape []int) ([]float64, error) {
			evaluated += shape[0]
			return measuredInGo(samples, shape)
		}
		got := sample(t, newBlackBox(t, counting, m), 3, n)
		report := n // rewards of the samples, which the run itself does not need
		switch m.(type) {
		case steer.BestOf, steer.OneStepBestOf, steer.SMC:
			report = 0
		}
		if extra := evaluated - int(got.Counts.Reward); extra != report {
			t.Errorf("%v: %d rewards were evaluated and %d counted, want %d more than counted",
				m, evaluated, got.Counts.Reward, report)
		}
		onDevice := newSteerer(t, steer.FromMixture(gmm.Paper(), interpolant.Linear{}), measured().Reward(), m)
		want := sample(t, onDevice, 3, n)
		for i, v := range want.Samples {
			if math.Abs(float64(got.Samples[i]-v)) > 1e-3*(1+math.Abs(float64(v))) {
				t.Errorf("%v: element %d of the samples is %g, on the device %g", m, i, got.Samples[i], v)
				break
			}
		}
		for i, v := range want.Rewards {
			if math.Abs(got.Rewards[i]-v) > 1e-3*(1+math.Abs(v)) {
				t.Errorf("%v: reward %d is %g, on the device %g", m, i, got.Rewards[i], v)
				break
			}
		}
		if got.Counts != want.Counts || len(got.LogWeights) != len(want.LogWeights) || len(got.LogZ) != len(want.LogZ) {
			t.Errorf("%v: counts %+v, %d weights and %d estimates of log Z; on the device %+v, %d and %d", m,
				got.Counts, len(got.LogWeights), len(got.LogZ), want.Counts, len(want.LogWeights), len(want.LogZ))
		}
		for i, v := range want.Series.Effective {
			if math.Abs(got.Series.Effective[i]-v) > 1e-3*(1+v) {
				t.Errorf("%v: effective number of samples in step %d is %g, on the device %g",
					m, i, got.Series.Effective[i], v)
				break
			}
		}
	}
}

// Methods that need more than a black-box reward has, and failures of the reward, are errors.
func TestBlackBoxErrors(t *testing.T) {
	gf := steer.MFMGF{PosteriorSamples: steer.PosteriorSamples{N: 2}, Baseline: steer.MeanBaseline}
	plain := steer.Guided{Config: config(steer.ODE, 4), Estimator: gf}
	heun := plain
	heun.Solver = solver.Heun
	ctx, cancel := context.WithCancel(t.Context())
	for want, c := range map[string]struct {
		reward reward.Host
		method steer.Method
	}{
		"gradient of the reward": {measuredInGo, steer.Guided{Config: config(steer.ODE, 4), Estimator: steer.DPS{}}},
		"rewards twice":          {measuredInGo, heun},
		"3 numbers":              {func([]float32, []int) ([]float64, error) { return make([]float64, 3), nil }, plain},
		"no luck": {func([]float32, []int) ([]float64, error) { return nil, errors.New("no luck") },
			plain},
		"stopped after 1 of 4 steps": {func(_ []float32, shape []int) ([]float64, error) {
			cancel()
			return make([]float64, shape[0]), nil
		}, plain},
	} {
		s := newBlackBox(t, c.reward, c.method)
		run := t.Context()
		if strings.HasPrefix(want, "stopped") {
			run = ctx
		}
		if _, err := s.Sample(run, 1, 4, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: error %v, want one with %q", c.method, err, want)
		}
	}
}

// A type that embeds a method may have its own Build, which a black-box reward would not call: it
// is refused.
func TestBlackBoxRefusesOtherTypes(t *testing.T) {
	method := struct{ steer.Guided }{steer.Guided{Config: config(steer.ODE, 4)}}
	m := steer.FromMixture(gmm.Paper(), interpolant.Linear{})
	_, err := steer.NewBlackBox(backendtest.New(t), m, measuredInGo, method)
	if err == nil || !strings.Contains(err.Error(), "cannot stop for a black-box reward") {
		t.Errorf("error %v", err)
	}
}

// Samples whose black-box reward is NaN are reported and have no weight.
func TestBlackBoxBadRewards(t *testing.T) {
	holes := func(x []float32, shape []int) ([]float64, error) {
		out := make([]float64, shape[0])
		for i := range out {
			out[i] = math.Log(float64(x[2*i])) // NaN for x₁ < 0
		}
		return out, nil
	}
	got := sample(t, newBlackBox(t, holes, steer.BestOf{Config: config(steer.ODE, 10), N: 2}), 1, 200)
	bad := 0
	for i := range got.Rewards {
		if x := got.Samples[2*i]; math.IsNaN(float64(x)) {
			t.Fatalf("sample %d is NaN", i)
		} else if x < 0 {
			bad++
		}
	}
	if n, _ := got.Bad(); n != bad || bad == 0 || bad > 100 {
		t.Errorf("%d bad rewards are reported, but %d of 200 samples, each the best of two, have x₁ < 0", n, bad)
	}
}
