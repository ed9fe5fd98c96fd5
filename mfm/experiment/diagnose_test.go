package experiment_test

import (
	"strings"
	"testing"

	"github.com/gomfm/gomfm/mfm/diagnose"
	"github.com/gomfm/gomfm/mfm/experiment"
	"github.com/gomfm/gomfm/mfm/experiment/image"
	"github.com/gomfm/gomfm/mfm/experiment/internal/experimenttest"
	"github.com/gomfm/gomfm/mfm/experiment/mixture"
	"github.com/gomfm/gomfm/mfm/experiment/report"
	"github.com/gomfm/gomfm/mfm/experiment/run"
	"github.com/gomfm/gomfm/mfm/internal/backendtest"
)

// One call evaluates a run of each kind. The shipped digits and emoji have no drift to compare
// with, so the report has no drift error and no finding about it. A run without a map is refused.
func TestDiagnose(t *testing.T) {
	b := backendtest.New(t)
	backendtest.NeedLoops(t, b)
	c := image.DefaultDiagnosis()
	c.Times, c.Contexts, c.Samples, c.Steps, c.Grid = []float64{0.4}, 4, 8, 4, 2
	got, err := experiment.Diagnose(t.Context(), b, "../../data/weights/digits", report.Options{Config: c})
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Results) != 1 || got.Results[0].Drift != 0 || got.Has("drift") ||
		got.Results[0].Diversity < 0.7 || got.Results[0].Diversity > 1.3 {
		t.Errorf("digits:\n%s", got.Text())
	}
	if fields := strings.Fields(strings.Split(got.Text(), "\n")[1]); len(fields) != 13 || fields[5] != "-" {
		t.Errorf("the report has a drift error without a known drift:\n%s", got.Text())
	}
	c.Contexts, c.Samples, c.Steps = 2, 4, 2
	got, err = experiment.Diagnose(t.Context(), b, "../../data/weights/emoji", report.Options{Config: c})
	if err != nil || len(got.Results) != 1 || got.Results[0].Diversity < 0.7 || got.Results[0].Diversity > 1.5 || got.Has("drift") {
		t.Errorf("latents: %v\n%s", err, got.Text())
	}
	got, err = experiment.Diagnose(t.Context(), b, "../../data/weights/gmm-small", report.Options{})
	if err != nil || len(got.Results) != len(diagnose.DefaultConfig().Times) || !(got.Results[0].Drift > 0) {
		t.Errorf("mixture: %v\n%s", err, got.Text())
	}
	_, err = experiment.Diagnose(t.Context(), b, "../../data/weights/classifier", report.Options{})
	experimenttest.WantError(t, "a classifier", err, "classifier")
}

// The verdict on a shipped map is good, and a run without a map has none.
func TestVerdict(t *testing.T) {
	b := backendtest.New(t)
	lines, err := experiment.Verdict(t.Context(), b, "../../data/weights/gmm-small")
	if err != nil || len(lines) != 3 || !strings.HasPrefix(lines[2], "One step is as good as the ODE") {
		t.Errorf("verdict %q (%v)", lines, err)
	}
	_, err = experiment.Verdict(t.Context(), b, "../../data/weights/classifier")
	experimenttest.WantError(t, "a classifier", err, "classifier")
}

// The report of a map includes the monitors of a drift that was tuned from it: here that the tuning
// has hardly begun.
func TestDiagnoseTuned(t *testing.T) {
	b := backendtest.New(t)
	backendtest.NeedLoops(t, b)
	config := experimenttest.QuickTuning()
	config.Tune.Steps, config.Tune.Optimizer.Rate, config.Budget.KL, config.Budget.Every = 4, 1e-6, 0, 1
	g, err := mixture.NewTuning("../../data/weights/gmm-small", mixture.PaperReward(), config)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if _, err := g.Train(t.Context(), b, run.Options{Dir: dir}); err != nil {
		t.Fatal(err)
	}
	c := diagnose.DefaultConfig()
	c.Times, c.Grid = []float64{0.4}, 2
	got, err := experiment.Diagnose(t.Context(), b, "../../data/weights/gmm-small",
		report.Options{Config: c, Tuned: dir})
	if err != nil {
		t.Fatal(err)
	}
	if !got.Has("behind") || len(got.Findings) != 1 {
		t.Errorf("the report of a tuning of four small steps:\n%s", got.Text())
	}
	o := report.Options{Config: c, Tuned: "../../data/weights/classifier"}
	if _, err := experiment.Diagnose(t.Context(), b, "../../data/weights/gmm-small", o); err == nil {
		t.Error("a classifier as the tuned drift: no error")
	}
}
