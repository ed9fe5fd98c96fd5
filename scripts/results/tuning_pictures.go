package main

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/gomfm/gomfm/mfm/experiment/latent/alignment"
	"github.com/gomfm/gomfm/mfm/metric"
	"github.com/gomfm/gomfm/mfm/tune"
)

// tunedFile has the results of mfm tune imagenet on the shipped map of latents.
const tunedFile = "imagenet_finetuning.json"

// tunedPictures are the trainings of each reward, those with a budget last.
func (s *store) tunedPictures() (names []string, of map[string][]alignment.TuningResult) {
	of = make(map[string][]alignment.TuningResult)
	for _, r := range decode[alignment.TuningResult](s.rows(tunedFile)) {
		if !slices.Contains(names, r.RewardName) {
			names = append(names, r.RewardName)
		}
		of[r.RewardName] = append(of[r.RewardName], r)
	}
	for _, all := range of {
		slices.SortStableFunc(all, func(a, b alignment.TuningResult) int {
			return cmp.Or(cmp.Compare(a.Budget, b.Budget), cmp.Compare(a.Lambda, b.Lambda), cmp.Compare(a.Seed, b.Seed))
		})
	}
	return names, of
}

// optional formats a value with its standard error, empty if it is undefined.
func optional(x, se metric.Optional) string {
	if x.IsZero() {
		return ""
	}
	if se.IsZero() {
		return short(x.Float())
	}
	return pair(x.Float(), se.Float())
}

// tunedTables has a table of the trainings of each reward, and what they show.
func (s *store) tunedTables() string {
	names, of := s.tunedPictures()
	var parts []string
	for _, name := range names {
		all := of[name]
		first := all[0]
		parts = append(parts, fmt.Sprintf("**%s**: the reward of %d pictures of the untuned drift is %s, their held-out reward %s.",
			strings.ReplaceAll(name, "|", `\|`), first.Samples, optional(first.RewardBase, first.RewardBaseSE),
			optional(first.HeldOutBase, first.HeldOutBaseSE)))
		var lines [][]string
		for _, r := range all {
			lines = append(lines, tunedLine(r))
		}
		header := "λ | seed | KL budget | NFE of training | reward | held-out reward | diversity | kernel distance | KL, nats | KL of the target"
		for _, m := range monitors {
			header += " | " + m.name
		}
		parts = append(parts, table(header+" | reward along the training | largest fall, in SE", lines), tunedVerdict(all))
	}
	return strings.Join(parts, "\n\n")
}

// tunedLine is the line of a training.
func tunedLine(r alignment.TuningResult) []string {
	line := []string{fmt.Sprintf("%g", r.Lambda), fmt.Sprint(r.Seed), ""}
	if r.Budget > 0 {
		line[2] = fmt.Sprintf("%g", r.Budget)
	}
	if r.Result.Diverged {
		return append(line, "", "diverged")
	}
	kl, se := tune.LateKL(r.Evaluations)
	line = append(line, comma(r.TuneNFE), optional(r.Reward, r.RewardSE), optional(r.HeldOut, r.HeldOutSE),
		optional(r.Diversity, metric.Optional{}), optional(r.Kernel, r.KernelSE), pair(kl, se), "")
	if !r.TargetKL.IsZero() {
		line[len(line)-1] = tilt{kl: r.TargetKL.Float(), effective: r.TargetEffective.Float()}.nats()
	}
	for _, m := range monitors {
		text := ""
		if r.MonitorsBase != nil {
			text = fmt.Sprintf("%+.2f", m.of(r.Monitors)-m.of(*r.MonitorsBase))
		}
		line = append(line, text)
	}
	var along []string
	for _, e := range r.Sampled {
		along = append(along, short(e.Reward.Float()))
	}
	return append(line, strings.Join(along, ", "), fmt.Sprintf("%.1f", largestFall(r)))
}

// largestFall is the largest fall of the reward from an earlier evaluation to a later one along a
// training, in units of the standard error of their difference, as if their pictures were
// independent. It is 0 if the reward only rises.
func largestFall(r alignment.TuningResult) float64 {
	fall := 0.0
	for i, later := range r.Sampled {
		for _, earlier := range r.Sampled[:i] {
			se := math.Hypot(earlier.RewardSE.Float(), later.RewardSE.Float())
			fall = max(fall, (earlier.Reward.Float()-later.Reward.Float())/se)
		}
	}
	return fall
}

// tunedVerdict says of the trainings of a reward what the measures ask.
func tunedVerdict(all []alignment.TuningResult) string {
	var rise, kept, within, budgets int
	fewest := math.Inf(1) // standard errors of the change of the held-out reward
	trained := 0
	for _, r := range all {
		if r.Result.Diverged {
			continue
		}
		trained++
		if largestFall(r) <= 1 {
			rise++
		}
		change := (r.HeldOut.Float() - r.HeldOutBase.Float()) / math.Hypot(r.HeldOutSE.Float(), r.HeldOutBaseSE.Float())
		if fewest = min(fewest, change); change >= -2 {
			kept++
		}
		if r.Budget > 0 {
			budgets++
			if kl, se := tune.LateKL(r.Evaluations); kl <= r.Budget+2*se {
				within++
			}
		}
	}
	text := fmt.Sprintf("Along %d of the %d trainings the reward rises monotonically within one standard error. In %d of them the "+
		"held-out reward is not below that before the training by more than two standard errors; the lowest is at %+.1f.",
		rise, trained, kept, fewest)
	if budgets > 0 {
		text += fmt.Sprintf(" The divergence in the second half is within its budget, up to two standard errors, in %d of %d.",
			within, budgets)
	}
	return text
}
