package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gomfm/gomfm/mfm/experiment/stress"
)

// A grid is printed, reduced and run, in shards, and runs with results are not repeated.
func TestStress(t *testing.T) {
	dir := t.TempDir()
	grid := decode[[]stress.TimesSetting](t, must(t, "stress", "times", "--grid"))
	if len(grid) != len(stress.TimesGrid()) || grid[0] != stress.TimesGrid()[0] {
		t.Errorf("--grid prints %d settings, want %d", len(grid), len(stress.TimesGrid()))
	}
	settings := write(t, dir, "settings.json",
		`[{"shape": "plane", "width": 0.1, "power": 1, "steps": 4, "samples": 8},
			{"shape": "curve", "width": 0.1, "power": 2, "steps": 4, "samples": 8}]`)
	out := filepath.Join(dir, "out")
	args := []string{"stress", "times", "--settings", settings, "--out", out}
	if results := decode[[]stress.TimesResult](t, must(t, append(args, "--shard", "1/2")...)); len(results) != 1 ||
		results[0].Shape != "curve" || !(results[0].Across > 0) {
		t.Errorf("the second shard gives %+v", results)
	}
	files, err := filepath.Glob(filepath.Join(out, "result-*.json"))
	if err != nil || len(files) != 1 {
		t.Fatalf("results %v, want one: %v", files, err)
	}
	done, err := os.Stat(files[0])
	if err != nil {
		t.Fatal(err)
	}
	if results := decode[[]stress.TimesResult](t, must(t, args...)); len(results) != 2 {
		t.Errorf("the whole gives %d results, want 2", len(results))
	}
	if again, err := os.Stat(files[0]); err != nil || again.ModTime() != done.ModTime() {
		t.Errorf("a run with a result was repeated: %v", err)
	}
	for want, args := range map[string][]string{
		"--out":       {"diversity"},
		"no such":     {"base", "--out", out, "--settings", filepath.Join(dir, "none.json")},
		"unknown key": {"manifold", "--out", out, "--settings", write(t, dir, "bad.json", `[{"luck": 1}]`)},
		"no settings": {"precision", "--out", out, "--settings", write(t, dir, "empty.json", `[]`)},
		"--evaluator": {"losses", "--out", out},
		"--rates":     {"losses", "--digits", "0", "--grid"},
		"is unknown":  {"losses", "--digits", "0", "--grid", "--out", out},
		"shape": {"times", "--out", out, "--settings",
			write(t, dir, "knot.json", `[{"shape": "knot", "width": 0.1, "power": 1, "steps": 4, "samples": 8}]`)},
	} {
		if code, _, stderr := invoke(t.Context(), append([]string{"stress"}, args...)...); code == 0 ||
			!strings.Contains(stderr, want) {
			t.Errorf("stress %v: exit code %d, %q; want an error with %q", args, code, stderr, want)
		}
	}
}
