package main

import (
	"fmt"
	"math"
	"slices"
	"strings"

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
		return fmt.Sprintf("%s with N = %d (%s)", g.renormalization, g.n, seeds(g))
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
	text += fmt.Sprintf("%s by %s, with the reward %s for %s evaluations, a held-out reward of %s, and a diversity of %.2f.",
		outcome(true), said(g), pair(g.reward()), comma(g.nfe()), pair(g.heldOut()), diversity)
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
