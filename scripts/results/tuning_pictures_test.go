package main

import (
	"encoding/json"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/gomfm/gomfm/mfm/experiment/latent/alignment"
	"github.com/gomfm/gomfm/mfm/metric"
	"github.com/gomfm/gomfm/mfm/tune"
)

// The table of fine-tuned pictures has their changes, and says which trainings fall short.
func TestTunedPictures(t *testing.T) {
	some := metric.Some
	of := func(lambda, budget, heldOut, kl float64, rewards ...float64) alignment.TuningResult {
		r := alignment.TuningResult{Lambda: lambda, Budget: budget, TuneSteps: 400, TuneNFE: 64000, Network: "copy", Reference: 1}
		r.RewardName, r.Method, r.N, r.Samples, r.Steps, r.Noise.Start = "a|b", "mfm-ft", 1, 64, 50, 0.01
		r.Reward, r.RewardSE, r.RewardBase, r.RewardBaseSE = some(0.5), some(0.02), some(-0.1), some(0.03)
		r.HeldOut, r.HeldOutSE, r.HeldOutBase, r.HeldOutBaseSE = some(heldOut), some(0.03), some(-0.6), some(0.04)
		r.Diversity, r.Kernel, r.KernelSE, r.TargetKL, r.TargetEffective = some(0.9), some(0.25), some(0.01), some(1), some(15)
		r.Monitors, r.MonitorsBase = alignment.Monitors{Saturation: 0.5}, &alignment.Monitors{Saturation: 0.75}
		for i, reward := range rewards {
			step := int64(100 * (i + 1))
			r.Sampled = append(r.Sampled, alignment.Sampled{Step: step, Reward: some(reward), RewardSE: some(0.1)})
			r.Evaluations = append(r.Evaluations, tune.Evaluation{Step: step, Lambda: lambda / 2, KL: kl * float64(i+1), KLSE: 0.5})
		}
		return r
	}
	diverged := of(5, 0, 0, 9, 0.5, 0.1) // of which the reward of the base is not known
	diverged.RewardBase, diverged.HeldOutBase, diverged.Result.Diverged = metric.Optional{}, metric.Optional{}, true
	slow := of(10, 0, 0, 0)
	slow.Noise.Start = 0.1 // not on the page
	bare := of(100, 0, 0, 0)
	bare.RewardSE, bare.HeldOut, bare.Kernel, bare.MonitorsBase = metric.Optional{}, metric.Optional{}, metric.Optional{}, nil
	bare.Sampled = []alignment.Sampled{{Step: 100}}
	narrow := of(10, 0, -0.65, 1, 0.1, 0.2, 0.19, 0.2) // falls by 0.01/0.141
	narrow.Diversity = some(0.6)
	all := []alignment.TuningResult{
		bare, diverged, slow,
		of(50, 3, -0.5, 0.9, 0.1, 0.2, 0.3, 0.4), // 3.6 ± 0.5 nats at the end
		of(50, 2, -0.5, 1, 0.1, 0.2, 0.3, 0.4),
		of(25, 0, -0.75, 2, 0.1, 0.9, 0.4, 0.5), // falls by 0.5/0.141, held-out by 0.15/0.05
		of(20, 0, -0.5, 1, 0.3, 0.2, 0.1, 0.2),  // falls by 0.2/0.141
		narrow,
	}
	files := copied(t)
	const heading = "## Pictures fine-tuned in latent space"
	delete(files, "figures/"+tunedFile)
	pages, err := render(files)
	if err != nil || strings.Contains(pages[resultsPage], heading) {
		t.Errorf("without results the page has the section (%v)", err)
	}
	raw, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	files["figures/"+tunedFile] = &fstest.MapFile{Data: raw}
	if pages, err = render(files); err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(pages[resultsPage], heading)
	section, _, _ = strings.Cut(section, "\n## ")
	for _, want := range []string{
		`**a\|b**: the reward of 64 pictures of the untuned drift is -0.100 ± 0.03, their held-out reward -0.600 ± 0.04.`,
		"in 400 steps",
		"| 10 | 0 |  | 64,000 | 0.500 ± 0.02 | -0.650 ± 0.03 | 0.600 | 0.250 ± 0.01 | 4.00 ± 0.5 | at least 1.0 nats |\n",
		"| 10 | 0 |  | 0.200 (step 200) | 0.1 | -0.25 |", "| 0.900 (step 200) | 3.5 |", "| 0.300 (step 100) | 1.4 |",
		"| 50, in the end 25 | 0 | 3 | 64,000 |", "3.60 ± 0.5 |  |\n", "| 5 | 0 |  |  | diverged |",
		"| 100 | 0 |  | 64,000 | 0.500 |  | 0.900 |  |  | at least 1.0 nats |\n", "| 100 | 0 |  |  |  |  |  |  |  |\n",
		"In 3 of the 5 trainings the reward falls nowhere by more than one standard error. The held-out reward is at most two " +
			"standard errors below that of the untuned drift after 4 of 5 trainings; its lowest change is -3.0 standard errors. That does " +
			"not show that the pictures are good: after λ = 10 it changes by -1.0 standard errors, while the diversity is 0.60 and the " +
			"kernel distance 0.25. With a budget of 2 nats KL is above it at 2 of 4 evaluations, and 4.00 ± 0.5 in the end. With a " +
			"budget of 3 nats KL is above it at 1 of 4 evaluations, and 3.60 ± 0.5 in the end. 1 of all 7 trainings diverged.",
	} {
		if !strings.Contains(section, want) {
			t.Errorf("the section lacks %q", want)
		}
	}
	if want := `a\|b from -0.100 ± 0.03 to 0.500 (λ = 100), diversity 0.90`; !strings.Contains(pages[readmePage], want) {
		t.Errorf("README.md lacks %q", want)
	}
	if t.Failed() || strings.Contains(section, "NaN") || strings.Contains(section, "Inf") {
		t.Errorf("undefined values in, or failures of\n%s", section)
	}
	if raw, err = json.Marshal(append(all, diverged)); err != nil {
		t.Fatal(err)
	}
	files["figures/"+tunedFile] = &fstest.MapFile{Data: raw}
	if _, err = render(files); err == nil || !strings.Contains(err.Error(), "two results of the reward a|b") {
		t.Errorf("two results of the same settings: got %v, want an error", err)
	}
}
