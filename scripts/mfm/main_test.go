package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/gomfm/gomfm/data"
	"github.com/gomfm/gomfm/mfm/experiment"
)

// invoke runs a command line and returns its exit code and what it wrote.
func invoke(ctx context.Context, args ...string) (code int, stdout, stderr string) {
	var out, err bytes.Buffer
	code = run(ctx, args, &out, &err)
	return code, out.String(), err.String()
}

// must runs a command line that has to succeed and returns what it wrote to standard output.
func must(t *testing.T, args ...string) string {
	t.Helper()
	code, stdout, stderr := invoke(t.Context(), args...)
	if code != 0 {
		t.Fatalf("mfm %s exits with %d: %s", strings.Join(args, " "), code, stderr)
	}
	return stdout
}

// write makes a file in a folder and returns its path.
func write(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func decode[T any](t *testing.T, text string) T {
	t.Helper()
	var v T
	d := json.NewDecoder(strings.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return v
}

// What makes no sense is refused in one line with exit code 2, before anything is written or a backend opened.
func TestRefuses(t *testing.T) {
	dir := t.TempDir()
	out := filepath.Join(dir, "out")
	file := func(name, text string) string { return write(t, dir, name, text) }
	train := func(args ...string) []string {
		return append([]string{"train", "gmm", "--out", out}, args...)
	}
	for _, tc := range []struct {
		name    string
		args    []string
		message string
	}{
		{"no command", nil, "no command"},
		{"unknown command", []string{"fly"}, `unknown command "fly"`},
		{"half a command", []string{"train"}, "train what? It takes gmm, digits, classifier"},
		{"unknown object", []string{"train", "faces"}, "train takes gmm, digits, classifier"},
		{"unknown flag", train("--colour", "red"), "colour"},
		{"operand", train("fast"), `unexpected argument "fast"`},
		{"flag without its value", []string{"train", "gmm", "--out"}, "needs an argument"},
		{"no folder", []string{"train", "gmm"}, "--out is missing"},
		{"negative every", train("--every", "-1"), "--every = -1"},
		{"unknown preset", train("--preset", "huge"), `preset "huge" is unknown`},
		{"unknown backend", train("--backend", "abacus"), "abacus"},

		{"steps not a number", train("--steps", "many"), "--steps many: train.steps: string where a whole number is due"},
		{"steps not whole", train("--steps", "1.5"), "train.steps: number 1.5"},
		{"no steps", train("--steps", "0"), "steps = 0"},
		{"too many steps", train("--steps", "99999999999"), "steps = 99999999999"},
		{"rate not a number", train("--rate", "nan"), "train.optimizer.rate: string where a number is due"},
		{"negative rate", train("--rate", "-1"), "rate = -1"},
		{"batch of one", train("--batch", "1"), "batch = 1"},
		{"unknown loss", train("--loss", "hinge"), `loss "hinge" is unknown: use diagonal, semigroup, meanflow, eulerian or lagrangian`},
		{"unknown distillation", train("--distillation", "pupil"), `distillation "pupil" is unknown: use self or teacher`},
		{"unknown interpolant", train("--interpolant", "cubic"), `interpolant "cubic" is unknown`},
		{"unknown parametrization", train("--parametrization", "cubic"), `parametrization "cubic" is unknown`},
		{"set without a value", train("--set", "train.steps"), "want path=value"},
		{"set of an unknown key", train("--set", "train.loss.colour=1"), `--set train.loss.colour=1: train.loss.colour: unknown key "colour"`},
		{"network without width", train("--set", "network.width=0"), "width must be positive"},

		{"no config", train("--config", filepath.Join(dir, "none.json")), "no such file"},
		{"config is a folder", train("--config", dir), "is a directory"},
		{"unknown key in config", train("--config", file("a.json", `{"train": {"stepz": 1}}`)), `a.json: unknown key "stepz"`},
		{"wrong type in config", train("--config", file("b.json", `{"train": {"ema": 1}}`)), "b.json: train.ema: number where a list is due"},
		{"config not JSON", train("--config", file("c.json", "{\n steps: 1}")), "c.json: line 2: not JSON"},
		{"config cut off", train("--config", file("d.json", `{"train":`)), "ends too early"},
		{"two configs in one", train("--config", file("e.json", `{}{}`)), "after the JSON value"},

		{"no mixture", train("--mixture", filepath.Join(dir, "none.json")), "no such file"},
		{"unknown key in mixture", train("--mixture", file("f.json", `{"weights": [1], "centres": [[0]]}`)), "centres"},
		{"key missing in mixture", train("--mixture", file("g.json", `{"weights": [1], "means": [[0]]}`)), `"covariances"`},
		{"negative weight", train("--mixture", file("h.json", `{"weights": [-1], "means": [[0]], "covariances": [[[1]]]}`)), "h.json"},
		{"covariance not positive", train("--mixture", file("i.json", `{"weights": [1], "means": [[0, 0]], "covariances": [[[1, 2], [2, 1]]]}`)), "i.json"},

		{"eval without a run", []string{"eval", "gmm"}, "--checkpoint is missing"},
		{"eval of nothing", []string{"eval", "gmm", "--checkpoint", filepath.Join(dir, "none"), "--json"}, "no such file"},
		{"eval at time one", []string{"eval", "gmm", "--checkpoint", dir, "--times", "0.5,1"}, "time 1"},
		{"eval at no time", []string{"eval", "gmm", "--checkpoint", dir, "--times", "noon"}, "--times"},
		{"eval with one sample", []string{"eval", "gmm", "--checkpoint", dir, "--samples", "1"}, "samples = 1"},
		{"unknown method", []string{"eval", "gmm", "--checkpoint", dir, "--method", "guess"}, `method "guess" is unknown`},
		{"no steps of a sampler", []string{"sample", "gmm", "--checkpoint", dir, "--steps", "0"}, "steps = 0"},
		{"time beyond one", []string{"sample", "gmm", "--checkpoint", dir, "--t", "1.5"}, "--t = 1.5"},
		{"no time", []string{"sample", "gmm", "--checkpoint", dir, "--t", "NaN"}, "--t = NaN"},
		{"no samples", []string{"sample", "gmm", "--checkpoint", dir, "--n", "0"}, "--n = 0"},
		{"sample of nothing", []string{"sample", "gmm", "--checkpoint", dir}, "no such file"},
		{"digits without a file", []string{"sample", "digits", "--checkpoint", dir}, "--out is missing"},
		{"digits of nothing", []string{"sample", "digits", "--checkpoint", dir, "--json"}, "no such file"},
		{"digits without classifiers", []string{"eval", "digits", "--checkpoint", dir}, "--judge and --noised"},
		{"digits from nowhere", []string{"train", "digits", "--out", out, "--data", filepath.Join(dir, "none")}, "none"},
		{"digits by a mixture's loss", []string{"train", "digits", "--out", out, "--parametrization", "anchored"}, "anchored"},
		{"digits by a loss that their teacher can't serve", []string{"train", "digits", "--out", out, "--loss", "lagrangian"}, "use distillation self"},
		{"digits with classes and a teacher", []string{"train", "digits", "--out", out, "--set", "network.classes=10", "--set", "train.loss.guidance.classes=10"}, "knows no classes"},
		{"digits with more labels than classes", []string{"train", "digits", "--out", out, "--set", "network.classes=5", "--set", "train.loss.guidance.classes=5"}, "network.classes = 5"},
		{"guidance without classes", []string{"train", "digits", "--out", out, "--set", "train.loss.guidance.classes=10"}, "they must be one number"},
		{"mixture with classes", train("--set", "network.classes=3"), "samples of a mixture have no classes"},
		{"weights of nothing", train("--init", filepath.Join(dir, "none")), "weights to begin with"},
		{"classifier with a loss", []string{"train", "classifier", "--out", out, "--loss", "semigroup"}, "loss"},
		{"classifier of too few classes", []string{"train", "classifier", "--out", out, "--set", "network.classes=5"}, "network.classes = 5, these images need 10"},
		{"classifier's shift", []string{"train", "classifier", "--out", out, "--set", "shift=-1"}, "shift = -1"},

		{"inspect nothing", []string{"data", "inspect"}, "IMAGES and LABELS is missing"},
		{"inspect half", []string{"data", "inspect", "a"}, "LABELS is missing"},
		{"inspect three", []string{"data", "inspect", "a", "b", "c"}, `unexpected argument "c"`},
		{"inspect what is not there", []string{"data", "inspect", filepath.Join(dir, "a"), filepath.Join(dir, "b")}, "no such file"},
		{"inspect text", []string{"data", "inspect", file("text", "hello, world"), file("more", "hello")}, "text"},
		{"mirror", []string{"data", "mnist", "--out", out, "--mirror", "ftp://x/"}, "ftp://x/"},
		{"bench of nothing", []string{"bench", "--case", "mnist"}, `--case = "mnist"`},
		{"bench without a loss", []string{"bench", "--loss", "hinge"}, `loss "hinge"`},
		{"bench of no time", []string{"bench", "--seconds", "0"}, "--seconds = 0"},
		{"info with an operand", []string{"info", "gnn"}, `unexpected argument "gnn"`},
		{"info at an unknown scale", []string{"info", "--preset", "x"}, `preset "x"`},
	} {
		code, stdout, stderr := invoke(t.Context(), tc.args...)
		if code != 2 {
			t.Errorf("%s: exit code %d, want 2", tc.name, code)
		}
		if stdout != "" || strings.Count(stderr, "\n") != 1 || !strings.Contains(stderr, tc.message) || !strings.HasPrefix(stderr, "mfm") {
			t.Errorf("%s: wrote %q and %q, want one line with %q", tc.name, stdout, stderr, tc.message)
		}
	}
	if _, err := os.Stat(out); err == nil {
		t.Error("a refused command has made its folder")
	}
}

func TestHelp(t *testing.T) {
	overview := must(t, "help")
	for _, c := range commands() {
		if !strings.Contains(overview, "mfm "+c.name) {
			t.Errorf("mfm help does not name %q", c.name)
		}
		args := append(strings.Fields(c.name), "-h")
		if help := must(t, args...); !strings.HasPrefix(help, "usage: mfm "+c.name) {
			t.Errorf("mfm %s writes %q", strings.Join(args, " "), help)
		}
	}
}

func TestInspect(t *testing.T) {
	const dir = "../../data/mnist/"
	images, labels := dir+"t10k-images-idx3-ubyte.gz", dir+"t10k-labels-idx1-ubyte.gz"
	// Flags stand wherever one types them.
	for _, args := range [][]string{{images, labels, "--json"}, {"--json", images, labels}, {images, "--json", labels}} {
		s := decode[data.Summary](t, must(t, append([]string{"data", "inspect"}, args...)...))
		total := 0
		for _, n := range s.ClassCounts {
			total += n
		}
		if s.Count != 1000 || total != 1000 || len(s.ClassCounts) != 10 || !reflect.DeepEqual(s.Shape, []int{28, 28, 1}) {
			t.Errorf("summary %+v of 1,000 digits", s)
		}
	}
	text := must(t, "data", "inspect", images, labels)
	for _, want := range []string{"count     1000", "shape     28 x 28 x 1", "class 9"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q lacks %q", text, want)
		}
	}
	code, _, stderr := invoke(t.Context(), "data", "inspect", images, dir+"train-labels-idx1-ubyte.gz")
	if code != 2 || strings.Count(stderr, "\n") != 1 {
		t.Errorf("images with labels of others: exit code %d, %q", code, stderr)
	}
}

// A download that fails while it runs is an error of the other kind, and what it had is kept.
func TestDownloadFails(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	code, stdout, stderr := invoke(t.Context(), "data", "mnist", "--out", t.TempDir(), "--mirror", server.URL+"/")
	if code != 1 || stdout != "" || !strings.Contains(stderr, "404") {
		t.Errorf("exit code %d, %q", code, stderr)
	}
}

func TestDownloadsShowTenths(t *testing.T) {
	var w bytes.Buffer
	d := newDownloads(&w)
	for done := int64(0); done <= 1_000_000; done += 1000 {
		d.report(data.Event{File: "a", Done: done, Total: 1_000_000})
	}
	d.report(data.Event{File: "a", Err: fmt.Errorf("one\ntwo")})
	lines := strings.Split(strings.TrimSpace(w.String()), "\n")
	if len(lines) != 12 || lines[5] != "a   50%  500 of 1000 kB" || lines[11] != "a: one; two" {
		t.Errorf("lines %q", lines)
	}
}

// What info says is the configuration that training takes, by itself and from a file.
func TestInfo(t *testing.T) {
	all := decode[defaults](t, must(t, "info"))
	if all.Backend == "" || all.Versions.Go == "" {
		t.Errorf("info names no backend or no version: %+v", all)
	}
	want, err := experiment.GMMPreset("quick")
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(all.GMM, want) {
		t.Errorf("info says %+v, want %+v", all.GMM, want)
	}
	text := must(t, "info", "gmm", "--preset", "full", "--loss", "Mean-Flow", "--steps", "7")
	if again := must(t, "info", "gmm", "--config", write(t, t.TempDir(), "config.json", text)); again != text {
		t.Errorf("a configuration read again is %s, want %s", again, text)
	}
	c := decode[experiment.GMMConfig](t, text)
	full, err := experiment.GMMPreset("full")
	if err != nil {
		t.Fatal(err)
	}
	if c.Train.Loss.Consistency != "meanflow" || c.Train.Steps != 7 || c.Train.Batch != full.Train.Batch {
		t.Errorf("loss %s, %d steps of %d rows", c.Train.Loss.Consistency, c.Train.Steps, c.Train.Batch)
	}
	decode[experiment.DigitsConfig](t, must(t, "info", "digits"))
	if c := decode[experiment.ClassifierConfig](t, must(t, "info", "classifier", "--noised")); !c.Noised {
		t.Error("a noised classifier's configuration does not say so")
	}
}

// A loss brings the options that are best for it, a file may say otherwise, flags have the last word.
func TestConfigurationsPrecedence(t *testing.T) {
	path := write(t, t.TempDir(), "c.json", `{"train": {"loss": {"consistency": "lagrangian", "diagonal_share": 0.125}, "steps": 5, "batch": 6}}`)
	f := newFlags("train gmm")
	c := f.withGMM("train gmm")
	if _, err := f.parse(&shell{}, []string{"--config", path, "--steps", "7", "--loss", "eulerian", "--set", "train.ema=[]"}); err != nil {
		t.Fatal(err)
	}
	got, err := c.config()
	if err != nil {
		t.Fatal(err)
	}
	want := experiment.DefaultGMMConfig()
	want.SetLoss("eulerian", want.Train.Loss.Distillation)
	want.Train.Loss.DiagonalShare, want.Train.Steps, want.Train.Batch, want.Train.EMA = 0.125, 7, 6, []float64{}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("configuration %+v, want %+v", got, want)
	}
	if line, want := c.line(), "go run ./scripts/mfm train gmm --preset quick --config "+path+" --steps 7 --loss eulerian --set 'train.ema=[]'"; line != want {
		t.Errorf("command %s, want %s", line, want)
	}
}

func TestQuote(t *testing.T) {
	for word, want := range map[string]string{"a-b_c/d.json": "a-b_c/d.json", "": "''", "a b": "'a b'", "it's": `'it'\''s'`, "$(rm)": "'$(rm)'"} {
		if got := quote(word); got != want {
			t.Errorf("quote(%q) = %s, want %s", word, got, want)
		}
	}
}
