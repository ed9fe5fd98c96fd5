package points

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
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

// A map with classes that is tuned for one of them starts from samples of that class, and a
// finished run opens with the map and the data that it was tuned with, and no others.
func TestTuningOfAClass(t *testing.T) {
	b, dir := backendtest.New(t), t.TempDir()
	text := "mass,ratio,kind\n"
	table := gaussians(2000, true)
	for i, row := range table.Rows {
		text += fmt.Sprintf("%g,%g,%s\n", row[0], row[1], table.Names[table.Classes[i]])
	}
	path := filepath.Join(dir, "points.csv")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write(text)
	data, err := Load(path, "kind")
	if err != nil {
		t.Fatal(err)
	}
	base, other := filepath.Join(dir, "base"), filepath.Join(dir, "other")
	for seed, folder := range []string{base, other} {
		config := small()
		config.SetClasses("kind", 2)
		config.Train.Seed = int64(seed)
		e, err := New(t.Context(), config, data)
		if err == nil {
			_, err = e.Train(t.Context(), b, data, run.Options{Dir: folder})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	s, missing, err := OpenSteering(base, path, []byte(`{"kind": "linear", "weights": {"mass": 0.1}}`))
	if err != nil || missing != nil {
		t.Fatal(err, missing)
	}
	class, config := slices.Index(s.Experiment.Names, "heavy"), quickTuning()
	config.Class, config.Tune.Steps = &class, 6
	tuned, err := NewTuning(s, config)
	if err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(dir, "tuned")
	got, err := tuned.Train(t.Context(), b, run.Options{Dir: out})
	if err != nil {
		t.Fatal(err)
	}
	eval := tuning.EvalConfig{Samples: 512, Steps: 100}
	r, err := tuned.Evaluate(t.Context(), b, got, eval)
	if err != nil {
		t.Fatal(err)
	}
	if c := r.Columns[0]; math.Abs(c.MeanBefore.Float()-130) > 3 || math.Abs(c.MeanTarget.Float()-140) > 2 ||
		math.Abs(r.RewardBefore.Float()-13) > 0.3 || *r.Class != class {
		t.Errorf("result %+v, want a mean mass of 130 before and of 140 of the target", r)
	}
	want, err := tuned.Sample(t.Context(), b, got, eval)
	if err != nil {
		t.Fatal(err)
	}
	opened, again, err := OpenTuning(out, base, path)
	if err != nil {
		t.Fatal(err)
	}
	samples, err := opened.Sample(t.Context(), b, again, eval)
	if err != nil || !reflect.DeepEqual(samples, want) {
		t.Errorf("samples of the opened run %v, want %v (%v)", samples[0], want[0], err)
	}
	for text, of := range map[string][2]string{
		"tuned from another map": {other, path}, "does not name the file": {base, ""},
	} {
		if _, _, err := OpenTuning(out, of[0], of[1]); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("error %v, want one with %q", err, text)
		}
	}
	if _, missing, err := OpenSteering(base, "", []byte(`{"kind": "linear", "weights": {"mass": 0.1}}`)); err != nil ||
		missing == nil || !strings.Contains(missing.Error(), "does not name the file") {
		t.Errorf("a run that does not name its data: %v, %v", missing, err)
	}
	write(text + "100,1,light\n")
	if _, _, err := OpenTuning(out, base, path); err == nil || !strings.Contains(err.Error(), "the data have changed") {
		t.Errorf("error %v, want one that the data have changed", err)
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
	of, _ := steeringOfClasses(t, 400)
	short := quickTuning()
	short.Tilted, short.Tune.Lambda = true, 2 // e^4 rows for one
	for want, class := range map[string]*int{
		"the 360 rows of all classes weighted by e^{λ r} have an effective number of": nil,
		`rows of class "heavy" weighted by e^{λ r} have an effective number of`:       &class,
	} {
		short.Class = class
		if _, err := NewTuning(of, short); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one with %q", err, want)
		}
	}
	s.data = nil
	if _, err := NewTuning(s, quickTuning()); err == nil || !strings.Contains(err.Error(), "needs the data") {
		t.Errorf("a tuning without data: %v", err)
	}
}
