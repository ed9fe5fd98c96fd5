package main

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/gomfm/gomfm/mfm/metric"
)

// lossTable is the comparison of the losses on the paper's mixture, from the smallest excess.
func (s *store) lossTable() string {
	groups := groupBy(s.rows("gmm_sweep.json"), "loss", "distillation")
	slices.SortFunc(groups, func(a, b []row) int { return cmp.Compare(mean("mean_excess", a), mean("mean_excess", b)) })
	var lines [][]string
	for _, g := range groups {
		loss, distillation := g[0].Text("loss"), g[0].Text("distillation")
		finite := where(g, "diverged=false")
		var diversity []float64 // at each time, mean over the seeds
		for _, at := range groupBy(s.rows("gmm_posterior.json", "loss="+loss, "distillation="+distillation), "t") {
			diversity = append(diversity, mean("diversity", at))
		}
		lines = append(lines, []string{
			lossNames[loss], distillation, within("%.3f", "mean_excess", finite),
			fmt.Sprintf("%.3f", most("worst_excess", finite)),
			fmt.Sprintf("%.2f to %.2f", slices.Min(diversity), slices.Max(diversity)),
			fmt.Sprintf("%d of %d", len(g)-len(finite), len(g)), fmt.Sprintf("%.1f", 1000/most("steps_per_s", finite)),
		})
	}
	return table("loss | distillation | excess, mean over t | excess, worst t and seed | diversity, range over t | "+
		"diverged | step, fastest seed, ms", lines)
}

// leadsFrom formats the first time from which on the mean excess of a loss with its distillation,
// as in "semigroup teacher", is smaller than that of another by more than the standard error of
// their difference; empty if there is none.
func (s *store) leadsFrom(loss, other string) string {
	of := func(name string) [][]row {
		loss, distillation, _ := strings.Cut(name, " ")
		all := groupBy(s.rows("gmm_posterior.json", "loss="+loss, "distillation="+distillation), "t")
		slices.SortFunc(all, func(a, b []row) int { return cmp.Compare(a[0].Num("t"), b[0].Num("t")) })
		return all
	}
	ours, theirs := of(loss), of(other)
	from := ""
	for i := len(ours) - 1; i >= 0 && i < len(theirs); i-- {
		if fallSE("excess", theirs[i], ours[i]) <= 1 {
			break
		}
		from = ours[i][0].Text("t")
	}
	return from
}

// fallSE returns by how many standard errors of the difference the mean of the numbers at a key is
// smaller in the second rows.
func fallSE(key string, before, after []row) float64 {
	a, aSE := metric.MeanSE(values(key, before))
	b, bSE := metric.MeanSE(values(key, after))
	return (a - b) / math.Hypot(aSE, bSE)
}

// parametrizationTable compares the parametrizations on the paper's mixture.
func (s *store) parametrizationTable() string {
	var lines [][]string
	for _, g := range groupBy(s.rows("gmm_parametrization.json"), "parametrization") {
		var excess []float64 // of each seed, mean over the times
		for _, seed := range groupBy(g, "seed") {
			excess = append(excess, mean("excess", seed))
		}
		worst := fmt.Sprintf("%.3f", most("excess", g))
		lines = append(lines, []string{g[0].Text("parametrization"), withinValues("%.3f", excess), worst})
	}
	return table("parametrization | excess, mean over t | worst t and seed", lines)
}

// variation formats the mean over contexts of the total variation at t = 0.2, 0.3 and 0.4, with its
// standard error. The key names the list of measurements in mnist_posterior.json.
func (s *store) variation(key string) string {
	rows := s.rows("mnist_posterior.json:"+key, "t<=0.4")
	var square float64
	for _, se := range values("standard_error", rows) {
		square += se * se
	}
	return fmt.Sprintf("%.3f ± %.3f", mean("total_variation", rows), math.Sqrt(square)/float64(len(rows)))
}

// digitsTable is the quality of posterior samples of digits.
func (s *store) digitsTable() string {
	whole := s.rows("mnist_posterior.json")[0]
	ours, bare := where(whole.list("generation"), "steps=1")[0],
		where(whole.list("no_network.generation"), "steps=1")[0]
	const f3 = "%.3f"
	confident := func(r row) string { return fmt.Sprintf("%.3f ± %.3f", r.Num("confident"), r.Num("confident_se")) }
	early := where(whole.list("posterior"), "t<=0.4")
	lines := [][]string{
		{"confident one-step samples at t = 0", confident(ours), confident(bare),
			whole.format(f3, "confident_held_out") + " (held-out digits)"},
		{"largest gap of a class's share at t = 0", ours.format(f3, "largest_gap"), bare.format(f3, "largest_gap"),
			ours.format(f3, "largest_gap_floor") + " (exact samples)"},
		{`total variation to p(class \| xₜ), mean of t = 0.2, 0.3, 0.4`,
			s.variation("posterior"), s.variation("no_network.posterior"),
			fmt.Sprintf(f3, mean("floor", early)) + " (exact samples)", fmt.Sprintf(f3, mean("training_set", early))},
	}
	for i, at := range whole.list("posterior") {
		without := whole.list("no_network.posterior")[i]
		text := func(r row) string {
			return fmt.Sprintf("%.3f ± %.3f", r.Num("total_variation"), r.Num("standard_error"))
		}
		lines = append(lines, []string{"total variation at t = " + at.Text("t"), text(at), text(without),
			at.format(f3, "floor"), at.format(f3, "training_set")})
	}
	lines = append(lines, []string{"median distance to the nearest training digit, 200 samples",
		ours.format(f3, "nearest_samples"), bare.format(f3, "nearest_samples"),
		ours.format(f3, "nearest_held_out") + " (held-out digits)", "0"})
	return table("measure | ours, one step | no network, F = 0 | exact or floor | the training set as points", lines)
}
