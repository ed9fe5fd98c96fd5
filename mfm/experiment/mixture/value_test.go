package mixture_test

import (
	"math"
	"strings"
	"testing"

	"github.com/gomfm/gomfm/mfm/experiment/mixture"
	"github.com/gomfm/gomfm/mfm/gmm"
	"github.com/gomfm/gomfm/mfm/internal/backendtest"
	"github.com/gomfm/gomfm/mfm/internal/mfmtest"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/reward"
)

// For a mild reward and exact posterior samples, the estimate of the value has Jensen's bias,
// -Var[e^r]/(2 N E[e^r]²) to leading order, and the matching standard deviation. The jackknife has
// almost no bias.
func TestValues(t *testing.T) {
	b := backendtest.New(t)
	// For a Gaussian and a linear measurement the moments of e^r are closed forms: log E[e^{2r}] is
	// the value of the reward with standard deviation σ/√2.
	gaussian := mfmtest.NewMixture(t, []float64{1}, [][]float64{{0.5, 0}}, [][][]float64{{{1, 0}, {0, 1}}})
	const sigma = 1.0
	r := reward.LinearGaussian{A: [][]float64{{1, 0}}, Y: []float64{1}, Sigma: sigma}
	s, err := mixture.NewSteering("", gaussian, r)
	if err != nil {
		t.Fatal(err)
	}
	// At t = 0 the posterior of every state is the distribution itself: one value.
	value := func(sigma float64) float64 {
		_, logZ, err := gaussian.Tilt(r.A, r.Y, sigma)
		if err != nil {
			t.Fatal(err)
		}
		return logZ
	}
	relative := math.Exp(value(sigma/math.Sqrt2)-2*value(sigma)) - 1 // Var[e^r]/E[e^r]²
	results, err := s.Values(b, 0, []int{8, 32}, mixture.ValueConfig{States: 16, Samples: 1 << 14, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range results {
		want := -relative / 2 / float64(r.N)
		if math.Abs(r.Bias-want) > 4*r.BiasSE+2/float64(r.N*r.N) {
			t.Errorf("n = %d: bias %.5f ± %.5f, want %.5f", r.N, r.Bias, r.BiasSE, want)
		}
		if want := math.Sqrt(relative / float64(r.N)); math.Abs(r.Std/want-1) > 0.15 {
			t.Errorf("n = %d: standard deviation %.4f, want %.4f", r.N, r.Std, want)
		}
		if math.Abs(r.Value-value(sigma)) > 1e-9 {
			t.Errorf("value %g, want %g", r.Value, value(sigma))
		}
	}
	// At t > 0 each state has its own posterior, value, bias and standard deviation.
	const at, n = 0.3, 16
	states := [][]float64{{-1, 2}, {0.4, 0}}
	exact, bias, deviation, err := s.ValueAt(b, at, states, n, mixture.ValueConfig{Samples: 1 << 18, Seed: 2})
	if err != nil {
		t.Fatal(err)
	}
	for i, x := range states {
		value := func(sigma float64) float64 {
			_, logZ, err := gaussian.Posterior(interpolant.Linear{}, at, x).Tilt(r.A, r.Y, sigma)
			if err != nil {
				t.Fatal(err)
			}
			return logZ
		}
		relative := math.Exp(value(sigma/math.Sqrt2)-2*value(sigma)) - 1
		want := -relative / 2 / n
		wantDeviation := math.Sqrt(relative / n)
		if se := deviation[i] / math.Sqrt(1<<18/n); math.Abs(exact[i]-value(sigma)) > 1e-9 ||
			math.Abs(bias[i]-want) > 4*se+0.3*math.Abs(want) || math.Abs(deviation[i]/wantDeviation-1) > 0.15 {
			t.Errorf("state %d: value %g, bias %.5f ± %.5f, standard deviation %.4f; want %g, %.5f, %.4f",
				i, exact[i], bias[i], se, deviation[i], value(sigma), want, wantDeviation)
		}
	}
	if _, _, _, err := s.ValueAt(b, 0, [][]float64{{1}}, 8, mixture.ValueConfig{Samples: 16}); err == nil {
		t.Error("a state of one element: no error")
	}
	loo, err := s.Values(b, 0, []int{8}, mixture.ValueConfig{States: 16, Samples: 1 << 14, Seed: 1, LeaveOneOut: true})
	if err != nil {
		t.Fatal(err)
	}
	if r := loo[0]; math.Abs(r.Bias) > 4*r.BiasSE+2./64/8 || math.Abs(r.Bias) > math.Abs(results[0].Bias)/3 {
		t.Errorf("jackknife: bias %.5f ± %.5f, without it %.5f", r.Bias, r.BiasSE, results[0].Bias)
	}
}

func TestValuesRejects(t *testing.T) {
	b := backendtest.New(t)
	s, err := mixture.NewSteering("", gmm.Paper(), mixture.PaperReward())
	if err != nil {
		t.Fatal(err)
	}
	quadratic := []byte(`{"kind": "quadratic", "center": [0, 0], "weight": [1, 1]}`)
	other, err := mixture.NewRewardSteering("", gmm.Paper(), quadratic)
	if err != nil {
		t.Fatal(err)
	}
	for want, f := range map[string]func() error{
		"[0, 1)": func() error {
			_, err := s.Values(b, 1, []int{1}, mixture.ValueConfig{States: 2, Samples: 2})
			return err
		},
		"2 states": func() error {
			_, err := s.Values(b, 0, []int{1}, mixture.ValueConfig{States: 1, Samples: 2})
			return err
		},
		"two estimates": func() error {
			_, err := s.Values(b, 0, []int{4}, mixture.ValueConfig{States: 2, Samples: 7})
			return err
		},
		"closed form": func() error {
			_, err := other.Values(b, 0, []int{1}, mixture.ValueConfig{States: 2, Samples: 2})
			return err
		},
	} {
		if err := f(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want an error with %q, got %v", want, err)
		}
	}
}

// The slope is that of a power law, without values of few samples or of a bias within its error.
func TestBiasSlope(t *testing.T) {
	var values []mixture.ValueResult
	for _, n := range []int{1, 16, 128, 256, 512, 1024} {
		v := mixture.ValueResult{N: n, Bias: -3 * math.Pow(float64(n), -1.5), BiasSE: 1e-6}
		switch n {
		case 1, 16:
			v.Bias = -100 // fewer than 128
		case 1024:
			v.Bias, v.BiasSE = 7, 3 // within its error
		}
		values = append(values, v)
	}
	if got := mixture.BiasSlope(values, 128); math.Abs(got+1.5) > 1e-9 {
		t.Errorf("slope %g, want -1.5", got)
	}
	if got := mixture.BiasSlope(values[:3], 128); !math.IsNaN(got) {
		t.Errorf("slope %g of a single value, want NaN", got)
	}
}
