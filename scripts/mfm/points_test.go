package main

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gonum.org/v1/gonum/stat"

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

// Two moons have their centers at (0, 0) and (1, 1/2), and radius 1.
func TestDataPoints(t *testing.T) {
	for _, name := range []string{"moons.csv", "moons.npy", "moons.json"} {
		path := filepath.Join(t.TempDir(), name)
		must(t, "data", "points", "--out", path)
		table, err := tabular.Read(path, "")
		if err != nil {
			t.Fatal(err)
		}
		if len(table.Rows) != 4000 || len(table.Columns) != 2 {
			t.Fatalf("%s has %d rows of %d columns", name, len(table.Rows), len(table.Columns))
		}
		on := 0
		for _, x := range table.Rows {
			upper, lower := math.Hypot(x[0], x[1]), math.Hypot(x[0]-1, x[1]-0.5)
			if math.Abs(upper-1) < 0.3 || math.Abs(lower-1) < 0.3 {
				on++
			}
		}
		if on < 3990 {
			t.Errorf("%s: %d of 4,000 points are on the moons", name, on)
		}
	}
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
	// The ODE has the steps that it needs.
	figure := filepath.Join(dir, "ode.png")
	ode := decode[pointSamples](t, must(t, "sample", "points", "--checkpoint", out, "--class", "heavy", "--n", "400",
		"--method", "ode", "--json", "--out", figure))
	var odes []float64
	for _, row := range ode.Samples {
		odes = append(odes, row[0])
	}
	if mean, std := stat.MeanStdDev(odes, nil); math.Abs(mean-160) > 3 || math.Abs(std-10) > 2 {
		t.Errorf("samples of the ODE have the mean %g and the standard deviation %g, want 160 and 10", mean, std)
	}
	// Samples of all classes have the class of each, in a column named as in the data.
	kinds := filepath.Join(dir, "kinds.csv")
	must(t, "sample", "points", "--checkpoint", out, "--n", "400", "--out", kinds)
	both, err := tabular.Read(kinds, "kind")
	if err != nil {
		t.Fatal(err)
	}
	masses := map[string][]float64{}
	for i, row := range both.Rows {
		masses[both.Names[both.Classes[i]]] = append(masses[both.Names[both.Classes[i]]], row[0])
	}
	if heavy, light := stat.Mean(masses["heavy"], nil), stat.Mean(masses["light"], nil); math.Abs(heavy-160) > 3 || math.Abs(light-100) > 3 {
		t.Errorf("samples of the classes have the means %g and %g, want 160 and 100", heavy, light)
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
	code, _, warned := invoke(t.Context(), "sample", "points", "--checkpoint", out, "--t", "0.5", "--x", "999,1", "--n", "2")
	if code != 0 || !strings.Contains(warned, "warning: --x: mass = 999 is ") {
		t.Errorf("a far observation exits with %d, %q", code, warned)
	}
	picture, err := os.ReadFile(figure)
	if err != nil || !bytes.HasPrefix(picture, []byte("\x89PNG")) {
		t.Errorf("a figure of the samples: %v", err)
	}
	checkSteerPoints(t, dir, out)
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
		{"sample points --checkpoint " + out + " --class dark", `class "dark" is unknown: use "heavy", "light"`},
		{"sample points --checkpoint " + out + " --t 0.5 --x 1", "--x has 1 numbers, the points have 2 columns: mass, ratio"},
		{"sample points --checkpoint " + out + " --t 0.5", "give the observation with --x"},
		{"sample points --checkpoint " + out + " --x 1,2", "at --t 0 nothing is observed"},
		{"sample points --checkpoint " + out + " --out x.txt", "x.txt: name a .csv, .json, .npy, .png or .svg file"},
	} {
		refuses(t, tc.want, strings.Fields(tc.command)...)
	}
	if err := os.Remove(data); err != nil {
		t.Fatal(err)
	}
	refuses(t, "mfm tune points: tuning needs the rows of the data: the file "+data+" of the data does not exist: name it "+
		"with --data FILE", "tune", "points", "--checkpoint", out, "--reward", `{"kind": "linear", "weights": {"mass": 1}}`,
		"--out", filepath.Join(dir, "refused"))
}

// checkTunedPoints samples the drift that was tuned in dir from the map of the run in out.
func checkTunedPoints(t *testing.T, dir, out string) {
	t.Helper()
	runs, _ := filepath.Glob(filepath.Join(dir, "tuned", "run-*"))
	if len(runs) != 1 {
		t.Fatalf("tuned runs %q, want one", runs)
	}
	// The folder of the results names its one run.
	args := []string{"sample", "points", "--checkpoint", out, "--tuned", filepath.Dir(runs[0]), "--n", "200",
		"--steps", "20"}
	samples := decode[pointSamples](t, must(t, append(args, "--json")...))
	near := 0
	for _, row := range samples.Samples {
		if math.Abs(row[0]-130) > 12 { // between the classes, at 100 and 160
			near++
		}
	}
	if len(samples.Samples) != 200 || near < 160 || samples.Columns[1] != "ratio" {
		t.Errorf("%d of %d samples of a tuned drift lie near a class", near, len(samples.Samples))
	}
	refuses(t, "--class and --tuned: ", append(args, "--class", "heavy")...)
	refuses(t, "--t and --tuned: ", append(args, "--t", "0.5", "--x", "1,2")...)
	refuses(t, `is of kind "points", want "tuned-points"`, append(args, "--tuned", out)...)
	two := filepath.Join(dir, "two")
	for _, name := range []string{"run-a", "run-b"} {
		if err := os.MkdirAll(filepath.Join(two, name), 0o755); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(two, name), "config.json", "{}")
	}
	refuses(t, "has 2 tuned runs: name one of its folders run-*", append(args, "--tuned", two)...)
	refuses(t, "samples of the map need no data", "sample", "points", "--checkpoint", out, "--data", "x.csv")
	for _, flag := range []string{"reward", "tuned"} {
		refuses(t, "--"+flag+": mfm diagnose points evaluates neither rewards nor tuned drifts", "diagnose", "points",
			"--checkpoint", out, "--"+flag, runs[0], "--backend", "none")
	}
}

// checkSteerPoints steers the map of the run in out to a mass of 160.
func checkSteerPoints(t *testing.T, dir, out string) {
	t.Helper()
	file := filepath.Join(dir, "steered.csv")
	reward := `{"kind": "column", "column": "mass", "target": 160, "width": 15}`
	args := []string{"steer", "points", "--checkpoint", out, "--reward", reward, "--n", "2", "--samples", "64",
		"--steps", "4"}
	results := decode[[]points.SteeringResult](t, must(t, append(args, "--out", file, "--json")...))
	if len(results) != 1 {
		t.Fatalf("%d results of one setting", len(results))
	}
	r := results[0]
	// MFM-GF has K + 2NK evaluations.
	if r.Test != points.SteeringTest || r.Method != "mfm-gf" || r.NFE != 4+2*2*4 || !(r.Reward.Float() > r.RewardBefore.Float()) ||
		len(r.RewardQuantiles) != 5 || !(r.TargetEffective.Float() > 100) || r.SW2.IsZero() || r.Samples != nil {
		t.Errorf("result %+v", r)
	}
	steered, err := tabular.Read(file, "")
	if err != nil {
		t.Fatal(err)
	}
	sum := 0.
	for _, row := range steered.Rows {
		sum += row[0] / float64(len(steered.Rows))
	}
	if len(steered.Rows) != 64 || strings.Join(steered.Columns, " ") != "mass ratio" ||
		math.Abs(sum-r.Columns[0].Mean) > 1e-6*sum || r.Columns[0].Name != "mass" {
		t.Errorf("%d steered samples of %q with the mean %g: %+v", len(steered.Rows), steered.Columns, sum, r.Columns)
	}
	results = decode[[]points.SteeringResult](t, must(t, append(args, "--out", filepath.Join(dir, "steered"),
		"--method", "unsteered,best-of-n-one-step", "--class", "light", "--json")...))
	if len(results) != 2 || results[0].Columns[0].Mean < 90 || results[1].Reward.Float() < results[0].Reward.Float() {
		t.Errorf("results %+v", results)
	}
	// Samples that hardly move are not near to their target, of 0.7 nats.
	weak := append(slices.Clone(args), "--lambda-power", "20", "--out", filepath.Join(dir, "x.svg"))
	for method, want := range map[string]string{
		"mfm-gf": "to the weighted rows: sliced W2 ", "unsteered": "", "best-of-n": "near to the weighted rows: ",
	} {
		_, _, notes := invoke(t.Context(), append(slices.Clone(weak), "--method", method)...)
		if got := strings.Contains(notes, "weighted rows"); !strings.Contains(notes, want) || got != (want != "") {
			t.Errorf("notes on %s: %q, want %q", method, notes, want)
		}
		if method == "mfm-gf" && !strings.Contains(notes, "Compare --method best-of-n --n 8, or --method smc-mfm-gf --dynamics sde") {
			t.Errorf("notes on %s: %q", method, notes)
		}
	}
	svg, err := os.ReadFile(filepath.Join(dir, "x.svg"))
	if err != nil || !strings.Contains(string(svg), "<title>data; samples</title>") {
		t.Errorf("a figure of steered samples without the data (%v)", err)
	}
	tuned := []string{"tune", "points", "--checkpoint", out, "--reward", reward, "--n", "1", "--steps", "2",
		"--batch", "16", "--samples", "32", "--sampler-steps", "100", "--set", "adapter.width=8",
		"--set", "adapter.depth=1", "--out",
		filepath.Join(dir, "tuned"), "--json"}
	first := must(t, tuned...)
	tunings := decode[[]points.TuningResult](t, first)
	if len(tunings) != 1 || tunings[0].Steps != 2 || tunings[0].RewardBefore.IsZero() || tunings[0].Lambda != 1 {
		t.Errorf("tunings %+v", tunings)
	}
	if second := must(t, tuned...); second != first {
		t.Errorf("a finished tuning has the result %s again, want %s", second, first)
	}
	checkTunedPoints(t, dir, out)
	refuses(t, `--class: class "5" is unknown: use "heavy", "light"`, append(tuned, "--class", "5")...)
	for _, tc := range []struct{ want, more string }{
		{"--shard 0/2: --out x.csv is a file, which takes a single run: name a folder", "--out x.csv --shard 0/2"},
		{"--stored y: name a folder for the results with --out", "--stored y"},
	} {
		refuses(t, tc.want, append(args, strings.Fields(tc.more)...)...)
	}
	for _, tc := range []struct{ want, flag, value string }{
		{`column "size" is unknown: use "mass", "ratio"`, "--reward", `{"kind": "linear", "weights": {"size": 1}}`},
		{"--reward is missing", "--reward", "paper"},
		{`reward "no.json" is no name of a reward`, "--reward", "no.json"},
		{"a file has the samples of one run, these flags give 2", "--method", "mfm-g,dps"},
		{"points have no value in closed form", "--method", "exact"},
		{`--class: class "2" is unknown: use "heavy", "light"`, "--class", "2"},
		{"there is no folder", "--out", filepath.Join(dir, "none", "x.csv")},
		{"--checkpoint is missing", "--checkpoint", ""},
		{"no such file", "--data", filepath.Join(dir, "none.csv")},
	} {
		refuses(t, tc.want, append(append(args, "--out", file), tc.flag, tc.value)...)
	}
}

// A bad file of points is refused in one line before anything is written.
func TestRefusesPoints(t *testing.T) {
	dir := t.TempDir()
	good := pointsCSV(100)
	line := func(text string) string { return good + text + "\n" }
	for _, tc := range []struct{ text, want string }{
		{good, `line 2, column "kind": the value "light" is not a number: remove the column, or name it as that of the ` +
			`classes: --classes kind`},
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
