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

// wantedFactor and wantedDiversity are the bounds that the experiment on pictures wants.
const (
	wantedFactor    = 100.0
	wantedDiversity = 0.8
)

// missed names what the runs of pictures lack: the reward of Best-of-N with the most candidates for
// a hundredth of its evaluations, the held-out reward of the unsteered pictures within two standard
// errors, and the diversity.
func (t tilt) missed(g runs) (lacks []string) {
	reward, _ := g.reward()
	if f, bound := t.factor(g); reward < t.mostReward() || !(min(f.Low, bound) > wantedFactor) {
		lacks = append(lacks, "the factor")
	}
	if by, _ := g.heldOutChange(); !(by >= -2) {
		lacks = append(lacks, "the held-out reward"+g.heldOutText())
	}
	if v, _ := g.mean(func(r steered) metric.Optional { return r.Diversity }); !(v >= wantedDiversity) {
		lacks = append(lacks, fmt.Sprintf("the diversity (%.2f)", v))
	}
	return lacks
}

// heldOutChange returns the change of the held-out reward from that of the unsteered pictures in
// units of its standard error, and the latter reward with its error. All seeds share these
// pictures.
func (g runs) heldOutChange() (units float64, base [2]float64) {
	mean, se := g.heldOut()
	base[0], base[1] = g.pooled(func(r steered) (mean, se metric.Optional) { return r.HeldOutBase, r.HeldOutBaseSE })
	base[1] *= math.Sqrt(float64(len(g.results)))
	return (mean - base[0]) / math.Hypot(se, base[1]), base
}

// heldOutText formats the held-out reward beside that of the unsteered pictures.
func (g runs) heldOutText() string {
	by, base := g.heldOutChange()
	text := fmt.Sprintf(" (%s, before %s", pair(g.heldOut()), pair(base[0], base[1]))
	if !math.IsNaN(by) {
		text += fmt.Sprintf(", %+.1f standard errors", by)
	}
	return text + ")"
}

// pictureMeasure says whether MFM-G with one or two samples has what was wanted, and with which
// renormalization; empty without runs.
func (t tilt) pictureMeasure() string {
	all := slices.Concat(finite(t.of("mfm-g", 1)), finite(t.of("mfm-g", 2)))
	if len(all) == 0 {
		return ""
	}
	said := func(g runs) string {
		return fmt.Sprintf("%s with N = %d (%s evaluations, %s)", g.renormalization, g.n, comma(g.nfe()), seeds(g))
	}
	whole := slices.DeleteFunc(slices.Clone(all), func(g runs) bool { return t.missed(g) != nil })
	text := fmt.Sprintf("Wanted of MFM-G with one or two samples: a factor whose interval is above %g for at least the reward of "+
		"Best-of-%s, %s; the held-out reward of the unsteered pictures within two standard errors; and a diversity of at least %g: ",
		wantedFactor, comma(float64(min(mostCandidates, len(t.pool)))), short(t.mostReward()), wantedDiversity)
	if len(whole) == 0 {
		g := best(all)
		text += fmt.Sprintf("%s. With the largest reward, %s lacks %s.", outcome(false), said(g), enumerate(t.missed(g)))
		for _, g := range t.runs { // a rival that does better
			if isSteered(g.method) && g.method != "mfm-g" && len(g.results) > 0 && t.missed(g) == nil {
				text += fmt.Sprintf(" %s, %s has all of it, with the reward %s.", g.name(), said(g), pair(g.reward()))
			}
		}
		return text
	}
	g := best(whole)
	diversity, _ := g.mean(func(r steered) metric.Optional { return r.Diversity })
	text += fmt.Sprintf("%s by %s, with the reward %s, the held-out reward%s, a diversity of %.2f, and a kernel distance of %s.",
		outcome(true), said(g), pair(g.reward()), g.heldOutText(), diversity, pair(g.mean(steered.kernel)))
	var not []string
	for _, g := range all {
		if lacks := t.missed(g); lacks != nil {
			not = append(not, fmt.Sprintf("%s lacks %s", said(g), enumerate(lacks)))
		}
	}
	if not != nil {
		text += " Of the other settings, " + strings.Join(not, "; ") + "."
	}
	return text
}

// pictureSummary counts the rewards for which MFM-G has what was wanted, of those that it is
// steered to; empty without any.
func (s *store) pictureSummary() string {
	reached, all := 0, 0
	for _, t := range s.pictureTilts() {
		ours := slices.Concat(finite(t.of("mfm-g", 1)), finite(t.of("mfm-g", 2)))
		if len(ours) == 0 {
			continue
		}
		all++
		if slices.ContainsFunc(ours, func(g runs) bool { return t.missed(g) == nil }) {
			reached++
		}
	}
	if all == 0 {
		return ""
	}
	return fmt.Sprintf("Wanted for three rewards at least, by a setting that is chosen from the runs shown: %d of %d, %s.", reached, all,
		outcome(reached >= 3))
}

// secondTable has rewards of a classifier beside those by a second one; empty without results.
func (s *store) secondTable() string {
	const file = "imagenet_second.json"
	if !s.exists(file) {
		return ""
	}
	var lines [][]string
	for _, r := range decode[alignment.Result](s.rows(file)) {
		lines = append(lines, []string{
			strings.ReplaceAll(r.RewardName, "|", `\|`), cmp.Or(methodNames[r.Method], r.Method),
			fmt.Sprintf("%s %g", r.Config.Renormalization, r.Config.Ratio), fmt.Sprint(r.N), comma(r.NFE),
			pair(r.RewardBase.Float(), r.RewardBaseSE.Float()), pair(r.Reward.Float(), r.RewardSE.Float()),
			pair(r.HeldOutBase.Float(), r.HeldOutBaseSE.Float()), pair(r.HeldOut.Float(), r.HeldOutSE.Float()),
			fmt.Sprintf("%.2f", (r.HeldOut.Float()-r.HeldOutBase.Float())/(r.Reward.Float()-r.RewardBase.Float())),
		})
	}
	return table("reward | method | steering | N | NFE | unsteered, Lite0 | steered, Lite0 | unsteered, Lite2 | steered, Lite2 | "+
		"gain of Lite2 over that of Lite0", lines)
}

// tunedLacks names what a training lacks: a reward that rises and falls nowhere, a held-out reward
// that is not below that of the untuned drift, and a divergence within its budget, all within two
// standard errors. A number that is not known is lacking.
func tunedLacks(r alignment.TuningResult) (lacks []string) {
	if r.Result.Diverged {
		return []string{"all, since it diverged"}
	}
	lack := func(what, format string, by float64, known bool) {
		text := "not known"
		if known {
			text = fmt.Sprintf(format+" standard errors", by)
		}
		lacks = append(lacks, fmt.Sprintf("%s (%s)", what, text))
	}
	if by, known := change(r.RewardBase, r.RewardBaseSE, r.Reward, r.RewardSE); !known || by < 2 {
		lack("the rise", "%+.1f", by, known)
	}
	if fall, known := largestFall(r); !known || fall > 2 {
		lack("the steady rise", "a fall of %.1f", fall, known)
	}
	if by, known := change(r.HeldOutBase, r.HeldOutBaseSE, r.HeldOut, r.HeldOutSE); !known || by < -2 {
		lack("the held-out reward", "%+.1f", by, known)
	}
	over := 0.0
	for _, e := range r.Evaluations {
		if r.Budget > 0 && e.KL-2*e.KLSE > r.Budget {
			over = max(over, e.KL)
		}
	}
	if over > 0 {
		lacks = append(lacks, fmt.Sprintf("the budget (KL up to %.1f)", over))
	}
	return lacks
}

// tunedMeasure says which trainings have what was wanted, those with a budget and those without;
// empty without trainings.
func tunedMeasure(all []alignment.TuningResult) string {
	var whole, free, not []string
	for _, r := range all {
		name := fmt.Sprintf("λ = %g", r.Lambda)
		if r.Budget > 0 {
			name += fmt.Sprintf(" with a budget of %g nats", r.Budget)
		}
		if r.Seed > 0 {
			name += fmt.Sprintf(", seed %d", r.Seed)
		}
		lacks := tunedLacks(r)
		switch {
		case lacks != nil:
			not = append(not, name+" lacks "+enumerate(lacks))
		case r.Budget > 0:
			whole = append(whole, name)
		default:
			free = append(free, name)
		}
	}
	if len(all) == 0 {
		return ""
	}
	text := "Wanted: a reward that rises and falls nowhere, a held-out reward not below that of the untuned drift, and KL within a " +
		"budget, all within two standard errors of independent pictures: " + outcome(whole != nil)
	if whole != nil {
		text += " by " + enumerate(whole)
	}
	if free != nil {
		text += "; without a budget, the rest is reached by " + enumerate(free)
	}
	if not != nil {
		text += "; " + strings.Join(not, "; ")
	}
	return text + "."
}
