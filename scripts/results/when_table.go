package main

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/gomfm/gomfm/mfm/metric"
)

// whenMixture and whenDigits are the tables of all targets of a test, or a line that says that
// there are none.
func (s *store) whenMixture() string {
	excess := measure{"excess sliced W₂", steered.excess}
	return s.whenTables("mixture", []measure{excess}, func(tilt) []measure {
		return []measure{excess, {"MMD² · 1000", func(r steered) metric.Optional { return metric.Some(1000 * r.MMD.Float()) }}}
	})
}

func (s *store) whenDigits() string {
	classes := measure{"L2 of the classes", func(r steered) metric.Optional { return r.L2 }}
	distance := measure{"Fréchet distance", frechet}
	return s.whenTables("digits", []measure{distance, classes}, func(t tilt) []measure {
		all := []measure{
			distance, classes,
			{"diversity", func(r steered) metric.Optional { return r.Diversity }},
			{"confident", func(r steered) metric.Optional { return r.Confident }},
		}
		if _, known := nearest(t.runs, frechet); !known { // else the table would be too wide
			all = append(all, measure{"from base", func(r steered) metric.Optional { return r.FromBase }})
		}
		return all
	})
}

// exactDistance says which Fréchet distance digits of the target itself would have; empty if that
// is not known. It depends on their number, which is that of most runs.
func (t tilt) exactDistance() string {
	for _, g := range t.runs {
		floor := func(r steered) metric.Optional { return r.DistanceFloor }
		if v, _ := g.mean(floor); isSteered(g.method) && !math.IsNaN(v) {
			return fmt.Sprintf(" The Fréchet distance of %s digits of the target itself is %s (%s).", comma(float64(g.results[0].Samples)),
				pair(g.mean(floor)), seeds(g))
		}
	}
	return ""
}

// nearestDigits says how near samples of steered runs come to a training digit; empty without
// results.
func (s *store) nearestDigits() string {
	low, high, unsteered := math.Inf(1), math.Inf(-1), math.NaN()
	for _, t := range s.tilts("digits") {
		if !t.unsteered.Nearest.IsZero() && t.unsteered.Class == nil {
			unsteered = t.unsteered.Nearest.Float()
		}
		for _, g := range t.runs {
			if d, _ := g.mean(func(r steered) metric.Optional { return r.Nearest }); isSteered(g.method) && !math.IsNaN(d) {
				low, high = min(low, d), max(high, d)
			}
		}
	}
	if low > high || math.IsNaN(unsteered) {
		return ""
	}
	heldOut := mean("nearest_held_out", s.rows("mnist_posterior.json:generation", "steps=1"))
	return fmt.Sprintf("The median distance of steered samples to the nearest training digit, root mean square per pixel, is %.3f to "+
		"%.3f over the runs, in which classes differ; that of unsteered samples is %.3f, and that of held-out digits of all classes %.3f.",
		low, high, unsteered, heldOut)
}

// poolSpread says how far the reward of Best-of-N with the most candidates from the pool of a
// target of the mixture is from that of runs of their own; empty without such runs.
func (s *store) poolSpread() string {
	most, text := 0.0, ""
	for _, t := range s.tilts("mixture") {
		for _, g := range t.of("best-of-n", mostCandidates) {
			pool := t.mostReward()
			mean, _ := g.reward()
			if off := math.Abs(mean - pool); off > most {
				most = off
				text = fmt.Sprintf("The reward of Best-of-%s by the pool of %s samples differs from that of runs of their own by at most "+
					"%.1f, at %s: %.2f and %.2f (%s). So few groups of candidates have an error of their own.", comma(mostCandidates),
					comma(float64(len(t.pool))), off, t.name, pool, mean, seeds(g))
			}
		}
	}
	return text
}

// frechet is the squared Fréchet distance of digits to their target.
func frechet(r steered) metric.Optional { return r.Distance }

// measure is a number of runs, which is their mean over the seeds.
type measure struct {
	name string
	of   func(r steered) metric.Optional
}

// whenTables has two tables for each target, with a line for each method, number of samples and
// number of steps: by its renormalization of the largest reward, with more measures, and by that of
// the smallest of the distances, of which the first decides.
func (s *store) whenTables(test string, distances []measure, more func(t tilt) []measure) string {
	var parts []string
	for _, t := range s.tilts(test) {
		of := "estimated"
		if t.exact {
			of = "a closed form"
		}
		from := "samples before steering"
		if test == "digits" {
			from = "training digits"
			if strings.Contains(t.name, "given the class") {
				from += " of the class"
			}
		}
		text := fmt.Sprintf("**%s**: the target is %s (%s) from the %s.", strings.ReplaceAll(t.name, "|", `\|`), t.nats(2), of, from)
		if t.hasSteered() {
			least := ""
			if t.bound {
				least = "at least "
			}
			text += fmt.Sprintf(" At an equal divergence the expected factor of MFM-G is %s%s with N = 1, and %[1]s%[3]s with N = 4.",
				least, ceiling(t.kl, 1), ceiling(t.kl, 4))
		}
		text += t.exactDistance()
		parts = append(parts, text, t.rewardTable(more(t)))
		if near := t.distanceTable(distances); near != "" {
			parts = append(parts, "By their mean distance, the nearest first:", near)
		}
		if text := t.verdict(distances[0].name, distances[0].of); text != "" {
			parts = append(parts, text)
		}
	}
	if parts == nil {
		return fmt.Sprintf("There are no results of the %s in [%s](%[2]s).", test, whenFile)
	}
	return strings.Join(parts, "\n\n")
}

// choices groups the runs by method, variant, number of samples and number of steps. A group has
// the runs of all renormalizations.
func (t tilt) choices() (all [][]runs) {
	type key struct {
		method, variant string
		n, steps        int
	}
	index := map[key]int{}
	for _, g := range t.runs {
		k := key{g.method, g.variant, g.n, g.steps}
		i, found := index[k]
		if !found {
			i, index[k] = len(all), len(all)
			all = append(all, nil)
		}
		all[i] = append(all[i], g)
	}
	return all
}

// finite returns the runs of which not all seeds diverged.
func finite(all []runs) []runs {
	return slices.DeleteFunc(slices.Clone(all), func(g runs) bool { return len(g.results) == 0 })
}

// choice is the renormalization of runs, one of several that a method has, and how many diverged.
func (g runs) choice(several bool) string {
	text := g.renormalization
	if text == "none" && !several {
		text = ""
	}
	if g.diverged > 0 {
		text += fmt.Sprintf(" (%d of %d diverged)", g.diverged, g.diverged+len(g.results))
	}
	return text
}

// rewardTable has the runs of each method with the largest reward.
func (t tilt) rewardTable(more []measure) string {
	header := "method | N | NFE | best by reward | reward | 5, 50, 95 % | factor by reward"
	for _, m := range more {
		header += " | " + m.name
	}
	var lines [][]string
	for _, group := range t.choices() {
		all := finite(group)
		if len(all) == 0 {
			lines = append(lines, []string{group[0].name(), fmt.Sprint(group[0].n), "", "all runs diverged"})
			continue
		}
		g := best(all)
		line := []string{g.name(), fmt.Sprint(g.n), comma(g.nfe()), g.choice(len(all) > 1), pair(g.reward()), quantiles(g), ""}
		if isSteered(g.method) || g.method == "best-of-n-one-step" {
			line[6] = factorText(t.factor(g))
		}
		for _, m := range more {
			line = append(line, pair(g.mean(m.of)))
		}
		micros, _ := g.mean(func(r steered) metric.Optional { return metric.Some(r.MicrosPerNFE) })
		lines = append(lines, append(line, short(micros)))
	}
	return filledTable(header+" | µs/NFE", lines)
}

// distanceTable has the runs of each method with the smallest of the first distance, in its order;
// empty if none has it.
func (t tilt) distanceTable(distances []measure) string {
	distance := distances[0].of
	var ranked []runs
	several := map[string]bool{}
	for _, group := range t.choices() {
		all := finite(group)
		if g, any := nearest(all, distance); any {
			ranked = append(ranked, g)
			several[g.method] = several[g.method] || len(all) > 1
		}
	}
	slices.SortStableFunc(ranked, func(a, b runs) int {
		x, _ := a.mean(distance)
		y, _ := b.mean(distance)
		return cmp.Compare(x, y)
	})
	var lines [][]string
	for _, g := range ranked {
		line := []string{g.name(), fmt.Sprint(g.n), comma(g.nfe()), g.choice(several[g.method])}
		for _, d := range distances {
			line = append(line, pair(g.mean(d.of)))
		}
		lines = append(lines, append(line, t.byDistance(g, distance), pair(g.reward())))
	}
	if lines == nil {
		return ""
	}
	header := "method | N | NFE | best by distance"
	for _, d := range distances {
		header += " | " + d.name
	}
	return filledTable(header+" | factor by distance | reward", lines)
}

// quantiles formats three of the mean quantiles of the reward.
func quantiles(g runs) string {
	var parts []string
	for _, i := range []int{0, 2, 4} {
		v, _ := g.mean(func(r steered) metric.Optional {
			if len(r.RewardQuantiles) < 5 {
				return metric.Optional{}
			}
			return metric.Some(r.RewardQuantiles[i])
		})
		if math.IsNaN(v) {
			return ""
		}
		parts = append(parts, short(v))
	}
	return strings.Join(parts, ", ")
}

// bestOf returns the runs of Best-of-N, also from one-step samples, and unsteered ones, by their
// cost.
func (t tilt) bestOf() (found []runs) {
	for _, g := range t.runs {
		if (strings.HasPrefix(g.method, "best-of-n") || g.method == "unsteered") && len(g.results) > 0 {
			found = append(found, g)
		}
	}
	slices.SortStableFunc(found, func(a, b runs) int { return int(a.nfe() - b.nfe()) })
	return found
}

// byDistance formats how many times the evaluations of the runs the cheapest Best-of-N needs that
// is as near to the target, or that none is.
func (t tilt) byDistance(g runs, distance func(r steered) metric.Optional) string {
	if strings.HasPrefix(g.method, "best-of-n") || g.method == "unsteered" {
		return ""
	}
	d, _ := g.mean(distance)
	for _, candidate := range t.bestOf() {
		if c, _ := candidate.mean(distance); c <= d {
			return short(candidate.nfe() / g.nfe())
		}
	}
	return "not reached"
}

// proportion says where the reward of the runs g is beside that of the target, and their distance
// beside that of unsteered samples; empty without both. It decides nothing without standard errors.
func (t tilt) proportion(g runs, name string, distance func(r steered) metric.Optional) string {
	var text string
	if target, _ := g.mean(func(r steered) metric.Optional { return r.RewardTarget }); !math.IsNaN(target) {
		where := "beyond"
		if reward, _ := g.reward(); reward < target {
			where = "below"
		}
		text = fmt.Sprintf(" These samples are %s the target's mean reward, %s", where, short(target))
	}
	d, se := g.mean(distance)
	u, other := t.ofUnsteered(distance)
	if math.IsNaN(d) || math.IsNaN(u) {
		if text != "" {
			text += "."
		}
		return text
	}
	by := math.Hypot(se, other)
	if math.IsNaN(by) || text == "" {
		if text != "" {
			text += "."
		}
		return text + fmt.Sprintf(" Their %s is %s, that of unsteered samples %s.", name, pair(d, se), pair(u, other))
	}
	where := "about as far from the target as unsteered samples"
	switch {
	case d-u > 2*by:
		where = "farther from the target than unsteered samples"
	case u-d > 2*by:
		where = "nearer to the target than unsteered samples"
	}
	return text + fmt.Sprintf(", and %s (%s %s, against %s).", where, name, short(d), short(u))
}

// verdict says what MFM-G has of both criteria, beside Best-of-N; empty without runs of one sample.
func (t tilt) verdict(name string, distance func(r steered) metric.Optional) string {
	one := t.of("mfm-g", 1)
	if len(one) == 0 {
		return ""
	}
	g := best(one)
	text := fmt.Sprintf("By reward: MFM-G with N = 1 (%s) has %s for %s evaluations. Best-of-N needs %s times as many%s.",
		g.renormalization, pair(g.reward()), comma(g.nfe()), factorText(t.factor(g)), t.oneStep(g)) + t.proportion(g, name, distance)
	if near, any := t.nearestWithReward(g, distance); any {
		d, se := near.mean(distance)
		text += fmt.Sprintf(" Of the runs of as many evaluations with at least the reward of the target, or of Best-of-%s, %s is "+
			"nearest: reward %s, %s %s.", comma(float64(min(mostCandidates, len(t.pool)))), near.renormalization, pair(near.reward()),
			name, pair(d, se))
	}
	var all []runs
	for _, g := range t.runs {
		if g.method == "mfm-g" {
			all = append(all, g)
		}
	}
	ours, any := nearest(all, distance)
	theirs, _ := nearest(t.bestOf(), distance)
	if !any || theirs.results == nil {
		return text
	}
	our, se := ours.mean(distance)
	their, other := theirs.mean(distance)
	text += fmt.Sprintf(" By distance %s: MFM-G has %s at best (N = %d, %s, %s evaluations), %s %s (N = %d, %s evaluations).",
		decision(our, se, their, other, ours.nfe()/theirs.nfe()), pair(our, se), ours.n, ours.renormalization, comma(ours.nfe()),
		theirs.name(), pair(their, other), theirs.n, comma(theirs.nfe()))
	if g, any := nearest(t.inexact(), distance); any && g.method != "mfm-g" && !strings.HasPrefix(g.method, "best-of-n") {
		text += fmt.Sprintf(" The least of all is that of %s, N = %d: %s for %s evaluations.", g.name(), g.n,
			pair(g.mean(distance)), comma(g.nfe()))
	}
	return text
}

// decision says which of MFM-G and Best-of-N is nearer, by their distances and standard errors, and
// how many times the evaluations of Best-of-N MFM-G takes.
func decision(our, se, their, other, times float64) string {
	switch by := 2 * math.Hypot(se, other); {
	case math.IsNaN(by) && our < their:
		return "a single seed does not decide, MFM-G has the smaller one"
	case math.IsNaN(by):
		return "a single seed does not decide, Best-of-N has the smaller one"
	case our-their > by:
		return "Best-of-N is nearer"
	case their-our > by:
		return "MFM-G is nearer"
	}
	return fmt.Sprintf("the difference is not resolved, at %s times the evaluations of Best-of-N", short(times))
}

// unsteeredTargets names the targets of a test that no run is steered to; empty if there are none.
func (s *store) unsteeredTargets(test string) string {
	var names []string
	for _, group := range groupBy(filter(s.rows(whenFile), "test="+test), "reward_name") {
		if !slices.ContainsFunc(group, func(r row) bool { return isSteered(r.Text("method")) }) {
			names = append(names, strings.ReplaceAll(group[0].Text("reward_name"), "|", `\|`))
		}
	}
	return strings.Join(names, "; ")
}
