package main

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gomfm/gomfm/mfm/backend"
	"github.com/gomfm/gomfm/mfm/diagnose"
	"github.com/gomfm/gomfm/mfm/experiment"
)

const smallMap = "../../data/weights/gmm-small"

// needLoops skips a test of compiled loops on a backend that has none.
func needLoops(t *testing.T) {
	t.Helper()
	b, err := backend.New("")
	if err != nil {
		t.Fatal(err)
	}
	defer b.Finalize()
	if !backend.Loops(b) {
		t.Skipf("backend %q has no loops", b.Name())
	}
}

// A grid is tuned once, and found again.
func TestTuneGMM(t *testing.T) {
	needLoops(t)
	out := t.TempDir()
	run := func() (rows []experiment.TuneRow) {
		t.Helper()
		code, stdout, stderr := invoke(t.Context(), "tune", "gmm", "--checkpoint", smallMap, "--method", "mfm-ft,reward-weighted", "--n", "1,2", "--steps", "3", "--batch", "64", "--samples", "64", "--sampler-steps", "16",
			"--set", "adapter.width=8", "--json", "--out", out)
		if code != 0 {
			t.Fatalf("exit code %d: %s", code, stderr)
		}
		if err := json.Unmarshal([]byte(stdout), &rows); err != nil {
			t.Fatal(err)
		}
		return rows
	}
	rows := run()
	if len(rows) != 3 || rows[0].N != 1 || rows[1].N != 2 || rows[2].Method != "reward-weighted" || !(rows[0].ODE.SW2 > 0) {
		t.Fatalf("rows %+v: want MFM-FT with one draw and with two, and one reward-weighted", rows)
	}
	if again := run(); again[0].Seconds != rows[0].Seconds {
		t.Error("a cell that was there was run again")
	}
	runs, _ := filepath.Glob(filepath.Join(out, "run-*", "weights.safetensors"))
	if len(runs) != 3 {
		t.Fatalf("%d tuned networks are kept, want 3", len(runs))
	}
	// What was tuned is distilled into a map, which is a checkpoint like any other.
	distilled := filepath.Join(out, "distilled")
	must(t, "tune", "distill", "--checkpoint", filepath.Dir(runs[0]), "--base", smallMap, "--out", distilled, "--samples", "512", "--sampler-steps", "8", "--steps", "3", "--batch", "32", "--set", "map.network.width=8", "--json")
	if rows := decode[[]experiment.PosteriorRow](t, must(t, "eval", "gmm", "--checkpoint", distilled, "--times", "0.5", "--contexts", "2", "--samples", "64", "--json")); len(rows) != 1 || !(rows[0].SW2 > 0) {
		t.Errorf("the distilled map is judged as %+v", rows)
	}
}

func TestTuneRefuses(t *testing.T) {
	dir := t.TempDir()
	for want, args := range map[string][]string{
		"--checkpoint": {"gmm", "--out", dir},
		"--out":        {"gmm", "--checkpoint", smallMap},
		"luck":         {"gmm", "--out", dir, "--checkpoint", smallMap, "--method", "luck"},
		"numbers":      {"gmm", "--out", dir, "--checkpoint", smallMap, "--n", "many"},
		"lambda":       {"gmm", "--out", dir, "--checkpoint", smallMap, "--lambda", "-1"},
		"judging":      {"gmm", "--out", dir, "--checkpoint", smallMap, "--sampler-steps", "4"},
		"network":      {"gmm", "--out", dir, "--checkpoint", smallMap, "--network", "all"},
		"own to 1":     {"gmm", "--out", dir, "--checkpoint", smallMap, "--method", "adjoint", "--set", "tune.states.own=0"},
	} {
		code, _, stderr := invoke(t.Context(), append([]string{"tune"}, args...)...)
		if code == 0 || !strings.Contains(stderr, want) {
			t.Errorf("tune %v: exit code %d, %q; want an error with %q", args, code, stderr, want)
		}
	}
}

// The report of a look is printed and, where a folder is named, kept.
func TestDiagnose(t *testing.T) {
	needLoops(t)
	out := filepath.Join(t.TempDir(), "report")
	code, stdout, stderr := invoke(t.Context(), "diagnose", "gmm", "--checkpoint", smallMap, "--times", "0.2,0.6", "--draws", "32", "--json", "--out", out)
	if code != 0 {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	var report diagnose.Report
	if err := json.Unmarshal([]byte(stdout), &report); err != nil || len(report.Rows) != 2 || report.Config.Draws != 32 {
		t.Errorf("report %s: %v", stdout, err)
	}
	if files, _ := filepath.Glob(filepath.Join(out, "*")); len(files) != 4 {
		t.Errorf("files %v, want four", files)
	}
	if code, _, stderr := invoke(t.Context(), "diagnose", "gmm", "--checkpoint", smallMap, "--times", "1.5"); code != 2 || !strings.Contains(stderr, "time 1.5") {
		t.Errorf("exit code %d, %q; want 2 for a time beyond 1", code, stderr)
	}
}
