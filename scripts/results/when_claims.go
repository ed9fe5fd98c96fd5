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
	} else {
		text += "not measured."
	}
	return strings.Join(append(lines, text), "\n")
}

// rewardMeasure says whether runs have the reward of Best-of-1000 for a hundredth of its
// evaluations, and, of a class, its samples.
func (t tilt) rewardMeasure(g runs, fives bool) string {
	reward, _ := g.reward()
	n := min(mostCandidates, len(t.pool))
	rival, err := metric.ExpectedMax(t.pool, n)
	if err != nil {
		panic(fmt.Errorf("%s: %w", whenFile, err))
	}
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
	return fmt.Sprintf("%s. Wanted: %s: %s.", text, wanted, outcome(reached))
}
