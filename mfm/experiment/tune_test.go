package experiment_test

import (
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gomfm/gomfm/data"
	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/diagnose"
	"github.com/gomfm/gomfm/mfm/experiment"
	"github.com/gomfm/gomfm/mfm/figure"
	"github.com/gomfm/gomfm/mfm/internal/backendtest"
	"github.com/gomfm/gomfm/mfm/train"
)

const smallMap = "../../data/weights/gmm-small"

func quickTuning() experiment.TuneConfig {
	c := experiment.DefaultTuneConfig()
	c.N, c.Tune.Steps, c.Tune.Batch, c.Adapter.Width = 2, 300, 512, 32
	c.Budget.Every, c.Budget.Paths.Paths, c.Budget.Paths.Steps = 100, 128, 30
	return c
}

// A short tuning brings reward and drift toward the optimum, is found again in its folder, and its row says what was done.
func TestGMMTuning(t *testing.T) {
	b := backendtest.New(t)
	backendtest.NeedLoops(t, b)
	config := quickTuning()
	g, err := experiment.NewGMMTuning(smallMap, experiment.PaperReward(), config)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "run")
	result, err := g.Train(t.Context(), b, experiment.RunOptions{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if len(result.Looks) != 3 || result.Looks[2].Step != 300 || !(result.Looks[2].KL > 0.1) || result.Looks[2].Reward <= result.Looks[0].Reward {
		t.Errorf("looks %+v: want three, with rising reward", result.Looks)
	}
	eval := experiment.EvalConfig{Samples: 512, Steps: 50}
	row, err := g.Evaluate(t.Context(), b, result, eval)
	if err != nil {
		t.Fatal(err)
	}
	if !(row.DriftError > 0 && row.DriftError < 0.3) || !(row.ODE.SW2 > 0 && row.ODE.SW2 < 1.6) || row.Diverged != "" {
		t.Errorf("row %+v: the unsteered samples are 1.9 from the target", row)
	}
	// For each row two draws with their gradients and rewards, the base's drift, and the tuned network's three: 1 + 2 (3 + 1) + 3.
	if want := 300.0 * 512 * 12; row.NFE != want {
		t.Errorf("NFE %g, want %g", row.NFE, want)
	}
	opened, again, err := experiment.OpenGMMTuning(dir, smallMap)
	if err != nil {
		t.Fatal(err)
	}
	same, err := opened.Evaluate(t.Context(), b, again, eval)
	if err != nil {
		t.Fatal(err)
	}
	if same.ODE.SW2 != row.ODE.SW2 || same.DriftError != row.DriftError || len(again.Looks) != 3 {
		t.Errorf("opened again: %+v, was %+v", same, row)
	}
	if _, _, err := experiment.OpenGMMTuning(dir, "../../data/weights/gmm-semigroup-teacher"); err == nil || !strings.Contains(err.Error(), "another map") {
		t.Errorf("opened with another base: error %v", err)
	}
	distil := experiment.DefaultDistillConfig()
	distil.Samples, distil.SamplerSteps = 2048, 20
	distil.Map.Network.Width, distil.Map.Network.Depth, distil.Map.Train.Steps, distil.Map.Train.Batch = 16, 2, 20, 64
	own := t.TempDir()
	e, draw, err := g.Distill(t.Context(), b, result, distil, experiment.RunOptions{Dir: own})
	if err != nil {
		t.Fatal(err)
	}
	judge := experiment.EvaluateConfig{Times: []float64{0.5}, Contexts: 2, Samples: 256, Projections: 16, Seed: 1}
	rows, err := e.Evaluate(t.Context(), draw, judge)
	if err != nil {
		t.Fatal(err)
	}
	// The run is a map like any other.
	kept, weights, err := experiment.OpenGMM(own)
	if err != nil {
		t.Fatal(err)
	}
	if draw, err = kept.Drawer(b, weights, train.WeightsScope, mfm.DefaultSamplerConfig()); err != nil {
		t.Fatal(err)
	}
	if found, err := kept.Evaluate(t.Context(), draw, judge); err != nil || found[0] != rows[0] {
		t.Errorf("opened again: %+v, was %+v: %v", found, rows[0], err)
	}
	if !(rows[0].Excess < 3) || !(rows[0].Diversity > 0) {
		t.Errorf("distilled: %+v", rows[0])
	}
}

// A training that its budget has ended is at its end when it is called again, with what it was, even if it was killed before its weights were written.
func TestBudgetIsFinal(t *testing.T) {
	b := backendtest.New(t)
	backendtest.NeedLoops(t, b)
	config := quickTuning()
	config.Budget.KL, config.Budget.Stop, config.Budget.Every = 0.02, true, 50
	g, err := experiment.NewGMMTuning(smallMap, experiment.PaperReward(), config)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	var steps [3]int64
	for i := range steps {
		if i == 2 {
			if err := os.Remove(filepath.Join(dir, "weights.safetensors")); err != nil {
				t.Fatal(err)
			}
		}
		r, err := g.Train(t.Context(), b, experiment.RunOptions{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		if !r.Stopped || r.Steps >= 300 || r.Looks[len(r.Looks)-1].KL <= config.Budget.KL || r.Drift == nil {
			t.Fatalf("call %d: stopped %v after %d steps, looks %+v", i+1, r.Stopped, r.Steps, r.Looks)
		}
		steps[i] = r.Steps
	}
	if steps[0] != steps[1] || steps[0] != steps[2] {
		t.Errorf("ended after %d steps, called again after %d, without its weights after %d", steps[0], steps[1], steps[2])
	}
	config.Tune.Lambda = 2
	other, err := experiment.NewGMMTuning(smallMap, experiment.PaperReward(), config)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.Train(t.Context(), b, experiment.RunOptions{Dir: dir}); !errors.Is(err, experiment.ErrOtherRun) {
		t.Errorf("another λ in the folder of a run that is at its end: error %v", err)
	}
}

// A cell's row encodes and decodes, and every method that a configuration can name makes one.
func TestTuneCells(t *testing.T) {
	b := backendtest.New(t)
	backendtest.NeedLoops(t, b)
	for _, method := range []string{"reward-weighted", "adjoint", "plug-in-exact"} {
		c := experiment.TuneCell{Config: quickTuning(), Eval: experiment.EvalConfig{Samples: 256, Steps: 20}}
		c.Config.Method, c.Config.Tune.Steps, c.Config.Tune.Batch = method, 3, 80
		if method == "adjoint" {
			c.Config.Tune.States.Own = 1
		}
		row, err := experiment.RunTuneCell(t.Context(), b, smallMap, experiment.PaperReward(), c, "", experiment.RunOptions{})
		if err != nil {
			t.Fatalf("%s: %v", method, err)
		}
		raw, err := json.Marshal(row)
		if err != nil {
			t.Fatal(err)
		}
		var back experiment.TuneRow
		if err := json.Unmarshal(raw, &back); err != nil || back.Method != method || math.Abs(back.ODE.SW2-row.ODE.SW2) > 1e-12 {
			t.Errorf("%s: row %s", method, raw)
		}
	}
	tilted := quickTuning()
	tilted.Method, tilted.Tilted, tilted.Tune.Steps, tilted.Tune.Batch = "mfm-ft-gf", true, 3, 80
	if row, err := experiment.RunTuneCell(t.Context(), b, smallMap, experiment.PaperReward(), experiment.TuneCell{Config: tilted, Eval: experiment.EvalConfig{Samples: 256, Steps: 20}}, "", experiment.RunOptions{}); err != nil || !(row.ODE.SW2 > 0) {
		t.Errorf("on states of the target: %+v: %v", row, err)
	}
	bad := quickTuning()
	bad.Method = "mfm"
	if _, err := experiment.NewGMMTuning(smallMap, experiment.PaperReward(), bad); err == nil || !strings.Contains(err.Error(), "use mfm-ft") {
		t.Errorf("an unknown method: error %v", err)
	}
}

// The drift of the shipped map of digits is tuned for two steps, and judged: low-rank updates, and a copy whose prior is tilted already, which alone brings the classes near the target.
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
	const judge, second = "../../data/weights/classifier", "../../data/weights/classifier-second"
	of := experiment.DigitsSteeringConfig{Map: "../../data/weights/digits", Reward: experiment.DigitsReward(judge), Judge: judge, Second: second}
	config := experiment.DefaultDigitsTuneConfig()
	config.Tune.Steps, config.Tune.Batch, config.Budget.Every = 2, 4, 2
	config.Budget.Paths.Paths, config.Budget.Paths.Steps = 4, 12
	run := func(method, network string, tilted bool, eval experiment.EvalConfig) experiment.DigitsTuneRow {
		t.Helper()
		c := config
		c.Method, c.Network, c.Tilted, c.Rank = method, network, tilted, 2
		g, err := experiment.NewDigitsTuning(b, of, train, c)
		if err != nil {
			t.Fatal(err)
		}
		result, err := g.Train(t.Context(), b, experiment.RunOptions{})
		if err != nil {
			t.Fatal(err)
		}
		row, err := g.Evaluate(t.Context(), b, result, eval)
		if err != nil {
			t.Fatal(err)
		}
		return row
	}
	row := run("mfm-ft", "low-rank", false, experiment.EvalConfig{Samples: 32, Steps: 3})
	if row.TuneSteps != 2 || row.NFE != 3 || !(row.L2 > 0) || len(row.Images) == 0 || len(row.Looks) != 1 || math.IsNaN(row.Diversity) {
		t.Errorf("row %+v", row)
	}
	if row := run("mfm-ft-gf", "tilted-copy", true, experiment.EvalConfig{Samples: 192, Steps: 16}); row.L2 > 0.15 {
		t.Errorf("the tilted prior's classes are %.3f off, those of the base 0.37: %.3f", row.L2, row.Classes)
	}
	config.Method, config.Tilted = "reward-weighted", true
	if _, err := experiment.NewDigitsTuning(b, of, train, config); err == nil {
		t.Error("reward-weighted regression takes data that are tilted")
	}
}

// blotsTuning is a tuning of a map of blots in two steps.
func blotsTuning(network string) experiment.TuneConfig {
	c := experiment.DefaultDigitsTuneConfig()
	c.Network, c.Tune.Steps, c.Tune.Batch, c.Budget.Every = network, 2, 4, 2
	c.Budget.Paths.Paths, c.Budget.Paths.Steps = 4, 12
	return c
}

// A cell of images needs two samples and a step of the ODE to be judged, whatever an SDE would need; and what cannot be tuned is refused before anything is trained.
func TestTuneBlots(t *testing.T) {
	b := backendtest.New(t)
	backendtest.NeedLoops(t, b)
	of, images := digitsRuns(t, "mixture"), blots(1)
	cell := experiment.DigitsTuneCell{Config: blotsTuning("tilted-copy"), Eval: experiment.EvalConfig{Samples: 40, Steps: 1}}
	row, err := experiment.RunDigitsTuneCell(t.Context(), b, of, images, cell, "", experiment.RunOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if row.TuneSteps != 2 || row.NFE != 1 || row.Samples != 40 || !(row.Seconds > 0 && row.Train > 0 && row.SpreadTarget > 0) || len(row.Looks) != 1 || !(row.Diversity > 0) {
		row.Images = nil
		t.Errorf("row %+v", row)
	}
	for want, spoil := range map[string]func(c *experiment.DigitsTuneCell){
		"samples = 1":      func(c *experiment.DigitsTuneCell) { c.Eval.Samples = 1 },
		"steps = 0":        func(c *experiment.DigitsTuneCell) { c.Eval.Steps = 0 },
		"has the whole λ":  func(c *experiment.DigitsTuneCell) { c.Config.Budget.KL = 0.1 },
		"adapter":          func(c *experiment.DigitsTuneCell) { c.Config.Network = "adapter" },
		"closed form":      func(c *experiment.DigitsTuneCell) { c.Config.Method = "plug-in-exact" },
		"take a smaller λ": func(c *experiment.DigitsTuneCell) { c.Config.Tune.Lambda = 1e5 },
	} {
		broken := cell
		spoil(&broken)
		if _, err := experiment.RunDigitsTuneCell(t.Context(), b, of, images, broken, "", experiment.RunOptions{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want an error with %q, got %v", want, err)
		}
	}
}

// A map without a mixture has no prior to tilt, which its check says of a configuration that a grid comes to later.
func TestTunePlainMap(t *testing.T) {
	b := backendtest.New(t)
	backendtest.NeedLoops(t, b)
	g, err := experiment.NewDigitsTuning(b, digitsRuns(t, "gaussian"), blots(1), blotsTuning("copy"))
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Check(blotsTuning("low-rank")); err != nil {
		t.Error(err)
	}
	if err := g.Check(blotsTuning("tilted-copy")); err == nil || !strings.Contains(err.Error(), "a mixture as its prior") {
		t.Errorf("a tilted copy of a map without a mixture: error %v", err)
	}
}

// One call looks at a run of either kind: of the shipped digits there is no drift to compare with, and no finding of one. What is no map is refused.
func TestDiagnose(t *testing.T) {
	b := backendtest.New(t)
	backendtest.NeedLoops(t, b)
	c := experiment.DigitsDiagnosis()
	c.Times, c.Contexts, c.Draws, c.Steps, c.Grid = []float64{0.4}, 4, 8, 4, 2
	report, err := experiment.Diagnose(t.Context(), b, "../../data/weights/digits", experiment.DiagnoseOptions{Config: c})
	if err != nil {
		t.Fatal(err)
	}
	if len(report.Rows) != 1 || report.Rows[0].Drift != 0 || report.Has("drift") || report.Rows[0].Diversity < 0.7 || report.Rows[0].Diversity > 1.3 {
		t.Errorf("digits:\n%s", report.Text())
	}
	if fields := strings.Fields(strings.Split(report.Text(), "\n")[1]); len(fields) != 7 || fields[5] != "-" {
		t.Errorf("a drift that there is none of stands in the report:\n%s", report.Text())
	}
	if report, err = experiment.Diagnose(t.Context(), b, smallMap, experiment.DiagnoseOptions{}); err != nil || len(report.Rows) != len(diagnose.DefaultConfig().Times) || !(report.Rows[0].Drift > 0) {
		t.Errorf("mixture: %v\n%s", err, report.Text())
	}
	if _, err := experiment.Diagnose(t.Context(), b, "../../data/weights/classifier", experiment.DiagnoseOptions{}); err == nil || !strings.Contains(err.Error(), "classifier") {
		t.Errorf("a classifier: error %v", err)
	}
}

// What was seen of a drift that was tuned from a map is in the map's report: here that it has hardly begun.
func TestDiagnoseTuned(t *testing.T) {
	b := backendtest.New(t)
	backendtest.NeedLoops(t, b)
	config := quickTuning()
	config.Tune.Steps, config.Tune.Optimizer.Rate, config.Budget.KL, config.Budget.Every = 4, 1e-6, 0, 1
	g, err := experiment.NewGMMTuning(smallMap, experiment.PaperReward(), config)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if _, err := g.Train(t.Context(), b, experiment.RunOptions{Dir: dir}); err != nil {
		t.Fatal(err)
	}
	c := diagnose.DefaultConfig()
	c.Times, c.Grid = []float64{0.4}, 2
	report, err := experiment.Diagnose(t.Context(), b, smallMap, experiment.DiagnoseOptions{Config: c, Tuned: dir})
	if err != nil {
		t.Fatal(err)
	}
	if !report.Has("behind") || len(report.Findings) != 1 {
		t.Errorf("a tuning of four small steps makes this:\n%s", report.Text())
	}
	if _, err := experiment.Diagnose(t.Context(), b, smallMap, experiment.DiagnoseOptions{Config: c, Tuned: "../../data/weights/classifier"}); err == nil {
		t.Error("a classifier for a tuned drift: no error")
	}
}

// The shipped map of a mixture is healthy, and its report lies in a folder as text, JSON and figures.
func TestDiagnoseGMM(t *testing.T) {
	b := backendtest.New(t)
	backendtest.NeedLoops(t, b)
	c := diagnose.DefaultConfig()
	c.Grid = 4
	raw := json.RawMessage(`{"kind": "linear_gaussian", "a": [[1.2, -0.8]], "y": [-1], "sigma": 0.02}`)
	report, err := experiment.DiagnoseGMM(t.Context(), b, smallMap, experiment.DiagnoseOptions{Config: c, Reward: raw})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range report.Rows {
		if math.Abs(r.Exact-1) > 0.15 {
			t.Errorf("at t = %g one-step samples have %.2f of the exact spread", r.T, r.Exact)
		}
	}
	// Of sixteen draws for a reward this narrow hardly one counts near noise, which the steered run says.
	if !report.Has("steering") {
		t.Errorf("the steered run warns of nothing:\n%s", report.Text())
	}
	if len(report.Findings) > 1 {
		t.Errorf("the shipped map has findings:\n%s", report.Text())
	}
	dir := t.TempDir()
	if err := experiment.WriteReport(dir, report, figure.Notebook()); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"report.json", "report.txt", "diversity.png", "consistency.png"} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Size() == 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
}
