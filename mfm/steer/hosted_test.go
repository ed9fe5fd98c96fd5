package steer_test

import (
	"context"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm/gmm"
	"github.com/gomfm/gomfm/mfm/internal/backendtest"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/reward"
	"github.com/gomfm/gomfm/mfm/solver"
	"github.com/gomfm/gomfm/mfm/steer"
)

// inGo is measured in plain Go.
func inGo(samples []float32, shape []int) ([]float64, error) {
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

func newHosted(t testing.TB, r reward.Host, method steer.Method) *steer.Steerer {
	t.Helper()
	s, err := steer.NewHosted(backendtest.New(t), model.NewStore(), steer.FromMixture(gmm.Paper(), interpolant.Linear{}), r, []int{2}, method)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Finalize)
	return s
}

// A reward in Go gives what the same reward on the device gives, by every method that needs no gradient of it.
func TestHostedRewards(t *testing.T) {
	const n, k = 12, 5
	draws := steer.Draws{N: 4}
	gf := steer.MFMGF{Draws: draws, Baseline: steer.MeanBaseline}
	for _, m := range []steer.Method{
		steer.Guided{Config: config(steer.ODE, k)},
		steer.Guided{Config: config(steer.ODE, k), Estimator: gf},
		steer.Guided{Config: config(steer.SDE, k), Estimator: steer.MFMGF{Draws: draws, Baseline: steer.DenoiserBaseline}},
		steer.BestOf{Config: config(steer.ODE, k), N: 3},
		steer.SMC{Config: config(steer.SDE, k), Particles: n, Resampling: steer.Systematic, Threshold: 0.5},
		steer.SMC{Config: config(steer.SDE, k), Particles: n, Twist: gf, Resampling: steer.Systematic, Threshold: 1},
		steer.Search{Config: config(steer.SDE, k), Particles: 2, N: 3, Selection: steer.Greedy, Transition: steer.Keep},
		steer.Search{Config: config(steer.SDE, k), Particles: 2, N: 3, Selection: steer.Pooled, Transition: steer.Renoise},
	} {
		asked := 0
		counting := func(samples []float32, shape []int) ([]float64, error) {
			asked += shape[0]
			return inGo(samples, shape)
		}
		got := sample(t, newHosted(t, counting, m), 3, n)
		report := n // rewards that the run itself had no use for
		switch m.(type) {
		case steer.BestOf, steer.SMC:
			report = 0
		}
		if extra := asked - int(got.Counts.Reward); extra != report {
			t.Errorf("%v: %d rewards were asked for, %d are counted: want %d more", m, asked, got.Counts.Reward, report)
		}
		want := sample(t, newSteerer(t, steer.FromMixture(gmm.Paper(), interpolant.Linear{}), measured().Reward(), m), 3, n)
		for i, v := range want.Samples {
			if math.Abs(float64(got.Samples[i]-v)) > 1e-3*(1+math.Abs(float64(v))) {
				t.Errorf("%v: number %d of the samples is %g, on the device %g", m, i, got.Samples[i], v)
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
			t.Errorf("%v: counts %+v, %d weights and %d constants; on the device %+v, %d and %d", m, got.Counts, len(got.LogWeights), len(got.LogZ), want.Counts, len(want.LogWeights), len(want.LogZ))
		}
		for i, v := range want.Series.Effective {
			if math.Abs(got.Series.Effective[i]-v) > 1e-3*(1+v) {
				t.Errorf("%v: effective draws of step %d: %g, on the device %g", m, i, got.Series.Effective[i], v)
				break
			}
		}
	}
}

// What a reward in Go cannot serve, and what it does wrong, is said.
func TestHostedRefuses(t *testing.T) {
	gf := steer.MFMGF{Draws: steer.Draws{N: 2}, Baseline: steer.MeanBaseline}
	plain := steer.Guided{Config: config(steer.ODE, 4), Estimator: gf}
	heun := plain
	heun.Solver = solver.Heun
	ctx, cancel := context.WithCancel(t.Context())
	for want, c := range map[string]struct {
		reward reward.Host
		method steer.Method
	}{
		"gradient of the reward": {inGo, steer.Guided{Config: config(steer.ODE, 4), Estimator: steer.DPS{}}},
		"asks twice":             {inGo, heun},
		"3 numbers":              {func([]float32, []int) ([]float64, error) { return make([]float64, 3), nil }, plain},
		"no luck":                {func([]float32, []int) ([]float64, error) { return nil, errors.New("no luck") }, plain},
		"stopped after 1 of 4 steps": {func(_ []float32, shape []int) ([]float64, error) {
			cancel()
			return make([]float64, shape[0]), nil
		}, plain},
	} {
		s := newHosted(t, c.reward, c.method)
		run := t.Context()
		if strings.HasPrefix(want, "stopped") {
			run = ctx
		}
		if _, err := s.Sample(run, 1, 4, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: error %v, want one of %q", c.method, err, want)
		}
	}
}

// A reward in Go that is no number at some samples is reported, and gives the others their weight.
func TestHostedBadRewards(t *testing.T) {
	holes := func(x []float32, shape []int) ([]float64, error) {
		out := make([]float64, shape[0])
		for i := range out {
			out[i] = math.Log(float64(x[2*i])) // NaN to the left
		}
		return out, nil
	}
	got := sample(t, newHosted(t, holes, steer.BestOf{Config: config(steer.ODE, 10), N: 2}), 1, 200)
	bad := 0
	for i := range got.Rewards {
		if x := got.Samples[2*i]; math.IsNaN(float64(x)) {
			t.Fatalf("sample %d is NaN", i)
		} else if x < 0 {
			bad++
		}
	}
	if n, _ := got.Bad(); n != bad || bad == 0 || bad > 100 {
		t.Errorf("%d rewards are reported bad, %d samples are to the left of 200 with a choice of two each", n, bad)
	}
}
