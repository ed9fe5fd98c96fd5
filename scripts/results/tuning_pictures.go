package main

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/gomfm/gomfm/mfm/experiment/latent/alignment"
	"github.com/gomfm/gomfm/mfm/experiment/steering"
	"github.com/gomfm/gomfm/mfm/metric"
	"github.com/gomfm/gomfm/mfm/reward"
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
		header := "λ | seed | KL budget | largest reward | largest fall, in SE"
		for _, m := range monitors {
			header += " | " + m.name
		}
		var lines, along [][]string
		for _, r := range all {
			lines = append(lines, s.tunedLine(r))
			if !r.Result.Diverged {
				along = append(along, tunedAlong(r))
			}
		}
		parts = append(parts, text, table("λ | seed | KL budget | NFE of training | reward | held-out reward | diversity | kernel distance | "+
			"KL at the end, nats | KL of the target", lines),
			"Rewards along the same trainings, and monitors of their pictures:", table(header, along), tunedVerdict(all), tunedMeasure(all))
	}
	return strings.Join(parts, "\n\n")
}

// poolFactors are the factors of the rewards of steered pictures over those of fine-tuned ones, by
// their common name, as in figures/grids/imagenet_small.json.
var poolFactors = map[string]float64{"blue": 50, "symmetry": 5}

// poolTarget returns the target of λ times a reward with its divergence from the unsteered pictures
// of steering, of which there are more than of the untuned drift. It returns false without a pool
// of the reward, or if too few of its pictures have weight.
func (s *store) poolTarget(name string, lambda float64) (tilt, bool) {
	factor, known := poolFactors[name]
	if !known || !s.exists(imagenetFile) {
		return tilt{}, false
	}
	var pool []float64
	for _, r := range decode[steered](filter(s.rows(imagenetFile), "reward_name="+name, "pool=true")) {
		for _, v := range r.PoolRewards {
			if float64(v) >= reward.Least {
				pool = append(pool, float64(v)/factor)
			}
		}
	}
	if pool == nil {
		return tilt{}, false
	}
	weights, err := steering.TiltedWeights(pool, lambda, 0)
	if err != nil {
		return tilt{}, false
	}
	t := tilt{pool: pool}
	t.kl, t.effective = steering.Divergence(weights, len(weights))
	t.bound = t.effective < usableNumber
	return t, true
}

// poolPictures is the number of pictures of the smallest pool of a fine-tuned reward, 0 if none has
// one.
func (s *store) poolPictures() float64 {
	least := 0
	names, _ := s.tunedPictures()
	for _, name := range names {
		if t, found := s.poolTarget(name, 1); found && (least == 0 || len(t.pool) < least) {
			least = len(t.pool)
		}
	}
	return float64(least)
}

// enumerate joins texts, as in a, b and c.
func enumerate(texts []string) string {
	n := len(texts)
	if n < 2 {
		return strings.Join(texts, "")
	}
	return strings.Join(texts[:n-1], ", ") + " and " + texts[n-1]
}

// tunedSettings are the cells of λ, the seed and the budget of a training.
func tunedSettings(r alignment.TuningResult) []string {
	line := []string{fmt.Sprintf("%g", r.Lambda), fmt.Sprint(r.Seed), ""}
	if n := len(r.Evaluations); r.Budget > 0 && n > 0 && r.Evaluations[n-1].Lambda != r.Lambda {
		line[0] += fmt.Sprintf(", in the end %.3g", r.Evaluations[n-1].Lambda)
	}
	if r.Budget > 0 {
		line[2] = fmt.Sprintf("%g", r.Budget)
	}
	return line
}

// tunedLine is the line of a training.
func (s *store) tunedLine(r alignment.TuningResult) []string {
	line := tunedSettings(r)
	if r.Result.Diverged {
		return append(line, "", "diverged")
	}
	line = append(line, comma(r.TuneNFE), pair(r.Reward.Float(), r.RewardSE.Float()), pair(r.HeldOut.Float(), r.HeldOutSE.Float()),
		pair(r.Diversity.Float(), math.NaN()), pair(r.Kernel.Float(), r.KernelSE.Float()))
	kl, target := "", ""
	if n := len(r.Evaluations); n > 0 {
		kl = pair(r.Evaluations[n-1].KL, r.Evaluations[n-1].KLSE)
	}
	if r.Budget == 0 { // that of λ, which a budget reduces
		target = s.tunedTarget(r)
	}
	return append(line, kl, target)
}

// tunedTarget formats the divergence of the target of a training at λ; empty if it is not known.
func (s *store) tunedTarget(r alignment.TuningResult) string {
	if r.TargetKL.IsZero() {
		return ""
	}
	t := tilt{kl: r.TargetKL.Float(), bound: r.TargetEffective.Float() < usableNumber}
	if of, found := s.poolTarget(r.RewardName, r.Lambda); found {
		t = of
	}
	return t.nats(1)
}

// aboveTarget says in how many trainings without a budget the divergence is in the end larger than
// the estimate for the target by more than two standard errors; empty if none has an estimate.
func (s *store) aboveTarget() string {
	above, all, bounds, pooled := 0, 0, 0, true
	names, of := s.tunedPictures()
	for _, name := range names {
		for _, r := range of[name] {
			n := len(r.Evaluations)
			if r.Budget > 0 || n == 0 || r.Result.Diverged || r.TargetKL.IsZero() {
				continue
			}
			t := tilt{kl: r.TargetKL.Float(), bound: r.TargetEffective.Float() < usableNumber}
			if of, found := s.poolTarget(r.RewardName, r.Lambda); found {
				t = of
			} else {
				pooled = false
			}
			if t.bound {
				bounds++
				continue
			}
			if last := r.Evaluations[n-1]; last.KL-t.kl > 2*last.KLSE {
				above++
			}
			all++
		}
	}
	if all == 0 {
		return ""
	}
	text := fmt.Sprintf("Without a budget KL is in the end above the estimate for the target, by more than two standard errors, in "+
		"%d of %d trainings", above, all)
	if bounds > 0 {
		text += fmt.Sprintf("; %s have a lower bound of it alone", word(bounds))
	}
	if pooled {
		text += ". The estimate is of pictures without a class"
	}
	return text + "."
}

// tunedAlong is the line of the rewards along a training, and of the monitors at its end.
func tunedAlong(r alignment.TuningResult) []string {
	most, at := math.Inf(-1), ""
	for _, e := range r.Sampled {
		if v := e.Reward.Float(); !e.Reward.IsZero() && v > most {
			most, at = v, fmt.Sprintf("%s (step %d)", short(v), e.Step)
		}
	}
	text := ""
	if fall, known := largestFall(r); known {
		text = fmt.Sprintf("%.1f", fall)
	}
	line := append(tunedSettings(r), at, text)
	for _, m := range monitors {
		text := ""
		if r.MonitorsBase != nil {
			text = fmt.Sprintf("%+.2f", m.of(r.Monitors)-m.of(*r.MonitorsBase))
		}
		line = append(line, text)
	}
	return line
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

// narrowDiversity is the diversity below which the verdict names a training.
const narrowDiversity = 0.8

// tunedVerdict says of the trainings for a reward whether it rises, what becomes of the held-out
// one, and how budgets are kept.
func tunedVerdict(all []alignment.TuningResult) string {
	var rise, risen, kept, held int // numbers of trainings, of those that are known
	lowest, diverged := math.Inf(1), 0
	var narrow, budgets []string
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
				if d := r.Diversity.Float(); d < narrowDiversity {
					text := fmt.Sprintf("after λ = %g it changes by %+.1f standard errors, while the diversity is %.2f", r.Lambda, by, d)
					if !r.Kernel.IsZero() {
						text += fmt.Sprintf(" and the kernel distance %.2f", r.Kernel.Float())
					}
					narrow = append(narrow, text)
				}
			}
		}
		if n := len(r.Evaluations); r.Budget > 0 && n > 0 {
			over := 0
			for _, e := range r.Evaluations {
				if e.KL > r.Budget {
					over++
				}
			}
			last := r.Evaluations[n-1]
			text := fmt.Sprintf("With λ = %g and a budget of %g nats KL is above it at %d of %d evaluations, and %s in the end.",
				r.Lambda, r.Budget, over, n, pair(last.KL, last.KLSE))
			if over == 0 && last.Lambda == r.Lambda {
				text += " The budget is never used: the training is that of this λ without one."
			}
			budgets = append(budgets, text)
		}
	}
	var parts []string
	if risen > 0 {
		parts = append(parts, fmt.Sprintf("In %d of the %d trainings the reward falls nowhere by more than one standard error.", rise,
			risen))
	}
	if held > 0 {
		parts = append(parts, fmt.Sprintf("The held-out reward falls by more than two standard errors in %d of %d trainings; its "+
			"lowest change is %+.1f standard errors.", held-kept, held, lowest))
	}
	if narrow != nil {
		parts = append(parts, "Where it does not fall, that does not show that the pictures are good: "+strings.Join(narrow, "; ")+".")
	}
	parts = append(parts, budgets...)
	if diverged > 0 {
		parts = append(parts, fmt.Sprintf("%d of all %d trainings diverged.", diverged, len(all)))
	}
	return strings.Join(parts, " ")
}
