package image_test

import (
	"math"
	"strings"
	"testing"

	"github.com/gomfm/gomfm/data"
	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/experiment/image"
	"github.com/gomfm/gomfm/mfm/experiment/report"
	"github.com/gomfm/gomfm/mfm/experiment/run"
	"github.com/gomfm/gomfm/mfm/experiment/tuning"
	"github.com/gomfm/gomfm/mfm/internal/backendtest"
	"github.com/gomfm/gomfm/mfm/nn"
	"github.com/gomfm/gomfm/mfm/tune"
)

// Tunes a copy of the drift of the shipped map of digits with the tilted prior for two steps and
// evaluates it. That prior alone brings the classes near the target.
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
	config.Method, config.Network, config.Tilted = "mfm-ft-gf", "tilted-copy", true
	s, err := image.NewSteering(b, of, train)
	if err != nil {
		t.Fatal(err)
	}
	g, err := image.NewTuning(s, config)
	if err != nil {
		t.Fatal(err)
	}
	result, err := g.Train(t.Context(), b, run.Options{})
	if err != nil {
		t.Fatal(err)
	}
	r, err := g.Evaluate(t.Context(), b, result, tuning.EvalConfig{Samples: 192, Steps: 16})
	if err != nil {
		t.Fatal(err)
	}
	if r.TuneSteps != 2 || r.NFE != 16 || !(r.L2.Float() > 0) || len(r.Images) == 0 || len(r.Evaluations) != 1 ||
		math.IsNaN(r.Diversity.Float()) {
		t.Errorf("result %+v", r)
	}
	if r.L2.Float() > 0.15 {
		t.Errorf("L2 %.3f with the refitted prior, want at most 0.15 (base: 0.37); classes %.3f", r.L2.Float(), r.Classes)
	}
	config.Method = "reward-weighted"
	if _, err := image.NewTuning(s, config); err == nil {
		t.Error("no error for reward-weighted regression on tilted data")
	}
}

// The evaluation needs two samples and a step of the ODE, whatever an SDE needs. The drift is a
// copy with the tilted prior, or the base with low-rank updates. Invalid settings are rejected
// before training.
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
	if r.TuneSteps != 2 || r.NFE != 1 || r.Samples != 40 || !(r.Seconds > 0 && r.Train > 0 && r.StdTarget > 0) ||
		len(r.Evaluations) != 1 || !(r.Diversity.Float() > 0) {
		r.Images = nil
		t.Errorf("result %+v", r)
	}
	updates := setting
	updates.Config.Method, updates.Config.Network, updates.Config.Tilted, updates.Config.Rank = "mfm-ft", "low-rank", false, 2
	updates.Eval.Steps = 3
	if r, err = tuned(updates); err != nil {
		t.Fatal(err)
	}
	if r.TuneSteps != 2 || r.NFE != 3 || !(r.L2.Float() > 0) || len(r.Images) == 0 || len(r.Evaluations) != 1 ||
		math.IsNaN(r.Diversity.Float()) {
		r.Images = nil
		t.Errorf("low-rank updates: result %+v", r)
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

// A map with classes is tuned for all of them or for one, at states of any origin; it is steered
// with guidance of drift and posterior samples, and diagnosed for one class with guidance.
func TestTuneClasses(t *testing.T) {
	b := backendtest.New(t)
	backendtest.NeedLoops(t, b)
	of := digitsRuns(t, "mixture", func(c *image.Config) {
		network := nn.MLPConfig{Width: 8, Depth: 1, Activation: "silu", Classes: 2}
		c.Network, c.Train.Loss.Distillation, c.Train.Loss.Consistency = nn.NewNetwork(network), mfm.Self, mfm.Semigroup
		c.Train.Loss.Guidance = mfm.Guidance{Classes: 2, Dropout: 0.2}
	})
	images := blots(1)
	s, err := image.NewSteering(b, of, images)
	if err != nil {
		t.Fatal(err)
	}
	one, two := 1, 2
	setting := tuning.Setting{Config: blotsTuning(tuning.WarmStarted), Eval: tuning.EvalConfig{Samples: 40, Steps: 2}}
	setting.Config.Tune.Batch = 48
	setting.Config.Tune.States = tune.StateSampling{OnPolicy: 0.5, Replay: 0.25, Steps: 12, Capacity: 100}
	setting.Config.Tune.Noise.Start = 0.1
	for _, c := range []struct {
		class   *int
		network tuning.Network
	}{{nil, tuning.WarmStarted}, {&one, tuning.Copy}} {
		setting.Config.Class, setting.Config.Network = c.class, c.network
		g, err := image.NewTuning(s, setting.Config)
		if err != nil {
			t.Fatal(err)
		}
		r, err := tuning.Run(t.Context(), b, g, setting, "", run.Options{})
		if err != nil {
			t.Fatal(err)
		}
		r.Images = nil
		if r.Diverged || r.TuneSteps != 2 || r.Class != c.class || len(r.Evaluations) != 1 || !(r.L2.Float() >= 0) {
			t.Errorf("result %+v", r)
		}
		// The classifiers tell the classes of the training images.
		if second := r.Target[1]; math.Abs(second-0.5) > 0.02 && c.class == nil || second < 0.98 && c.class != nil {
			t.Errorf("class %v: shares %.3f of the target", c.class != nil, r.Target)
		}
	}
	setting.Config.Class = &two
	if _, err := image.NewTuning(s, setting.Config); err == nil || !strings.Contains(err.Error(), "class = 2") {
		t.Errorf("a class that the map does not have: error %v", err)
	}

	steered := report.Steered(4, 8)
	steered.Class, steered.Guidance, steered.GuidePosterior = &one, 2, true
	if err := s.Check(steered); err != nil {
		t.Fatal(err)
	}
	if r, err := s.Run(t.Context(), b, steered); err != nil || r.NFE != 4*(2+2*16+16) {
		t.Errorf("NFE %g, %v; want %d", r.NFE, err, 4*(2+2*16+16))
	}

	o := report.Options{
		Config: image.DefaultDiagnosis(), Reward: of.Reward, Evaluator: of.Evaluator, Second: of.Second, Class: &one,
		Guidance: 2,
	}
	o.Times, o.Contexts = []float64{0.5}, 4
	diagnosed, err := image.Diagnose(t.Context(), b, of.Map, images, images, o)
	if err != nil {
		t.Fatal(err)
	}
	if len(diagnosed.Results) != 1 {
		t.Errorf("%d results, want one", len(diagnosed.Results))
	}
	o.Reward, o.Guidance = nil, 0
	o.Contexts = 31 // more than the images of a class, which are then all evaluated
	diagnosed, err = image.Diagnose(t.Context(), b, of.Map, images, images, o)
	if err != nil {
		t.Fatal(err)
	}
	if diagnosed.Config.Contexts != 30 {
		t.Errorf("%d contexts of 30 images", diagnosed.Config.Contexts)
	}
	single, err := images.Subset([]int{0, 1})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := image.Diagnose(t.Context(), b, of.Map, images, single, o); err == nil || !strings.Contains(err.Error(), "at least 2") {
		t.Errorf("one image of the class: error %v", err)
	}
	o.Class = &two
	if _, err := image.Diagnose(t.Context(), b, of.Map, images, images, o); err == nil || !strings.Contains(err.Error(), "class = 2") {
		t.Errorf("class 2: error %v, want one with its name", err)
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
		t.Errorf("a tilted copy of a map without a mixture: error %v", err)
	}
}

// blotsTuning tunes a map of blots for two steps.
func blotsTuning(network tuning.Network) tuning.Config {
	c := image.DefaultTuning()
	c.Network, c.Tune.Steps, c.Tune.Batch, c.Budget.Every = network, 2, 4, 2
	c.Budget.Paths.Paths, c.Budget.Paths.Steps = 4, 12
	return c
}
