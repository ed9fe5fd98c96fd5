package experiment_test

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/gomfm/gomfm/mfm/experiment"
	"github.com/gomfm/gomfm/mfm/gmm"
)

// fewSamples is an evaluation of a second.
func fewSamples() experiment.EvaluateConfig {
	return experiment.EvaluateConfig{Times: []float64{0.05, 0.5, 0.95}, Contexts: 4, Samples: 2000, Projections: 32, Seed: 1}
}

func newGMM(t *testing.T, config experiment.GMMConfig) *experiment.GMM {
	t.Helper()
	e, err := experiment.NewGMM(config)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// exact draws from the posterior itself, moved by a vector and scaled about its mean.
func exact(e *experiment.GMM, shift []float64, scale float64) experiment.Drawer {
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

// Samples of the posterior itself are at the floor, with all of its spread.
func TestEvaluateExactSamples(t *testing.T) {
	e, config := newGMM(t, experiment.DefaultGMMConfig()), fewSamples()
	rows, err := e.Evaluate(t.Context(), exact(e, []float64{0, 0}, 1), config)
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range rows {
		if r.T != config.Times[i] || r.Loss != "semigroup" || r.Distillation != "teacher" {
			t.Errorf("row %d is of t = %g, loss %s, %s", i, r.T, r.Loss, r.Distillation)
		}
		// Two sets of n samples of unit spread are about 1/√n = 0.022 apart.
		if !(r.Floor > 0 && r.Floor < 0.1*r.Spread) || !(r.Excess < 0.1) {
			t.Errorf("t = %g: floor %.3g of spread %.3g, excess %.3g", r.T, r.Floor, r.Spread, r.Excess)
		}
		// The spread of n samples has a relative error of at most about √(1/(2n)) = 0.016, over four contexts half of it.
		if math.Abs(r.Diversity-1) > 0.04 {
			t.Errorf("t = %g: diversity %.3f, want 1", r.T, r.Diversity)
		}
	}
}

// A shift by a vector d alone puts the sliced W2 at |d|/√2 in the plane; samples contracted by a factor have that diversity.
func TestEvaluateBiasedSamples(t *testing.T) {
	e, config := newGMM(t, experiment.DefaultGMMConfig()), fewSamples()
	config.Times = []float64{0.8}
	rows, err := e.Evaluate(t.Context(), exact(e, []float64{3, 4}, 1), config)
	if err != nil {
		t.Fatal(err)
	}
	if want := 5 / math.Sqrt2; math.Abs(rows[0].SW2-want) > 0.02*want {
		t.Errorf("sliced W2 = %.4f of samples moved by 5, want %.4f", rows[0].SW2, want)
	}
	if want := math.Sqrt(rows[0].SW2*rows[0].SW2-rows[0].Floor*rows[0].Floor) / rows[0].Spread; math.Abs(rows[0].Excess-want) > 1e-12 {
		t.Errorf("excess = %g, want %g", rows[0].Excess, want)
	}
	rows, err = e.Evaluate(t.Context(), exact(e, []float64{0, 0}, 0.5), config)
	if err != nil {
		t.Fatal(err)
	}
	if math.Abs(rows[0].Diversity-0.5) > 0.02 {
		t.Errorf("diversity = %.4f of contracted samples, want 0.5", rows[0].Diversity)
	}
}

// Of a law of points a posterior may be one point, which has no spread to compare with.
func TestEvaluatePoints(t *testing.T) {
	config := experiment.DefaultGMMConfig()
	var err error
	if config.Mixture, err = gmm.Points([][]float64{{-2, 1}, {2, -1}, {0, 3}}); err != nil {
		t.Fatal(err)
	}
	e, evaluation := newGMM(t, config), fewSamples()
	evaluation.Times = []float64{0.05, 0.99}
	rows, err := e.Evaluate(t.Context(), exact(e, []float64{0, 0}, 1), evaluation)
	if err != nil {
		t.Fatal(err)
	}
	if r := rows[0]; math.Abs(r.Diversity-1) > 0.1 || !(r.Spread > 0) {
		t.Errorf("at t = 0.05: %+v", r)
	}
	if r := rows[1]; r.SW2 > 1e-3 || math.IsNaN(r.Excess) || math.IsNaN(r.Diversity) {
		t.Errorf("at t = 0.99: %+v", r)
	}
}

func TestEvaluateStops(t *testing.T) {
	e, broken := newGMM(t, experiment.DefaultGMMConfig()), errors.New("broken")
	_, err := e.Evaluate(t.Context(), func(context.Context, float64, []float64, int) ([][]float64, error) { return nil, broken }, fewSamples())
	if !errors.Is(err, broken) {
		t.Errorf("error %v, want the drawer's", err)
	}
}

func TestEvaluateConfigRefuses(t *testing.T) {
	if err := experiment.DefaultEvaluateConfig().Validate(); err != nil {
		t.Error(err)
	}
	for _, tc := range []struct {
		name    string
		change  func(c *experiment.EvaluateConfig)
		message string
	}{
		{"no times", func(c *experiment.EvaluateConfig) { c.Times = nil }, "no times"},
		{"time one", func(c *experiment.EvaluateConfig) { c.Times = []float64{0.5, 1} }, "time 1"},
		{"not a time", func(c *experiment.EvaluateConfig) { c.Times = []float64{math.NaN()} }, "time NaN"},
		{"contexts", func(c *experiment.EvaluateConfig) { c.Contexts = 0 }, "contexts = 0"},
		{"samples", func(c *experiment.EvaluateConfig) { c.Samples = 1 }, "samples = 1"},
		{"projections", func(c *experiment.EvaluateConfig) { c.Projections = -1 }, "projections = -1"},
	} {
		c := fewSamples()
		tc.change(&c)
		wantError(t, tc.name, c.Validate(), tc.message)
	}
}
