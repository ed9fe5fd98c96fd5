package main

import (
	"cmp"
	"fmt"
	"io/fs"
	"math"
	"path"
	"slices"
	"strings"

	"github.com/gomfm/gomfm/mfm/experiment/latent/alignment"
	"github.com/gomfm/gomfm/mfm/experiment/steering"
	"github.com/gomfm/gomfm/mfm/metric"
	"github.com/gomfm/gomfm/mfm/reward"
)

// imagenetFile has the results of mfm steer imagenet on the shipped map, those of the grid
// imagenet_small.json.
const imagenetFile = "imagenet_steering.json"

// exists reports whether the folder figures has a file.
func (s *store) exists(name string) bool {
	_, err := fs.Stat(s.fsys, path.Join("figures", name))
	return err == nil
}

// shown is a figure in Markdown, or nothing if the folder figures does not have it.
func (s *store) shown(alt, name string) string {
	if !s.exists(name) {
		return ""
	}
	return fmt.Sprintf("![%s](%s)", alt, name)
}

// pictureTilts returns the rewards of steered pictures with their runs. The divergence of a target
// is estimated from the weights of its pool. Callers must not change them.
func (s *store) pictureTilts() []tilt {
	if s.pictures != nil {
		return s.pictures
	}
	all := tiltsOf(filter(s.rows(imagenetFile), "test="))
	for i, t := range all {
		usable := make([]float64, 0, len(t.pool))
		for _, v := range t.pool {
			if v >= reward.Least {
				usable = append(usable, v)
			}
		}
		weights, err := steering.TiltedWeights(usable, 1, 0)
		if err != nil {
			panic(fmt.Errorf("%s: %s: %w", imagenetFile, t.name, err))
		}
		all[i].kl, all[i].effective = steering.Divergence(weights, len(weights))
		all[i].bound = all[i].effective < usableNumber
		for k, w := range weights {
			all[i].target += w * usable[k]
		}
	}
	slices.SortStableFunc(all, func(a, b tilt) int { return cmp.Compare(a.kl, b.kl) })
	s.pictures = all
	return all
}

// kernel is the kernel distance to unsteered pictures in the features of a network that is not the
// reward's: the second evaluator, if there is one.
func (r steered) kernel() metric.Optional {
	if r.SecondEvaluator != nil {
		return r.SecondEvaluator.Kernel
	}
	return r.Kernel
}

// monitors are the columns of the monitors of pictures, as changes from unsteered ones.
var monitors = []struct {
	name string
	of   func(m alignment.Monitors) float64
}{
	{"saturation", func(m alignment.Monitors) float64 { return m.Saturation }},
	{"clipped", func(m alignment.Monitors) float64 { return m.Clipped }},
	{"edges", func(m alignment.Monitors) float64 { return m.Edges }},
	{"latents", func(m alignment.Monitors) float64 { return m.Latents }},
}

// pictureTables has a table for each reward of steered pictures.
func (s *store) pictureTables() string {
	var parts []string
	for _, t := range s.pictureTilts() {
		parts = append(parts, fmt.Sprintf("**%s**: by the weights of the %s unsteered pictures of the pool the target is %s "+
			"from them (effective number %.0f).", strings.ReplaceAll(t.name, "|", `\|`), comma(float64(len(t.pool))), t.nats(1),
			t.effective))
		header := "method | steering | N"
		for _, m := range monitors {
			header += " | " + m.name
		}
		var lines, monitored [][]string
		for _, g := range t.runs {
			lines = append(lines, t.pictureLine(g))
			if len(g.results) > 0 {
				monitored = append(monitored, append(g.settings(), g.monitors()...))
			}
		}
		parts = append(parts, table("method | steering | N | NFE | reward | factor over Best-of-N | held-out reward | kernel distance | "+
			"diversity", lines), "Monitors of the same runs:", table(header, monitored))
		if one := t.of("mfm-g", 1); len(one) > 0 {
			parts = append(parts, t.pictureVerdict(best(one)), t.pictureMeasure())
		}
	}
	if parts == nil {
		return fmt.Sprintf("There are no results in [%s](%[1]s).", imagenetFile)
	}
	if text := s.pictureSummary(); text != "" {
		parts = append(parts, text)
	}
	return strings.Join(parts, "\n\n")
}

// settings are the cells of the method, the renormalization and N of runs of pictures.
func (g runs) settings() []string {
	how := g.renormalization
	if how == "none" {
		how = ""
	}
	if g.diverged > 0 && len(g.results) > 0 {
		how += fmt.Sprintf(" (%d of %d diverged)", g.diverged, g.diverged+len(g.results))
	}
	return []string{g.name(), how, fmt.Sprint(g.n)}
}

// monitors are the changes of the monitors from unsteered pictures.
func (g runs) monitors() (cells []string) {
	for _, m := range monitors {
		change, _ := g.mean(func(r steered) metric.Optional {
			if r.Monitors == nil || r.MonitorsBase == nil {
				return metric.Optional{}
			}
			return metric.Some(m.of(*r.Monitors) - m.of(*r.MonitorsBase))
		})
		text := ""
		if !math.IsNaN(change) {
			text = fmt.Sprintf("%+.2f", change)
		}
		cells = append(cells, text)
	}
	return cells
}

// pictureLine is the line of the runs of one setting.
func (t tilt) pictureLine(g runs) []string {
	line := g.settings()
	if len(g.results) == 0 {
		return append(line, "", "all runs diverged")
	}
	factor := ""
	if g.method != "best-of-n" && g.method != steering.Unsteered {
		factor = factorText(t.factor(g))
	}
	return append(line, comma(g.nfe()), pair(g.reward()), factor, pair(g.heldOut()), pair(g.mean(steered.kernel)),
		pair(g.mean(func(r steered) metric.Optional { return r.Diversity })))
}

// pictureVerdict says what MFM-G with one sample has, beside Best-of-N and unsteered pictures.
func (t tilt) pictureVerdict(g runs) string {
	before, _ := g.mean(func(r steered) metric.Optional { return r.HeldOutBase })
	diversity, _ := g.mean(func(r steered) metric.Optional { return r.Diversity })
	reward, _ := g.reward()
	where := "beyond"
	if reward < t.target {
		where = "below"
	}
	oneStep := "was not run"
	for _, r := range t.runs { // by growing N
		if r.method == "best-of-n-one-step" && len(r.results) > 0 {
			oneStep = fmt.Sprintf("has the reward %s for %s evaluations (N = %d)", pair(r.reward()), comma(r.nfe()), r.n)
		}
	}
	target := fmt.Sprintf("That is %s the mean reward of the target itself, %s, whose factor is %s.", where, short(t.target),
		t.atTarget(g))
	if t.effective < usableNumber {
		target = fmt.Sprintf("By %.0f effective pictures, too few to compare with, the mean reward of the target is about %s.",
			t.effective, short(t.target))
	}
	return fmt.Sprintf("MFM-G with N = 1 (%s) has the reward %s for %s evaluations. Best-of-N needs %s times as many for it. %s "+
		"Best-of-N from one-step samples %s. The held-out reward of the pictures of MFM-G is %s, that of the 32 unsteered ones that "+
		"all seeds share %s, and their diversity is %.2f of that of the latter.%s", g.renormalization, pair(g.reward()), comma(g.nfe()),
		factorText(t.factor(g)), target, oneStep, pair(g.heldOut()), short(before), diversity, t.pictureReference())
}

// pictureReference says what the columns of distances and diversity are for other unsteered
// pictures; empty without runs of these.
func (t tilt) pictureReference() string {
	i := slices.IndexFunc(t.runs, func(g runs) bool { return g.method == steering.Unsteered && len(g.results) > 0 })
	if i < 0 {
		return ""
	}
	diversity, _ := t.runs[i].mean(func(r steered) metric.Optional { return r.Diversity })
	if math.IsNaN(diversity) {
		return ""
	}
	return fmt.Sprintf(" Unsteered pictures from other noise have a diversity of %.2f and a kernel distance of %s, measured in "+
		"the same way.", diversity, pair(t.runs[i].mean(steered.kernel)))
}

// steeredPictures counts the rewards that pictures are steered to, and names the others.
func (s *store) steeredPictures() string {
	all := s.pictureTilts()
	var not []string
	for _, t := range all {
		if !t.hasSteered() {
			not = append(not, "*"+strings.ReplaceAll(t.name, "|", `\|`)+"*")
		}
	}
	if not == nil {
		return ""
	}
	return "No picture is steered to " + enumerate(not) + " yet."
}
