package main

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/gomfm/gomfm/mfm/metric"
)

// claimedTilts are the targets of the table of equal rewards, by test.
var claimedTilts = map[string][]string{
	"digits":  {"class mixture", "log p(5|x)", "25 blocks, σ = 0.2"},
	"mixture": {"y = -1", "y = -5"},
}

// equalRewardTable has a line for each target that MFM-G with one sample is steered to: what
// Best-of-N needs for its reward, and what the samples are like. It is empty without results.
func (s *store) equalRewardTable() string {
	var lines [][]string
	add := func(what string, t tilt, nats, beside string, g runs) {
		oneStep := "not run"
		if most, text := t.oneStepFactor(g); most.results != nil {
			oneStep = fmt.Sprintf("%s (N = %d)", text, most.n)
		}
		lines = append(lines, []string{what + ", " + strings.ReplaceAll(t.name, "|", `\|`), nats, g.renormalization,
			factorText(t.factor(g)), t.atTarget(g), oneStep, beside})
	}
	for _, test := range []string{"mixture", "digits"} {
		for _, t := range s.tilts(test) {
			one := t.of("mfm-g", 1)
			if len(one) == 0 || !slices.Contains(claimedTilts[test], t.name) {
				continue
			}
			g := best(one)
			beside := t.distances(g)
			if test == "digits" {
				beside = t.digitsBeside(g)
			}
			add(test, t, strings.TrimSuffix(t.nats(1), " nats"), beside, g)
		}
	}
	if s.exists(imagenetFile) {
		for _, t := range s.pictureTilts() {
			one := t.of("mfm-g", 1)
			if len(one) == 0 {
				continue
			}
			g := best(one)
			diversity, before := t.both(g, func(r steered) metric.Optional { return r.Diversity })
			kernel, beforeKernel := t.both(g, steered.kernel)
			_, beforeSE := t.ofUnsteered(steered.kernel)
			add("pictures", t, strings.TrimSuffix(t.nats(1), " nats"), fmt.Sprintf("diversity %.2f (%.2f), kernel distance %.2f "+
				"(%.2f ± %.2f)", diversity, before, kernel, beforeKernel, beforeSE), g)
		}
	}
	if lines == nil {
		return ""
	}
	return table("target | κ, nats | renormalization | factor | at the target's reward | one step | beside the reward", lines)
}

// targetReward returns the mean reward of the target, and whether it is known.
func (t tilt) targetReward(g runs) (mean float64, known bool) {
	if v, _ := g.mean(func(r steered) metric.Optional { return r.RewardTarget }); !math.IsNaN(v) {
		return v, true
	}
	return t.target, t.effective >= usableNumber
}

// atTarget formats what Best-of-N needs for the mean reward of the target, over the evaluations of
// the runs g; "unknown" without that reward.
func (t tilt) atTarget(g runs) string {
	target, known := t.targetReward(g)
	if !known {
		return "unknown"
	}
	c, cost := t.candidates(target, 0), t.each/g.nfe()
	return factorText(metric.Candidates{N: c.N * cost, Low: math.NaN()}, min(mostCandidates, float64(len(t.pool)))*cost)
}

// pastTarget says at how many targets of the results page MFM-G goes beyond the mean reward, of
// those where it is known; empty if there are none.
func (s *store) pastTarget() string {
	all := append(s.tilts("mixture"), s.tilts("digits")...)
	if s.exists(imagenetFile) {
		all = append(all, s.pictureTilts()...)
	}
	past, known := 0, 0
	for _, t := range all {
		one := t.of("mfm-g", 1)
		if len(one) == 0 {
			continue
		}
		g := best(one)
		if target, ok := t.targetReward(g); ok {
			known++
			if reward, _ := g.reward(); reward > target {
				past++
			}
		}
	}
	if known == 0 {
		return ""
	}
	return fmt.Sprintf("%d of the %d targets", past, known)
}

// both returns the means of a number over the runs g and over unsteered ones.
func (t tilt) both(g runs, of func(r steered) metric.Optional) (mean, unsteered float64) {
	mean, _ = g.mean(of)
	unsteered, _ = t.ofUnsteered(of)
	return mean, unsteered
}

// digitsBeside formats what the runs of digits are like beside their reward, and unsteered samples
// in brackets: their distance by classes and their diversity, where these are defined, and else the
// share that the second classifier is sure of.
func (t tilt) digitsBeside(g runs) string {
	var parts []string
	if l2, _ := g.mean(func(r steered) metric.Optional { return r.L2 }); !math.IsNaN(l2) && !t.unsteered.L2.IsZero() {
		parts = append(parts, fmt.Sprintf("L2 %.3f (%.3f)", l2, t.unsteered.L2.Float()))
	}
	diversity := func(r steered) metric.Optional { return r.Diversity }
	if v, _ := g.mean(diversity); !math.IsNaN(v) && !t.unsteered.Diversity.IsZero() {
		parts = append(parts, fmt.Sprintf("diversity %.2f (%.2f)", v, t.unsteered.Diversity.Float()))
	}
	if parts == nil {
		if v, _ := g.mean(func(r steered) metric.Optional { return r.Confident }); !math.IsNaN(v) && !t.unsteered.Confident.IsZero() {
			parts = append(parts, fmt.Sprintf("confident %.3f (%.3f)", v, t.unsteered.Confident.Float()))
		}
	}
	return strings.Join(parts, ", ")
}

// distances formats the distance of the runs g to a target of the mixture, beyond the sampling
// floor, that of unsteered samples in brackets, and the least one of the methods without the exact
// value; empty without them.
func (t tilt) distances(g runs) string {
	rival, any := nearest(t.inexact(), steered.excess)
	if !any {
		return ""
	}
	ours, _ := g.mean(steered.excess)
	before, _ := t.ofUnsteered(steered.excess)
	return fmt.Sprintf("excess W₂ %s (%s); least mean of all: %s, N = %d, %s for %s evaluations", short(ours), short(before),
		rival.name(), rival.n, pair(rival.mean(steered.excess)), comma(rival.nfe()))
}

// claimTuned has the rewards before and after the trainings of the first seed with the largest λ
// and without a budget, their divergences, the changes of the held-out reward, the diversities and
// the kernel distances; empty without results.
func (s *store) claimTuned() string {
	if !s.exists(tunedFile) {
		return ""
	}
	names, of := s.tunedPictures()
	var parts []string
	for _, name := range names {
		var text string
		most := 0.0
		for _, r := range of[name] {
			if r.Budget > 0 || r.Seed != 0 || r.Result.Diverged || r.Lambda < most {
				continue
			}
			most = r.Lambda
			text = fmt.Sprintf("%s from %s to %s (λ = %g)", strings.ReplaceAll(name, "|", `\|`),
				pair(r.RewardBase.Float(), r.RewardBaseSE.Float()), pair(r.Reward.Float(), r.RewardSE.Float()), r.Lambda)
			if n, target := len(r.Evaluations), s.tunedTarget(r); n > 0 && target != "" {
				text += fmt.Sprintf(" at a divergence of %.1f nats, where the target has %s", r.Evaluations[n-1].KL, target)
			}
			if by, ok := change(r.HeldOutBase, r.HeldOutBaseSE, r.HeldOut, r.HeldOutSE); ok {
				text += fmt.Sprintf(", held-out reward %+.1f standard errors", by)
			}
			if !r.Diversity.IsZero() {
				text += fmt.Sprintf(", diversity %.2f", r.Diversity.Float())
			}
			if !r.Kernel.IsZero() {
				text += fmt.Sprintf(", kernel distance %.2f", r.Kernel.Float())
			}
		}
		if text != "" {
			parts = append(parts, text)
		}
	}
	return strings.Join(parts, "; ")
}
