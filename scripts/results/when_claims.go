package main

import (
	"fmt"
	"math"
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
			text += fmt.Sprintf(" Without renormalization it is %s ([digits](#digits-steering-by-a-classifier)). No other bound is "+
				"measured with N = 32; [few estimates carry the gradient](#why-mfm-g-needs-many-samples-on-digits), whatever their bound.",
				s.digitsL2("method=mfm-g", "n=32"))
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
	text := fmt.Sprintf("MFM-G with N = 1 (%s) has %s for %s evaluations, Best-of-%s %s for %s. Best-of-N needs %s times as many",
		g.renormalization, pair(g.reward()), comma(g.nfe()), comma(float64(n)), short(rival), comma(float64(n)*t.each),
		factorText(f, bound))
	if target, known := t.targetReward(g); known {
		where := "beyond"
		if reward < target {
			where = "below"
		}
		text += fmt.Sprintf(". That is %s the mean reward of the target itself, %s, for which Best-of-N needs %s times as many", where,
			short(target), t.atTarget(g))
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
	if near, any := t.nearestWithReward(g, unsure); any {
		share, se := near.mean(confident)
		text += fmt.Sprintf(" With %s the reward is %s", near.renormalization, pair(near.reward()))
		if reward, _ := near.reward(); reward > t.mostReward() {
			text += fmt.Sprintf(", above that of Best-of-%s", comma(float64(min(mostCandidates, len(t.pool)))))
		}
		text += fmt.Sprintf(", and the share %s.", pair(share, se))
	}
	return text
}

// oneStep says, after what Best-of-N needs for the reward of the runs g, what it needs from
// one-step samples of the map.
func (t tilt) oneStep(g runs) string {
	c, text := t.oneStepFactor(g)
	switch {
	case c.results == nil:
		return ", from one-step samples not measured"
	case strings.HasPrefix(text, ">"):
		v, _ := c.reward()
		return fmt.Sprintf(", from one-step samples %s (%s with N = %d)", text, short(v), c.n)
	}
	return fmt.Sprintf(", from one-step samples %s times (N = %d)", text, c.n)
}

// oneStepFactor formats how many times the evaluations of the runs g Best-of-N from one-step
// samples needs for their reward: at most those of the smallest N that has it, or more than those
// of the largest one. It returns the runs with this N, without results if there are none.
func (t tilt) oneStepFactor(g runs) (most runs, text string) {
	reward, _ := g.reward()
	for _, r := range t.runs { // in the order of their numbers of candidates
		if r.method != "best-of-n-one-step" || len(r.results) == 0 {
			continue
		}
		most = r
		if v, _ := r.reward(); v >= reward {
			return most, "at most " + short(r.nfe()/g.nfe())
		}
	}
	if most.results == nil {
		return most, ""
	}
	return most, "> " + short(most.nfe()/g.nfe())
}
