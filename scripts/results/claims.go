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
		oneStep := "not measured"
		if most, text := t.oneStepFactor(g); most.results != nil {
			oneStep = fmt.Sprintf("%s (N = %d)", text, most.n)
		}
		lines = append(lines, []string{what + ", " + strings.ReplaceAll(t.name, "|", `\|`), nats, g.renormalization,
			factorText(t.factor(g)), oneStep, beside})
	}
	for _, test := range []string{"mixture", "digits"} {
		for _, t := range s.tilts(test) {
			one := t.of("mfm-g", 1)
			if len(one) == 0 || !slices.Contains(claimedTilts[test], t.name) {
				continue
			}
			g := best(one)
			beside := t.distances()
			if test == "digits" {
				beside = t.digitsBeside(g)
			}
			add(test, t, fmt.Sprintf("%.1f", t.kl), beside, g)
		}
	}
	if s.exists(imagenetFile) {
		for _, t := range s.pictureTilts() {
			one := t.of("mfm-g", 1)
			if len(one) == 0 {
				continue
			}
			g := best(one)
			diversity, _ := g.mean(func(r steered) metric.Optional { return r.Diversity })
			kernel, _ := g.mean(steered.kernel)
			add("pictures", t, strings.TrimSuffix(t.nats(), " nats"),
				fmt.Sprintf("diversity %.2f, kernel distance %.2f; factor at the target's reward %s", diversity, kernel, t.atTarget(g)), g)
		}
	}
	if lines == nil {
		return ""
	}
	return table("target | κ, nats | renormalization | factor | from one-step samples | beside the reward", lines)
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

// distances formats the smallest distances of MFM-G and of Best-of-N to a target of the mixture,
// beyond the sampling floor; empty without runs of both.
func (t tilt) distances() string {
	var ours []runs
	for _, g := range t.runs {
		if g.method == "mfm-g" {
			ours = append(ours, g)
		}
	}
	g, any := nearest(ours, steered.excess)
	rival, has := nearest(t.bestOf(), steered.excess)
	if !any || !has {
		return ""
	}
	return fmt.Sprintf("least W₂: %s (N = %d), Best-of-N %s", pair(g.mean(steered.excess)), g.n, pair(rival.mean(steered.excess)))
}

// claimTuned has the rewards before and after the trainings of the first seed with the largest λ
// and without a budget, and the changes of the held-out reward; empty without results.
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
			if by, ok := change(r.HeldOutBase, r.HeldOutBaseSE, r.HeldOut, r.HeldOutSE); ok {
				text += fmt.Sprintf(", held-out reward %+.1f standard errors", by)
			}
		}
		if text != "" {
			parts = append(parts, text)
		}
	}
	return strings.Join(parts, "; ")
}
