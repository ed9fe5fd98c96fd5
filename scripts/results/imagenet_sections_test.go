package main

import (
	"encoding/json"
	"path"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/gomfm/gomfm/mfm/experiment/latent/alignment"
	"github.com/gomfm/gomfm/mfm/metric"
	"github.com/gomfm/gomfm/mfm/tune"
)

// What runs of pictures lack depends on the factor, the held-out reward and the diversity. The pool
// has the rewards 0, ..., 1999; the held-out reward changes by two standard errors at 0.9, and at
// 0.909 with two seeds, whose errors are independent but for the unsteered pictures.
func TestMissed(t *testing.T) {
	target := tilt{name: "r", each: 101}
	for i := range 2000 {
		target.pool = append(target.pool, float64(i))
	}
	run := func(seeds int, nfe, reward, heldOut, diversity float64) runs {
		var r steered
		r.NFE, r.Reward, r.RewardSE = nfe, metric.Some(reward), metric.Some(1e-3)
		r.HeldOut, r.HeldOutSE, r.HeldOutBase, r.HeldOutBaseSE = metric.Some(heldOut), metric.Some(0.03), metric.Some(1), metric.Some(0.04)
		r.Diversity = metric.Some(diversity)
		return runs{method: "mfm-g", n: 1, renormalization: "rescale 1", results: slices.Repeat([]steered{r}, seeds)}
	}
	for name, c := range map[string]struct {
		runs  runs
		lacks []string
	}{
		"nothing":                {run(1, 250, 3000, 0.901, 0.8), nil},
		"the held-out reward":    {run(1, 250, 3000, 0.899, 0.8), []string{"the held-out reward"}},
		"it, with two seeds":     {run(2, 250, 3000, 0.905, 0.8), []string{"the held-out reward"}},
		"nothing with two seeds": {run(2, 250, 3000, 0.91, 0.8), nil},
		"the diversity":          {run(1, 250, 3000, 1, 0.79), []string{"the diversity"}},
		"the reward":             {run(1, 250, 1000, 1, 0.8), []string{"the factor"}},
		"the cost":               {run(1, 1100, 3000, 1, 0.8), []string{"the factor"}},
		"all":                    {run(1, 250, 1000, 0, 0), []string{"the factor", "the held-out reward", "the diversity"}},
	} {
		got := target.missed(c.runs)
		same := slices.EqualFunc(got, c.lacks, func(a, b string) bool { return strings.HasPrefix(a, b) })
		if !same {
			t.Errorf("%s: got %q, want %q", name, got, c.lacks)
		}
	}
	unknown := run(1, 250, 3000, 1, 0.8)
	unknown.results[0].RewardSE, unknown.results[0].Diversity = metric.Optional{}, metric.Optional{}
	if got := target.missed(unknown); len(got) != 2 {
		t.Errorf("without the errors of the reward and the diversity the runs lack %q, want both", got)
	}
	target.runs = []runs{run(1, 250, 3000, 0.5, 0.8)}
	if got := target.pictureMeasure(); !strings.Contains(got, "**not reached**") || !strings.Contains(got, "-10.0 standard errors") {
		t.Errorf("a fall of ten standard errors gives %q", got)
	}
	target.runs = append(target.runs, run(1, 300, 3000, 1, 0.9))
	if got := target.pictureMeasure(); !strings.Contains(got, "**reached** by rescale 1 with N = 1 (300 evaluations, one seed)") {
		t.Errorf("with a run that has all of it: %q", got)
	}
	if got := (tilt{}).pictureMeasure(); got != "" {
		t.Errorf("without runs: %q", got)
	}
}

// What a training lacks depends on the rise, its falls, the held-out reward and the budget.
func TestTunedLacks(t *testing.T) {
	some := metric.Some
	training := func(change func(r *alignment.TuningResult)) alignment.TuningResult {
		var r alignment.TuningResult
		r.Lambda, r.Budget = 10, 3
		r.RewardBase, r.RewardBaseSE, r.Reward, r.RewardSE = some(0), some(0.3), some(2), some(0.4) // +4 SE
		r.HeldOutBase, r.HeldOutBaseSE, r.HeldOut, r.HeldOutSE = some(1), some(0.03), some(0.91), some(0.04)
		for i, v := range []float64{0, 1.5, 1, 2} { // a fall of one of 0.5 SE
			r.Sampled = append(r.Sampled, alignment.Sampled{Step: int64(i), Reward: some(v), RewardSE: some(0.5)})
		}
		r.Evaluations = []tune.Evaluation{{KL: 3.19, KLSE: 0.1}}
		change(&r)
		return r
	}
	for name, c := range map[string]struct {
		change func(r *alignment.TuningResult)
		lacks  string
	}{
		"nothing":         {func(*alignment.TuningResult) {}, ""},
		"flat":            {func(r *alignment.TuningResult) { r.Reward = some(0.9) }, "the rise"},
		"a fall":          {func(r *alignment.TuningResult) { r.Sampled[2].Reward = some(0) }, "the steady rise (a fall of 2.1"},
		"not evaluated":   {func(r *alignment.TuningResult) { r.Sampled = nil }, "the steady rise"},
		"held out":        {func(r *alignment.TuningResult) { r.HeldOut = some(0.89) }, "the held-out reward (-2.2"},
		"over the budget": {func(r *alignment.TuningResult) { r.Evaluations[0].KL = 3.21 }, "the budget (KL up to 3.2"},
		"no budget":       {func(r *alignment.TuningResult) { r.Budget, r.Evaluations[0].KL = 0, 30 }, ""},
	} {
		got := tunedLacks(training(c.change))
		if c.lacks == "" && got != nil || c.lacks != "" && (len(got) != 1 || !strings.HasPrefix(got[0], c.lacks)) {
			t.Errorf("%s: got %q, want %q", name, got, c.lacks)
		}
	}
	whole := training(func(*alignment.TuningResult) {})
	free := training(func(r *alignment.TuningResult) { r.Budget = 0 })
	if got := tunedMeasure([]alignment.TuningResult{free}); !strings.Contains(got, "**not reached**; without a budget, the rest is "+
		"reached by λ = 10.") {
		t.Errorf("a training without a budget gives %q", got)
	}
	if got := tunedMeasure([]alignment.TuningResult{free, whole}); !strings.Contains(got, "**reached** by λ = 10 with a budget of 3 nats;") {
		t.Errorf("a training with a budget gives %q", got)
	}
	if got := tunedMeasure(nil); got != "" {
		t.Errorf("no training gives %q", got)
	}
}

// Settings of a search differ by their particles, those of weighted Diamond by their SNR.
func TestVariants(t *testing.T) {
	var r steered
	for _, c := range []struct {
		method string
		want   string
	}{{"search-greedy-renoise", "M = 16"}, {"weighted-diamond", "SNR 20"}, {"smc-dps", ""}, {"unsteered", ""}} {
		r.Method, r.Particles = c.method, 16
		if got := variantOf(r); got != c.want {
			t.Errorf("%s: %q, want %q", c.method, got, c.want)
		}
	}
	r.Method, r.SNR = "weighted-diamond", 2
	if got := (runs{method: r.Method, variant: variantOf(r)}).name(); got != "weighted Diamond, SNR 2" {
		t.Errorf("named %q", got)
	}
}

// paperSection renders the page of files and returns the section on the paper's experiments.
func paperSection(t *testing.T, files fstest.MapFS) string {
	t.Helper()
	pages, err := render(files)
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(pages[resultsPage], "## The paper's ImageNet experiments\n")
	section, _, _ = strings.Cut(section, "\n## ")
	return section
}

// The numbers of the table are those of the results: the reward 0.9 of MFM-G with its factor, the
// expected reward of Best-of-1000 from uniform rewards, and the energy once it is run.
func TestPaperExperiments(t *testing.T) {
	files := copied(t)
	name := path.Join("figures", imagenetFile)
	set := func(all []alignment.Result) {
		raw, err := json.Marshal(all)
		if err != nil {
			t.Fatal(err)
		}
		files[name] = &fstest.MapFile{Data: raw}
	}
	all := steeredPictures()
	set(all)
	section := paperSection(t, files)
	for _, want := range []string{
		"| reward alignment with HPSv2.1, PickScore and ImageReward: MFM-G | ", "1,250 evaluations at N = 1 and 4,250 at N = 4",
		"| command 1: 18 runs of 128 pictures; needs weights and a GPU, not run | [N = 1](#pictures-steered-in-latent-space): " +
			`log p(daisy\|x) 0.900 ± 0.021 (250 evaluations, factor 1.84 [`,
		"| the same, MFM-GF | ", "factor", "command 1: 3 runs of 128 pictures; needs weights and a GPU, not run | not run yet |",
		`[Best-of-N from the pool](#pictures-steered-in-latent-space): log p(daisy\|x) 0.999 (N = 1,000, 51,000 evaluations) |`,
		"Best-of-1000 takes 251,000 evaluations", "| fine-tuning, MFM-FT, λ = 10 | 10,000 steps;", "λ = 25 |", "λ = 50 |",
		"| FID of 50,000 samples | ", "see Fig. 6 A", "see Fig. 6 B",
		"| beyond the paper: relevance to a prompt |", "| beyond the paper: text-image match |",
		"| beyond the paper: negative free energy | not in the paper | command 6: 18 runs of 128 pictures by MFM-G; needs weights and " +
			"a GPU, not run | in the grid [imagenet_small.json](grids/imagenet_small.json), not run yet |",
	} {
		if !strings.Contains(section, want) {
			t.Errorf("the section lacks %q", want)
		}
	}
	for _, part := range []string{
		"loss | diagonal", "loss | Mean Flow", "loss | Eulerian", "loss | Lagrangian", "loss | semigroup", "loss | MFM-FT",
		"method | MFM-G |", "method | MFM-GF |", "method | DPS |", "method | Best-of-N |", "method | twisted SMC |", "method | MFM-Search |",
		"reward | linear measurement |", "reward | HPSv2.1 |", "reward | PickScore |", "reward | ImageReward |",
	} {
		if !strings.Contains(section, "| "+part) {
			t.Errorf("the section has no line of %q", part)
		}
	}
	if t.Failed() || strings.Contains(section, "NaN") {
		t.Errorf("undefined values in, or failures of\n%s", section)
	}
	for _, r := range steeredPictures() {
		r.RewardName, r.Kernel = "negative free energy", metric.Optional{}
		all = append(all, r)
	}
	set(all)
	const want = "| [MFM-G, N = 1](#pictures-steered-in-latent-space): 0.900 ± 0.021, unsteered 0.500, factor 1.84 ["
	if section := paperSection(t, files); !strings.Contains(section, want) {
		t.Errorf("the energy is run: the section lacks %q in\n%s", want, section)
	}
}

// The table estimates 250 steps at 0.4 of 989 TFLOP/s: a step of 3,956 GFLOP takes 10 ms.
func TestPlanTable(t *testing.T) {
	files := copied(t)
	files["figures/"+planFile] = &fstest.MapFile{Data: []byte(`[
		{"scale": "paper", "batch": 8, "parameters": [100, 1000, 10], "weights_mb": 5120, "temporary_mb": 15360, "gflop": 3956},
		{"scale": "paper", "batch": 1, "parameters": [100, 1000, 10], "weights_mb": 5120, "temporary_mb": 2048, "gflop": 3956},
		{"scale": "small", "batch": 128, "weights_mb": 30, "temporary_mb": 2048, "gflop": 2.5, "seconds": 40, "matrix_gflops": 16,
			"added_mb": 2560}]`)}
	section := paperSection(t, files)
	for _, want := range []string{
		"for K = 250 steps, if an H100 or H200 sustains\n40 % of the 989 TFLOP/s", "**Estimated, not measured**",
		"| 1 | 5.0 | 2.0 | 7.0 | 989 | 24 |\n| 8 | 5.0 | 15.0 | 20.0 | 989 | 24 |\n", "1,000 of the decoder", "A picture takes 1.86 GiB", "about 37 at a time fit", "and 67 into",
		"XLA plans 2.00 GiB of activations, and the first call adds 2.50 GiB to the process, 1.25 times that",
		"320 GFLOP and takes 40.0 s, 50 % of the rate of matrix products",
	} {
		if !strings.Contains(section, want) {
			t.Errorf("the section lacks %q in\n%s", want, section)
		}
	}
}
