package image_test

import (
	"math"
	"strings"
	"testing"

	"github.com/gomfm/gomfm/data"
	"github.com/gomfm/gomfm/mfm/experiment/image"
	"github.com/gomfm/gomfm/mfm/experiment/run"
	"github.com/gomfm/gomfm/mfm/experiment/tuning"
	"github.com/gomfm/gomfm/mfm/internal/backendtest"
)

// Tunes the drift of the shipped map of digits for two steps and evaluates it, by low-rank updates
// and by a warm-started copy. The refitted prior of the copy alone brings the classes near the
// target.
func TestDigitsTuning(t *testing.T) {
	if testing.Short() {
		t.Skip("a UNet is compiled for its gradient")
	}
	b := backendtest.New(t)
	backendtest.NeedLoops(t, b)
	train, _, err := data.MNIST()
	if err != nil {
		t.Fatal(err)
	}
	const weights = "../../../data/weights/"
	of := image.SteeringConfig{
		Map: weights + "digits", Reward: image.PaperReward(weights + "classifier"),
		Evaluator: weights + "classifier", Second: weights + "classifier-second",
	}
	config := image.DefaultTuning()
	config.Tune.Steps, config.Tune.Batch, config.Budget.Every = 2, 4, 2
	config.Budget.Paths.Paths, config.Budget.Paths.Steps = 4, 12
	s, err := image.NewSteering(b, of, train)
	if err != nil {
		t.Fatal(err)
	}
	tuned := func(method string, network tuning.Network, tilted bool, eval tuning.EvalConfig) image.TuningResult {
		t.Helper()
		c := config
		c.Method, c.Network, c.Tilted, c.Rank = method, network, tilted, 2
		g, err := image.NewTuning(s, c)
		if err != nil {
			t.Fatal(err)
		}
		result, err := g.Train(t.Context(), b, run.Options{})
		if err != nil {
			t.Fatal(err)
		}
		r, err := g.Evaluate(t.Context(), b, result, eval)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	r := tuned("mfm-ft", "low-rank", false, tuning.EvalConfig{Samples: 32, Steps: 3})
	if r.TuneSteps != 2 || r.NFE != 3 || !(r.L2 > 0) || len(r.Images) == 0 || len(r.Evaluations) != 1 ||
		math.IsNaN(r.Diversity) {
		t.Errorf("result %+v", r)
	}
	if r := tuned("mfm-ft-gf", "tilted-copy", true, tuning.EvalConfig{Samples: 192, Steps: 16}); r.L2 > 0.15 {
		t.Errorf("L2 %.3f with the refitted prior, want at most 0.15 (base: 0.37); classes %.3f", r.L2, r.Classes)
	}
	config.Method, config.Tilted = "reward-weighted", true
	if _, err := image.NewTuning(s, config); err == nil {
		t.Error("no error for reward-weighted regression on tilted data")
	}
}

// The evaluation needs two samples and a step of the ODE, whatever an SDE needs. Invalid settings
// are rejected before training.
func TestTuneBlots(t *testing.T) {
	b := backendtest.New(t)
	backendtest.NeedLoops(t, b)
	s, err := image.NewSteering(b, digitsRuns(t, "mixture"), blots(1))
	if err != nil {
		t.Fatal(err)
	}
	tuned := func(c tuning.Setting) (image.TuningResult, error) {
		g, err := image.NewTuning(s, c.Config)
		if err != nil {
			return image.TuningResult{}, err
		}
		return tuning.Run(t.Context(), b, g, c, "", run.Options{})
	}
	setting := tuning.Setting{Config: blotsTuning("tilted-copy"), Eval: tuning.EvalConfig{Samples: 40, Steps: 1}}
	r, err := tuned(setting)
	if err != nil {
		t.Fatal(err)
	}
	if r.TuneSteps != 2 || r.NFE != 1 || r.Samples != 40 || !(r.Seconds > 0 && r.Train > 0 && r.SpreadTarget > 0) ||
		len(r.Evaluations) != 1 || !(r.Diversity > 0) {
		r.Images = nil
		t.Errorf("result %+v", r)
	}
	for want, spoil := range map[string]func(c *tuning.Setting){
		"samples = 1":          func(c *tuning.Setting) { c.Eval.Samples = 1 },
		"steps = 0":            func(c *tuning.Setting) { c.Eval.Steps = 0 },
		"has the whole λ":      func(c *tuning.Setting) { c.Config.Budget.KL = 0.1 },
		"adapter":              func(c *tuning.Setting) { c.Config.Network = "adapter" },
		"closed form":          func(c *tuning.Setting) { c.Config.Method = "plug-in-exact" },
		"use a smaller lambda": func(c *tuning.Setting) { c.Config.Tune.Lambda = 1e5 },
	} {
		broken := setting
		spoil(&broken)
		if _, err := tuned(broken); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want an error with %q, got %v", want, err)
		}
	}
}

// Without a mixture prior there is nothing to refit.
func TestTunePlainMap(t *testing.T) {
	b := backendtest.New(t)
	backendtest.NeedLoops(t, b)
	s, err := image.NewSteering(b, digitsRuns(t, "gaussian"), blots(1))
	if err != nil {
		t.Fatal(err)
	}
	for _, network := range []tuning.Network{tuning.Copy, tuning.LowRank} {
		if _, err := image.NewTuning(s, blotsTuning(network)); err != nil {
			t.Error(err)
		}
	}
	_, err = image.NewTuning(s, blotsTuning(tuning.WarmStarted))
	if err == nil || !strings.Contains(err.Error(), "prior is a mixture") {
		t.Errorf("a warm-started copy of a map without a mixture: error %v", err)
	}
}

// blotsTuning tunes a map of blots for two steps.
func blotsTuning(network tuning.Network) tuning.Config {
	c := image.DefaultTuning()
	c.Network, c.Tune.Steps, c.Tune.Batch, c.Budget.Every = network, 2, 4, 2
	c.Budget.Paths.Paths, c.Budget.Paths.Steps = 4, 12
	return c
}
