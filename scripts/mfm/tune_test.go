package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/gomfm/gomfm/mfm/backend"
	"github.com/gomfm/gomfm/mfm/diagnose"
	"github.com/gomfm/gomfm/mfm/experiment/image"
	"github.com/gomfm/gomfm/mfm/experiment/latent/alignment"
	"github.com/gomfm/gomfm/mfm/experiment/mixture"
	"github.com/gomfm/gomfm/mfm/metric"
	"github.com/gomfm/gomfm/mfm/tune"
)

const smallMap = "../../data/weights/gmm-small"

// needLoops skips a test that needs compiled loops on a backend without them.
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

// A sweep is tuned once, and its results are found again.
func TestTuneGMM(t *testing.T) {
	needLoops(t)
	out := t.TempDir()
	run := func() (results []mixture.TuningResult) {
		t.Helper()
		code, stdout, stderr := invoke(t.Context(), "tune", "gmm", "--checkpoint", smallMap, "--method",
			"mfm-ft,reward-weighted", "--n", "1,2", "--steps", "3", "--batch", "64", "--samples", "64",
			"--sampler-steps", "16",
			"--set", "adapter.width=8", "--json", "--tensorboard", "--out", out)
		if code != 0 {
			t.Fatalf("exit code %d: %s", code, stderr)
		}
		if err := json.Unmarshal([]byte(stdout), &results); err != nil {
			t.Fatal(err)
		}
		return results
	}
	results := run()
	if len(results) != 3 || results[0].N != 1 || results[1].N != 2 || results[2].Method != "reward-weighted" ||
		!(results[0].ODE.SW2 > 0) {
		t.Fatalf("results %+v: want MFM-FT with one sample and with two, and one reward-weighted", results)
	}
	if again := run(); again[0].Seconds != results[0].Seconds {
		t.Error("a run with a result was repeated")
	}
	runs, _ := filepath.Glob(filepath.Join(out, "run-*", "weights.safetensors"))
	if len(runs) != 3 {
		t.Fatalf("%d tuned networks are kept, want 3", len(runs))
	}
	if events, _ := filepath.Glob(filepath.Join(out, "run-*", "events.out.tfevents.*")); len(events) != 3 {
		t.Errorf("%d runs have event files, want 3", len(events))
	}
	// A tuned drift is distilled into a map, which other commands accept as a checkpoint.
	distilled := filepath.Join(out, "distilled")
	must(t, "tune", "distill", "--checkpoint", filepath.Dir(runs[0]), "--base", smallMap, "--out", distilled,
		"--samples", "512", "--sampler-steps", "8", "--steps", "3", "--batch", "32", "--set", "map.network.width=8",
		"--json")
	if results := decode[[]mixture.PosteriorResult](t,
		must(t, "eval", "gmm", "--checkpoint", distilled, "--times", "0.5", "--contexts", "2", "--samples", "64",
			"--json")); len(results) != 1 || !(results[0].SW2 > 0) {
		t.Errorf("the distilled map is evaluated as %+v", results)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, args := range [][]string{
		{"gmm", "--checkpoint", smallMap}, {"distill", "--checkpoint", filepath.Dir(runs[0]), "--base", smallMap},
	} {
		dir := filepath.Join(out, "stopped-"+args[0])
		code, _, stderr := invoke(ctx, append(append([]string{"tune"}, args...), "--out", dir)...)
		if want := "stopped, everything is kept in " + dir + ": the same command resumes there\n"; code != 1 ||
			!strings.HasSuffix(stderr, want) {
			t.Errorf("tune %s, stopped: exit code %d, %q; want 1 and %q", args[0], code, stderr, want)
		}
	}
}

// A reward without closed form is refused, by the method that needs one and for the comparison.
func TestTuneGMMRefusesRewards(t *testing.T) {
	out := filepath.Join(t.TempDir(), "refused")
	const plane = `{"kind": "half_plane", "a": [1, 0], "offset": 0, "width": 1}`
	for method, want := range map[string]string{
		"plug-in-exact": "tune gmm: method plug-in-exact: reward half_plane: it has no closed form",
		"mfm-ft":        "tune gmm: reward half_plane: it has no closed form",
	} {
		code, _, stderr := invoke(t.Context(), "tune", "gmm", "--checkpoint", smallMap, "--method", method,
			"--reward", plane, "--out", out)
		if code != 2 || !strings.Contains(stderr, want) {
			t.Errorf("%s: exit code %d, %q; want 2 and %q", method, code, stderr, want)
		}
	}
	if help := must(t, "tune", "gmm", "-h"); !strings.Contains(help, "linear_gaussian, no other") {
		t.Errorf("the help does not say which rewards are possible: %s", help)
	}
}

// tunedDigits tunes the map of run, which has no mixture, to bright images by the classifier that
// evaluated has trained in dir.
func tunedDigits(t *testing.T, run, dir string) {
	needLoops(t)
	evaluator, out := filepath.Join(dir, "evaluator"), filepath.Join(dir, "tuned")
	args := []string{"tune", "digits", "--checkpoint", run, "--evaluator", evaluator, "--second", evaluator, "--data",
		dir, "--reward", "class:1", "--network", "copy", "--method", "mfm-ft-gf,reward-weighted", "--steps", "2",
		"--batch", "4",
		"--samples", "24", "--sampler-steps", "2", "--set", "budget.every=1", "--set", "budget.paths.paths=4", "--set",
		"budget.paths.steps=12", "--out", out}
	results := decode[[]image.TuningResult](t, must(t, append(slices.Clone(args), "--json")...))
	if len(results) != 2 || results[0].Method != "mfm-ft-gf" || results[1].Method != "reward-weighted" ||
		results[0].NFE != 2 || results[0].TuneSteps != 2 || results[0].TuneNFE != 2*4*8 ||
		len(results[1].Evaluations) != 2 || len(results[0].Classes) != 10 || !(results[0].StdTarget > 0) {
		for i := range results {
			results[i].Images = nil
		}
		t.Fatalf("results %+v", results)
	}
	table := must(t, args...) // of the results in the folder
	if strings.Count(table, "\n") != 3 || !strings.Contains(table, "distance floor") ||
		!strings.Contains(table, "reward-weighted") {
		t.Errorf("table %q", table)
	}
	other := filepath.Join(dir, "refused")
	for want, more := range map[string][]string{
		"--evaluator":                         {"--evaluator", ""},
		"--second":                            {"--second", ""},
		"class:K":                             {"--reward", "class:bright"},
		"steps = 0":                           {"--sampler-steps", "0"},
		"samples = 1":                         {"--samples", "1"},
		"adapter is for samples of a mixture": {"--network", "adapter"},
		"prior is a mixture":                  {"--network", "copy,tilted-copy"},
		"tilted = true with method":           {"--set", "tilted=true"},
		"40 samples have an effective number": {"--lambda", "1,1e6"},
		"use at least 2":                      {"--method", "plug-in-mfm-gf", "--n", "1"},
		"images have no value":                {"--method", "plug-in-exact"},
		"lambda \"much\"":                     {"--lambda", "much"},
		"shard \"2/2\"":                       {"--shard", "2/2"},
		"method \"luck\" is un":               {"--method", "luck"},
	} {
		code, _, stderr := invoke(t.Context(), append(append(slices.Clone(args), "--out", other), more...)...)
		if code != 2 || !strings.Contains(stderr, want) {
			t.Errorf("%v: exit code %d, %q; want 2 and %q", more, code, stderr, want)
		}
	}
	if files, _ := filepath.Glob(filepath.Join(other, "*")); len(files) > 0 {
		t.Errorf("refused sweeps have left %v", files)
	}
}

// The table of tuned digits has lines of one length, also for a training that diverged, and notes
// about trainings that their budget ended.
func TestPrintDigitsTuning(t *testing.T) {
	var stdout, stderr bytes.Buffer
	c := &command{Command: &cobra.Command{}}
	c.SetOut(&stdout)
	c.SetErr(&stderr)
	row := image.TuningResult{Network: "copy", Lambda: 1, TuneSteps: 1000, TuneNFE: 512000,
		Evaluations: []tune.Evaluation{{Step: 500, KL: 2, KLSE: 0.3}, {Step: 1000, KL: 3, KLSE: 0.4}}, Stopped: true,
		Collapse: "they gather"}
	row.Method, row.N, row.L2 = "mfm-ft", 2, metric.Some(0.1234)
	failed := image.TuningResult{Network: "low-rank", Lambda: 5}
	failed.Method, failed.Diverged = "adjoint", true
	if err := digitsTuning().table.write(c, []image.TuningResult{row, failed}); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(stdout.String(), "\n"), "\n")
	if len(lines) != 3 || len(lines[0]) == 0 || utf8.RuneCountInString(lines[1]) != utf8.RuneCountInString(lines[0]) ||
		utf8.RuneCountInString(lines[2]) != utf8.RuneCountInString(lines[0]) {
		t.Errorf("table\n%s: its lines are not of one length", stdout.String())
	}
	for _, want := range []string{"512000", "0.1234", "2.50", "0.25", "diverged", "l2 floor", "distance floor"} {
		if !strings.Contains(stdout.String(), want) {
			t.Errorf("table\n%s: lacks %s", stdout.String(), want)
		}
	}
	if !strings.Contains(stderr.String(), "mfm-ft of a copy, n = 2, λ = 1, seed 0: the KL budget ended") ||
		!strings.Contains(stderr.String(), "they gather") {
		t.Errorf("notes %q", stderr.String())
	}
}

func TestTuneRefuses(t *testing.T) {
	dir := t.TempDir()
	for want, args := range map[string][]string{
		"use kind mlp": {"gmm", "--out", dir, "--checkpoint", smallMap, "--set", "adapter.kind=unet"},
		"closed form":  {"gmm", "--out", dir, "--checkpoint", smallMap, "--reward", `{"kind": "quadratic", "center": [0], "weight": [1]}`},
		"3 elements":   {"gmm", "--out", dir, "--checkpoint", smallMap, "--reward", `{"kind": "linear_gaussian", "a": [[1, 2, 3]], "y": [0], "sigma": 1}`},
		"--checkpoint": {"gmm", "--out", dir},
		"--out":        {"gmm", "--checkpoint", smallMap},
		"luck":         {"gmm", "--out", dir, "--checkpoint", smallMap, "--method", "luck"},
		"numbers":      {"gmm", "--out", dir, "--checkpoint", smallMap, "--n", "many"},
		"lambda":       {"gmm", "--out", dir, "--checkpoint", smallMap, "--lambda", "-1"},
		"evaluation":   {"gmm", "--out", dir, "--checkpoint", smallMap, "--sampler-steps", "4"},
		"network":      {"gmm", "--out", dir, "--checkpoint", smallMap, "--network", "all"},
		"own to 1": {"gmm", "--out", dir, "--checkpoint", smallMap, "--method", "adjoint", "--set",
			"tune.states.own=0"},
	} {
		code, _, stderr := invoke(t.Context(), append([]string{"tune"}, args...)...)
		if code == 0 || !strings.Contains(stderr, want) {
			t.Errorf("tune %v: exit code %d, %q; want an error with %q", args, code, stderr, want)
		}
	}
}

// A report is printed and, if a folder is named, kept.
func TestDiagnose(t *testing.T) {
	needLoops(t)
	out := filepath.Join(t.TempDir(), "report")
	code, stdout, stderr := invoke(t.Context(), "diagnose", "gmm", "--checkpoint", smallMap, "--times", "0.2,0.6",
		"--samples", "32", "--json", "--out", out)
	if code != 0 {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	var report diagnose.Report
	if err := json.Unmarshal([]byte(stdout), &report); err != nil || len(report.Results) != 2 ||
		report.Config.Samples != 32 {
		t.Errorf("report %s: %v", stdout, err)
	}
	if files, _ := filepath.Glob(filepath.Join(out, "*")); len(files) != 4 {
		t.Errorf("files %v, want four", files)
	}
	if code, _, stderr := invoke(t.Context(), "diagnose", "gmm", "--checkpoint", smallMap, "--times",
		"1.5"); code != 2 || !strings.Contains(stderr, "time 1.5") {
		t.Errorf("exit code %d, %q; want 2 for a time beyond 1", code, stderr)
	}
	const box = `{"kind": "box", "low": [0, 0, 0], "high": [1, 1, 1], "width": 1}`
	if code, _, stderr := invoke(t.Context(), "diagnose", "gmm", "--checkpoint", smallMap, "--reward", box); code != 2 || !strings.Contains(stderr, "shape [2]: reward box: samples have 2 elements, want 3") {
		t.Errorf("exit code %d, %q; want 2 for a reward of another dimension", code, stderr)
	}
}

// Fine-tuning and a diagnosis warn of a reward whose values float32 cannot tell apart, as steering
// does.
func TestTuningAndDiagnosisWarnOfScale(t *testing.T) {
	needLoops(t)
	const far, want = `{"kind": "linear_gaussian", "a": [[1, 2]], "y": [0], "sigma": 1e-8}`, "N(0, I) span "
	tune := []string{"tune", "gmm", "--checkpoint", smallMap, "--steps", "2", "--batch", "16", "--samples", "16",
		"--sampler-steps", "16", "--set", "adapter.width=8", "--reward", far, "--out", t.TempDir()}
	if _, stdout, stderr := invoke(t.Context(), tune...); !strings.Contains(stderr, want) {
		t.Errorf("tune gmm: %q, %q; want the warning %q", stdout, stderr, want)
	}
	results := decode[[]mixture.TuningResult](t, must(t, append(tune, "--json")...))
	if len(results) != 1 || len(results[0].Warnings) != 1 || !strings.Contains(results[0].Warnings[0], want) {
		t.Errorf("tune gmm: results %+v, want the warning %q", results, want)
	}
	diagnose := []string{"diagnose", "gmm", "--checkpoint", smallMap, "--times", "0.5", "--samples", "16", "--reward"}
	finding := "reward: values of the reward at samples of " + want
	if stdout := must(t, append(diagnose, far)...); !strings.Contains(stdout, finding) {
		t.Errorf("diagnose gmm: %q, want the finding %q", stdout, want)
	}
	if stdout := must(t, append(diagnose, "paper")...); strings.Contains(stdout, "reward: ") {
		t.Errorf("diagnose gmm: a usual reward has the finding %q", stdout)
	}
}

// tuneSmallImageNet tunes the map of the run in dir for two steps.
func tuneSmallImageNet(t *testing.T, dir string) {
	needLoops(t)
	out, pictures := t.TempDir(), filepath.Join(t.TempDir(), "pictures")
	args := []string{"tune", "imagenet", "--checkpoint", dir, "--method", "mfm-ft-gf", "--n", "2", "--noise", "late", "--steps", "2",
		"--batch", "4", "--samples", "4", "--sampler-steps", "2", "--set", "budget.every=1", "--set", "budget.paths.paths=2",
		"--set", "budget.paths.steps=12", "--pictures", pictures, "--out", out, "--json"}
	results := decode[[]alignment.TuningResult](t, must(t, args...))
	if len(results) != 1 || results[0].Lambda != 10 || results[0].Noise.Start != 0.1 || len(results[0].Sampled) != 2 ||
		len(results[0].Evaluations) != 2 || results[0].NFE != 2 || results[0].RewardName != "blue" {
		t.Fatalf("results %+v", results)
	}
	raw, err := os.ReadFile(filepath.Join(pictures, "mfm-ft-gf-n2-"+results[0].SettingHash+".png"))
	if err != nil {
		t.Fatal(err)
	}
	checkSteeredFigure(t, raw, results[0].Result)
	if again := decode[[]alignment.TuningResult](t, must(t, args...)); !reflect.DeepEqual(again, results) {
		t.Errorf("results %+v of a sweep that has ended, want %+v", again, results)
	}
	draw := []string{"sample", "imagenet", "--checkpoint", dir, "--tuned", out, "--n", "2", "--steps", "3", "--json"}
	if s := decode[imageSamples](t, must(t, draw...)); len(s.Samples) != 9 || len(s.Samples[8]) != 2 || len(s.Samples[8][1]) != 192 ||
		len(s.Classes) != 9 {
		t.Errorf("samples of the tuned drift: %d rows of the classes %q", len(s.Samples), s.Classes)
	}
	if s := decode[imageSamples](t, must(t, append(slices.Clone(draw), "--class", "8")...)); len(s.Samples) != 1 {
		t.Errorf("samples of a class: %d rows, want 1", len(s.Samples))
	}
	for want, more := range map[string][]string{
		"--t and --tuned": {"--t", "0.5"},
		"--class = 9":     {"--class", "9"},
		"steps = 0":       {"--steps", "0"},
		"no such file":    {"--tuned", t.TempDir()},
	} {
		if code, _, stderr := invoke(t.Context(), append(slices.Clone(draw), more...)...); code != 2 || !strings.Contains(stderr, want) {
			t.Errorf("%v: exit code %d, %q, want %q", more, code, stderr, want)
		}
	}
	diagnose := []string{"diagnose", "imagenet", "--checkpoint", dir, "--tuned", out, "--times", "0.5", "--contexts", "2", "--samples", "4",
		"--steps", "2"}
	stored, err := filepath.Glob(filepath.Join(out, "*", "evaluations.json"))
	if err != nil || len(stored) != 1 {
		t.Fatalf("files %q with evaluations (%v)", stored, err)
	}
	write(t, filepath.Dir(stored[0]), "evaluations.json", `[{"step": 1}]`)
	alone := must(t, append(slices.Clone(diagnose), "--tuned", "")...)
	if !strings.Contains(alone, "0.000±0.000") || strings.Contains(alone, "steering: ") || strings.Contains(alone, "tuned") {
		t.Errorf("diagnosis of a map alone: %q", alone)
	}
	report := must(t, append(slices.Clone(diagnose), "--reward", tuningReward)...)
	for _, want := range []string{"sensitivity", "steering: the steering is longer", "the drift was evaluated 1 times while it was tuned"} {
		if !strings.Contains(report, want) {
			t.Errorf("diagnosis %q, want %q", report, want)
		}
	}
	for want, more := range map[string][]string{
		"no such file":            {"--tuned", t.TempDir()},
		"was tuned from another":  {"--checkpoint", filepath.Join("..", "..", shippedEmoji)},
		`kind "none" is unknown`:  {"--reward", `{"kind": "none"}`},
		"contexts = 0":            {"--contexts", "0"},
		"-4x4: use the same data": {"--size", "4"},
	} {
		if code, _, stderr := invoke(t.Context(), append(slices.Clone(diagnose), more...)...); code != 2 || !strings.Contains(stderr, want) {
			t.Errorf("%v: exit code %d, %q, want %q", more, code, stderr, want)
		}
	}
	for want, more := range map[string][]string{
		"--preset none is unknown": {"--preset", "none"},
		"class = 99":               {"--class", "99"},
		"use doob, late, constant": {"--noise", "none"},
	} {
		if code, _, stderr := invoke(t.Context(), append(args, more...)...); code != 2 || !strings.Contains(stderr, want) {
			t.Errorf("%v: exit code %d, %q, want %q", more, code, stderr, want)
		}
	}
}

// A reward of pictures has the name of its object, or that of its kind.
func TestNamedReward(t *testing.T) {
	for text, want := range map[string]string{
		tuningReward:           `blue {"kind": "color", "hue": 240, "weight": 1} `,
		`{"kind": "symmetry"}`: `symmetry {"kind": "symmetry"} `,
		`{"kind": "scaled", "factor": 2, "of": {"kind": "symmetry"}}`:       `scaled {"kind": "scaled", "factor": 2, "of": {"kind": "symmetry"}} `,
		`{"name": "a", "reward": {"kind": "b"}, "held_out": {"kind": "c"}}`: `a {"kind": "b"} {"kind": "c"}`,
	} {
		r, err := namedReward(text)
		if got := fmt.Sprintf("%s %s %s", r.Name, r.Text(), r.HeldOutText()); err != nil || got != want {
			t.Errorf("%s: got %q (%v), want %q", text, got, err, want)
		}
	}
	file := filepath.Join(t.TempDir(), "reward.json")
	if err := os.WriteFile(file, []byte(`{"kind": "symmetry"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if r, err := namedReward(file); err != nil || r.Name != "symmetry" {
		t.Errorf("a file: got %v (%v)", r, err)
	}
	for _, text := range []string{"missing", `{"name": "a", "reward": {}, "more": 1}`, `{"reward": {"kind": "symmetry"}}`} {
		if r, err := namedReward(text); err == nil {
			t.Errorf("%s: got %v, want an error", text, r)
		}
	}
}
