package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"image/png"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gomlx/compute"
	"github.com/spf13/cobra"

	"github.com/gomfm/gomfm/mfm/backend"
	"github.com/gomfm/gomfm/mfm/experiment/gaussian"
	"github.com/gomfm/gomfm/mfm/experiment/image"
	"github.com/gomfm/gomfm/mfm/experiment/latent"
	"github.com/gomfm/gomfm/mfm/experiment/latent/alignment"
	"github.com/gomfm/gomfm/mfm/experiment/mixture"
	"github.com/gomfm/gomfm/mfm/experiment/steering"
	"github.com/gomfm/gomfm/mfm/experiment/stress"
)

// failing is a task whose third run fails.
type failing struct{ runs int }

func (*failing) Check(steering.Setting) error { return nil }

func (*failing) Follow(steering.Watch) {}

func (f *failing) Run(_ context.Context, _ compute.Backend, s steering.Setting) (r gaussian.Result, err error) {
	if f.runs++; f.runs == 3 {
		return r, errors.New("out of luck")
	}
	r.Method, r.Seed, r.Mean = s.Method, s.Seed, float64(f.runs)
	return r, nil
}

// A sweep without a folder prints the results that it has when a run fails, with the error.
func TestSteerPrintsResultsBeforeAnError(t *testing.T) {
	var stdout, stderr bytes.Buffer
	c := &command{Command: &cobra.Command{}}
	c.SetOut(&stdout)
	c.SetErr(&stderr)
	task := gaussianSteering()
	task.file = func(string) (func(gaussian.Result) error, error) { return nil, nil }
	task.open = func(*command) func(steering.NamedReward) (steering.Task[gaussian.Result], string, error) {
		return func(steering.NamedReward) (steering.Task[gaussian.Result], string, error) {
			return &failing{}, "f", nil
		}
	}
	prepare := task.build(c)
	if err := c.ParseFlags([]string{"--seeds", "4", "--json"}); err != nil {
		t.Fatal(err)
	}
	work, err := prepare()
	if err != nil {
		t.Fatal(err)
	}
	err = work(t.Context(), nil)
	if results := decode[[]gaussian.Result](t, stdout.String()); len(results) != 2 || results[1].Mean != 2 ||
		err == nil || !strings.Contains(err.Error(), "run 3 of 4: out of luck") {
		t.Errorf("results %+v, error %v: want two results, and the error of the third", results, err)
	}
}

// Merged shards equal the whole sweep, and runs with results are not repeated.
func TestSteerGMM(t *testing.T) {
	args := func(out string, more ...string) []string {
		return append([]string{"steer", "gmm", "--method", "exact,mfm-gf", "--n", "2,4", "--seeds", "2", "--steps", "4",
			"--samples", "16", "--json", "--out", out}, more...)
	}
	results := func(args []string) (results []mixture.SteeringResult) {
		t.Helper()
		code, stdout, stderr := invoke(t.Context(), args...)
		if code != 0 {
			t.Fatalf("exit code %d: %s", code, stderr)
		}
		if err := json.Unmarshal([]byte(stdout), &results); err != nil {
			t.Fatal(err)
		}
		for i := range results {
			results[i].Seconds, results[i].MicrosPerNFE = 0, 0
		}
		return results
	}
	whole, a, b := t.TempDir(), t.TempDir(), t.TempDir()
	want := results(args(whole))
	if len(want) != 6 {
		t.Fatalf("%d results, want 6", len(want))
	}
	if part := results(args(a, "--shard", "0/2")); len(part) != 3 {
		t.Errorf("%d results of the first shard, want 3", len(part))
	}
	results(args(b, "--shard", "1/2"))
	merged := results([]string{"steer", "merge", "--from", a + "," + b})
	again := results([]string{"steer", "merge", "--from", whole})
	if !reflect.DeepEqual(merged, again) || len(merged) != 6 {
		t.Errorf("shards give\n%+v, the whole\n%+v", merged, again)
	}
	if got := results(args(whole)); !reflect.DeepEqual(got, want) {
		t.Error("a repeated sweep has other results")
	}
	_, text, _ := invoke(t.Context(), "steer", "merge", "--from", whole)
	stored := write(t, t.TempDir(), "results.json", strings.ReplaceAll(text, `"sw2":`, `"sw2":7`))
	for _, result := range results(args(t.TempDir(), "--stored", stored)) {
		if result.SW2 < 7 {
			t.Errorf("a run with a stored result was repeated: %+v", result)
		}
	}
	_, both, _ := invoke(t.Context(), "steer", "merge", "--from", whole+","+stored)
	if strings.Count(both, `"run":`) != 6 {
		t.Errorf("a folder and a file of the same runs give %s", both)
	}
}

// The runs in figures are those that the same flags ask for: none of them is repeated.
func TestStoredSteering(t *testing.T) {
	const file = "../../figures/gmm_steering.json"
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // a run that is not stored is an error
	for _, methods := range []string{"unsteered,dps,mfm-g,mfm-gf,best-of-n", "smc-dps,smc-mfm-g,smc-mfm-gf"} {
		code, stdout, stderr := invoke(ctx, "steer", "gmm", "--checkpoint", smallMap, "--method", methods, "--dynamics",
			"ode,sde", "--n", "4,16", "--seeds", "5", "--stored", file, "--out", t.TempDir(), "--json")
		var results []mixture.SteeringResult
		if err := json.Unmarshal([]byte(stdout), &results); code != 0 || err != nil {
			t.Fatalf("%s: exit code %d, %s (%v)", methods, code, stderr, err)
		}
		for _, r := range results {
			if !(r.SW2 > 0) || r.Config != nil || !r.Reward.IsZero() || r.RewardQuantiles != nil {
				t.Errorf("a stored result is read as %+v", r)
			}
		}
	}
	for _, r := range decodeFile[[]image.SteeringResult](t, "../../figures/mnist_steering.json") {
		if !(r.L2.Float() > 0 && r.L2Second.Float() > 0 && r.Distance.Float() > 0) || r.RewardTarget.IsZero() ||
			!r.BaseDistance.IsZero() || !r.TargetKL.IsZero() {
			r.Images = nil
			t.Errorf("a stored result is read as %+v", r)
		}
	}
}

func decodeFile[T any](t *testing.T, path string) (v T) {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(raw, &v)
	}
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// A grid has its own rewards and runs, whose results have the rewards' names. Flags that are given
// replace its values, and a repeated sweep repeats no run.
func TestSteerGrid(t *testing.T) {
	const file = "../../figures/grids/when_steering_pays_gmm.json"
	out := t.TempDir()
	args := []string{"steer", "gmm", "--checkpoint", smallMap, "--grid", file, "--steps", "3", "--samples", "8",
		"--seeds", "1", "--out", out, "--shard", "0/31", "--json"}
	results := decode[[]mixture.SteeringResult](t, must(t, args...))
	names := make(map[string]bool)
	for _, r := range results {
		names[r.RewardName] = true
		steps := 3
		if r.Method == "best-of-n-one-step" {
			steps = 1
		}
		if r.Samples != 8 || r.Steps != steps || r.Seed != 0 || r.Config == nil || r.Config.Steps != steps ||
			!r.Diverged && (r.TargetKL.IsZero() || r.Reward.IsZero()) {
			t.Errorf("result %+v", r)
		}
	}
	if r := results[0]; r.Test != mixture.SteeringTest || len(r.PoolRewards) != 8 || !slices.IsSorted(r.PoolRewards) {
		t.Errorf("the pool has the result %+v", r)
	}
	if len(names) != 4 || len(results) < 4 {
		t.Errorf("%d results with the rewards %v, want some of four", len(results), names)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if code, again, stderr := invoke(ctx, args...); code != 0 || !reflect.DeepEqual(
		decode[[]mixture.SteeringResult](t, again), results) {
		t.Errorf("a repeated grid: exit code %d, %s", code, stderr)
	}
	dir := t.TempDir()
	two := write(t, dir, "two.json", `{"rewards": [{"name": "a", "reward": "paper"}, {"name": "b", "reward": "paper"}],
		"runs": [{"method": "dps"}]}`)
	held := write(t, dir, "held.json", `{"rewards": [{"name": "a", "reward": "paper", "held_out": "paper"}], "runs": [{"method": "dps"}]}`)
	second := write(t, dir, "second.json", `{"second_evaluator": "f", "rewards": [{"name": "a", "reward": "paper"}], "runs": [{"method": "dps"}]}`)
	luck := write(t, dir, "luck.json", `{"rewards": [{"name": "a", "reward": "luck"}], "runs": [{"method": "dps"}]}`)
	for want, more := range map[string][]string{
		"--n and --grid":                    {"--n", "4"},
		"--reward and --grid":               {"--reward", "paper"},
		"--pool and --grid":                 {"--pool"},
		"--grid nowhere: no such file":      {"--grid", "nowhere"},
		`reward "b" is that of another`:     {"--grid", two},
		`reward "a": reward "luck" is no`:   {"--grid", luck},
		`reward "a" has a held-out reward`:  {"--grid", held},
		"second_evaluator: this task has":   {"--grid", second},
		"unknown key":                       {"--grid", smallMap + "/config.json"},
		"steps = 2: must be at least 3":     {"--steps", "2"},
		"ratio = 0: must lie in [1e-06, 1e": {"--grid", write(t, dir, "r.json", `{"rewards": [{"name": "a", "reward": "paper"}], "runs": [{"method": "dps", "renormalization": "clip", "ratio": 0}]}`)},
	} {
		code, _, stderr := invoke(t.Context(), append(slices.Clone(args), more...)...)
		if code != 2 || !strings.Contains(stderr, want) || strings.Count(strings.TrimSpace(stderr), "\n") > 0 {
			t.Errorf("%v: exit code %d, %q; want 2, and %q in one line", more, code, stderr, want)
		}
	}
}

// A particle filter uses the SDE alone, a search has no dynamics, and the table marks diverged
// runs.
func TestSteerTable(t *testing.T) {
	code, stdout, stderr := invoke(t.Context(), "steer", "gmm", "--method", "dps,smc-dps,search-greedy-renoise",
		"--dynamics", "ode,sde", "--n", "2", "--steps", "4", "--samples", "16", "--lambda", "10000", "--out",
		t.TempDir())
	if code != 0 {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	if lines := strings.Split(strings.TrimSpace(stdout), "\n"); len(lines) != 5 ||
		strings.Count(stdout, "smc-dps") != 1 || !strings.Contains(stdout, "diverged") {
		t.Errorf("want two results of dps, one of smc-dps and one of the search, some diverged:\n%s", stdout)
	}
	if !strings.Contains(stderr, "seed 0: ") {
		t.Errorf("the runs have no warnings: %s", stderr)
	}
}

// The rivals of the paper's methods run on a map, each with its own cost. A search takes lists of
// particles, and one-step samples one step.
func TestSteerRivals(t *testing.T) {
	code, stdout, stderr := invoke(t.Context(), "steer", "gmm", "--checkpoint", smallMap, "--method",
		"search-max-overall-renoise,fmrg-e,fmrg-j,weighted-diamond,best-of-n-one-step", "--n", "2", "--particles", "1,4",
		"--dynamics", "ode,sde", "--steps", "4", "--samples", "16", "--json", "--out", t.TempDir())
	if code != 0 {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	var results []mixture.SteeringResult
	if err := json.Unmarshal([]byte(stdout), &results); err != nil {
		t.Fatal(err)
	}
	want := map[string]float64{ // NFE
		"search-max-overall-renoise of 1": 2 * 2 * 4, "search-max-overall-renoise of 4": 4 * 2 * 2 * 4,
		"fmrg-e of 0": 3 * 4, "fmrg-j of 0": 5 * 4, "best-of-n-one-step of 0": 2 * 2,
		"weighted-diamond of 0": 4*(2+5*2) + 1, // twice, by the ODE and the SDE
	}
	if len(results) != 7 {
		t.Errorf("%d results, want 7", len(results))
	}
	for _, r := range results {
		name := fmt.Sprintf("%s of %d", r.Method, r.Particles)
		if r.NFE != want[name] || !(r.MicrosPerNFE > 0) || (r.Steps == 1) != (r.Method == "best-of-n-one-step") {
			t.Errorf("%s: NFE %g in %d steps at %g µs, want %g", name, r.NFE, r.Steps, r.MicrosPerNFE, want[name])
		}
	}
}

func TestSteerRefuses(t *testing.T) {
	dir := t.TempDir()
	broken := filepath.Join(dir, "reward.json")
	if err := os.WriteFile(broken, []byte(`{"kind": "wish"}`), 0o644); err != nil {
		t.Fatal(err)
	}
	reward := func(text string, more ...string) []string {
		return append([]string{"gmm", "--out", filepath.Join(dir, "refused"), "--reward", text}, more...)
	}
	for want, args := range map[string][]string{
		"shape [2]: reward quadratic: center: samples have 2": reward(`{"kind": "quadratic", "center": [0, 0, 0], "weight": [1]}`),
		"shape [2]: reward box: samples have 2":               reward(`{"kind": "box", "low": [0, 0, 0], "high": [1, 1, 1], "width": 1}`),
		"shape [2]: reward half_plane: samples have 2":        reward(`{"kind": "half_plane", "a": [1], "offset": 0, "width": 1}`, "--checkpoint", smallMap),
		"shape [2]: reward log_mixture: samples have 2": reward(`{"kind": "sum", "of": [{"kind": "scaled", "factor": 2, "of":
			{"kind": "log_mixture", "mixture": {"weights": [1], "means": [[0]], "covariances": [[[1]]]}}}]}`),
		"reward is for samples of 3":                           reward(`{"kind": "linear_gaussian", "a": [[1, 2, 3]], "y": [0], "sigma": 1}`),
		"steer gmm: reward linear_gaussian: sigma = -1 must":   reward(`{"kind": "linear_gaussian", "a": [[1, 2]], "y": [0], "sigma": -1}`),
		`linear_gaussian: a[0][1]: "2" where a number is`:      reward(`{"kind": "linear_gaussian", "a": [[1, "2"]], "y": [0], "sigma": 1}`),
		`reward: Kind: did you mean "kind"?`:                   reward(`{"Kind": "linear_gaussian"}`),
		"reward: weight: the key is repeated":                  reward(`{"kind": "quadratic", "center": [0], "weight": [1], "weight": [2]}`),
		"sum: of[1]: reward scaled: of: reward: null where an": reward(`{"kind": "sum", "of": [{"kind": "quadratic", "center": [0], "weight": [1]}, {"kind": "scaled", "factor": 1, "of": null}]}`),
		"linear_gaussian: y[0] = 1e+300 must be a float32":     reward(`{"kind": "linear_gaussian", "a": [[1, 2]], "y": [1e300], "sigma": 1}`),
		"closed form only for a reward of kind linear":         reward(`{"kind": "quadratic", "center": [0], "weight": [1]}`, "--method", "exact"),

		"--out":        {"gmm"},
		"luck":         {"gmm", "--out", dir, "--method", "luck"},
		"shard":        {"gmm", "--out", dir, "--shard", "2/2"},
		"numbers":      {"gmm", "--out", dir, "--n", "many"},
		"wish":         {"gmm", "--out", dir, "--reward", broken},
		"positive":     {"gmm", "--out", dir, "--seeds", "0"},
		"no results":   {"merge", "--from", dir},
		"folders":      {"merge"},
		"of its own":   {"gmm", "--out", dir, "--checkpoint", "a", "--mixture", "b"},
		"particles":    {"gmm", "--out", dir, "--method", "smc-dps", "--dynamics", "sde", "--particles", "7"},
		"dynamics":     {"gmm", "--out", dir, "--method", "smc-dps"},
		"flow map":     {"gmm", "--out", dir, "--method", "fmrg-j"},
		"--particles":  {"gmm", "--out", dir, "--method", "search-greedy-ddpm", "--particles", "few"},
		"no such file": {"gmm", "--out", dir, "--mixture", filepath.Join(dir, "none.json")},
	} {
		code, _, stderr := invoke(t.Context(), append([]string{"steer"}, args...)...)
		if code != 2 || !strings.Contains(stderr, want) || strings.Count(strings.TrimSpace(stderr), "\n") > 0 {
			t.Errorf("steer %v: exit code %d, %q; want 2, and %q in one line", args, code, stderr, want)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "refused")); err == nil {
		t.Error("a refused command has created its folder")
	}
}

// A reward whose values float32 cannot tell apart gives a warning that says so.
func TestSteerWarnsOfScale(t *testing.T) {
	for text, want := range map[string]string{
		`{"kind": "scaled", "factor": 1e37, "of": {"kind": "half_plane", "a": [1, 0], "offset": 0, "width": 1}}`: "N(0, I) span 3e+37: float32 resolves them in steps of 2e+30, and its exponential distinguishes differences up to 88",
		`{"kind": "linear_gaussian", "a": [[1, 2]], "y": [0], "sigma": 1e-30}`:                                   "the reward is not finite in float32 at any of 256 samples",
		`{"kind": "linear_gaussian", "a": [[1, 2]], "y": [1e30], "sigma": 1}`:                                    "the reward is not finite in float32 at any of 256 samples",
		`{"kind": "half_plane", "a": [1, 0], "offset": 1e30, "width": 1}`:                                        "lambda = 1: the reward is at most -1e+30 at 256 samples of N(0, I), and gives none of them weight: below -1e+29 it counts as -Inf: use a smaller factor or a wider reward\n",
		`{"kind": "quadratic", "center": [0], "weight": [1e30]}`:                                                 "all weight goes to one sample: use a smaller factor or a wider reward\n",
	} {
		_, _, stderr := invoke(t.Context(), "steer", "gmm", "--method", "dps", "--steps", "4", "--samples", "16", "--reward", text, "--out", t.TempDir())
		if !strings.Contains(stderr, want) || strings.Contains(stderr, "effective number") {
			t.Errorf("%s: %q, want %q", text, stderr, want)
		}
	}
	if _, _, stderr := invoke(t.Context(), "steer", "gmm", "--method", "exact", "--steps", "4", "--samples", "16", "--out", t.TempDir()); strings.Contains(stderr, "N(0, I)") {
		t.Errorf("a usual reward gives the warning %q", stderr)
	}
}

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

// stressSmallImageNet checks mfm stress values and recovery with a small map of latents. images are
// the flags of its pictures.
func stressSmallImageNet(t *testing.T, dir string, images []string) {
	t.Helper()
	needLoops(t)
	out := t.TempDir()
	const valueSetting = `[{"rewards": [{"name": "blue", "reward": {"kind": "color", "hue": 240, "weight": 5}}],
		"t": 0.5, "states": 3, "samples": 2, "n": [1, 2], "glass": [2], "reference": 4, "reference_steps": 6, "seed": 0}]`
	settings := write(t, out, "values.json", valueSetting)
	args := []string{"stress", "values", "--checkpoint", dir, "--settings", settings, "--out", filepath.Join(out, "values")}
	values := decode[[]alignment.ValueResult](t, must(t, args...))
	if len(values) != 1 || len(values[0].Rewards) != 1 || len(values[0].Rewards[0].Estimates) != 6 ||
		!(values[0].Rewards[0].SD.Float() > 0) {
		t.Errorf("values %+v", values)
	}
	if again := decode[[]alignment.ValueResult](t, must(t, args...)); !reflect.DeepEqual(again, values) {
		t.Errorf("values %+v of a sweep that has ended, want %+v", again, values)
	}
	unknown := write(t, out, "unknown.json", strings.Replace(valueSetting, "color", "luck", 1))
	if code, _, stderr := invoke(t.Context(), append(slices.Clone(args), "--settings", unknown)...); code != 2 ||
		!strings.Contains(stderr, "luck") {
		t.Errorf("an unknown reward: exit code %d, %q", code, stderr)
	}
	from := write(t, out, "recovery.json", `[{"t": 0.5, "steps": [1], "ode": 3, "seed": 0}]`)
	args = append([]string{"stress", "recovery", "--checkpoint", dir, "--settings", from, "--out", filepath.Join(out, "recovery")}, images...)
	recovered := decode[[]latent.RecoveryResult](t, must(t, args...))
	if len(recovered) != 1 || len(recovered[0].Recovered) != 2 || !(recovered[0].Recovered[0].Original.Pixels > 0) {
		t.Errorf("recovered %+v", recovered)
	}
	if grid := decode[[]latent.RecoverySetting](t, must(t, "stress", "recovery", "--grid")); !reflect.DeepEqual(grid, latent.RecoveryGrid()) {
		t.Errorf("--grid prints %+v", grid)
	}
	for want, more := range map[string][]string{
		"no such file": {"--evaluator", filepath.Join(out, "none")},
		"setting 1: t": {"--settings", write(t, out, "wrong.json", `[{"t": 1, "steps": [1], "ode": 3}]`)},
	} {
		if code, _, stderr := invoke(t.Context(), append(slices.Clone(args), more...)...); code != 2 || !strings.Contains(stderr, want) {
			t.Errorf("%v: exit code %d, %q, want %q", more, code, stderr, want)
		}
	}
}

// checkSteeredFigure checks that a figure shows the pictures of a result without making them
// smaller, unsteered ones in the first row.
func checkSteeredFigure(t *testing.T, figure []byte, r alignment.Result) {
	t.Helper()
	rows, title, err := steeredPictures(r)
	if err != nil {
		t.Fatal(err)
	}
	strip, err := png.DecodeConfig(bytes.NewReader(r.Pictures))
	if err != nil {
		t.Fatal(err)
	}
	pixels, err := image.Unstrip(r.Pictures, []int{strip.Height, strip.Width, 3}, 1)
	want := fmt.Sprintf("mean reward %.3g, unsteered %.3g", r.Reward.Float(), r.RewardBase.Float())
	if err != nil || !slices.Equal(rows.Pixels, pixels) || !slices.Equal(rows.RowLabels, []string{"unsteered", "steered"}) ||
		rows.N != 2 || rows.H != strip.Height/2 || rows.W != strip.Width || !strings.HasSuffix(title, want) {
		t.Errorf("rows %q of %dx%d pixels, title %q, want two of %dx%d and %q (%v)", rows.RowLabels, rows.W, rows.H, title,
			strip.Width, strip.Height/2, want, err)
	}
	filtered := r
	filtered.Method = "smc-mfm-gf"
	if rows, _, err := steeredPictures(filtered); err != nil || rows.N != 1 || rows.RowLabels[0] != "steered" {
		t.Errorf("a filter has the rows %q (%v)", rows.RowLabels, err)
	}
	drawn, err := png.DecodeConfig(bytes.NewReader(figure))
	if err != nil || drawn.Width <= strip.Width || drawn.Height <= strip.Height {
		t.Errorf("a figure of %dx%d pixels for pictures of %dx%d (%v)", drawn.Width, drawn.Height, strip.Width, strip.Height,
			err)
	}
}

// stopping is a task that ends the context of its first run after a microbatch.
type stopping struct {
	steering.Task[gaussian.Result]
	command *command
	stop    func()
	first   int  // number of samples when the run begins
	unsaved bool // whether the command knows of samples that are not written, at a microbatch
}

func (s *stopping) Follow(w steering.Watch) {
	report, began := w.Progress, false
	w.Progress = func(done, n int) {
		report(done, n)
		if !began {
			s.first, began = done, true
		} else if done < n {
			s.unsaved = s.command.unsaved.Load()
			s.stop()
		}
	}
	s.Task.Follow(w)
}

// A run that is stopped between two microbatches is kept, says so until it is written, and resumes:
// the result is that of a whole run.
func TestSteerResumesWithinARun(t *testing.T) {
	needLoops(t)
	b, err := backend.New("")
	if err != nil {
		t.Fatal(err)
	}
	defer b.Finalize()
	dir := t.TempDir()
	steered := func(ctx context.Context, out string, stop func()) (gaussian.Result, *stopping, error) {
		t.Helper()
		var stdout bytes.Buffer
		var stopped *stopping
		c := &command{Command: &cobra.Command{}}
		c.SetOut(&stdout)
		c.SetErr(io.Discard)
		task := gaussianSteering()
		open := task.open
		task.open = func(c *command) func(steering.NamedReward) (steering.Task[gaussian.Result], string, error) {
			opened := open(c)
			return func(r steering.NamedReward) (steering.Task[gaussian.Result], string, error) {
				of, fingerprint, err := opened(r)
				stopped = &stopping{Task: of, command: c, stop: stop}
				return stopped, fingerprint, err
			}
		}
		prepare := task.build(c)
		if err := c.ParseFlags([]string{"--out", out, "--dim", "8", "--samples", "40000", "--steps", "3", "--json"}); err != nil {
			t.Fatal(err)
		}
		work, err := prepare()
		if err != nil {
			t.Fatal(err)
		}
		if err := work(ctx, b); err != nil {
			return gaussian.Result{}, stopped, err
		}
		return decode[[]gaussian.Result](t, stdout.String())[0], stopped, nil
	}
	want, _, err := steered(t.Context(), t.TempDir(), func() {})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	_, stopped, err := steered(ctx, dir, cancel)
	files, globErr := filepath.Glob(filepath.Join(dir, "*"))
	if !errors.Is(err, context.Canceled) || !stopped.unsaved || stopped.command.unsaved.Load() || len(files) != 1 ||
		!strings.HasPrefix(filepath.Base(files[0]), "partial-") {
		t.Fatalf("a stopped run: error %v, %+v, files %q (%v)", err, stopped, files, globErr)
	}
	got, resumed, err := steered(t.Context(), dir, func() {})
	got.Seconds, got.MicrosPerNFE = want.Seconds, want.MicrosPerNFE
	if err != nil || !reflect.DeepEqual(got, want) || resumed.first == 0 {
		t.Errorf("the run resumed after %d samples has the result %+v (%v), want %+v", resumed.first, got, err, want)
	}
	if files, err = filepath.Glob(filepath.Join(dir, "*")); err != nil || len(files) != 1 {
		t.Errorf("files %q, want the result alone (%v)", files, err)
	}
}

// A bar is shown for a run that is not done after ten seconds.
func TestRunBar(t *testing.T) {
	var w bytes.Buffer
	began := time.Unix(0, 0)
	at := began
	bar := runBar{w: &w, now: func() time.Time { return at }, began: began}
	for _, c := range []struct {
		second     int64
		done       int
		wantReport bool
	}{{0, 0, false}, {9, 10, false}, {11, 20, true}} {
		at = time.Unix(c.second, 0)
		bar.update(c.done, 30)
		if got := strings.Contains(w.String(), fmt.Sprintf("%d/30", c.done)); got != c.wantReport {
			t.Errorf("after %d seconds: %q", c.second, w.String())
		}
	}
	bar.update(30, 30)
	if !strings.Contains(w.String(), "30/30") || !strings.Contains(w.String(), "done in 11s") {
		t.Errorf("at the end: %q", w.String())
	}
	w.Reset()
	at = time.Unix(100, 0) // of the evaluation
	if bar.done(nil); w.Len() > 0 {
		t.Errorf("after the end: %q", w.String())
	}
	bar.update(10, 30)
	if bar.done(errors.New("out of luck")); !strings.Contains(w.String(), "10/30") || !strings.Contains(w.String(), "out of luck") {
		t.Errorf("after an error: %q", w.String())
	}
	short := runBar{w: &w, now: func() time.Time { return at }, began: began}
	w.Reset()
	short.update(30, 30)
	if short.done(nil); w.Len() > 0 {
		t.Errorf("a run without a bar: %q", w.String())
	}
}

// steerSmallImageNet checks mfm steer imagenet with a small map of latents.
func steerSmallImageNet(t *testing.T, dir string) {
	t.Helper()
	pictures, out := filepath.Join(t.TempDir(), "pictures"), t.TempDir()
	// Without a gradient, which is slow to compile.
	args := []string{"steer", "imagenet", "--checkpoint", dir, "--method", "unsteered,mfm-gf", "--n", "2", "--steps", "3",
		"--samples", "4", "--pictures", pictures, "--out", out, "--json"}
	results := decode[[]alignment.Result](t, must(t, args...))
	if len(results) != 2 || results[0].NFE != 3 || results[1].NFE != 3+2*2*3 || results[1].MapNFE != 3+2*3 {
		t.Errorf("results %+v", results)
	}
	checkPictures := func(results []alignment.Result, all int) {
		t.Helper()
		for _, r := range results {
			raw, err := os.ReadFile(filepath.Join(pictures, fmt.Sprintf("%s-n%d-%s.png", r.Method, r.N, r.SettingHash)))
			if err != nil {
				t.Fatal(err)
			}
			checkSteeredFigure(t, raw, r)
		}
		if files, err := os.ReadDir(pictures); err != nil || len(files) != all {
			t.Errorf("pictures %v, want %d (%v)", files, all, err)
		}
	}
	checkPictures(results, 2)
	if again := decode[[]alignment.Result](t, must(t, args...)); !reflect.DeepEqual(again, results) {
		t.Errorf("results %+v of a sweep that has ended, want %+v", again, results)
	}
	// A grid names held-out rewards and a second evaluator.
	grid := func(name, heldOut, second string) []string {
		return []string{"--grid", write(t, out, name+".json", fmt.Sprintf(`{"second_evaluator": %q, "rewards": [{"name": "a",
			"reward": %s, "held_out": %s}], "runs": [{"method": "unsteered", "samples": 4, "steps": 3}]}`, second,
			alignment.DefaultReward(), heldOut))}
	}
	plain := []string{"steer", "imagenet", "--checkpoint", dir, "--out", t.TempDir(), "--json"}
	dark := append(slices.Clone(plain), grid("dark", `{"kind": "brightness", "weight": -1}`, "")...)
	r := decode[[]alignment.Result](t, must(t, append(dark, "--pictures", pictures)...))
	if len(r) != 1 || !(r[0].HeldOut.Float() < 0 && r[0].HeldOutBase.Float() < 0) {
		t.Errorf("with a held-out reward of a grid: %+v", r)
	}
	checkPictures(r, 3) // another setting writes another file
	for want, args := range map[string][]string{
		"it is the reward itself":  grid("same", fmt.Sprintf(`{"kind": "scaled", "factor": 2, "of": %s}`, alignment.DefaultReward()), ""),
		"none.pth without a first": grid("second", `{"kind": "symmetry"}`, "none.pth"),
	} {
		if code, _, stderr := invoke(t.Context(), append(slices.Clone(plain), args...)...); code != 2 || !strings.Contains(stderr, want) {
			t.Errorf("%v: exit code %d, %q, want %q", args, code, stderr, want)
		}
	}
	for want, more := range map[string][]string{
		`kind "nice" is unknown`:  {"--reward", `{"kind": "nice"}`},
		"paper":                   {"--reward", "paper"},
		"it is the reward itself": {"--held-out-reward", string(alignment.DefaultReward())},
		"no such file":            {"--evaluator", filepath.Join(out, "none")},
	} {
		if code, _, stderr := invoke(t.Context(), append(args, more...)...); code != 2 || !strings.Contains(stderr, want) {
			t.Errorf("%v: exit code %d, %q, want %q", more, code, stderr, want)
		}
	}
}
