package main

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/gomfm/gomfm/mfm/experiment/mixture"
	"github.com/gomfm/gomfm/mfm/metric"
)

// inexact are the runs without those by the exact value.
func (t tilt) inexact() []runs {
	return slices.DeleteFunc(slices.Clone(t.runs), func(g runs) bool { return g.method == "exact" })
}

// nearestWithReward returns the runs of MFM-G with one sample and as many steps as g that are
// nearest to the target, of those whose reward is at least the target's, or at least that of
// Best-of-N with the most candidates. It returns false without any, and if those are the runs g.
func (t tilt) nearestWithReward(g runs, distance func(r steered) metric.Optional) (runs, bool) {
	bar := t.mostReward()
	if target, known := t.targetReward(g); known {
		bar = min(bar, target)
	}
	enough := slices.DeleteFunc(t.of("mfm-g", 1), func(other runs) bool {
		reward, _ := other.reward()
		return reward < bar || other.steps != g.steps
	})
	near, any := nearest(enough, distance)
	return near, any && near.renormalization != g.renormalization
}

// nearestOf returns the runs of a method that are nearest to a target of the mixture, and their
// distance, +Inf without runs.
func (t tilt) nearestOf(method string) (runs, float64) {
	var all []runs
	for _, g := range t.runs {
		if g.method == method {
			all = append(all, g)
		}
	}
	g, any := nearest(all, steered.excess)
	if !any {
		return g, math.Inf(1)
	}
	d, _ := g.mean(steered.excess)
	return g, d
}

// cheapOf returns, of the runs of a method that are within two standard errors of its nearest runs,
// the cheapest. There must be some.
func (t tilt) cheapOf(method string) runs {
	least, _ := t.nearestOf(method)
	cheap := least
	for _, g := range t.runs {
		if g.method == method && len(g.results) > 0 && g.nfe() < cheap.nfe() && differs(g, least, steered.excess) == 0 {
			cheap = g
		}
	}
	return cheap
}

// whichMethod is a short answer for those who choose a method, by the results on the mixture; empty
// without them.
func (s *store) whichMethod() string {
	const oneStep, twist = "best-of-n-one-step", "smc-mfm-gf"
	var near, far []tilt // where Best-of-N from one-step samples is nearer to the target than SMC, and where not
	for _, t := range s.tilts("mixture") {
		_, a := t.nearestOf(oneStep)
		_, b := t.nearestOf(twist)
		switch {
		case math.IsInf(a, 1) || math.IsInf(b, 1):
		case a <= b:
			near = append(near, t)
		default:
			far = append(far, t)
		}
	}
	if near == nil || far == nil || near[len(near)-1].kl > far[0].kl {
		return ""
	}
	said := func(g runs) string {
		return fmt.Sprintf("%s (N = %d, %s evaluations)", pair(g.mean(steered.excess)), g.n, comma(g.nfe()))
	}
	most, last := near[len(near)-1], far[len(far)-1]
	a, b := most.cheapOf(oneStep), most.cheapOf(twist)
	lines := []string{
		"**Which method?** By the excess over the distance of exact samples, on the mixture, where one-step samples are good:\n",
		fmt.Sprintf("- Near the data, up to %.1f nats, Best-of-N from one-step samples comes near the target for the fewest "+
			"evaluations: at %[1]g nats %s. SMC with an MFM-GF twist has %s, and no less with more samples, within the errors.",
			math.Round(10*most.kl)/10, said(a), said(b)),
	}
	a, _ = last.nearestOf(oneStep)
	b, _ = last.nearestOf(twist)
	text := fmt.Sprintf("- Farther, at %.1f nats, SMC is nearer: %s, against %s", last.kl, said(b), said(a))
	if all := last.oneStepRuns(); all[len(all)-1].n == a.n {
		text += ", the largest N that was run"
	}
	lines = append(lines, text+"."+last.atEqualCost(a, b))
	if text := last.search(); text != "" {
		lines = append(lines, text)
	}
	if g, any := nearest(near[0].of("mfm-gf", 16), steered.excess); any {
		text := fmt.Sprintf("- MFM-GF, without particles or candidates, has %s at %.1f nats", said(g), near[0].kl)
		if g, any := nearest(last.of("mfm-gf", 16), steered.excess); any {
			text += fmt.Sprintf(", and %s at %.1f", pair(g.mean(steered.excess)), last.kl)
		}
		lines = append(lines, text+".")
	}
	var parts []string
	for _, method := range []string{"fmrg-e", "fmrg-j", "mfm-g", "dps"} {
		if all := last.of(method, 1); len(all) > 0 {
			g := best(all)
			reward, _ := g.reward()
			d, _ := g.mean(steered.excess)
			parts = append(parts, fmt.Sprintf("%s %s (excess %s, %s evaluations)", g.name(), short(reward), short(d), comma(g.nfe())))
		}
	}
	if parts != nil {
		u, _ := last.ofUnsteered(steered.excess)
		before, _ := last.ofUnsteered(func(r steered) metric.Optional { return r.Reward })
		text := fmt.Sprintf("- For the reward alone, far from the data, methods that follow a gradient are the cheapest. At %.1f nats "+
			"unsteered samples have the reward %s (excess %s), and these methods with one sample: %s. The price is the excess, where SMC "+
			"has %s.", last.kl, short(before), short(u), strings.Join(parts, "; "), pair(b.mean(steered.excess)))
		if one := last.of("mfm-g", 1); len(one) > 0 {
			if near, any := last.nearestWithReward(best(one), steered.excess); any {
				d, se := near.mean(steered.excess)
				text += fmt.Sprintf(" MFM-G with %s has the reward %s and an excess of %s for as many evaluations.", near.renormalization,
					pair(near.reward()), pair(d, se))
			}
		}
		lines = append(lines, text)
	}
	return strings.Join(lines, "\n")
}

// search says what the search with the smallest excess has, beside SMC; empty without runs.
func (t tilt) search() string {
	var all []runs
	for _, g := range t.runs {
		if strings.HasPrefix(g.method, "search-") {
			all = append(all, g)
		}
	}
	g, any := nearest(all, steered.excess)
	if !any {
		return ""
	}
	mmd := func(r steered) metric.Optional { return metric.Some(1000 * r.MMD.Float()) }
	least := ""
	if best, any := nearest(t.inexact(), steered.excess); any && best.method == g.method {
		least = ", the least of all methods here,"
	}
	text := fmt.Sprintf("- %s, N = %d, has an excess of %s%s at %.1f nats for %s evaluations (%s), and MMD² · 1000 of %s",
		strings.ToUpper(g.name()[:1])+g.name()[1:], g.n, pair(g.mean(steered.excess)), least, t.kl, comma(g.nfe()), seeds(g),
		pair(g.mean(mmd)))
	target, known := t.targetReward(g)
	reward, _ := g.reward()
	if known && reward > target {
		text += fmt.Sprintf(". It ascends the reward: its samples have %s in the mean, and those of the target %s", short(reward),
			short(target))
	}
	return text + ". It needs no gradient, and M is chosen from the runs shown."
}

// atEqualCost compares the runs of SMC, with the twist of the runs best, whose evaluations are
// nearest to those of Best-of-N; empty if these are best.
func (t tilt) atEqualCost(bestOf, best runs) string {
	var even runs
	off := math.Inf(1)
	for _, g := range t.runs {
		if d := math.Abs(math.Log(g.nfe() / bestOf.nfe())); g.method == best.method && len(g.results) > 0 && d < off {
			even, off = g, d
		}
	}
	if even.n == best.n && even.steps == best.steps {
		return ""
	}
	text := fmt.Sprintf(" With %s evaluations SMC has %s, ", comma(even.nfe()), pair(even.mean(steered.excess)))
	mmd := func(r steered) metric.Optional { return metric.Some(1000 * r.MMD.Float()) }
	switch by := differs(even, bestOf, steered.excess); {
	case by < 0:
		return text + "which is nearer, too."
	case by > 0:
		return text + "which is farther."
	case differs(even, bestOf, mmd) < 0:
		return text + fmt.Sprintf("which is not resolved; by MMD² · 1000 it is nearer: %s against %s.", pair(even.mean(mmd)),
			pair(bestOf.mean(mmd)))
	}
	return text + "which is not resolved."
}

// differs is -1 or 1 if a number of the runs a is smaller or larger than that of b by more than two
// standard errors, and else 0, also without errors.
func differs(a, b runs, of func(r steered) metric.Optional) int {
	x, xse := a.mean(of)
	y, yse := b.mean(of)
	switch by := 2 * math.Hypot(xse, yse); {
	case x-y > by:
		return 1
	case y-x > by:
		return -1
	}
	return 0
}

// excessSpan formats the range over targets of the mixture of the mean excess of a method's nearest
// runs, as in 1.2 to 3.4; empty without runs.
func (s *store) excessSpan(method string) string {
	low, high := math.Inf(1), math.Inf(-1)
	for _, t := range s.tilts("mixture") {
		if _, d := t.nearestOf(method); !math.IsInf(d, 1) {
			low, high = min(low, d), max(high, d)
		}
	}
	if low > high {
		return ""
	}
	return short(low) + " to " + short(high)
}

// mixtureSizes says how many seeds of how many samples the runs on the mixture have.
func (s *store) mixtureSizes() string {
	var sizes []string
	of := map[string][]string{} // methods by size
	count := map[string]int{}   // runs by size
	for _, t := range s.tilts("mixture") {
		for _, g := range t.runs {
			if len(g.results) == 0 {
				continue
			}
			size := fmt.Sprintf("%s of %s samples", seeds(g), comma(float64(g.results[0].Samples)))
			if of[size] == nil {
				sizes = append(sizes, size)
			}
			name := fmt.Sprintf("%s with N = %d", g.name(), g.n)
			if g.method == "dps" {
				name = fmt.Sprintf("%s in %d steps", g.name(), g.steps)
			}
			if count[size]++; !slices.Contains(of[size], name) {
				of[size] = append(of[size], name)
			}
		}
	}
	if sizes == nil {
		return ""
	}
	slices.SortStableFunc(sizes, func(a, b string) int { return count[b] - count[a] })
	text := "Runs have " + sizes[0]
	for _, size := range sizes[1:] {
		text += fmt.Sprintf("; %s: %s", size, enumerate(of[size]))
	}
	return text + "."
}

// diamondFarther says at how many targets of the mixture weighted Diamond is farther from the
// target than unsteered samples; empty without results.
func (s *store) diamondFarther() string {
	far, all := 0, 0
	for _, t := range s.tilts("mixture") {
		g, d := t.nearestOf("weighted-diamond")
		u, other := t.ofUnsteered(steered.excess)
		if math.IsInf(d, 1) || math.IsNaN(u) {
			continue
		}
		_, se := g.mean(steered.excess)
		if all++; d-u > 2*math.Hypot(se, other) {
			far++
		}
	}
	if all == 0 {
		return ""
	}
	return fmt.Sprintf("With these settings weighted Diamond is farther from the target than unsteered samples at %d of %d targets.",
		far, all)
}

// lambdas are those of the table of λ.
var lambdas = []float64{0.5, 1, 2}

// lambdaTable has the reward and the excess of methods on the mixture without renormalization by λ;
// empty without runs of another λ than 1.
func (s *store) lambdaTable() string {
	rows := filter(s.rows(whenFile), "test="+mixture.SteeringTest)
	at := make(map[string][]runs)    // by target and method, one for each λ
	for i, lambda := range lambdas { // in its order, so that a group lacks those that have no runs
		for _, t := range tiltsWith(rows, lambda) {
			for _, g := range t.runs {
				key := lambdaKey(t, g)
				if g.renormalization != "none" || len(g.results) == 0 || len(at[key]) != i {
					continue // no runs of a smaller λ
				}
				at[key] = append(at[key], g)
			}
		}
	}
	var lines [][]string
	for _, t := range tiltsOf(rows) {
		for _, g := range t.runs {
			all := at[lambdaKey(t, g)]
			if len(all) != len(lambdas) || g.renormalization != "none" {
				continue
			}
			var seeds []string
			for _, g := range all {
				seeds = append(seeds, fmt.Sprint(len(g.results)))
			}
			line := []string{t.name, g.name(), fmt.Sprint(g.n), strings.Join(seeds, ", ")}
			for _, g := range all {
				line = append(line, pair(g.reward()))
			}
			for _, g := range all {
				line = append(line, pair(g.mean(steered.excess)))
			}
			lines = append(lines, line)
		}
	}
	if lines == nil {
		return ""
	}
	header := "target | method | N | seeds"
	for _, name := range []string{"reward", "excess"} {
		for _, lambda := range lambdas {
			header += fmt.Sprintf(" | %s, λ = %g", name, lambda)
		}
	}
	return table(header, lines)
}

// lambdaKey names runs of a target but for their λ.
func lambdaKey(t tilt, g runs) string {
	return fmt.Sprintf("%s|%s|%d|%d", t.name, g.name(), g.n, g.steps)
}
