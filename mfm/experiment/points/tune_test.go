package points

import (
	"math"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gomfm/gomfm/mfm/experiment/run"
	"github.com/gomfm/gomfm/mfm/experiment/tuning"
	"github.com/gomfm/gomfm/mfm/internal/backendtest"
	"github.com/gomfm/gomfm/mfm/nn"
)

// quickTuning trains in a second.
func quickTuning() tuning.Config {
	c := DefaultTuning()
	network := nn.DefaultMLP()
	network.Width, network.Depth = 16, 1
	c.Adapter, c.N = nn.NewNetwork(network), 4
	c.Tune.Steps, c.Tune.Batch, c.Tune.EMA = 240, 128, []float64{0.95}
	c.Tune.Optimizer.Rate = 1e-2
	c.Budget.Every, c.Budget.Paths.Paths, c.Budget.Paths.Steps = 120, 128, 100
	return c
}

// A linear reward a·x tilts N(m, C) to N(m + λ C a, C). A tuned drift samples it by its ODE, at a
// divergence of λ² aᵀ C a/2, and a finished run opens with the same samples.
func TestTuningOfAGaussian(t *testing.T) {
	b, dir := backendtest.New(t), filepath.Join(t.TempDir(), "run")
	s := exactSteering(t, `{"kind": "linear", "weights": {"mass": 0.08, "ratio": 20}}`)
	tuned, err := NewTuning(s, quickTuning())
	if err != nil {
		t.Fatal(err)
	}
	got, err := tuned.Train(t.Context(), b, run.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	eval := tuning.EvalConfig{Samples: 1024, Steps: 100}
	r, err := tuned.Evaluate(t.Context(), b, got, eval)
	if err != nil {
		t.Fatal(err)
	}
	const square, before = 0.08*0.08*100 + 20*20*1e-4, 28.
	for name, v := range map[string][3]float64{
		"reward": {r.Reward.Float(), before + square, 0.2}, "before": {r.RewardBefore.Float(), before, 0.1},
		"of the SDE":    {r.RewardSDE, before + square, 0.2},
		"of the target": {r.RewardTarget.Float(), before + square, 0.05},
		"divergence":    {r.KL, square / 2, 0.1}, "of the rows": {r.TargetKL.Float(), square / 2, 0.03},
	} {
		if !(math.Abs(v[0]-v[1]) < v[2]) {
			t.Errorf("%s is %.3f, want %.3f", name, v[0], v[1])
		}
	}
	for j, want := range []float64{108, 1.002} {
		if c := r.Columns[j]; math.Abs(c.Mean-want) > 0.2*c.Std || math.Abs(c.Std/c.StdBefore.Float()-1) > 0.12 {
			t.Errorf("column %+v, want a mean of %g", c, want)
		}
	}
	if !(r.SW2.Float() < r.SW2Before.Float()/2) || len(r.Evaluations) != 2 || r.Steps != 240 || r.NFE <= 0 {
		t.Errorf("result %+v", r)
	}

	want, err := tuned.Sample(t.Context(), b, got, tuning.EvalConfig{Samples: 4, Steps: 10})
	if err != nil {
		t.Fatal(err)
	}
	again := &tuning.Result{}
	if err := again.Open(dir, 240, tuned.base, tuned.network); err != nil {
		t.Fatal(err)
	}
	samples, err := tuned.Sample(t.Context(), b, again, tuning.EvalConfig{Samples: 4, Steps: 10})
	if err != nil || samples[3][0] != want[3][0] || len(samples) != 4 {
		t.Errorf("samples of an opened run %v, want %v (%v)", samples, want, err)
	}
	other := quickTuning()
	other.N = 2
	if tuned, err = NewTuning(s, other); err == nil {
		_, err = tuned.Train(t.Context(), b, run.Options{Dir: dir})
	}
	if err == nil {
		t.Error("a run continues with another configuration")
	}
}

// Each class is tuned to its own tilted distribution, so that the shares of the classes stay.
func TestTuningTargetOfClasses(t *testing.T) {
	config := oneGaussian()
	config.SetClasses("kind", 2)
	data := split(t, gaussians(4000, true))
	e, store := bare(t, config, data)
	s, err := NewSteering(e, store, data, []byte(`{"kind": "linear", "weights": {"mass": 0.1}}`))
	if err != nil {
		t.Fatal(err)
	}
	tuned, err := NewTuning(s, quickTuning())
	if err != nil {
		t.Fatal(err)
	}
	target, few := tuned.target()
	if few != "" {
		t.Fatal(few)
	}
	for class, want := range []float64{70 + 10, 130 + 10} { // by λ C a each
		share, mean := 0., 0.
		for i, w := range target.w {
			if int(data.Train.Classes[i]) == class {
				share, mean = share+w, mean+w*data.Train.Rows[i][0]
			}
		}
		if math.Abs(share-0.5) > 0.03 || math.Abs(mean/share-want) > 1.5 {
			t.Errorf("class %d has the share %.3f and the mean %.1f, want 0.5 and %g", class, share, mean/share, want)
		}
	}
	if math.Abs(target.kl-0.5) > 0.08 { // λ² aᵀ C a/2 of each
		t.Errorf("divergence %.3f, want 0.5", target.kl)
	}
}

// Tunings that points do not have are refused.
func TestTuningRefuses(t *testing.T) {
	s := exactSteering(t, `{"kind": "linear", "weights": {"mass": 1}}`)
	class := 1
	for want, change := range map[string]func(c *tuning.Config){
		"class = 1: the map has 0 classes":                func(c *tuning.Config) { c.Class = &class },
		"points have no value in closed form":             func(c *tuning.Config) { c.Method = "plug-in-exact" },
		`network "tilted-copy" does not apply`:            func(c *tuning.Config) { c.Network = tuning.WarmStarted },
		"tilted = true: no comparison with weighted rows": func(c *tuning.Config) { c.Tilted = true },
		"lambda = 0: must lie in":                         func(c *tuning.Config) { c.Tune.Lambda = 0 },
	} {
		c := quickTuning()
		change(&c)
		if _, err := NewTuning(s, c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one with %q", err, want)
		}
	}
	s.data = nil
	if _, err := NewTuning(s, quickTuning()); err == nil || !strings.Contains(err.Error(), "needs the data") {
		t.Errorf("a tuning without data: %v", err)
	}
}
