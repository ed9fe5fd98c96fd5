package alignment

import (
	"context"
	"errors"
	"math"
	"reflect"
	"slices"
	"testing"

	. "github.com/gomlx/gomlx/core/graph"

	"github.com/gomfm/gomfm/mfm/experiment/image"
	"github.com/gomfm/gomfm/mfm/experiment/internal/experimenttest"
	"github.com/gomfm/gomfm/mfm/experiment/run"
	"github.com/gomfm/gomfm/mfm/experiment/tuning"
	"github.com/gomfm/gomfm/mfm/internal/backendtest"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/train"
	"github.com/gomfm/gomfm/mfm/tune"
)

// smallTuning is a tuning that takes seconds.
func smallTuning() tuning.Config {
	c := DefaultTuning()
	c.Tune.Steps, c.Tune.Batch, c.Tune.EMA, c.Tune.Lambda, c.Tune.LambdaWarmup = 60, 16, []float64{0.8}, 1, 0
	c.Tune.Optimizer.Rate = 1e-2
	c.Budget.Every, c.Budget.Paths = 20, tune.PathConfig{Paths: 16, Steps: 12, Start: 0.02}
	return c
}

// Fine-tuning raises the reward of the samples of the ODE, of which it keeps those along the
// training. An interrupted training resumes with the same numbers.
func TestTuning(t *testing.T) {
	b, m := backendtest.New(t), gaussianModel(t)
	s, err := m.To(b, []byte(`{"kind": "brightness", "weight": 400}`), nil)
	if err != nil {
		t.Fatal(err)
	}
	eval := tuning.EvalConfig{Samples: 64, Steps: 12}
	tuned := func(dir string, hooks ...train.Hook) (*Tuning, *tuning.Result, error) {
		one, err := NewTuning(s, smallTuning(), 0)
		if err != nil {
			t.Fatal(err)
		}
		if err := one.Check(tuning.Setting{Eval: eval}); err != nil {
			t.Fatal(err)
		}
		r, err := one.Train(t.Context(), b, run.Options{Dir: dir, Hooks: hooks})
		return one, r, err
	}
	one, whole, err := tuned("")
	if err != nil {
		t.Fatal(err)
	}
	r, err := one.Evaluate(t.Context(), b, whole, eval)
	if err != nil {
		t.Fatal(err)
	}
	// The samples along the training share their noise.
	if gain := r.Reward.Float() - r.RewardBase.Float(); !(gain > 0) || r.TuneSteps != 60 || r.NFE != 12 ||
		r.HeldOutBase.IsZero() || r.Diversity.IsZero() || len(r.Pictures) == 0 {
		t.Errorf("the reward rises by %g: %+v", gain, r)
	}
	if len(r.Sampled) != 3 || len(r.Evaluations) != 3 || r.Sampled[2].Step != 60 {
		t.Fatalf("along the training: samples %+v, paths %+v", r.Sampled, r.Evaluations)
	}
	for i := range 2 {
		if !(r.Sampled[i+1].Reward.Float() > r.Sampled[i].Reward.Float() && r.Evaluations[i+1].KL > r.Evaluations[i].KL) {
			t.Errorf("reward or divergence do not rise: samples %+v, paths %+v", r.Sampled, r.Evaluations)
		}
	}
	dir, stop := t.TempDir(), errors.New("stop")
	_, _, err = tuned(dir, stopAt(30, stop))
	if !errors.Is(err, stop) {
		t.Fatal(err)
	}
	again, resumed, err := tuned(dir)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(again.along, one.along) {
		t.Errorf("a resumed training has the samples %+v, want %+v", again.along, one.along)
	}
	for name, v := range whole.Weights {
		if !v.Equal(resumed.Weights[name]) {
			t.Errorf("a resumed training has other weights %s", name)
		}
	}
	opened, err := m.OpenTuned(dir)
	if err != nil {
		t.Fatal(err)
	}
	pixels, err := opened.Sample(t.Context(), b, 5, eval.Steps, 1, one.labels(64))
	if err != nil {
		t.Fatal(err)
	}
	sampler, err := one.ode(b, whole.Store, whole.Drift, eval.Steps)
	if err != nil {
		t.Fatal(err)
	}
	defer sampler.Finalize()
	latents, err := one.draw(t.Context(), sampler, 5, 64)
	if err != nil {
		t.Fatal(err)
	}
	if want, err := m.decoder.decode(t.Context(), latents); err != nil || !slices.Equal(pixels, want) {
		t.Errorf("a tuned drift that is opened has other samples than after its training (%v)", err)
	}
	for name, change := range map[string]func(other *Model){
		"another map":         func(other *Model) { other.Config.Train.Steps++ },
		"another autoencoder": func(other *Model) { other.codec = []any{"another"} },
	} {
		other := *m
		change(&other)
		_, err = other.OpenTuned(dir)
		experimenttest.WantError(t, name, err, "was tuned from another map")
	}
	// Pictures are shown beside those of the base from the same noise, and compared with others.
	before := func(seed int64) pictureValues {
		sampler, err := one.ode(b, whole.Store, whole.Model.Drift, eval.Steps)
		if err != nil {
			t.Fatal(err)
		}
		defer sampler.Finalize()
		if latents, err = one.draw(t.Context(), sampler, seed, 64); err != nil {
			t.Fatal(err)
		}
		values, drawn, err := one.evaluate(t.Context(), latents, one.labels(64))
		if err != nil {
			t.Fatal(err)
		}
		pixels = drawn
		return values
	}
	if want, _ := meanSE(before(baseSeed).reward, true); math.Abs(want.Float()-r.RewardBase.Float()) > 1e-9 {
		t.Errorf("reward of the base %g, want %g of independent noise", r.RewardBase.Float(), want.Float())
	}
	before(eval.Seed)
	size := m.Size()
	shown, err := image.Unstrip(r.Pictures, []int{2 * size[0], size[1], size[2]}, 1)
	if err != nil {
		t.Fatal(err)
	}
	for i := range size[0] * size[1] * size[2] {
		if want := min(max(pixels[i], -1), 1); math.Abs(float64(shown[i]-want)) > 1.01/255 {
			t.Fatalf("value %d of the first picture of the base is %g, want %g", i, shown[i], want)
		}
	}
	// A training that its budget ends has samples of its last step, too.
	c := smallTuning()
	c.Budget.KL, c.Budget.Stop = 1e-9, true
	bounded, err := NewTuning(s, c, 0)
	if err != nil {
		t.Fatal(err)
	}
	if r, err := bounded.Train(t.Context(), b, run.Options{}); err != nil || !r.Stopped || r.Steps != 20 ||
		!reflect.DeepEqual(bounded.along, one.along[:1]) {
		t.Errorf("a training that its budget ends has the samples %+v, want %+v (%v)", bounded.along, one.along[:1], err)
	}
	// A finished one is not trained again.
	if last, _, err := tuned(dir, stopAt(1, stop)); err != nil || !reflect.DeepEqual(last.along, one.along) {
		t.Errorf("samples of a finished training: %+v (%v)", last.along, err)
	}
}

// stopAt returns a hook that ends a training with an error at a step.
func stopAt(step int64, err error) train.Hook {
	return train.Hook{Step: func(_ *train.Trainer, m train.Metrics) error {
		if m.Step == step {
			return err
		}
		return nil
	}}
}

func TestTuningRefuses(t *testing.T) {
	b, m := backendtest.New(t), gaussianModel(t)
	s, err := m.To(b, []byte(`{"kind": "symmetry"}`), nil)
	if err != nil {
		t.Fatal(err)
	}
	black, err := m.To(b, []byte(`{"kind": "compressibility", "quality": 90}`), nil)
	if err != nil {
		t.Fatal(err)
	}
	two := 2
	for want, c := range map[string]struct {
		s      *Steering
		change func(c *tuning.Config)
	}{
		"black-box reward":          {black, func(*tuning.Config) {}},
		"no value in closed form":   {s, func(c *tuning.Config) { c.Method = "plug-in-exact" }},
		"for a map of latents use":  {s, func(c *tuning.Config) { c.Network = tuning.Adapter }},
		"tilted = true":             {s, func(c *tuning.Config) { c.Tilted = true }},
		"class = 2: must lie in [0": {s, func(c *tuning.Config) { c.Class = &two }},
		"tune.ema is empty":         {s, func(c *tuning.Config) { c.Tune.EMA = nil }},
		"lambda = 0":                {s, func(c *tuning.Config) { c.Tune.Lambda = 0 }},
	} {
		config := smallTuning()
		c.change(&config)
		_, err := NewTuning(c.s, config, 0)
		experimenttest.WantError(t, want, err, want)
	}
	plain, err := NewTuning(s, smallTuning(), 0)
	if err != nil {
		t.Fatal(err)
	}
	guided, err := NewTuning(s, smallTuning(), 2)
	if err != nil || plain.Fingerprint == guided.Fingerprint {
		t.Errorf("guidance does not change the fingerprint (%v)", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := guided.Train(ctx, b, run.Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("a canceled training: %v", err)
	}
	setting := tuning.Setting{Config: smallTuning(), Eval: tuning.EvalConfig{Steps: 12}}
	if d := plain.Diverged(setting, nil); !d.Result.Diverged || d.TuneSteps != 60 || d.NFE != 12 {
		t.Errorf("the result of a training that diverged: %+v", d)
	}
	if d := guided.Diverged(setting, nil); d.NFE != 2*12 { // with and without a class
		t.Errorf("12 steps with guidance are %g evaluations", d.NFE)
	}
}

// The choices of σ_t² are what their texts say, and the configurations with them are valid.
func TestNoises(t *testing.T) {
	times := []float64{0.005, 0.05, 0.2, 0.5, 0.9}
	doob := func(t float64) float64 { return (1 - t) / t }
	want := map[string]func(t float64) float64{
		"doob": func(t float64) float64 { return doob(max(t, 0.01)) }, "late": func(t float64) float64 { return doob(max(t, 0.1)) },
		"constant": func(float64) float64 { return 1 },
	}
	for _, n := range Noises() {
		got, err := CallOnce(backendtest.New(t), func(t *Node) *Node { return n.Noise.Half(interpolant.Linear{}, t) }, times)
		if err != nil {
			t.Fatal(err)
		}
		for i, v := range got.Value().([]float64) {
			if e := want[n.Name](times[i]); math.Abs(v-e) > 1e-12*e {
				t.Errorf("%s: σ²/2 = %g at t = %g, want %g", n.Name, v, times[i], e)
			}
		}
		for _, c := range []tuning.Config{DefaultTuning(), PaperTuning()} {
			if c.Tune.Noise = n.Noise; c.Validate() != nil {
				t.Error(c.Validate())
			}
		}
	}
	if len(Noises()) != len(want) || !slices.Equal(PaperLambdas(), []float64{10, 25, 50}) || PaperTuning().Tune.Steps != 10_000 {
		t.Error("the choices are others")
	}
}
