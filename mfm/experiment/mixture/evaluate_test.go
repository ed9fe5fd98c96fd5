package mixture_test

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/gomfm/gomfm/mfm/experiment/internal/experimenttest"
	"github.com/gomfm/gomfm/mfm/experiment/mixture"
	"github.com/gomfm/gomfm/mfm/gmm"
)

// fewSamples is an evaluation that takes about a second.
func fewSamples() mixture.EvalConfig {
	return mixture.EvalConfig{Times: []float64{0.05, 0.5, 0.95}, Contexts: 4, Samples: 2000, Projections: 32, Seed: 1}
}

// exact samples the posterior itself, shifted by a vector and scaled about its mean.
func exact(e *mixture.Experiment, shift []float64, scale float64) mixture.Sampler {
	rng := rand.New(rand.NewPCG(7, 7))
	return func(_ context.Context, t float64, x []float64, n int) ([][]float64, error) {
		posterior := e.Config.Mixture.Posterior(e.Map.Interpolant, t, x)
		mean, samples := posterior.Mean(), posterior.Sample(rng, n)
		for _, s := range samples {
			for i := range s {
				s[i] = mean[i] + scale*(s[i]-mean[i]) + shift[i]
			}
		}
		return samples, nil
	}
}

// Samples of the posterior itself are at the floor, with its standard deviation.
func TestEvaluateExactSamples(t *testing.T) {
	e, config := experimenttest.NewMixture(t, mixture.DefaultConfig()), fewSamples()
	results, err := e.Evaluate(t.Context(), exact(e, []float64{0, 0}, 1), config)
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range results {
		if r.T != config.Times[i] || r.Loss != "semigroup" || r.Distillation != "teacher" {
			t.Errorf("result %d is of t = %g, loss %s, %s", i, r.T, r.Loss, r.Distillation)
		}
		// Two sets of n samples of standard deviation 1 are about 1/√n = 0.022 apart.
		if !(r.Floor > 0 && r.Floor < 0.1*r.Std) || !(r.Excess.Float() < 0.1) {
			t.Errorf("t = %g: floor %.3g of standard deviation %.3g, excess %.3g", r.T, r.Floor, r.Std, r.Excess.Float())
		}
		// The standard deviation of n samples has a relative error of about √(1/(2n)) = 0.016 at
		// most, the mean over four contexts half of it.
		if math.Abs(r.Diversity.Float()-1) > 0.04 {
			t.Errorf("t = %g: diversity %.3f, want 1", r.T, r.Diversity.Float())
		}
	}
}

// In the plane, samples shifted by a vector d have a sliced W2 of |d|/√2. Samples contracted by a
// factor have that diversity.
func TestEvaluateBiasedSamples(t *testing.T) {
	e, config := experimenttest.NewMixture(t, mixture.DefaultConfig()), fewSamples()
	config.Times = []float64{0.8}
	results, err := e.Evaluate(t.Context(), exact(e, []float64{3, 4}, 1), config)
	if err != nil {
		t.Fatal(err)
	}
	if want := 5 / math.Sqrt2; math.Abs(results[0].SW2-want) > 0.02*want {
		t.Errorf("sliced W2 = %.4f of samples shifted by 5, want %.4f", results[0].SW2, want)
	}
	r := results[0]
	if want := math.Sqrt(r.SW2*r.SW2-r.Floor*r.Floor) / r.Std; math.Abs(r.Excess.Float()-want) > 1e-12 {
		t.Errorf("excess = %g, want %g", r.Excess.Float(), want)
	}
	results, err = e.Evaluate(t.Context(), exact(e, []float64{0, 0}, 0.5), config)
	if err != nil {
		t.Fatal(err)
	}
	if math.Abs(results[0].Diversity.Float()-0.5) > 0.02 {
		t.Errorf("diversity = %.4f of contracted samples, want 0.5", results[0].Diversity.Float())
	}
}

// A posterior of a mixture of points may be a single point, whose standard deviation is 0.
func TestEvaluatePoints(t *testing.T) {
	config := mixture.DefaultConfig()
	var err error
	if config.Mixture, err = gmm.Points([][]float64{{-2, 1}, {2, -1}, {0, 3}}); err != nil {
		t.Fatal(err)
	}
	e, evaluation := experimenttest.NewMixture(t, config), fewSamples()
	evaluation.Times = []float64{0.05, 0.99}
	results, err := e.Evaluate(t.Context(), exact(e, []float64{0, 0}, 1), evaluation)
	if err != nil {
		t.Fatal(err)
	}
	if r := results[0]; math.Abs(r.Diversity.Float()-1) > 0.1 || !(r.Std > 0) {
		t.Errorf("at t = 0.05: %+v", r)
	}
	if r := results[1]; r.SW2 > 1e-3 || !r.Excess.IsZero() || !r.Diversity.IsZero() {
		t.Errorf("at t = 0.99: %+v, want no excess and no diversity", r)
	}
	raw, err := json.Marshal(results[1])
	if err != nil || strings.Contains(string(raw), "excess") || strings.Contains(string(raw), "diversity") {
		t.Errorf("a result without excess is %s, error %v", raw, err)
	}
	var read mixture.PosteriorResult
	if err := json.Unmarshal(raw, &read); err != nil || !read.Excess.IsZero() || read.SW2 != results[1].SW2 {
		t.Errorf("%s is read as %+v, error %v", raw, read, err)
	}
	stored := []byte(`{"excess": 0, "diversity": 0.5}`)
	if err := json.Unmarshal(stored, &read); err != nil || read.Excess.Float() != 0 || read.Diversity.Float() != 0.5 {
		t.Errorf("a stored result is read as %+v, error %v", read, err)
	}
}

// A posterior whose standard deviation is positive, but below the resolution of float32, is a
// point.
func TestEvaluateNearlyPoints(t *testing.T) {
	config := mixture.DefaultConfig()
	var err error
	if config.Mixture, err = gmm.Points([][]float64{{-2, 1}, {2, -1}}); err != nil {
		t.Fatal(err)
	}
	e, evaluation := experimenttest.NewMixture(t, config), fewSamples()
	evaluation.Times = []float64{0.8}
	results, err := e.Evaluate(t.Context(), exact(e, []float64{1e-6, 0}, 1), evaluation)
	if err != nil {
		t.Fatal(err)
	}
	if r := results[0]; !(r.Std > 0 && r.Std < 1e-8) || !r.Excess.IsZero() || !r.Diversity.IsZero() {
		t.Errorf("at t = 0.8: %+v, want no excess and no diversity", r)
	}
}

func TestEvaluateStops(t *testing.T) {
	e, broken := experimenttest.NewMixture(t, mixture.DefaultConfig()), errors.New("broken")
	fail := func(context.Context, float64, []float64, int) ([][]float64, error) { return nil, broken }
	if _, err := e.Evaluate(t.Context(), fail, fewSamples()); !errors.Is(err, broken) {
		t.Errorf("error %v, want that of the sampler", err)
	}
}

func TestEvaluateConfigRefuses(t *testing.T) {
	if err := mixture.DefaultEvalConfig().Validate(); err != nil {
		t.Error(err)
	}
	for _, tc := range []struct {
		name    string
		change  func(c *mixture.EvalConfig)
		message string
	}{
		{"no times", func(c *mixture.EvalConfig) { c.Times = nil }, "no times"},
		{"time one", func(c *mixture.EvalConfig) { c.Times = []float64{0.5, 1} }, "time 1"},
		{"not a time", func(c *mixture.EvalConfig) { c.Times = []float64{math.NaN()} }, "time NaN"},
		{"contexts", func(c *mixture.EvalConfig) { c.Contexts = 0 }, "contexts = 0"},
		{"samples", func(c *mixture.EvalConfig) { c.Samples = 1 }, "samples = 1"},
		{"projections", func(c *mixture.EvalConfig) { c.Projections = -1 }, "projections = -1"},
	} {
		c := fewSamples()
		tc.change(&c)
		experimenttest.WantError(t, tc.name, c.Validate(), tc.message)
	}
}
