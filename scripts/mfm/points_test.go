package main

import (
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gomfm/gomfm/data/tabular"
	"github.com/gomfm/gomfm/mfm/diagnose"
	"github.com/gomfm/gomfm/mfm/experiment/points"
	"github.com/gomfm/gomfm/mfm/experiment/run"
)

// tinyPoints is a map of points that compiles in seconds and trains in less.
const tinyPoints = `{"prior": {"max_components": 2, "fit": 5, "steps": 1}, "network": {"width": 8, "depth": 1},
	"train": {"batch": 16}}`

// pointsCSV returns the text of a table of two kinds of points as CSV.
func pointsCSV(n int) string {
	rng, text := rand.New(rand.NewPCG(1, 1)), "mass,kind,ratio\n"
	for i := range n {
		kind := []string{"light", "heavy"}[i%2]
		text += fmt.Sprintf("%g,%s,%g\n", 100+60*float64(i%2)+10*rng.NormFloat64(), kind, 1+0.01*rng.NormFloat64())
	}
	return text
}

// Points of a file are learned with one command, and sampled and evaluated in their own units.
func TestPoints(t *testing.T) {
	dir := t.TempDir()
	config, data := write(t, dir, "tiny.json", tinyPoints), write(t, dir, "points.csv", pointsCSV(600))
	out := filepath.Join(dir, "run")
	args := []string{"train", "points", "--config", config, "--data", data, "--classes", "kind", "--steps", "3",
		"--out", out}
	report := decode[struct {
		Out string
		run.LogEntry
		Verdict []string
		Check   points.Check
	}](t, must(t, append(args, "--json")...))
	if report.Step != 3 || report.Check.Rows != 60 || len(report.Check.Results) != 5 || len(report.Check.Parts) != 2 ||
		len(report.Verdict) == 0 {
		t.Errorf("report %+v", report)
	}

	samples := decode[pointSamples](t, must(t, "sample", "points", "--checkpoint", out, "--class", "heavy", "--n", "400",
		"--json"))
	sum := 0.
	for _, row := range samples.Samples {
		sum += row[0] / 400
	}
	if strings.Join(samples.Columns, " ") != "mass ratio" || math.Abs(sum-160) > 3 {
		t.Errorf("samples of the columns %q have the mean %g, want 160", samples.Columns, sum)
	}
	// An observation with little noise leaves little of its point open.
	file := filepath.Join(dir, "near.csv")
	must(t, "sample", "points", "--checkpoint", out, "--t", "0.95", "--x", "104,1.002", "--n", "50", "--out", file)
	near, err := tabular.Read(file, "")
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range near.Rows {
		if math.Abs(row[0]-104) > 12 || math.Abs(row[1]-1.002) > 0.01 {
			t.Errorf("a sample %v of a point near 104, 1.002", row)
		}
	}
	text := must(t, "eval", "points", "--checkpoint", out, "--contexts", "1", "--times", "0.5")
	if !strings.Contains(text, "check on 60 held-out rows") || !strings.Contains(text, "Verdict: ") {
		t.Errorf("evaluation %q", text)
	}
	diagnosed := must(t, "diagnose", "points", "--checkpoint", out, "--times", "0.5", "--contexts", "4", "--samples", "8",
		"--steps", "2", "--json")
	if r := decode[diagnose.Report](t, diagnosed); len(r.Results) != 1 {
		t.Errorf("diagnosis %+v", r)
	}
	write(t, dir, "points.csv", pointsCSV(602))
	for _, tc := range []struct{ command, want string }{
		{strings.Join(args, " "), "the data have changed"},
		{"eval points --checkpoint " + out, "the data have changed"},
		{"sample points --checkpoint " + out + " --class dark", `class "dark" is unknown: use heavy, light`},
		{"sample points --checkpoint " + out + " --t 0.5 --x 1", "--x has 1 numbers, the points have 2 columns: mass, ratio"},
		{"sample points --checkpoint " + out + " --t 0.5", "give the observation with --x"},
		{"sample points --checkpoint " + out + " --x 1,2", "at --t 0 nothing is observed"},
		{"sample points --checkpoint " + out + " --out x.txt", "--out x.txt: name a .csv, .json, .npy, .png or .svg file"},
	} {
		refuses(t, tc.want, strings.Fields(tc.command)...)
	}
}

// A bad file of points is refused in one line before anything is written.
func TestRefusesPoints(t *testing.T) {
	dir := t.TempDir()
	good := pointsCSV(100)
	line := func(text string) string { return good + text + "\n" }
	for _, tc := range []struct{ text, want string }{
		{good, `line 2, column "kind": the value "light" is not a number: remove the column, or name it as that of the ` +
			`classes`},
		{line("1,light"), `line 102 has 2 values, but there are 3 columns ("mass", "kind", "ratio")`},
		{line("1,light,"), `line 102, column "ratio": the value "" is missing`},
		{line("1,light,inf"), `line 102, column "ratio": the value "inf" is not finite`},
		{line("1,dark,1"), `class "dark", first in line 102, has 1 rows: give at least 20`},
		{pointsCSV(50), "has 50 rows of 2 columns: give at least 100"},
		{strings.ReplaceAll(good, "mass", "ratio"), `columns 1 and 3 have the same name "ratio"`},
	} {
		classes := "kind"
		if tc.text == good {
			classes = ""
		}
		refuses(t, tc.want, "train", "points", "--data", write(t, dir, "points.csv", tc.text), "--classes", classes,
			"--out", filepath.Join(dir, "run"))
	}
	refuses(t, "--data is missing: name a file .csv, .npy or .json", "train", "points", "--out", filepath.Join(dir, "run"))
	if _, err := run.ReadManifest(filepath.Join(dir, "run")); err == nil {
		t.Error("a refused training has written a folder")
	}
}

// refuses runs a command line that has to fail with exit code 2 and one line with the given text.
func refuses(t *testing.T, want string, args ...string) {
	t.Helper()
	code, _, stderr := invoke(t.Context(), args...)
	if last := strings.TrimSpace(stderr); code != 2 || !strings.Contains(last, want) || strings.Contains(last, "panic") {
		t.Errorf("mfm %s exits with %d: %s, want 2 and %q", strings.Join(args, " "), code, stderr, want)
	}
}
