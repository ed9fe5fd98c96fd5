package main

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/gomfm/gomfm/mfm/experiment/mixture"
	"github.com/gomfm/gomfm/mfm/gmm"
	"github.com/gomfm/gomfm/mfm/metric"
)

// paperKL is the divergence of the paper's tilted mixture, in nats.
func paperKL() (float64, error) { return mixture.TargetKL(gmm.Paper(), mixture.PaperReward(), 1) }

// tiltOf returns the target of a test by its name, and whether the file has it.
func (s *store) tiltOf(test, name string) (tilt, bool) {
	for _, t := range s.tilts(test) {
		if t.name == name {
			return t, true
		}
	}
	return tilt{}, false
}

// whenKL formats the divergence of a target, empty if there are no results of it.
func (s *store) whenKL(test, name string) string {
	if t, found := s.tiltOf(test, name); found {
		return fmt.Sprintf("%.2f", t.kl)
	}
	return ""
}

// outcome says whether what was wanted is there.
func outcome(reached bool) string {
	if reached {
		return "**reached**"
	}
	return "**not reached**"
}

// measures are lines that say what was wanted of the experiment, and whether it is there.
func (s *store) measures() string {
	off := s.gaussianOff()
	lines := []string{fmt.Sprintf("- Gaussian: the measured factor within 20 %% of e^(κ+1)/(1 + 4N): at most %.0f %% off, %s. A "+
		"factor of 100 needs %.1f, %.1f and %.1f nats with N = 1, 2 and 4; measured, by interpolation: %.1f, %.1f and %.1f.",
		100*off, outcome(off <= 0.2), ceilingKL(100, 1), ceilingKL(100, 2), ceilingKL(100, 4),
		s.crossing(100, 1), s.crossing(100, 2), s.crossing(100, 4))}
	for _, name := range []string{"log p(5|x)", "25 blocks, σ = 0.2"} {
		text := "- Digits, " + strings.ReplaceAll(name, "|", `\|`) + ": "
		t, found := s.tiltOf("digits", name)
		one := t.of("mfm-g", 1)
		if !found || len(one) == 0 {
			lines = append(lines, text+"not measured.")
			continue
		}
		lines = append(lines, text+t.rewardMeasure(best(one), name == "log p(5|x)"))
	}
	text := "- Digits, class mixture: "
	t, found := s.tiltOf("digits", "class mixture")
	l2 := func(r steered) metric.Optional { return r.L2 }
	if g, any := nearest(t.of("mfm-g", 32), l2); found && any {
		mean, _ := g.mean(l2)
		text += fmt.Sprintf("MFM-G with N = 32 at an L2 of at most 0.08: %s (%s), %s.", pair(g.mean(l2)), g.renormalization,
			outcome(mean <= 0.08))
		if mean > 0.08 && g.renormalization != "none" {
			text += fmt.Sprintf(" Without renormalization it is %s ([digits](#digits-steering-by-a-classifier)): a bound of the steering "+
				"does not help where [few estimates carry the gradient](#why-mfm-g-needs-many-samples-on-digits).", s.digitsL2("method=mfm-g", "n=32"))
		}
	} else {
		text += s.plainClassMixture(t, l2)
	}
	return strings.Join(append(lines, text), "\n")
}

// plainClassMixture says what MFM-G with 32 samples reaches on the class mixture without
// renormalization, and how far renormalization changes the L2 with fewer samples.
func (s *store) plainClassMixture(t tilt, l2 func(r steered) metric.Optional) string {
	rows := s.rows("mnist_steering.json", "method=mfm-g", "n=32", "dynamics=ode")
	text := fmt.Sprintf("MFM-G with N = 32 at an L2 of at most 0.08: %s without renormalization "+
		"([digits](#digits-steering-by-a-classifier)), %s.", s.digitsL2("method=mfm-g", "n=32"), outcome(mean("l2", rows) <= 0.08))
	var parts []string
	for _, n := range []int{1, 4} {
		for _, g := range t.of("mfm-g", n) {
			parts = append(parts, fmt.Sprintf("%s by %s (N = %d)", pair(g.mean(l2)), g.renormalization, n))
		}
	}
	if parts != nil {
		text += " Renormalization is not measured with N = 32; with fewer samples the L2 is " + enumerate(parts) + "."
	}
	return text
}

// rewardMeasure says whether runs have the reward of Best-of-1000 for a hundredth of its
// evaluations, and, of a class, its samples.
func (t tilt) rewardMeasure(g runs, fives bool) string {
	reward, _ := g.reward()
	n, rival := min(mostCandidates, len(t.pool)), t.mostReward()
	f, bound := t.factor(g)
	reached := reward >= rival && f.Low > 100
	if math.IsInf(f.Low, 1) {
		reached = reward >= rival && bound > 100
	}
	target, _ := g.mean(func(r steered) metric.Optional { return r.RewardTarget })
	text := fmt.Sprintf("MFM-G with N = 1 (%s) has %s for %s evaluations, Best-of-%s %s for %s. Best-of-N needs %s times as many",
		g.renormalization, pair(g.reward()), comma(g.nfe()), comma(float64(n)), short(rival), comma(float64(n)*t.each),
		factorText(f, bound))
	if !math.IsNaN(target) {
		c, cost := t.candidates(target, 0), t.each/g.nfe()
		of := metric.Candidates{N: c.N * cost, Low: math.NaN()}
		text += fmt.Sprintf(". That is beyond the mean reward of the target itself, %s, for which Best-of-N needs %s times as many",
			short(target), factorText(of, bound))
		if reward < target {
			text = strings.Replace(text, "beyond", "below", 1)
		}
	}
	wanted := "at least this reward, and a factor whose interval is above 100"
	if fives {
		diversity, _ := g.mean(func(r steered) metric.Optional { return r.Diversity })
		share, _ := g.mean(func(r steered) metric.Optional {
			if len(r.Second) < 6 {
				return metric.Optional{}
			}
			return metric.Some(r.Second[5])
		})
		reached = reached && diversity >= 0.85 && share >= 0.95
		text += fmt.Sprintf("; the standard deviation is %.2f of that of the training fives, and the second classifier finds "+
			"%.1f %% fives", diversity, 100*share)
		wanted += ", 0.85 of the standard deviation, and 95 % fives"
	}
	beside := t.blocksBeside(g)
	if fives {
		beside = t.classBeside(g, rival)
	}
	return fmt.Sprintf("%s. Wanted: %s: %s.%s", text, wanted, outcome(reached), beside)
}

// mostReward is the mean reward of Best-of-N with the most candidates.
func (t tilt) mostReward() float64 {
	v, err := metric.ExpectedMax(t.pool, min(mostCandidates, len(t.pool)))
	if err != nil {
		panic(fmt.Errorf("%s: %w", whenFile, err))
	}
	return v
}

// oneStepRuns are the runs of Best-of-N from one-step samples, by their numbers of candidates.
func (t tilt) oneStepRuns() (found []runs) {
	for _, g := range t.runs {
		if g.method == "best-of-n-one-step" && len(g.results) > 0 {
			found = append(found, g)
		}
	}
	return found
}

// classBeside puts the reward of runs that is the log-probability of a class into proportion: as
// probabilities, and beside Best-of-N from one-step samples; empty without runs of these.
func (t tilt) classBeside(g runs, rival float64) string {
	oneStep := t.oneStepRuns()
	if oneStep == nil {
		return ""
	}
	reward, _ := g.reward()
	most := oneStep[len(oneStep)-1]
	its, _ := most.reward()
	text := fmt.Sprintf(" As geometric means of the probability these rewards are %.4f and %.4f; Best-of-%d from one-step "+
		"samples has %.4f for %s evaluations.", math.Exp(reward), math.Exp(rival), most.n, math.Exp(its), comma(most.nfe()))
	if near, any := nearest(oneStep, frechet); any {
		d, se := g.mean(frechet)
		their, other := near.mean(frechet)
		text += fmt.Sprintf(" The Fréchet distance to the target is %s for MFM-G, %s for Best-of-%d from one-step samples (%s, %s "+
			"evaluations).", pair(d, se), pair(their, other), near.n, seeds(near), comma(near.nfe()))
	}
	return text
}

// seeds formats a number of seeds.
func seeds(g runs) string {
	if len(g.results) == 1 {
		return "one seed"
	}
	return word(len(g.results)) + " seeds"
}

// blocks is the number of averages that a measurement of blocks of digits has.
const blocks = 25

// blocksBeside puts the reward of a measurement of blocks, -Σ(residual/σ)²/2, into proportion: by
// the residual, and the share of confident samples; empty without runs of Best-of-N from one-step
// samples.
func (t tilt) blocksBeside(g runs) string {
	oneStep := t.oneStepRuns()
	if oneStep == nil {
		return ""
	}
	reward, _ := g.reward()
	residual := math.Sqrt(-2 * reward / blocks)
	text := fmt.Sprintf(" The root mean square residual of a block is %s σ", short(residual))
	if residual < 0.5 {
		text += ", far less than a measurement with an error of σ asks for: the samples fit its noise, too"
	}
	confident := func(r steered) metric.Optional { return r.Confident }
	most := oneStep[len(oneStep)-1]
	ours, se := g.mean(confident)
	theirs, other := most.mean(confident)
	before, _ := t.ofUnsteered(confident)
	text += fmt.Sprintf(". The second classifier is sure of a share of %s, of Best-of-%d from one-step samples %s, of "+
		"unsteered samples %s.", pair(ours, se), most.n, pair(theirs, other), short(before))
	unsure := func(r steered) metric.Optional {
		if r.Confident.IsZero() {
			return metric.Optional{}
		}
		return metric.Some(1 - r.Confident.Float())
	}
	if near, any := t.gentler(g, unsure); any {
		share, se := near.mean(confident)
		text += fmt.Sprintf(" With %s the reward is %s", near.renormalization, pair(near.reward()))
		if reward, _ := near.reward(); reward > t.mostReward() {
			text += fmt.Sprintf(", above that of Best-of-%s", comma(float64(min(mostCandidates, len(t.pool)))))
		}
		text += fmt.Sprintf(", and the share %s.", pair(share, se))
	}
	return text
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
	a, _ := most.nearestOf(oneStep)
	b, _ := most.nearestOf(twist)
	lines := []string{
		"**Which method?** By the excess over the distance of exact samples, on the mixture, where one-step samples are good:\n",
		fmt.Sprintf("- Near the data, up to %.1f nats, Best-of-N from one-step samples comes near the target for the fewest "+
			"evaluations: at %[1]g nats %s. SMC with an MFM-GF twist has %s.", math.Round(10*most.kl)/10, said(a), said(b)),
	}
	a, _ = last.nearestOf(oneStep)
	b, _ = last.nearestOf(twist)
	text := fmt.Sprintf("- Farther, at %.1f nats, SMC is nearer: %s, against %s", last.kl, said(b), said(a))
	if all := last.oneStepRuns(); all[len(all)-1].n == a.n {
		text += ", the largest N that was run"
	}
	lines = append(lines, text+"."+last.atEqualCost(a, b))
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
			if near, any := last.gentler(best(one), steered.excess); any {
				d, se := near.mean(steered.excess)
				text += fmt.Sprintf(" MFM-G with %s has the reward %s and an excess of %s for as many evaluations.", near.renormalization,
					pair(near.reward()), pair(d, se))
			}
		}
		lines = append(lines, text)
	}
	return strings.Join(lines, "\n")
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
