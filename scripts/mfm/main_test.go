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
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/gomfm/gomfm/data"
	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/experiment/image"
	"github.com/gomfm/gomfm/mfm/experiment/latent"
	"github.com/gomfm/gomfm/mfm/experiment/mixture"
	"github.com/gomfm/gomfm/mfm/experiment/points"
	"github.com/gomfm/gomfm/mfm/nn"
	"github.com/gomfm/gomfm/mfm/steer"
)

// invoke runs a command line and returns its exit code and what it wrote.
func invoke(ctx context.Context, args ...string) (code int, stdout, stderr string) {
	var out, err bytes.Buffer
	code = execute(ctx, args, &out, &err)
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

// Invalid arguments are refused in one line with exit code 2, before anything is written or a
// backend is opened.
func TestRefuses(t *testing.T) {
	dir := t.TempDir()
	out := filepath.Join(dir, "out")
	file := func(name, text string) string { return write(t, dir, name, text) }
	train := func(args ...string) []string {
		return append([]string{"train", "gmm", "--out", out}, args...)
	}
	taken := file("taken", "")
	sample := func(out string) []string {
		return []string{"sample", "digits", "--checkpoint", shippedRuns + "digits", "--out", out}
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
		{"unknown flag", train("--color", "red"), "color"},
		{"operand", train("fast"), `unexpected argument "fast"`},
		{"flag without its value", []string{"train", "gmm", "--out"}, "needs an argument"},
		{"no folder", []string{"train", "gmm"}, "--out is missing"},
		{"negative every", train("--every", "-1"), "--every = -1"},
		{"unknown preset", train("--preset", "huge"), `preset "huge" is unknown`},
		{"unknown backend", train("--backend", "abacus"), "abacus"},
		{"no devices", train("--devices", "0"), "devices=0: give a number of devices"},
		{"devices of the interpreter", train("--backend", "go", "--devices", "2"), "has 1 device(s), not 2"},

		{"steps not a number", train("--steps", "many"), "--steps many: an integer is required"},
		{"steps not whole", train("--steps", "1.5"), "--steps 1.5: an integer is required"},
		{"no steps", train("--steps", "0"), "steps = 0"},
		{"too many steps", train("--steps", "99999999999"), "steps = 99999999999"},
		{"rate not a number", train("--rate", "nan"), "--rate nan: a number is required"},
		{"negative rate", train("--rate", "-1"), "rate = -1"},
		{"batch of one", train("--batch", "1"), "batch = 1"},
		{"unknown loss", train("--loss", "hinge"),
			`loss "hinge" is unknown: use diagonal, semigroup, meanflow, eulerian, lagrangian or energy`},
		{"unknown distillation", train("--distillation", "pupil"),
			`distillation "pupil" is unknown: use self or teacher`},
		{"unknown interpolant", train("--interpolant", "cubic"), `interpolant "cubic" is unknown`},
		{"unknown parametrization", train("--parametrization", "cubic"), `parametrization "cubic" is unknown`},
		{"set without a value", train("--set", "train.steps"), "want path=value"},
		{"set of an unknown key", train("--set", "train.loss.color=1"),
			`--set train.loss.color=1: unknown key`},
		{"network without width", train("--set", "network.width=0"), "width must be positive"},

		{"odd width of a gated activation", train("--set", "network.width=7", "--set", "network.activation=SwiGLU"),
			"must be even"},
		{"more levels than halvings",
			[]string{"train", "digits", "--out", out, "--set", "network.channels=[8,8,8,8,8,8,8]"},
			"28x28 pixels"},
		{"no levels", []string{"train", "digits", "--out", out, "--set", "network.channels=[]"},
			"levels must be positive"},
		{"no patch", []string{"train", "digits", "--out", out, "--set", "network.patch=0"}, "patch must be positive"},
		{"no levels of a classifier", []string{"train", "classifier", "--out", out, "--set", "network.channels=[]"},
			"levels must be positive"},
		{"more levels of a classifier",
			[]string{"train", "classifier", "--out", out, "--set", "network.channels=[8,8,8,8,8,8,8]"},
			"28x28 pixels"},
		{"a file to train in", []string{"train", "gmm", "--out", taken}, "run: " + taken + " is not a folder"},
		{"a folder in a file", []string{"train", "gmm", "--out", taken + "/run"}, "is not a folder"},
		{"a file to steer in", []string{"steer", "gmm", "--out", taken}, "run: " + taken + " is not a folder"},
		{"a file to tune in", []string{"tune", "gmm", "--checkpoint", smallMap, "--out", taken},
			"run: " + taken + " is not a folder"},
		{"a file to distill in", []string{"tune", "distill", "--checkpoint", dir, "--base", smallMap, "--out", taken},
			"run: " + taken + " is not a folder"},
		{"a file to diagnose in", []string{"diagnose", "gmm", "--checkpoint", smallMap, "--out", taken},
			"run: " + taken + " is not a folder"},
		{"a figure of another format", sample("x.bmp"), "--out x.bmp: name a .csv, .json, .npy, .png or .svg file"},
		{"a figure without a format", sample("/dev/full"), "--out /dev/full: name a .csv, .json, .npy, .png or .svg file"},
		{"samples of a mixture in another format", []string{"sample", "gmm", "--checkpoint", smallMap, "--out", "x"},
			"--out x: name a .csv, .json, .npy, .png or .svg file"},
		{"images in another format", []string{"sample", "imagenet", "--checkpoint", smallMap, "--out", "x.txt"},
			"--out x.txt: name a .csv, .json, .npy, .png or .svg file"},
		{"a figure in no folder", sample("/nonexist/x.png"), "--out /nonexist/x.png: there is no folder /nonexist"},
		{"endless config", train("--config", "/dev/zero"), "/dev/zero: larger than 256 MiB"},
		{"endless reward", []string{"steer", "gmm", "--out", out, "--reward", "/dev/zero"}, "larger than 256 MiB"},
		{"endless settings", []string{"stress", "times", "--out", out, "--settings", "/dev/zero"},
			"/dev/zero: larger than 256 MiB"},
		{"endless mixture", train("--mixture", "/dev/zero"), "/dev/zero is larger"},
		{"diagnosis of nothing", []string{"diagnose", "gmm", "--checkpoint", filepath.Join(dir, "none")},
			"no such file"},
		{"diagnosis of a tuned nothing",
			[]string{"diagnose", "gmm", "--checkpoint", smallMap, "--tuned", filepath.Join(dir, "none")},
			"no such file"},
		{"checkpoint that does not exist", []string{"sample", "gmm", "--checkpoint", smallMap, "--at", "7"},
			"no checkpoint of step 7"},
		{"too many seeds", []string{"steer", "gmm", "--out", out, "--method", "mfm-gf", "--seeds", "99999999"},
			"--seeds = 99999999"},
		{"negative particles",
			[]string{"steer", "gmm", "--out", out, "--method", "search-greedy-ddpm", "--particles", "-1"},
			"--particles = -1"},
		{"negative steps of a posterior", []string{"steer", "gmm", "--out", out, "--posterior-steps", "-1"},
			"--posterior-steps = -1"},
		{"bench of no rows", []string{"bench", "--case", "steer", "--loss", "mfm-g", "--rows", "0"}, "rows = 0"},
		{"bench of no steps", []string{"bench", "--case", "steer", "--loss", "mfm-g", "--steps", "0"}, "steps = 0"},
		{"bench of another method", []string{"bench", "--case", "steer", "--loss", "dps"}, `method "dps"`},
		{"bench of another memory", []string{"bench", "--case", "memory", "--network", "mlp"}, `network "mlp"`},
		{"bench of another scale", []string{"bench", "--case", "plan", "--scale", "large"}, `scale "large"`},
		{"bench of another idle training", []string{"bench", "--case", "idle", "--network", "decoder"}, `network "decoder"`},
		{"bench of pictures from nowhere",
			[]string{"bench", "--case", "idle", "--network", "autoencoder", "--data", filepath.Join(dir, "none")}, "none"},
		{"bench of pictures that it does not read", []string{"bench", "--case", "idle", "--data", dir}, "--data = " + dir + ": only"},
		{"bench of samples of an MLP", []string{"bench", "--loss", "one-step"}, `loss "one-step"`},
		{"no config", train("--config", filepath.Join(dir, "none.json")), "no such file"},
		{"config is a folder", train("--config", dir), "is a directory"},
		{"unknown key in config", train("--config", file("a.json", `{"train": {"stepz": 1}}`)), `a.json: train.stepz: unknown key: did you mean steps?`},
		{"wrong type in config", train("--config", file("b.json", `{"train": {"ema": 1}}`)), "b.json: train.ema: 1 where a list is required"},
		{"config not JSON", train("--config", file("c.json", "{\n steps: 1}")), "c.json: line 2: not JSON"},
		{"config that ends early", train("--config", file("d.json", `{"train":`)), "ends too early"},
		{"two configs in one", train("--config", file("e.json", `{}{}`)), "after the JSON value"},

		{"key in other case", train("--config", file("case.json", `{"Train": {"STEPS": 3}}`)), `case.json: Train: unknown key: did you mean train?`},
		{"null in config", train("--config", file("null.json", `{"train": {"steps": null}}`)), "null.json: train.steps: null where an integer is required"},
		{"repeated key in config", train("--config", file("twice.json", `{"train": {"steps": 3, "steps": 4}}`)), "twice.json: train.steps: the key is repeated"},
		{"byte-order mark", train("--config", file("bom.json", "\ufeff{}")), "bom.json: the text begins with a byte-order mark"},
		{"number out of range", train("--config", file("range.json", `{"train": {"steps": 1e400}}`)), "train.steps: 1e400 is out of range"},
		{"seed beyond 64 bits", train("--seed", "9223372036854775808"), "--seed 9223372036854775808: 9223372036854775808 is out of range"},
		{"repeated key of a network", train("--set", `network={"width": 8, "width": 9}`), "network.width: the key is repeated"},
		{"network for images", train("--set", "network.kind=unet"), "network unet is for images"},

		{"no mixture", train("--mixture", filepath.Join(dir, "none.json")), "no such file"},
		{"unknown key in mixture", train("--mixture", file("f.json", `{"weights": [1], "centers": [[0]]}`)), "centers"},
		{"key missing in mixture", train("--mixture", file("g.json", `{"weights": [1], "means": [[0]]}`)), `"covariances"`},
		{"negative weight", train("--mixture", file("h.json", `{"weights": [-1], "means": [[0]], "covariances": [[[1]]]}`)), "h.json"},
		{"mixture beyond float32", train("--mixture", file("far.json", `{"weights": [1], "means": [[0, 1e20]], "covariances": [[[1, 0], [0, 1]]]}`)), "far.json: entry 1 of mean 0 of the mixture is 1e+20"},
		{"variance beyond float32", train("--mixture", file("wide.json", `{"weights": [1], "means": [[0]], "covariances": [[[1e39]]]}`)), "wide.json: covariance 0 of the mixture has 1e+39 at (0, 0)"},
		{"weight beyond float32", train("--mixture", file("heavy.json", `{"weights": [1, 1e39], "means": [[0], [1]], "covariances": [[[1]], [[1]]]}`)), "heavy.json: weight 1 of the mixture is 1e+39"},
		{"covariance not positive", train("--mixture", file("i.json", `{"weights": [1], "means": [[0, 0]], "covariances": [[[1, 2], [2, 1]]]}`)), "i.json"},

		{"eval without a run", []string{"eval", "gmm"}, "--checkpoint is missing"},
		{"eval of nothing", []string{"eval", "gmm", "--checkpoint", filepath.Join(dir, "none"), "--json"},
			"no such file"},
		{"eval of no autoencoder", []string{"eval", "autoencoder"}, "--checkpoint is missing"},
		{"eval of an autoencoder of nothing", []string{"eval", "autoencoder", "--checkpoint", filepath.Join(dir, "none")},
			"no such file"},
		{"eval at time one", []string{"eval", "gmm", "--checkpoint", dir, "--times", "0.5,1"}, "time 1"},
		{"eval at no time", []string{"eval", "gmm", "--checkpoint", dir, "--times", "noon"}, "--times"},
		{"eval with one sample", []string{"eval", "gmm", "--checkpoint", dir, "--samples", "1"}, "samples = 1"},
		{"unknown method", []string{"eval", "gmm", "--checkpoint", dir, "--method", "guess"},
			`method "guess" is unknown`},
		{"no steps of a sampler", []string{"sample", "gmm", "--checkpoint", dir, "--steps", "0"}, "steps = 0"},
		{"time beyond one", []string{"sample", "gmm", "--checkpoint", dir, "--t", "1.5"}, "--t = 1.5"},
		{"no time", []string{"sample", "gmm", "--checkpoint", dir, "--t", "NaN"}, "--t = NaN"},
		{"no samples", []string{"sample", "gmm", "--checkpoint", dir, "--n", "0"}, "--n = 0"},
		{"sample of nothing", []string{"sample", "gmm", "--checkpoint", dir}, "no such file"},
		{"digits without a file", []string{"sample", "digits", "--checkpoint", dir}, "--out is missing"},
		{"digits of nothing", []string{"sample", "digits", "--checkpoint", dir, "--json"}, "no such file"},
		{"digits without classifiers", []string{"eval", "digits", "--checkpoint", dir}, "--evaluator and --noised"},
		{"digits from nowhere", []string{"train", "digits", "--out", out, "--data", filepath.Join(dir, "none")},
			"none"},
		{"digits with a mixture's parametrization",
			[]string{"train", "digits", "--out", out, "--parametrization", "anchored"}, "anchored"},
		{"digits with a loss that their teacher cannot serve",
			[]string{"train", "digits", "--out", out, "--loss", "lagrangian"}, "use distillation self"},
		{"digits with more labels than classes",
			[]string{"train", "digits", "--out", out, "--set", "network.classes=5", "--set",
				"train.loss.guidance.classes=5"}, "network.classes = 5"},
		{"guidance without classes",
			[]string{"train", "digits", "--out", out, "--set", "train.loss.guidance.classes=10"}, "they must be equal"},
		{"mixture with classes", train("--set", "network.classes=3"), "samples of a mixture have no classes"},
		{"weights of nothing", train("--init", filepath.Join(dir, "none")), "initial weights"},
		{"classifier with a loss", []string{"train", "classifier", "--out", out, "--loss", "semigroup"}, "loss"},
		{"classifier of too few classes", []string{"train", "classifier", "--out", out, "--set", "network.classes=5"},
			"network.classes = 5, these images need 10"},
		{"classifier's shift", []string{"train", "classifier", "--out", out, "--set", "shift=-1"}, "shift = -1"},

		{"digits that skip nonsense", []string{"train", "digits", "--out", out, "--skip", "all"}, `--skip = "all"`},
		{"skip without files", []string{"train", "digits", "--out", out, "--skip", "3"}, "skip 3: only picture files"},
		{"inspect nothing", []string{"data", "inspect"}, "IMAGES is missing"},
		{"inspect half", []string{"data", "inspect", filepath.Join(dir, "a")}, "no such file"},
		{"inspect a text", []string{"data", "inspect", file("half", "hello")}, "is no set of pictures: give a folder"},
		{"inspect three", []string{"data", "inspect", "a", "b", "c"}, `unexpected argument "c"`},
		{"inspect files that do not exist",
			[]string{"data", "inspect", filepath.Join(dir, "a"), filepath.Join(dir, "b")}, "no such file"},
		{"inspect text", []string{"data", "inspect", file("text", "hello, world"), file("more", "hello")}, "text"},
		{"points of no set", []string{"data", "points", "--set", "moons", "--out", filepath.Join(dir, "m.csv")},
			`set "moons" is unknown: use two-moons`},
		{"points to no file", []string{"data", "points"}, "--out is missing: name a file"},
		{"points to a picture", []string{"data", "points", "--out", filepath.Join(dir, "m.png")}, "m.png"},
		{"no points", []string{"data", "points", "--rows", "0", "--out", filepath.Join(dir, "m.csv")}, "--rows 0"},
		{"mirror", []string{"data", "mnist", "--out", out, "--mirror", "ftp://x/"}, "ftp://x/"},
		{"bench of nothing", []string{"bench", "--case", "mnist"}, `--case = "mnist"`},
		{"bench without a loss", []string{"bench", "--loss", "hinge"}, `loss "hinge"`},
		{"bench of no time", []string{"bench", "--seconds", "0"}, "--seconds = 0"},
		{"info with an operand", []string{"info", "gnn"}, `unexpected argument "gnn"`},
		{"help on nothing", []string{"help", "nothing"}, `no help on "nothing"`},
		{"help on half a command", []string{"help", "train", "gm"}, `no help on "gm": did you mean gmm?`},
		{"completion of an unknown shell", []string{"completion", "foo"}, `unknown command "completion foo": completion takes bash, fish, powershell, zsh`},
		{"info at an unknown scale", []string{"info", "--preset", "x"}, `preset "x"`},
	} {
		code, stdout, stderr := invoke(t.Context(), tc.args...)
		if code != 2 {
			t.Errorf("%s: exit code %d, want 2", tc.name, code)
		}
		if stdout != "" || strings.Count(stderr, "\n") != 1 || !strings.Contains(stderr, tc.message) ||
			!strings.HasPrefix(stderr, "mfm") {
			t.Errorf("%s: wrote %q and %q, want one line with %q", tc.name, stdout, stderr, tc.message)
		}
		if again := repeated(stderr); again != "" {
			t.Errorf("%s: wrote %q, which has %q twice", tc.name, stderr, again)
		}
	}
	if _, err := os.Stat(out); err == nil {
		t.Error("a refused command has created its folder")
	}
}

// repeated returns a path or a part between colons that a message has twice, empty if there is
// none.
func repeated(message string) string {
	seen := make(map[string]bool)
	for _, part := range strings.FieldsFunc(message, func(r rune) bool { return strings.ContainsRune(":,;\n", r) }) {
		words := []string{strings.TrimSpace(part)}
		for _, word := range strings.Fields(part) {
			if strings.Contains(word, "/") && word != words[0] {
				words = append(words, word)
			}
		}
		for _, word := range words {
			if len(word) > 3 && seen[word] {
				return word
			}
			seen[word] = true
		}
	}
	return ""
}

// Output that cannot be written is an error of every command, of help too.
func TestFullOutput(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip(err)
	}
	defer full.Close()
	const images, labels = "../../data/mnist/t10k-images-idx3-ubyte.gz", "../../data/mnist/t10k-labels-idx1-ubyte.gz"
	commands := [][]string{
		{"-h"}, {"help"}, {"help", "train", "gmm"}, {"train", "-h"}, {"completion", "bash"},
		{"__complete", "train", ""},
		{"info", "gmm"}, {"info"}, {"data", "inspect", images, labels}, {"data", "inspect", images, labels, "--json"},
		{"sample", "gmm", "--checkpoint", smallMap, "--n", "2"},
		{"sample", "gmm", "--checkpoint", smallMap, "--n", "2", "--json"},
		{"stress", "times", "--grid"},
	}
	for _, c := range leaves(newRoot()) {
		commands = append(commands, append(strings.Fields(c.CommandPath())[1:], "-h"))
	}
	for _, args := range commands {
		var stderr bytes.Buffer
		code := execute(t.Context(), args, full, &stderr)
		lines := strings.Split(strings.TrimSpace(stderr.String()), "\n")
		if last := lines[len(lines)-1]; code != 1 || !strings.Contains(last, "no space left") ||
			strings.Count(stderr.String(), "no space") != 1 {
			t.Errorf("mfm %q > /dev/full: exit code %d, %q; want 1 and one line", args, code, &stderr)
		}
	}
}

// Each command has help on standard output, for -h and --help, and the overview names it.
func TestHelp(t *testing.T) {
	overview := must(t, "help")
	for _, c := range leaves(newRoot()) {
		words := strings.Fields(c.CommandPath())[1:]
		line := regexp.MustCompile(`(?m)^  ` + words[0] + ` .*\b` + words[len(words)-1] + `\b`)
		if len(words) > 1 && !line.MatchString(overview) || !strings.Contains(overview, "\n  "+words[0]) {
			t.Errorf("mfm help does not name %q", c.CommandPath())
		}
		short := must(t, append(slices.Clone(words), "-h")...)
		if !strings.Contains(short, "Usage:\n  "+c.UseLine()) || !strings.Contains(short, c.Short) || c.Short == "" {
			t.Errorf("%s -h writes %q", c.CommandPath(), short)
		}
		for _, flag := range []string{"--help", "-help"} {
			if long := must(t, append(slices.Clone(words), flag)...); long != short {
				t.Errorf("%s %s writes %q", c.CommandPath(), flag, long)
			}
		}
		if got := must(t, append([]string{"help"}, words...)...); got != short {
			t.Errorf("mfm help %s writes %q", strings.Join(words, " "), got)
		}
	}
	for _, args := range [][]string{{"-h"}, {"--help"}, {"help"}, {"train", "-h"}} {
		if text := must(t, args...); !strings.Contains(text, "Available Commands:") {
			t.Errorf("mfm %v writes %q", args, text)
		}
	}
}

// leaves returns the commands below c, those of cobra left out, that have none below them or a work
// of their own.
func leaves(c *cobra.Command) []*cobra.Command {
	var all []*cobra.Command
	for _, child := range c.Commands() {
		if !child.HasSubCommands() || child.Name() == "info" {
			all = append(all, child)
		}
		all = append(all, leaves(child)...)
	}
	return all
}

// Every verb of every task that supports it is a command.
func TestVerbsTimesTasks(t *testing.T) {
	var got []string
	for _, c := range leaves(newRoot()) {
		got = append(got, strings.TrimPrefix(c.CommandPath(), "mfm "))
	}
	want := []string{
		"bench", "data inspect", "data mnist", "data points", "diagnose digits", "diagnose gmm", "diagnose imagenet", "diagnose points", "eval autoencoder", "eval digits",
		"eval fid", "eval gmm", "eval imagenet", "eval points", "info", "info autoencoder", "info classifier", "info digits",
		"info gmm", "info imagenet", "info points", "parity", "sample digits", "sample gmm", "sample imagenet", "sample points",
		"steer digits", "steer gaussian", "steer gmm", "steer imagenet",
		"steer merge", "steer points",
		"stress base", "stress diversity", "stress gradients", "stress losses", "stress manifold", "stress precision", "stress recovery",
		"stress sets", "stress times", "stress values", "train autoencoder", "train classifier", "train digits", "train gmm", "train imagenet", "train points",
		"tune digits", "tune distill", "tune gmm", "tune imagenet", "tune points", "weights convert", "weights get",
		"weights inspect",
	}
	if !slices.Equal(got, want) {
		t.Errorf("commands %q, want %q", got, want)
	}
}

// A mistyped command or flag is answered with similar ones, in the same line.
func TestSuggestions(t *testing.T) {
	for want, args := range map[string][]string{
		`unknown command "trian": did you mean train? mfm help lists them`: {
			"trian", "gmm"},
		`unknown command "train gm": did you mean gmm? train takes gmm, digits, classifier`: {"train", "gm"},
		`unknown command "steer merg": did you mean merge? steer takes gmm, digits, imagenet, gaussian, points`: {
			"steer", "merg"},
		`unknown command "train faces": train takes gmm, digits, classifier`: {
			"train", "faces"},
		`unexpected argument "digit": did you mean digits? -h lists the arguments`: {
			"info", "digit"},
		`unknown flag: --stpes: did you mean --steps? -h lists the flags`: {
			"train", "gmm", "--stpes", "3"},
		`unknown flag: --sampler: did you mean --sampler-steps or --samples? -h lists the flags`: {
			"tune", "gmm", "--sampler", "3"},
		`unknown flag: --color: -h lists the flags`: {
			"train", "gmm", "--color=red"},
		`unknown shorthand flag: 'j' in -jsn: did you mean --json? -h lists the flags`: {
			"eval", "gmm", "-jsn"},
		`unknown flag: --see: did you mean --keep or --seed or --set? -h lists the flags`: {
			"train", "gmm", "--see", "1"},
		`invalid argument "x" for "--n" flag: strconv.ParseInt: parsing "x": invalid syntax: -h lists`: {
			"sample", "gmm", "--n", "x"},
	} {
		code, stdout, stderr := invoke(t.Context(), args...)
		if code != 2 || stdout != "" || !strings.Contains(stderr, want) || strings.Count(stderr, "\n") != 1 {
			t.Errorf("mfm %v: exit code %d, wrote %q and %q, want %q", args, code, stdout, stderr, want)
		}
	}
}

// Scripts complete commands, flags, and the values of some flags, in lists too.
func TestCompletion(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish"} {
		if script := must(t, "completion", shell); !strings.Contains(script, shell+" completion") ||
			!strings.Contains(script, "mfm") {
			t.Errorf("mfm completion %s writes %.200q", shell, script)
		}
	}
	for _, tc := range []struct {
		args []string
		want []string
	}{
		{[]string{"train", ""}, []string{"gmm", "digits", "classifier"}},
		{[]string{"train", "gmm", "--lo"}, []string{"--loss"}},
		{[]string{"train", "gmm", "--loss", ""}, losses()},
		{[]string{"info", "--preset", ""}, []string{"quick", "full"}},
		{[]string{"steer", "gmm", "--method", ""}, []string{"mfm-g", "smc-exact"}},
		{[]string{"steer", "digits", "--method", "dps,"}, []string{"dps,mfm-g", "dps,best-of-n"}},
		{[]string{"tune", "gmm", "--method", ""}, []string{"mfm-ft", "plug-in-exact"}},
		{[]string{"tune", "gmm", "--network", ""}, []string{"adapter", "low-rank"}},
	} {
		offered := strings.Fields(must(t, append([]string{"__completeNoDesc"}, tc.args...)...))
		for _, want := range tc.want {
			if !slices.Contains(offered, want) {
				t.Errorf("mfm %q is completed with %q, want %q", tc.args, offered, want)
			}
		}
	}
}

// A flag has one dash or two, and its value begins with a dash if need be.
func TestDashes(t *testing.T) {
	root := newRoot()
	for _, tc := range []struct{ args, want string }{
		{"sample gmm -t 0.4 --x -0.5,1 -n=7 -json", "sample gmm --t 0.4 --x -0.5,1 --n=7 --json"},
		{"sample gmm -h", "sample gmm -h"},
		{"train gmm -help", "train gmm --help"},
		{"info -preset full gmm", "info --preset full gmm"},
		{"data inspect a -json b", "data inspect a --json b"},
		{"steer gmm --out -weird", "steer gmm --out -weird"},
		{"fly -out x", "fly -out x"},
	} {
		if got := strings.Join(doubleDashes(root, strings.Fields(tc.args)), " "); got != tc.want {
			t.Errorf("%s becomes %s, want %s", tc.args, got, tc.want)
		}
	}
}

// Earlier names of flags are accepted, and messages have the present ones.
func TestFormerFlags(t *testing.T) {
	none := filepath.Join(t.TempDir(), "none.json")
	for args, want := range map[string]string{
		"bench --draws many":                             "--samples",
		"diagnose gmm -draws 1 --checkpoint " + smallMap: "samples = 1",
		"stress base --grid --cells " + none:             none,
		"steer digits --checkpoint a --judge b --out c":  "--second is missing",
		"steer digits --checkpoint a --second b --out c": "--evaluator is missing",
	} {
		if code, _, stderr := invoke(t.Context(), strings.Fields(args)...); code != 2 ||
			!strings.Contains(stderr, want) {
			t.Errorf("mfm %s: exit code %d, %q; want 2 and %q", args, code, stderr, want)
		}
	}
}

func TestInspect(t *testing.T) {
	const dir = "../../data/mnist/"
	images, labels := dir+"t10k-images-idx3-ubyte.gz", dir+"t10k-labels-idx1-ubyte.gz"
	// Flags stand before, between or after operands.
	for _, args := range [][]string{{images, labels, "--json"}, {"--json", images, labels},
		{images, "--json", labels}} {
		s := decode[data.Summary](t, must(t, append([]string{"data", "inspect"}, args...)...))
		total := 0
		for _, n := range s.ClassCounts {
			total += n
		}
		if s.Count != 1000 || total != 1000 || len(s.ClassCounts) != 10 ||
			!reflect.DeepEqual(s.Shape, []int{28, 28, 1}) {
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
		t.Errorf("images with labels of other images: exit code %d, %q", code, stderr)
	}
}

// A download that fails after it began has exit code 1.
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

// The configuration that info prints is the one that training uses, without a file and from a file.
func TestInfo(t *testing.T) {
	all := decode[struct {
		Versions   versions
		Backend    string
		Preset     string
		GMM        mixture.Config
		Digits     image.Config
		Classifier image.ClassifierConfig
		Noised     image.ClassifierConfig   `json:"classifier_noised"`
		Encoder    latent.AutoencoderConfig `json:"autoencoder"`
		Emoji      latent.Config            `json:"imagenet_emoji"`
		B2         latent.Config            `json:"imagenet_b2"`
		XL2        latent.Config            `json:"imagenet_xl2"`
		Points     points.Config
		Sampler    mfm.SamplerConfig
		EvalGMM    mixture.EvalConfig `json:"eval_gmm"`
		EvalPoints points.CheckConfig `json:"eval_points"`
		EvalDigits digitsEvaluation   `json:"eval_digits"`
		Steer      steer.Config
		Rewards    map[string]string
	}](t, must(t, "info"))
	if all.Backend == "" || all.Versions.Go == "" {
		t.Errorf("info prints no backend or no version: %+v", all)
	}
	want, err := mixture.Preset("quick")
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(all.GMM, want) {
		t.Errorf("info prints %+v, want %+v", all.GMM, want)
	}
	if dit, ok := all.XL2.Network.Architecture.(nn.DiTConfig); !ok || dit.Depth != 28 || dit.Width != 1152 {
		t.Errorf("info prints the network %+v for xl2", all.XL2.Network)
	}
	text := must(t, "info", "gmm", "--preset", "full", "--loss", "Mean-Flow", "--steps", "7")
	if again := must(t, "info", "gmm", "--config", write(t, t.TempDir(), "config.json", text)); again != text {
		t.Errorf("a configuration read again is %s, want %s", again, text)
	}
	c := decode[mixture.Config](t, text)
	full, err := mixture.Preset("full")
	if err != nil {
		t.Fatal(err)
	}
	if c.Train.Loss.Consistency != "meanflow" || c.Train.Steps != 7 || c.Train.Batch != full.Train.Batch {
		t.Errorf("loss %s, %d steps, batch %d", c.Train.Loss.Consistency, c.Train.Steps, c.Train.Batch)
	}
	decode[image.Config](t, must(t, "info", "digits"))
	if code, _, stderr := invoke(t.Context(), "info", "digits", "--backend", "abacus"); code != 0 || strings.Contains(stderr, "backend") {
		t.Errorf("info of a task opens a backend: exit code %d, %q", code, stderr)
	}
	if c := decode[image.ClassifierConfig](t, must(t, "info", "classifier", "--noised")); !c.Noised {
		t.Error("the configuration of a noised classifier has noised = false")
	}
}

// A loss sets the options that are best for it; a file overrides them, and flags override the file.
func TestConfigurationsPrecedence(t *testing.T) {
	path := write(t, t.TempDir(), "c.json",
		`{"train": {"loss": {"consistency": "lagrangian", "diagonal_share": 0.125}, "steps": 5, "batch": 6}}`)
	c := &command{Command: &cobra.Command{}}
	describe := trainMixture(c)
	if err := c.ParseFlags([]string{"--config", path, "--steps", "7", "--loss", "eulerian",
		"--set", "train.ema=[]"}); err != nil {
		t.Fatal(err)
	}
	got, err := describe()
	if err != nil {
		t.Fatal(err)
	}
	want := mixture.DefaultConfig()
	want.SetLoss("eulerian", want.Train.Loss.Distillation)
	want.Train.Loss.DiagonalShare, want.Train.Steps, want.Train.Batch, want.Train.EMA = 0.125, 7, 6, []float64{}
	if !reflect.DeepEqual(got.config, want) {
		t.Errorf("configuration %+v, want %+v", got.config, want)
	}
	if line, want := got.line, "go run ./scripts/mfm train gmm --preset quick --config "+path+
		" --steps 7 --loss eulerian --set 'train.ema=[]'"; line != want {
		t.Errorf("command %s, want %s", line, want)
	}
}

func TestQuote(t *testing.T) {
	for word, want := range map[string]string{"a-b_c/d.json": "a-b_c/d.json", "": "''", "a b": "'a b'",
		"it's": `'it'\''s'`, "$(rm)": "'$(rm)'"} {
		if got := quote(word); got != want {
			t.Errorf("quote(%q) = %s, want %s", word, got, want)
		}
	}
}

func TestCount(t *testing.T) {
	for n, want := range map[int64]string{0: "0 steps", 1: "1 step", 2: "2 steps"} {
		if got := count(n, "step"); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
