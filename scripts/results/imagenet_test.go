package main

import (
	"encoding/json"
	"path"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/gomfm/gomfm/mfm/experiment/latent"
	"github.com/gomfm/gomfm/mfm/experiment/latent/alignment"
	"github.com/gomfm/gomfm/mfm/experiment/latent/picture"
	"github.com/gomfm/gomfm/mfm/metric"
	"github.com/gomfm/gomfm/mfm/steer"
	"github.com/gomfm/gomfm/mfm/tune"
)

// steeredPictures are results of one reward whose factors are known: a pool of two seeds with
// uniform rewards, MFM-G with two seeds, a filter, and a run that diverged.
func steeredPictures() (all []alignment.Result) {
	some := metric.Some
	add := func(method string, n int, nfe float64, seed int64, how steer.Renormalization, reward, se metric.Optional) *alignment.Result {
		r := alignment.Result{Result: common("log p(daisy|x)", method, n, nfe, seed, how), Reward: reward, RewardSE: se}
		r.HeldOut, r.HeldOutSE, r.HeldOutBase, r.Kernel = some(-0.5+float64(seed)/10), some(0.3), some(-0.4), some(0.25)
		r.Diversity = some(0.8)
		r.Monitors, r.MonitorsBase = alignment.Monitors{Saturation: 0.5, Edges: 0.1}, &alignment.Monitors{Saturation: 0.25, Edges: 0.3}
		all = append(all, r)
		return &all[len(all)-1]
	}
	var none metric.Optional
	for seed := range int64(2) {
		pool := add("unsteered", 1, 50, seed, "none", some(0.5), some(0.1))
		pool.PoolRewards, pool.MonitorsBase, pool.Kernel = uniformPool(), nil, none
		add("mfm-g", 1, 250, seed, "rescale", some(0.85+0.1*float64(seed)), some(0.03))
		add("smc-dps", 1, 200, seed, "none", some(0.4+0.2*float64(seed)), none)
	}
	add("best-of-n", 4, 204, 0, "none", some(0.8), some(0.02))
	add("mfm-gf", 4, 450, 0, "none", none, none).Diverged = true
	return all
}

// The section is there if its file is, with the factors that the results imply.
func TestSteeredPictures(t *testing.T) {
	files := copied(t)
	name := path.Join("figures", imagenetFile)
	delete(files, name)
	delete(files, "figures/imagenet_steering_quality.png")
	const heading = "## Pictures steered in latent space"
	pages, err := render(files)
	if err != nil || strings.Contains(pages[resultsPage], heading) || strings.Contains(pages[resultsPage], "\n\n\n") {
		t.Errorf("without results the page has the section, or a gap (%v)", err)
	}
	raw, err := json.Marshal(steeredPictures())
	if err != nil {
		t.Fatal(err)
	}
	files[name] = &fstest.MapFile{Data: raw}
	files["figures/imagenet_steering.png"] = files["figures/imagenet_steps.png"]
	if pages, err = render(files); err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(pages[resultsPage], heading)
	section, _, _ = strings.Cut(section, "\n## ")
	for _, want := range []string{
		`**log p(daisy\|x)**: by the weights of the 8,190 unsteered pictures of the pool the target is 0.0 nats`,
		// The reward 0.9 needs nine candidates of 51 evaluations. Errors are those of independent
		// pictures.
		"| MFM-G | rescale 10 | 1 | 250 | 0.900 ± 0.021 | 1.84 [", "| -0.450 ± 0.21 | 0.250 ± 0 | 0.800 ± 0 |\n",
		"| MFM-G | rescale 10 | 1 | +0.25 | +0.00 | -0.20 | +0.00 |",
		"| SMC, twist DPS |  | 1 | 200 | 0.500 ± 0.1 | ", "| -0.450 ± 0.05 |",
		"| Best-of-N |  | 4 | 204 | 0.800 ± 0.02 |  | ", "| MFM-GF |  | 4 |  | all runs diverged |",
		"MFM-G with N = 1 (rescale 10) has the reward 0.900 ± 0.021 for 250 evaluations. Best-of-N needs 1.84 [",
		"That is beyond the mean reward of the target itself, 0.582, whose factor is 0.304",
		"that of the 32 unsteered ones that all seeds share -0.400, and their diversity is 0.80", "](imagenet_steering.png)",
	} {
		if !strings.Contains(section, want) {
			t.Errorf("the section lacks %q", want)
		}
	}
	if want := `| pictures, log p(daisy\|x) | 0.0 | rescale 10 | 1.84 [`; !strings.Contains(pages[readmePage], want) {
		t.Errorf("README.md lacks %q", want)
	}
	if strings.Contains(section, "imagenet_steering_quality.png") {
		t.Error("the section has a figure that is not there")
	}
	if t.Failed() {
		t.Log(section)
	}
}

// The tables of values and of recovered pictures are there if their files are.
func TestPictureQuality(t *testing.T) {
	var values []alignment.ValueResult
	for _, at := range []float64{0.4, 0.1} {
		some := metric.Some
		of := alignment.RewardValues{Reward: "a|b", SD: some(10 * at), Effective: 50 * at, Halves: some(0.5)}
		of.Estimates = []alignment.ValueEstimate{
			{Method: alignment.ByDenoiser, N: 1, Steps: 1, NFE: 1, Pearson: some(at), Bias: some(-1.5), RMS: some(2)},
			{Method: alignment.ByGLASS, N: 4, Steps: 2, NFE: 8, Pearson: some(0.9), PearsonSE: some(0.02), Bias: some(0.125),
				RMS: some(0.25), Undefined: 0.03},
			{Method: alignment.ByMap, N: 16, Steps: 1, NFE: 16, Pearson: some(0.9), PearsonSE: some(0.01), Bias: some(0.05),
				RMS: some(0.2)},
			{Method: alignment.ByGLASS, N: 16, Steps: 8, NFE: 128, Pearson: some(0.93), PearsonSE: some(0.02), Bias: some(0.125),
				RMS: some(0.25)},
			{Method: alignment.ByGLASS, N: 16, Steps: 1, NFE: 16, Pearson: some(0.4), Bias: some(-1.5), RMS: some(2)}, // not on the page
			{Method: alignment.BySDE, N: 128, Steps: 15, NFE: 1920, Bias: some(0.1), RMS: some(0.1)},                  // of a constant
		}
		if at == 0.1 {
			of.Estimates, of.Halves = of.Estimates[:1], metric.Optional{}
		}
		values = append(values, alignment.ValueResult{Test: alignment.ValueTest, T: at, States: 32, Reference: 128,
			ReferenceSteps: 30, Rewards: []alignment.RewardValues{of}})
	}
	two := 0.5
	recovery := []latent.RecoveryResult{{
		Test: latent.RecoveryTest, T: 0.2, Pictures: 190, HeldOut: &picture.Result{Frechet: 80, Kernel: 0.1, KernelSE: 0.02},
		Floor: latent.Distances{Pixels: 0.125, Features: &two},
		Recovered: []latent.Recovered{
			{Method: "map", Steps: 1, NFE: 1, Original: latent.Distances{Latents: 0.7, Pixels: 0.3, Features: &two},
				Reference: &latent.Distances{Latents: 0.2, Pixels: 0.1}, Pictures: &picture.Result{Frechet: 90, Kernel: 0.2}},
			{Method: "map", Steps: 4, NFE: 4, Original: latent.Distances{Latents: 0.7, Pixels: 0.3},
				Pictures: &picture.Result{Kernel: 0.16}},
			{Method: "ode", Steps: 50, NFE: 99, Original: latent.Distances{Latents: 0.6, Pixels: 0.25},
				Pictures: &picture.Result{Kernel: 0.12}},
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
			"| *a perfect estimate* |  |  |  | 0.82 |", "| *effective number of samples* |  |  | 5.0 † | 20.0 |",
			"| *standard deviation of the value* |  |  | 1.00 | 4.00 |",
			"| denoiser | 1 | 1 | 0.10, -1.50, 2.00 | 0.40, -1.50, 2.00 |",
			"| GLASS, 2 steps | 4 | 8 |  | 0.90 ± 0.02, +0.12, 0.250 (3 % undefined) |",
			"| reference, 15 steps | 128 | 1920 |  |  |",
			"In 1 of the 1 usable pairs of a reward and a time 16 one-step samples of the map (16 evaluations) do not correlate worse " +
				"with the reference than 16 by GLASS in 8 steps (128), by 0.005 and two standard errors. In 0 the denoiser, one " +
				"evaluation, correlates worse than the map by that much. By the root mean square difference GLASS is nearer in 0. In 1 " +
				"(a\\|b at t = 0.4) the references by two numbers of steps differ by more than the bias of the map",
			"> figures/imagenet_values.json`",
		},
		{
			"of 190 held-out emoji", "| held-out emoji |  |  | 0.125 | 0.500 |  |  |  | 80 | 0.10 ± 0.02 |",
			"| 0.2 | map, K = 1 | 1 | 0.700 | 0.300 | 0.500 | 0.200 | 0.100 |  | 90 | 0.20 ± 0.00 |",
			"| 0.2 | ode, K = 50 | 99 | 0.600 | 0.250 |  |  |  |  | 0 | 0.12 ± 0.00 |",
			"The kernel distances of one step of the map and of its ODE are 0.20 and 0.12 at t = 0.2. Four steps make up for 50 to 50 % of",
		},
	} {
		_, section, _ := strings.Cut(pages[resultsPage], headings[i])
		section, _, _ = strings.Cut(section, "\n##")
		for _, want := range wants {
			if strings.Contains(section, "GLASS, 1 step") {
				t.Errorf("%s has the denoiser as GLASS", headings[i])
			}
			if !strings.Contains(section, want) {
				t.Errorf("%s lacks %q:\n%s", headings[i], want, section)
			}
		}
	}
}

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
	unused := of(50, 9, -0.5, 1, 0.1)
	unused.Evaluations[0].Lambda = 50
	all := []alignment.TuningResult{
		bare, diverged, slow,
		of(50, 3, -0.5, 0.9, 0.1, 0.2, 0.3, 0.4), // 3.6 ± 0.5 nats at the end
		of(50, 2, -0.5, 1, 0.1, 0.2, 0.3, 0.4),
		of(25, 0, -0.75, 2, 0.1, 0.9, 0.4, 0.5), // falls by 0.5/0.141, held-out by 0.15/0.05
		of(20, 0, -0.5, 1, 0.3, 0.2, 0.1, 0.2),  // falls by 0.2/0.141
		narrow, unused,
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
		"| 50, in the end 25 | 0 | 3 | 64,000 |", "| 50 | 0 | 9 | 64,000 |", "3.60 ± 0.5 |  |\n", "| 5 | 0 |  |  | diverged |",
		"| 100 | 0 |  | 64,000 | 0.500 |  | 0.900 |  |  | at least 1.0 nats |\n", "| 100 | 0 |  |  |  |  |  |  |  |\n",
		"In 3 of the 5 trainings the reward falls nowhere by more than one standard error. The held-out reward falls by more " +
			"than two standard errors in 1 of 6 trainings; its lowest change is -3.0 standard errors. Where it does not fall, that does " +
			"not show that the pictures are good: after λ = 10 it changes by -1.0 standard errors, while the diversity is 0.60 and the " +
			"kernel distance 0.25. With λ = 50 and a budget of 2 nats KL is above it at 2 of 4 evaluations, and 4.00 ± 0.5 in the " +
			"end. With λ = 50 and a budget of 3 nats KL is above it at 1 of 4 evaluations, and 3.60 ± 0.5 in the end. With λ = 50 and a " +
			"budget of 9 nats KL is above it at 0 of 1 evaluations, and 1.00 ± 0.5 in the end. The budget is never used: the training " +
			"is that of this λ without one. 1 of all 8 trainings diverged.",
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
