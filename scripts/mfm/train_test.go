package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/gomfm/gomfm/mfm/backend"
	"github.com/gomfm/gomfm/mfm/experiment/image"
	"github.com/gomfm/gomfm/mfm/experiment/mixture"
	"github.com/gomfm/gomfm/mfm/experiment/run"
	"github.com/gomfm/gomfm/mfm/experiment/speed"
)

const (
	// tiny is a map that compiles in seconds and trains in less.
	tiny      = `{"parametrization": "plain", "network": {"width": 8, "depth": 1}, "train": {"batch": 16}}`
	twoPoints = `{"weights": [1, 3], "means": [[-2, 0], [2, 1]],
		"covariances": [[[0.5, 0.1], [0.1, 0.3]], [[0.2, 0], [0, 0.2]]]}`
)

// canceling is a writer that cancels a context when text is written to it.
type canceling struct {
	written bytes.Buffer
	text    string
	cancel  context.CancelFunc
}

func (c *canceling) Write(p []byte) (int, error) {
	if strings.Contains(string(p), c.text) {
		c.cancel()
	}
	return c.written.Write(p)
}

func sum(t *testing.T, path ...string) [32]byte {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(path...))
	if err != nil {
		t.Fatal(err)
	}
	return sha256.Sum256(raw)
}

// A mixture's map is trained, interrupted, resumed, evaluated and sampled.
func TestGMM(t *testing.T) {
	dir := t.TempDir()
	config, mixture := write(t, dir, "tiny.json", tiny), write(t, dir, "mixture.json", twoPoints)
	whole, parts := filepath.Join(dir, "whole"), filepath.Join(dir, "parts")
	train := func(out string) []string {
		return []string{"train", "gmm", "--config", config, "--mixture", mixture, "--loss", "diagonal",
			"--distillation", "teacher",
			"--steps", "20", "--seed", "5", "--every", "6", "--out", out, "--tensorboard", "--json", "--no-verdict"}
	}
	type ending struct {
		Out string
		run.LogEntry
		Verdict []string
	}
	report := decode[ending](t, must(t, train(whole)...))
	if report.Out != whole || report.Step != 20 || !(report.Loss > 0) || report.Verdict != nil {
		t.Errorf("report %+v", report)
	}
	again := train(whole)
	report = decode[ending](t, must(t, again[:len(again)-1]...))
	if report.Step != 20 || len(report.Verdict) != 3 || !strings.Contains(report.Verdict[0], "of the ODE's samples") {
		t.Errorf("the report of a finished run is %+v, want one with a verdict", report)
	}

	// The first line of progress comes after the first step.
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	stderr := &canceling{text: "0/20", cancel: cancel}
	if code := execute(ctx, train(parts), &bytes.Buffer{}, stderr); code != 1 {
		t.Fatalf("interrupted training exits with %d: %s", code, &stderr.written)
	}
	lines := strings.Split(strings.TrimSpace(stderr.written.String()), "\n")
	if last := lines[len(lines)-1]; !strings.Contains(last, "the same command resumes") ||
		!strings.Contains(last, parts) {
		t.Errorf("interrupted training ends with %q", last)
	}
	if all := stderr.written.String(); !strings.Contains(all, "stopped after") || strings.Contains(all, "training stopped") {
		t.Errorf("interrupted training says that it stopped not once: %q", all)
	}
	if !strings.HasPrefix(lines[0], "backend: ") {
		t.Errorf("training begins with %q, want the backend", lines[0])
	}
	lostCheckpoint(t, train(filepath.Join(dir, "lost")), filepath.Join(dir, "lost"))
	must(t, train(parts)...)
	for _, name := range []string{"weights.safetensors", "step-000000020.safetensors"} {
		if sum(t, whole, name) != sum(t, parts, name) {
			t.Errorf("%s of an interrupted run differs from that of an uninterrupted one", name)
		}
	}
	log, err := os.ReadFile(filepath.Join(parts, "log.csv"))
	if lines := strings.Split(string(log), "\n"); err != nil || len(lines) != 22 || !strings.HasPrefix(lines[20], "20,") {
		t.Errorf("log.csv of an interrupted run of 20 steps is %q (%v)", log, err)
	}
	if _, err := os.Stat(filepath.Join(parts, "events.out.tfevents.mfm")); err != nil {
		t.Error(err)
	}
	code, _, refusal := invoke(t.Context(), append(train(parts), "--steps", "21")...)
	if code != 2 || !strings.Contains(refusal, "another run") {
		t.Errorf("another number of steps in the same folder: exit code %d, %q", code, refusal)
	}

	t.Run("eval", func(t *testing.T) { evalOf(t, whole) })
	t.Run("sample", func(t *testing.T) { samplesOf(t, whole) })
	t.Run("damage", func(t *testing.T) { damaged(t, parts, train(parts)) })
}

// endsOnceTrained is a context that has ended when it is asked for the second time after the
// training has begun: it is asked before each step.
type endsOnceTrained struct {
	context.Context
	begun atomic.Bool
	asked atomic.Int32
}

func (e *endsOnceTrained) Err() error {
	if e.begun.Load() && e.asked.Add(1) > 1 {
		return context.Canceled
	}
	return nil
}

// A stopped training whose last checkpoint cannot be written reports that, and not that everything
// is kept.
func lostCheckpoint(t *testing.T, train []string, out string) {
	ctx := &endsOnceTrained{Context: t.Context()}
	stderr := &canceling{text: "0/20", cancel: func() {
		if err := os.RemoveAll(out); err != nil {
			t.Error(err)
		}
		ctx.begun.Store(true)
	}}
	code := execute(ctx, train, &bytes.Buffer{}, stderr)
	lines := strings.Split(strings.TrimSpace(stderr.written.String()), "\n")
	last := lines[len(lines)-1]
	if code != 1 || !strings.Contains(last, "saving step ") || strings.Contains(last, "everything is kept") ||
		strings.Contains(last, "context canceled") {
		t.Errorf("a stopped training without a checkpoint exits with %d and %q", code, last)
	}
}

// A value that does not exist is a dash.
func TestColumnWithoutValue(t *testing.T) {
	values := func(v float64) []any { return []any{v} }
	got := table[float64]{columns: columns(values, "excess %.2f")}.text([]float64{0, math.NaN()})
	if lines := strings.Fields(got); !slices.Equal(lines, []string{"excess", "0.00", "-"}) {
		t.Errorf("table %q", got)
	}
}

func TestBesides(t *testing.T) {
	cause, full, torn := errors.New("interrupt"), errors.New("disk full"), errors.New("torn")
	stopped := fmt.Errorf("stopped after step 3: %w", cause)
	for _, tc := range []struct {
		name string
		err  error
		want error
	}{
		{"nothing", nil, nil},
		{"the cause", cause, nil},
		{"the cause, wrapped", stopped, nil},
		{"joined with nothing", errors.Join(stopped, nil), nil},
		{"another", full, full},
		{"joined", errors.Join(stopped, full), full},
		{"joined twice", errors.Join(errors.Join(stopped, full), torn), errors.Join(full, torn)},
		{"joined and wrapped", fmt.Errorf("run: %w", errors.Join(stopped, full)),
			fmt.Errorf("run: %w", errors.Join(stopped, full))},
	} {
		if got := besides(tc.err, cause); fmt.Sprint(got) != fmt.Sprint(tc.want) {
			t.Errorf("%s: besides the cause there is %v, want %v", tc.name, got, tc.want)
		}
	}
}

func evalOf(t *testing.T, dir string) {
	args := []string{"eval", "gmm", "--checkpoint", dir, "--samples", "300", "--projections", "8", "--json"}
	text := must(t, args...)
	results := decode[[]mixture.PosteriorResult](t, text)
	times := mixture.DefaultEvalConfig().Times
	if len(results) != len(times) {
		t.Fatalf("%d results for %d times", len(results), len(times))
	}
	for i, r := range results {
		if r.T != times[i] || r.Loss != "diagonal" || r.Distillation != "teacher" || r.Seed != 5 {
			t.Errorf("result %+v", r)
		}
		if excess := math.Sqrt(max(r.SW2*r.SW2-r.Floor*r.Floor, 0)) / r.Std; math.Abs(excess-r.Excess.Float()) > 1e-12 {
			t.Errorf("t = %g: excess %g, want %g", r.T, r.Excess.Float(), excess)
		}
		// The posterior is that of this mixture, whose standard deviation bounds it,
		// 1.33.
		if !(r.Std > 0 && r.Std < 1.4) || !(r.SW2 > r.Floor) || !(r.Diversity.Float() > 0) {
			t.Errorf("result %+v", r)
		}
	}
	if again := must(t, args...); again != text {
		t.Errorf("a repeated evaluation is %s, want %s", again, text)
	}
	if table := must(t, args[:len(args)-1]...); strings.Count(table, "\n") != 2+len(times) {
		t.Errorf("table %s", table)
	}
}

func samplesOf(t *testing.T, dir string) {
	sample := func(args ...string) [][]float64 {
		return decode[[][]float64](t,
			must(t, append([]string{"sample", "gmm", "--checkpoint", dir, "--n", "7", "--json"}, args...)...))
	}
	file := filepath.Join(t.TempDir(), "samples.csv")
	first := sample("--t", "0.4", "--x", "-0.5,1", "--out", file)
	if len(first) != 7 || len(first[0]) != 2 {
		t.Fatalf("samples %v", first)
	}
	table, err := os.ReadFile(file)
	last := fmt.Sprintf("6,%v,%v\n", float32(first[6][0]), float32(first[6][1]))
	if err != nil || !strings.HasPrefix(string(table), "sample,x0,x1\n") || !strings.HasSuffix(string(table), last) {
		t.Errorf("the table of the samples is %q (%v), want one that ends with %q", table, err, last)
	}
	if again := sample("--t", "0.4", "--x", "-0.5,1"); !reflect.DeepEqual(again, first) {
		t.Errorf("the same seed gives %v and %v", first, again)
	}
	for _, args := range [][]string{{"--t", "0.4", "--x", "-0.5,1", "--seed", "1"}, {"--t", "0.4", "--x", "0.5,1"},
		{"--t", "0.5", "--x", "-0.5,1"},
		{"--t", "0.4", "--x", "-0.5,1", "--method", "ode", "--steps", "3"}} {
		if other := sample(args...); reflect.DeepEqual(other, first) {
			t.Errorf("%v gives the same samples", args)
		}
	}
	for _, x := range []string{"1", "1,2,3", "a,b", "1,inf", ","} {
		code, _, stderr := invoke(t.Context(), "sample", "gmm", "--checkpoint", dir, "--x", x)
		if code != 2 || strings.Count(stderr, "\n") != 1 || !strings.Contains(stderr, "--x") {
			t.Errorf("--x %s: exit code %d, %q", x, code, stderr)
		}
	}
	if code, _, stderr := invoke(t.Context(), "sample", "digits", "--checkpoint", dir, "--json"); code != 2 ||
		!strings.Contains(stderr, `"gmm"`) {
		t.Errorf("a mixture's map opened as one of digits: exit code %d, %q", code, stderr)
	}
}

// A torn checkpoint is reported, and the one before it is used.
func damaged(t *testing.T, dir string, train []string) {
	want := sum(t, dir, "weights.safetensors")
	if err := os.Truncate(filepath.Join(dir, "step-000000020.safetensors"), 100); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, "weights.safetensors")); err != nil {
		t.Fatal(err)
	}
	code, _, stderr := invoke(t.Context(), "sample", "gmm", "--checkpoint", dir)
	if code != 0 || !strings.Contains(stderr, "mfm: warning: ") || !strings.Contains(stderr, "step-000000020") {
		t.Errorf("sampling: exit code %d, %q", code, stderr)
	}
	code, _, stderr = invoke(t.Context(), train...)
	if code != 0 || !strings.Contains(stderr, "mfm: warning: ") || !strings.Contains(stderr, "step-000000020") {
		t.Errorf("resuming: exit code %d, %q", code, stderr)
	}
	if sum(t, dir, "weights.safetensors") != want {
		t.Error("a run that resumed from the checkpoint before ends with other weights")
	}
}

// A map of images is trained, sampled, evaluated by two classifiers, steered and tuned.
func TestDigits(t *testing.T) {
	dir := t.TempDir()
	smallImages(t, dir)
	config := write(t, dir, "tiny.json",
		`{"parametrization": "plain", "network": {"channels": [4], "attention": [], "heads": 1, "groups": 2,
			"embedding": 8}, "train": {"batch": 4}}`)
	out := filepath.Join(dir, "run")
	must(t, "train", "digits", "--config", config, "--data", dir, "--loss", "diagonal", "--steps", "2", "--no-verdict",
		"--out", out)
	png := filepath.Join(dir, "samples.png")
	s := decode[digitSamples](t,
		must(t, "sample", "digits", "--checkpoint", out, "--t", "0.5", "--contexts", "2", "--n", "3", "--json", "--out",
			png))
	if len(s.Contexts) != 2 || len(s.Samples) != 2 || len(s.Samples[1]) != 3 || len(s.Samples[1][2]) != 8*8 ||
		len(s.Contexts[0]) != 8*8 {
		t.Errorf("samples of %d contexts", len(s.Samples))
	}
	raw, err := os.ReadFile(png)
	if err != nil || !bytes.HasPrefix(raw, []byte("\x89PNG")) {
		t.Errorf("%s: %v", png, err)
	}
	code, _, stderr := invoke(t.Context(), "sample", "digits", "--checkpoint", out, "--contexts", "21", "--json")
	if code != 2 || !strings.Contains(stderr, "20 held-out images") {
		t.Errorf("more contexts than images: exit code %d, %q", code, stderr)
	}
	t.Run("eval", func(t *testing.T) { evaluated(t, out, dir) })
	t.Run("steer", func(t *testing.T) { steered(t, out, dir) })
	t.Run("tune", func(t *testing.T) { tunedDigits(t, out, dir) })
	t.Run("classes", func(t *testing.T) { withClasses(t, config, dir) })
}

// steered steers the map of run to bright images by the classifier that evaluated has trained in
// dir.
func steered(t *testing.T, run, dir string) {
	evaluator := filepath.Join(dir, "evaluator")
	args := []string{"steer", "digits", "--checkpoint", run, "--evaluator", evaluator, "--second", evaluator, "--data",
		dir, "--steps", "4", "--samples", "6", "--out", filepath.Join(dir, "runs")}
	results := decode[[]image.SteeringResult](t,
		must(t, append(args, "--reward", "class:1", "--method", "unsteered,mfm-gf", "--n", "2", "--json")...))
	if len(results) != 2 || results[0].Samples != 6 || results[1].NFE != 20 || len(results[1].Classes) != 10 ||
		results[1].Target[1] < 0.6 || len(results[0].Images) == 0 {
		for i := range results {
			results[i].Images = nil
		}
		t.Errorf("results %+v", results)
	}
	table := must(t, append(args, "--reward", "class:1", "--method", "unsteered")...)
	if strings.Count(table, "\n") != 2 || !strings.Contains(table, "unsteered") {
		t.Errorf("table %q", table)
	}
	for want, more := range map[string][]string{
		"--second":    {"--second", ""},
		"class:K":     {"--reward", "class:bright"},
		"no name":     {"--reward", "luck"},
		"closed form": {"--method", "exact"},
		"class = 12":  {"--reward", "class:12"},
	} {
		if code, _, stderr := invoke(t.Context(), append(slices.Clone(args), more...)...); code != 2 ||
			!strings.Contains(stderr, want) {
			t.Errorf("%v: exit code %d, %q; want 2 and %q", more, code, stderr, want)
		}
	}
	other := filepath.Join(shippedRuns, "classifier") // of 28x28 pixels
	for _, more := range [][]string{{"--evaluator", other}, {"--second", other}} {
		refused(t, "steering with a classifier of another size", append(slices.Clone(args), more...), other,
			"classifier of images of shape [28 28 1]")
		diagnose := []string{"diagnose", "digits", "--checkpoint", run, "--data", dir, "--reward", "class:1",
			"--evaluator", evaluator, "--second", evaluator}
		refused(t, "diagnosis with a classifier of another size", append(diagnose, more...), other,
			"classifier of images of shape [28 28 1]")
	}
}

// withClasses trains a map with classes in two runs, of which the second is initialized with the
// weights of the first, guides it to one of the classes, tunes it for all of them and for one, and
// diagnoses it for one. The classifier is that of evaluated.
func withClasses(t *testing.T, config, dir string) {
	train := []string{"train", "digits", "--config", config, "--data", dir, "--loss", "diagonal", "--distillation",
		"self", "--set", "network=" + smallMLP, "--set", "network.classes=2",
		"--set", `train.loss.guidance={"classes": 2, "dropout": 0.2}`, "--steps", "2", "--no-verdict"}
	first, second := filepath.Join(dir, "classes"), filepath.Join(dir, "more")
	must(t, append(train, "--out", first)...)
	must(t, append(train, "--rate", "0.1", "--init", first, "--out", second)...)
	sample := []string{"sample", "digits", "--checkpoint", second, "--contexts", "1", "--n", "2", "--json"}
	guided := append(slices.Clone(sample), "--class", "1")
	for _, method := range []string{"map", "ode"} {
		of := func(scale string) [][][]float32 {
			return decode[digitSamples](t,
				must(t, append(slices.Clone(guided), "--method", method, "--steps", "2", "--guidance",
					scale)...)).Samples
		}
		plain, none, three := of("1"), of("0"), of("3")
		if len(three[0]) != 2 || reflect.DeepEqual(three, plain) || reflect.DeepEqual(none, plain) {
			t.Errorf("%s: %d samples, want 2 that depend on the guidance", method, len(three[0]))
		}
	}
	needLoops(t)
	evaluator := filepath.Join(dir, "evaluator")
	tune := []string{"tune", "digits", "--checkpoint", second, "--evaluator", evaluator, "--second", evaluator, "--data", dir,
		"--reward", "class:1",
		"--network", "copy", "--steps", "2", "--batch", "24", "--set", "tune.states.own=0.5", "--set",
		"tune.states.steps=12",
		"--set", "tune.noise.start=0.1", "--samples", "24", "--sampler-steps", "2", "--set", "budget.every=2",
		"--set", "budget.paths.paths=4", "--set", "budget.paths.steps=12", "--out", filepath.Join(dir, "tuned-classes"),
		"--json"}
	for class, share := range map[string]float64{"": 0.5, "1": 1} {
		args := tune
		if class != "" {
			args = append(slices.Clone(tune), "--class", class)
		}
		r := decode[[]image.TuningResult](t, must(t, args...))[0]
		if r.TuneSteps != 2 || (r.Class != nil) != (class != "") || r.Class != nil && *r.Class != 1 || math.Abs(r.Target[1]-share) > 1e-6 || len(r.Evaluations) != 1 {
			r.Images = nil
			t.Errorf("class %q: result %+v, want a share %g of the second class in the target", class, r, share)
		}
	}
	diagnose := []string{"diagnose", "digits", "--checkpoint", second, "--times", "0.5", "--contexts", "2", "--draws",
		"4", "--steps", "2", "--json"}
	one := must(t, append(slices.Clone(diagnose), "--class", "1")...)
	if zero := must(t, append(slices.Clone(diagnose), "--class", "0")...); zero == one {
		t.Error("the diagnosis does not depend on the class")
	}
	if guided := must(t, append(slices.Clone(diagnose), "--class", "1", "--guidance", "3")...); guided == one {
		t.Error("the diagnosis does not depend on the guidance")
	}
	for want, args := range map[string][]string{
		`class "2" is unknown: use "0", "1"`: append(slices.Clone(sample), "--class", "2"),
		"--guidance = 3":                     append(slices.Clone(sample), "--guidance", "3"),
		"class = 2":                          append(slices.Clone(tune), "--class", "2"),
		"class = 3":                          append(slices.Clone(diagnose), "--class", "3"),
		"guidance = -1":                      append(slices.Clone(diagnose), "--guidance", "-1"),
		"use the same values": append(slices.Clone(train), "--set", "network.width=8", "--init", first, "--out",
			filepath.Join(dir, "other")),
	} {
		if code, _, stderr := invoke(t.Context(), args...); code != 2 || !strings.Contains(stderr, want) {
			t.Errorf("%v: exit code %d, %q; want 2 and %q", args, code, stderr, want)
		}
	}
}

// smallImages writes a data set of bright and dark images of 8x8 pixels, labeled 1 and 0, in
// MNIST's form.
func smallImages(t *testing.T, dir string) {
	idx := func(name string, elements []byte, dims ...uint32) {
		raw := []byte{0, 0, 8, byte(len(dims))}
		for _, d := range dims {
			raw = binary.BigEndian.AppendUint32(raw, d)
		}
		write(t, dir, name, string(append(raw, elements...)))
	}
	for set, n := range map[string]int{"train": 40, "t10k": 20} {
		var pixels, labels []byte
		for i := range n {
			label := byte(i % 2)
			pixels, labels = append(pixels, bytes.Repeat([]byte{50 + 150*label + byte(i)}, 64)...),
				append(labels, label)
		}
		idx(set+"-images-idx3-ubyte", pixels, uint32(n), 8, 8)
		idx(set+"-labels-idx1-ubyte", labels, uint32(n))
	}
}

// evaluated trains two classifiers of the images in a folder and evaluates the map of a run with
// them.
func evaluated(t *testing.T, mapRun, dir string) {
	small := write(t, dir, "classifier.json",
		`{"network": {"channels": [4], "groups": 2, "embedding": 8}, "train": {"batch": 8}}`)
	classifier := func(name string, more ...string) string {
		out := filepath.Join(dir, name)
		report := decode[struct {
			Out string
			run.LogEntry
		}](t, must(t, append([]string{"train", "classifier", "--config", small, "--data", dir, "--out", out, "--json"},
			more...)...))
		if report.Out != out || !(report.Loss > 0) {
			t.Errorf("report %+v", report)
		}
		return out
	}
	evaluator := classifier("evaluator", "--steps", "60", "--set", "train.optimizer.rate=0.02", "--set",
		"train.optimizer.warmup=5", "--set", "train.ema=[0.5]")
	noised := classifier("noised", "--noised", "--steps", "2")

	args := []string{"eval", "digits", "--checkpoint", mapRun, "--evaluator", evaluator, "--noised", noised, "--times",
		"0.2,0.6", "--contexts", "3", "--samples", "4", "--generate", "5", "--seed", "2", "--json"}
	q := decode[digitsQuality](t, must(t, args...))
	if q.Accuracy != 1 { // of black and white
		t.Errorf("accuracy %g of a classifier of bright and dark images", q.Accuracy)
	}
	g := q.Generation
	if g.Steps != 1 || g.Samples != 5 || len(g.Classes) != 10 || g.ClassesData[0] != 0.5 || g.ClassesData[1] != 0.5 ||
		!(g.NearestSamples > 0) {
		t.Errorf("generation %+v", g)
	}
	// A held-out image has the pixels of a training image.
	if g.NearestHeldOut > 1e-6 {
		t.Errorf("held-out images are %g from training images, want 0", g.NearestHeldOut)
	}
	if len(q.Posterior) != 2 || q.Posterior[1].T != 0.6 {
		t.Fatalf("posterior %+v", q.Posterior)
	}
	for _, r := range q.Posterior {
		if r.Contexts != 3 || r.Samples != 4 || !(r.TotalVariation > 0 && r.TotalVariation <= 1) ||
			!(r.Floor > 0 && r.Floor <= 1) || !(r.Std > 0) {
			t.Errorf("result %+v", r)
		}
	}
	if text := q.text(); !strings.Contains(text, "accuracy 1.0000") || strings.Count(text, "\n") != 3+1+2 {
		t.Errorf("table %s", text)
	}

	for _, tc := range []struct {
		name, message string
		args          []string
	}{
		{"exchanged classifiers", "noised = true, want false", []string{"--evaluator", noised, "--noised", evaluator}},
		{"no classifiers", "--evaluator and --noised", []string{"--evaluator", ""}},
		{"too many contexts", "must lie in [1, 20]", []string{"--contexts", "21"}},
		{"a time beyond one", "time 1.5", []string{"--times", "1.5"}},
		{"one sample", "samples = 1", []string{"--samples", "1"}},
	} {
		code, stdout, stderr := invoke(t.Context(), append(args, tc.args...)...)
		if code != 2 || stdout != "" || !strings.Contains(stderr, tc.message) {
			t.Errorf("%s: exit code %d, %q, want 2 and %q", tc.name, code, stderr, tc.message)
		}
	}
}

func TestBench(t *testing.T) {
	compiled := filepath.Join(t.TempDir(), "compiled")
	t.Setenv(backend.EnvCompileCache, compiled)
	row := decode[speed.Result](t,
		must(t, "bench", "--case", "mlp", "--loss", "diagonal", "--seconds", "0.05", "--json"))
	if row.Case != "mlp" || row.Loss != "diagonal" ||
		!(row.StepsPerSecond > 0 && row.CompileSeconds > 0 && row.ForwardMS > 0 && row.JVPMS > 0) {
		t.Errorf("result %+v", row)
	}
	if _, err := os.Stat(compiled); err == nil || os.Getenv(backend.EnvCompileCache) != compiled {
		t.Error("the benchmark loads compiled graphs, or leaves the cache off for the next command")
	}
	if b, err := backend.New(""); err != nil || !backend.Loops(b) {
		return // the pure-Go backend has no bfloat16 for all operations
	}
	// bfloat16 has two to three decimal digits, and a training in it starts like that in float32.
	precision := decode[speed.PrecisionResult](t, must(t, "bench", "--case", "bfloat16", "--quick", "--json"))
	if precision.Steps != 4 || !(precision.Forward > 1e-3 && precision.Forward < 0.05) ||
		!(precision.Curve > 0 && precision.Curve < 0.02) || !(math.Abs(precision.BFloat16/precision.Float32-1) < 0.02) {
		t.Errorf("result %+v: want errors of about 2^-8", precision)
	}
}

// A training on two devices ends like one on a single device. A batch that they cannot share is
// refused.
func TestTrainOnDevices(t *testing.T) {
	b, err := backend.New("xla:cpu")
	if err != nil {
		t.Skip(err)
	}
	b.Finalize()
	dir := t.TempDir()
	config, mixture := write(t, dir, "tiny.json", tiny), write(t, dir, "mixture.json", twoPoints)
	train := func(out string, args ...string) []string {
		return append([]string{"train", "gmm", "--config", config, "--mixture", mixture, "--loss", "diagonal",
			"--steps", "5", "--backend", "xla:cpu", "--out", filepath.Join(dir, out), "--json", "--no-verdict"}, args...)
	}
	type report struct {
		Out string
		run.LogEntry
	}
	one := decode[report](t, must(t, train("one")...))
	two := decode[report](t, must(t, train("two", "--devices", "2")...))
	if !(math.Abs(two.Loss-one.Loss) < 1e-5*one.Loss) {
		t.Errorf("loss %g on two devices, %g on one", two.Loss, one.Loss)
	}
	code, _, stderr := invoke(t.Context(), train("three", "--devices", "3")...)
	if code != 2 || !strings.Contains(stderr, "batch = 16") || !strings.Contains(stderr, "a multiple of 3") {
		t.Errorf("a batch of 16 on three devices: exit code %d, %q", code, stderr)
	}
}
