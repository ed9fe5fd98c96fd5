package main

import (
	"encoding/json"
	"path"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/gomfm/gomfm/mfm/experiment/latent/alignment"
	"github.com/gomfm/gomfm/mfm/metric"
)

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
		`[Best-of-1,000 from the pool](#pictures-steered-in-latent-space): log p(daisy\|x) 0.999 (51,000 evaluations) |`,
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
