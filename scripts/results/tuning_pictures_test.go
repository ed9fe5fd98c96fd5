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
		r := alignment.TuningResult{Lambda: lambda, Budget: budget, TuneSteps: 400, TuneNFE: 51200}
		r.RewardName, r.Samples, r.Steps = "a|b", 64, 50
		r.Reward, r.RewardSE, r.RewardBase, r.RewardBaseSE = some(0.5), some(0.02), some(-0.1), some(0.03)
		r.HeldOut, r.HeldOutSE, r.HeldOutBase, r.HeldOutBaseSE = some(heldOut), some(0.03), some(-0.6), some(0.04)
		r.Diversity, r.Kernel, r.KernelSE, r.TargetKL, r.TargetEffective = some(0.9), some(0.25), some(0.01), some(1), some(15)
		r.Monitors, r.MonitorsBase = alignment.Monitors{Saturation: 0.5}, &alignment.Monitors{Saturation: 0.75}
		for i, reward := range rewards {
			step := int64(100 * (i + 1))
			r.Sampled = append(r.Sampled, alignment.Sampled{Step: step, Reward: some(reward), RewardSE: some(0.1)})
			r.Evaluations = append(r.Evaluations, tune.Evaluation{Step: step, KL: kl * float64(i+1), KLSE: 0.5})
		}
		return r
	}
	diverged := of(50, 0, 0, 0)
	diverged.Result.Diverged = true
	all := []alignment.TuningResult{
		diverged,
		of(50, 3, -0.5, 1, 0.1, 0.2, 0.3, 0.4),   // late KL 3 = (2 + 3 + 4)/3 ± 0.29
		of(25, 0, -0.75, 2, 0.1, 0.9, 0.4, 0.5),  // falls by 0.5/0.141, held-out by 0.15/0.05
		of(10, 0, -0.65, 1, 0.1, 0.2, 0.19, 0.2), // falls by 0.1 standard errors
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
		"in 400 steps", "| 10 | 0 |  | 51,200 | 0.500 ± 0.02 | -0.650 ± 0.03 | 0.900 | 0.250 ± 0.01 | 3.00 ± 0.29 | at least 1.0 nats | -0.25 |",
		"| 0.100, 0.200, 0.190, 0.200 | 0.1 |", "| 0.100, 0.900, 0.400, 0.500 | 3.5 |", "| 50 | 0 | 3 | 51,200 |",
		"| 50 | 0 |  |  | diverged |",
		"Along 2 of the 3 trainings the reward rises monotonically within one standard error. In 2 of them the held-out reward is not " +
			"below that before the training by more than two standard errors; the lowest is at -3.0. The divergence in the " +
			"second half is within its budget, up to two standard errors, in 1 of 1.",
	} {
		if !strings.Contains(section, want) {
			t.Errorf("the section lacks %q", want)
		}
	}
	if t.Failed() {
		t.Log(section)
	}
}
