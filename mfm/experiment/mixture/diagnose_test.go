package mixture_test

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/gomfm/gomfm/mfm/diagnose"
	"github.com/gomfm/gomfm/mfm/experiment/mixture"
	"github.com/gomfm/gomfm/mfm/experiment/report"
	"github.com/gomfm/gomfm/mfm/figure"
	"github.com/gomfm/gomfm/mfm/internal/backendtest"
)

// The report of the shipped map has no finding, and is written as text, JSON and figures.
func TestDiagnoseGMM(t *testing.T) {
	b := backendtest.New(t)
	backendtest.NeedLoops(t, b)
	c := diagnose.DefaultConfig()
	c.Grid = 4
	raw := json.RawMessage(`{"kind": "linear_gaussian", "a": [[1.2, -0.8]], "y": [-1], "sigma": 0.02}`)
	got, err := mixture.Diagnose(t.Context(), b, smallMap, report.Options{Config: c, Reward: raw})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range got.Results {
		if math.Abs(r.Exact-1) > 0.15 {
			t.Errorf("at t = %g one-step samples have %.2f of the exact standard deviation", r.T, r.Exact)
		}
	}
	// With a reward this narrow, few of 16 posterior samples have a weight near noise.
	if !got.Has("steering") {
		t.Errorf("the steered run has no warning:\n%s", got.Text())
	}
	if len(got.Findings) > 1 {
		t.Errorf("the shipped map has findings:\n%s", got.Text())
	}
	dir := t.TempDir()
	if err := report.Write(dir, got, figure.Notebook()); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"report.json", "report.txt", "diversity.png", "consistency.png"} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Size() == 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
}
