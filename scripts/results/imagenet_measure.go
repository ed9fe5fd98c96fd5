package main

import (
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
	if f, bound := t.factor(g); reward < t.mostReward() || min(f.Low, bound) <= wantedFactor {
		lacks = append(lacks, "the factor")
	}
	heldOut, se := g.heldOut()
	base, baseSE := g.pooled(func(r steered) (mean, se metric.Optional) { return r.HeldOutBase, r.HeldOutBaseSE })
	baseSE *= math.Sqrt(float64(len(g.results))) // all seeds share these pictures
	if !(heldOut >= base-2*math.Hypot(se, baseSE)) {
		lacks = append(lacks, fmt.Sprintf("the held-out reward (%s, before %s)", pair(heldOut, se), pair(base, baseSE)))
	}
	if v, _ := g.mean(func(r steered) metric.Optional { return r.Diversity }); !(v >= wantedDiversity) {
		lacks = append(lacks, fmt.Sprintf("the diversity (%.2f)", v))
	}
	return lacks
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
		return text + fmt.Sprintf("%s. With the largest reward, %s lacks %s.", outcome(false), said(g), enumerate(t.missed(g)))
	}
	g := best(whole)
	diversity, _ := g.mean(func(r steered) metric.Optional { return r.Diversity })
	text += fmt.Sprintf("%s by %s, with the reward %s, a held-out reward of %s, and a diversity of %.2f.",
		outcome(true), said(g), pair(g.reward()), pair(g.heldOut()), diversity)
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

// tunedLacks names what a training lacks: a reward that falls nowhere, a held-out reward that is
// not below that of the untuned drift, and a divergence within its budget, all within two standard
// errors. A number that is not known is lacking.
func tunedLacks(r alignment.TuningResult) (lacks []string) {
	if r.Result.Diverged {
		return []string{"all, since it diverged"}
	}
	if fall, known := largestFall(r); !known || fall > 2 {
		lacks = append(lacks, fmt.Sprintf("the rise (a fall of %.1f standard errors)", fall))
	}
	if by, known := change(r.HeldOutBase, r.HeldOutBaseSE, r.HeldOut, r.HeldOutSE); !known || by < -2 {
		lacks = append(lacks, fmt.Sprintf("the held-out reward (%+.1f standard errors)", by))
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

// tunedMeasure says which trainings have what was wanted; empty without trainings.
func tunedMeasure(all []alignment.TuningResult) string {
	var whole, not []string
	for _, r := range all {
		name := fmt.Sprintf("λ = %g", r.Lambda)
		if r.Budget > 0 {
			name += fmt.Sprintf(" with a budget of %g", r.Budget)
		}
		if r.Seed > 0 {
			name += fmt.Sprintf(", seed %d", r.Seed)
		}
		if lacks := tunedLacks(r); lacks != nil {
			not = append(not, name+" lacks "+enumerate(lacks))
		} else {
			whole = append(whole, name)
		}
	}
	if whole == nil && not == nil {
		return ""
	}
	text := "Wanted: a reward that falls nowhere, a held-out reward not below that of the untuned drift, and KL within its budget, " +
		"if there is one, all within two standard errors: " + outcome(whole != nil)
	if whole != nil {
		text += " by " + enumerate(whole)
	}
	if not != nil {
		text += "; " + strings.Join(not, "; ")
	}
	return text + "."
}
