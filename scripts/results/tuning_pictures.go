package main

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/gomfm/gomfm/mfm/experiment/latent/alignment"
	"github.com/gomfm/gomfm/mfm/metric"
)

// tunedFile has the results of mfm tune imagenet on the shipped map of latents.
const tunedFile = "imagenet_finetuning.json"

// tunedRows are the trainings of the page: those of the default objective and network.
func (s *store) tunedRows() []row {
	return s.rows(tunedFile, "method=mfm-ft", "network=copy", "n=1", "reference=1", "noise.start=0.01")
}

// tunedPictures returns the trainings for each reward, those with a budget last. It panics if two
// differ in nothing that the table shows.
func (s *store) tunedPictures() (names []string, of map[string][]alignment.TuningResult) {
	of = make(map[string][]alignment.TuningResult)
	for _, r := range decode[alignment.TuningResult](s.tunedRows()) {
		if !slices.Contains(names, r.RewardName) {
			names = append(names, r.RewardName)
		}
		of[r.RewardName] = append(of[r.RewardName], r)
	}
	compare := func(a, b alignment.TuningResult) int {
		return cmp.Or(cmp.Compare(a.Budget, b.Budget), cmp.Compare(a.Lambda, b.Lambda), cmp.Compare(a.Seed, b.Seed))
	}
	for name, all := range of {
		slices.SortFunc(all, compare)
		for i, r := range all[1:] {
			if compare(all[i], r) == 0 {
				panic(fmt.Errorf("%s: two results of the reward %s with λ = %g, budget %g and seed %d", tunedFile, name, r.Lambda,
					r.Budget, r.Seed))
			}
		}
	}
	return names, of
}

// tunedTables has a table of the trainings for each reward, and what they show.
func (s *store) tunedTables() string {
	names, of := s.tunedPictures()
	var parts []string
	for _, name := range names {
		all := of[name]
		text := fmt.Sprintf("**%s**", strings.ReplaceAll(name, "|", `\|`))
		if i := slices.IndexFunc(all, func(r alignment.TuningResult) bool { return !r.RewardBase.IsZero() }); i >= 0 {
			r := all[i]
			text += fmt.Sprintf(": the reward of %d pictures of the untuned drift is %s, their held-out reward %s.", r.Samples,
				pair(r.RewardBase.Float(), r.RewardBaseSE.Float()), pair(r.HeldOutBase.Float(), r.HeldOutBaseSE.Float()))
		}
		header := "λ | seed | KL budget | NFE of training | reward | held-out reward | diversity | kernel distance | KL at the end, nats | " +
			"KL of the target"
		for _, m := range monitors {
			header += " | " + m.name
		}
		var lines [][]string
		for _, r := range all {
			lines = append(lines, tunedLine(r))
		}
		parts = append(parts, text, table(header+" | reward along the training | largest fall, in SE", lines), tunedVerdict(all))
	}
	return strings.Join(parts, "\n\n")
}

// tunedLine is the line of a training.
func tunedLine(r alignment.TuningResult) []string {
	line := []string{fmt.Sprintf("%g", r.Lambda), fmt.Sprint(r.Seed), ""}
	if n := len(r.Evaluations); r.Budget > 0 && n > 0 {
		line[0] += fmt.Sprintf(", in the end %.3g", r.Evaluations[n-1].Lambda)
	}
	if r.Budget > 0 {
		line[2] = fmt.Sprintf("%g", r.Budget)
	}
	if r.Result.Diverged {
		return append(line, "", "diverged")
	}
	line = append(line, comma(r.TuneNFE), pair(r.Reward.Float(), r.RewardSE.Float()), pair(r.HeldOut.Float(), r.HeldOutSE.Float()),
		pair(r.Diversity.Float(), math.NaN()), pair(r.Kernel.Float(), r.KernelSE.Float()))
	kl, target := "", ""
	if n := len(r.Evaluations); n > 0 {
		kl = pair(r.Evaluations[n-1].KL, r.Evaluations[n-1].KLSE)
	}
	if r.Budget == 0 && !r.TargetKL.IsZero() { // that of λ, which a budget reduces
		target = tilt{kl: r.TargetKL.Float(), effective: r.TargetEffective.Float()}.nats()
	}
	line = append(line, kl, target)
	for _, m := range monitors {
		text := ""
		if r.MonitorsBase != nil {
			text = fmt.Sprintf("%+.2f", m.of(r.Monitors)-m.of(*r.MonitorsBase))
		}
		line = append(line, text)
	}
	var along []string
	for _, e := range r.Sampled {
		if !e.Reward.IsZero() {
			along = append(along, short(e.Reward.Float()))
		}
	}
	text := ""
	if fall, known := largestFall(r); known {
		text = fmt.Sprintf("%.1f", fall)
	}
	return append(line, strings.Join(along, ", "), text)
}

// change is the change of a mean in units of the standard error of the difference. ok is false if
// it is undefined.
func change(before, beforeSE, after, afterSE metric.Optional) (units float64, ok bool) {
	units = (after.Float() - before.Float()) / math.Hypot(beforeSE.Float(), afterSE.Float())
	return units, !math.IsNaN(units) && !math.IsInf(units, 0)
}

// largestFall is the largest fall of the reward from an evaluation of a training to a later one, in
// units of the standard error of their difference, as if the pictures were independent. It is 0 if
// the reward only rises, and not known with fewer than two evaluations.
func largestFall(r alignment.TuningResult) (fall float64, known bool) {
	for i, later := range r.Sampled {
		for _, earlier := range r.Sampled[:i] {
			if by, ok := change(earlier.Reward, earlier.RewardSE, later.Reward, later.RewardSE); ok {
				fall, known = max(fall, -by), true
			}
		}
	}
	return fall, known
}

// tunedVerdict says of the trainings for a reward whether it rises, what becomes of the held-out
// one, and whether budgets are kept.
func tunedVerdict(all []alignment.TuningResult) string {
	var rise, risen, kept, held, within, budgets int // numbers of trainings, of those that are known
	lowest, diverged := math.Inf(1), 0
	for _, r := range all {
		if r.Result.Diverged {
			diverged++
			continue
		}
		if fall, known := largestFall(r); known {
			if risen++; fall <= 1 {
				rise++
			}
		}
		if by, ok := change(r.HeldOutBase, r.HeldOutBaseSE, r.HeldOut, r.HeldOutSE); ok {
			lowest = min(lowest, by)
			if held++; by >= -2 {
				kept++
			}
		}
		if n := len(r.Evaluations); r.Budget > 0 && n > 0 {
			budgets++
			if last := r.Evaluations[n-1]; last.KL <= r.Budget+2*last.KLSE {
				within++
			}
		}
	}
	var parts []string
	if risen > 0 {
		parts = append(parts, fmt.Sprintf("In %d of the %d trainings the reward falls nowhere by more than one standard error.", rise,
			risen))
	}
	if held > 0 {
		parts = append(parts, fmt.Sprintf("The held-out reward is at most two standard errors below that of the untuned drift after "+
			"%d of %d trainings; its lowest change is %+.1f standard errors.", kept, held, lowest))
	}
	if budgets > 0 {
		parts = append(parts, fmt.Sprintf("At the end the divergence is within its budget, up to two standard errors, in %d of %d.",
			within, budgets))
	}
	if diverged > 0 {
		parts = append(parts, fmt.Sprintf("%d of all %d trainings diverged.", diverged, len(all)))
	}
	return strings.Join(parts, " ")
}
