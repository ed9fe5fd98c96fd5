package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gomfm/gomfm/mfm/experiment"
)

// A grid can be printed, cut, and run, in shards and without doing anything twice.
func TestStress(t *testing.T) {
	dir := t.TempDir()
	grid := decode[[]experiment.TimesCell](t, must(t, "stress", "times", "--grid"))
	if len(grid) != len(experiment.TimesGrid()) || grid[0] != experiment.TimesGrid()[0] {
		t.Errorf("--grid prints %d cells, want %d", len(grid), len(experiment.TimesGrid()))
	}
	cells := write(t, dir, "cells.json", `[{"shape": "plane", "width": 0.1, "power": 1, "steps": 4, "samples": 8}, {"shape": "curve", "width": 0.1, "power": 2, "steps": 4, "samples": 8}]`)
	out := filepath.Join(dir, "out")
	args := []string{"stress", "times", "--cells", cells, "--out", out}
	if rows := decode[[]experiment.TimesRow](t, must(t, append(args, "--shard", "1/2")...)); len(rows) != 1 || rows[0].Shape != "curve" || !(rows[0].Across > 0) {
		t.Errorf("the second shard gives %+v", rows)
	}
	made, err := filepath.Glob(filepath.Join(out, "cell-*.json"))
	if err != nil || len(made) != 1 {
		t.Fatalf("results %v, want one: %v", made, err)
	}
	done, err := os.Stat(made[0])
	if err != nil {
		t.Fatal(err)
	}
	if rows := decode[[]experiment.TimesRow](t, must(t, args...)); len(rows) != 2 {
		t.Errorf("the whole gives %d rows, want 2", len(rows))
	}
	if again, err := os.Stat(made[0]); err != nil || again.ModTime() != done.ModTime() {
		t.Errorf("a cell that was there was run again: %v", err)
	}
	for want, args := range map[string][]string{
		"--out":       {"diversity"},
		"no such":     {"base", "--out", out, "--cells", filepath.Join(dir, "none.json")},
		"unknown key": {"manifold", "--out", out, "--cells", write(t, dir, "bad.json", `[{"luck": 1}]`)},
		"no cells":    {"precision", "--out", out, "--cells", write(t, dir, "empty.json", `[]`)},
		"--judge":     {"losses", "--out", out},
		"--rates":     {"losses", "--digits", "0", "--grid"},
		"not known":   {"losses", "--digits", "0", "--grid", "--out", out},
		"shape":       {"times", "--out", out, "--cells", write(t, dir, "knot.json", `[{"shape": "knot", "width": 0.1, "power": 1, "steps": 4, "samples": 8}]`)},
	} {
		if code, _, stderr := invoke(t.Context(), append([]string{"stress"}, args...)...); code == 0 || !strings.Contains(stderr, want) {
			t.Errorf("stress %v: exit code %d, %q; want an error with %q", args, code, stderr, want)
		}
	}
}
