package main

import (
	"encoding/json"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/gomfm/gomfm/mfm/experiment/latent"
	"github.com/gomfm/gomfm/mfm/experiment/latent/alignment"
	"github.com/gomfm/gomfm/mfm/experiment/latent/picture"
	"github.com/gomfm/gomfm/mfm/metric"
)

// The tables of values and of recovered pictures are there if their files are.
func TestPictureQuality(t *testing.T) {
	var values []alignment.ValueResult
	for _, at := range []float64{0.4, 0.1} {
		of := alignment.RewardValues{Reward: "a|b", SD: 10 * at, Halves: metric.Some(0.5), Estimates: []alignment.ValueEstimate{
			{Method: alignment.ByDenoiser, N: 1, Steps: 1, NFE: 1, Pearson: metric.Some(at), RMS: 2},
			{Method: alignment.ByGLASS, N: 4, Steps: 2, NFE: 8, Pearson: metric.Some(0.9), RMS: 0.25},
		}}
		if at == 0.1 {
			of.Estimates = of.Estimates[:1]
		}
		values = append(values, alignment.ValueResult{Test: alignment.ValueTest, T: at, States: 32, Reference: 128,
			ReferenceSteps: 30, Rewards: []alignment.RewardValues{of}})
	}
	two := 0.5
	recovery := []latent.RecoveryResult{{
		Test: latent.RecoveryTest, T: 0.2, Pictures: 190, HeldOut: &picture.Result{Frechet: 80, Kernel: 0.1, KernelSE: 0.02},
		Recovered: []latent.Recovered{
			{Method: "map", Steps: 1, NFE: 1, Original: latent.Distances{Latents: 0.7, Pixels: 0.3, Features: &two},
				Reference: &latent.Distances{Latents: 0.2, Pixels: 0.1}, Pictures: &picture.Result{Frechet: 90, Kernel: 0.2}},
			{Method: "ode", Steps: 50, NFE: 99, Original: latent.Distances{Latents: 0.6, Pixels: 0.25}},
		},
	}}
	files := copied(t)
	headings := []string{"### Values of rewards of pictures", "### Held-out pictures recovered from noise"}
	for i, results := range []any{values, recovery} {
		name := "figures/" + []string{valuesFile, recoveryFile}[i]
		delete(files, name)
		pages, err := render(files)
		if err != nil || strings.Contains(pages[resultsPage], headings[i]) {
			t.Errorf("without results the page has the section %q (%v)", headings[i], err)
		}
		raw, err := json.Marshal(results)
		if err != nil {
			t.Fatal(err)
		}
		files[name] = &fstest.MapFile{Data: raw}
	}
	pages, err := render(files)
	if err != nil {
		t.Fatal(err)
	}
	for i, wants := range [][]string{
		{
			"at 32 noised samples", "a reference of 128 samples", `**a\|b**`, "| estimate | samples | NFE | t = 0.1 | t = 0.4 |",
			"| *a perfect estimate* |  |  | 0.82 | 0.82 |", "| *standard deviation of the value* |  |  | 1.00 | 4.00 |",
			"| denoiser | 1 | 1 | 0.10, 2.00 | 0.40, 2.00 |", "| GLASS, 2 steps | 4 | 8 |  | 0.90, 0.250 |",
		},
		{
			"of 190 held-out emoji", "| held-out emoji |  |  |  |  |  |  |  | 80 | 0.10 ± 0.02 |",
			"| 0.2 | map, K = 1 | 1 | 0.700 | 0.300 | 0.500 | 0.200 | 0.100 |  | 90 | 0.20 ± 0.00 |",
			"| 0.2 | ode, K = 50 | 99 | 0.600 | 0.250 |  |  |  |  |  |  |",
		},
	} {
		_, section, _ := strings.Cut(pages[resultsPage], headings[i])
		section, _, _ = strings.Cut(section, "\n##")
		for _, want := range wants {
			if !strings.Contains(section, want) {
				t.Errorf("%s lacks %q:\n%s", headings[i], want, section)
			}
		}
	}
}
