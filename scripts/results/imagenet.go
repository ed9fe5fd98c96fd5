package main

import (
	"cmp"
	"fmt"
	"io/fs"
	"math"
	"path"
	"slices"
	"strings"

	"github.com/gomfm/gomfm/mfm/experiment/latent"
	"github.com/gomfm/gomfm/mfm/experiment/latent/alignment"
	"github.com/gomfm/gomfm/mfm/experiment/latent/picture"
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
// is estimated from the weights of its pool.
func (s *store) pictureTilts() []tilt {
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
		for k, w := range weights {
			all[i].target += w * usable[k]
		}
	}
	slices.SortStableFunc(all, func(a, b tilt) int { return cmp.Compare(a.kl, b.kl) })
	return all
}

// nats formats the divergence of a target, which few effective samples underestimate.
func (t tilt) nats() string {
	if t.effective < 100 {
		return fmt.Sprintf("at least %.1f nats", t.kl)
	}
	return fmt.Sprintf("%.1f nats", t.kl)
}

// kernel is the kernel distance to unsteered pictures in the features of a network that is not the
// reward's: the second evaluator, if there is one.
func (r steered) kernel() metric.Optional {
	if r.SecondEvaluator != nil {
		return r.SecondEvaluator.Kernel
	}
	return r.Kernel
}

// atTarget formats what Best-of-N needs for the mean reward of the target, over the evaluations of
// the runs g, and is "unknown" if the pool has too few pictures of the target.
func (t tilt) atTarget(g runs) string {
	if t.effective < 30 {
		return "unknown"
	}
	c, cost := t.candidates(t.target, 0), t.each/g.nfe()
	return factorText(metric.Candidates{N: c.N * cost, Low: math.NaN()}, min(mostCandidates, float64(len(t.pool)))*cost)
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
			"from them (effective number %.0f).", strings.ReplaceAll(t.name, "|", `\|`), comma(float64(len(t.pool))), t.nats(), t.effective))
		header := "method | steering | N | NFE | reward | factor over Best-of-N | held-out reward | kernel distance | diversity"
		for _, m := range monitors {
			header += " | " + m.name
		}
		var lines [][]string
		for _, g := range t.runs {
			lines = append(lines, t.pictureLine(g))
		}
		parts = append(parts, table(header, lines))
		if one := t.of("mfm-g", 1); len(one) > 0 {
			parts = append(parts, t.pictureVerdict(best(one)))
		}
	}
	if parts == nil {
		return fmt.Sprintf("There are no results in [%s](%[1]s).", imagenetFile)
	}
	return strings.Join(parts, "\n\n")
}

// pictureLine is the line of the runs of one setting.
func (t tilt) pictureLine(g runs) []string {
	how := g.renormalization
	if how == "none" {
		how = ""
	}
	line := []string{g.name(), how, fmt.Sprint(g.n)}
	if len(g.results) == 0 {
		return append(line, "", "all runs diverged")
	}
	if g.diverged > 0 {
		line[1] += fmt.Sprintf(" (%d of %d diverged)", g.diverged, g.diverged+len(g.results))
	}
	factor := ""
	if g.method != "best-of-n" && g.method != steering.Unsteered {
		factor = factorText(t.factor(g))
	}
	line = append(line, comma(g.nfe()), pair(g.reward()), factor, pair(g.heldOut()),
		pair(g.mean(steered.kernel)),
		pair(g.mean(func(r steered) metric.Optional { return r.Diversity })))
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
		line = append(line, text)
	}
	return line
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
	return fmt.Sprintf("MFM-G with N = 1 (%s) has the reward %s for %s evaluations. Best-of-N needs %s times as many for it. That "+
		"is %s the mean reward of the target itself, %s, whose factor is %s. Best-of-N from one-step samples %s. The "+
		"held-out reward of the pictures of MFM-G is %s, that of the 32 unsteered ones that all seeds share %s, and their diversity is "+
		"%.2f of that of the latter.", g.renormalization, pair(g.reward()), comma(g.nfe()), factorText(t.factor(g)), where,
		short(t.target), t.atTarget(g), oneStep, pair(g.heldOut()), short(before), diversity)
}

// valuesFile and recoveryFile have the results of mfm stress values and mfm stress recovery on the
// shipped map of latents.
const valuesFile, recoveryFile = "imagenet_values.json", "imagenet_recovery.json"

// pictureValues are the results on values of pictures, by time.
func (s *store) pictureValues() []alignment.ValueResult {
	all := decode[alignment.ValueResult](s.rows(valuesFile, "test="+alignment.ValueTest))
	slices.SortFunc(all, func(a, b alignment.ValueResult) int { return cmp.Compare(a.T, b.T) })
	return all
}

// valueTables has a table of the estimates of the values of each reward.
func (s *store) valueTables() string {
	all := s.pictureValues()
	var names []string
	for _, r := range all {
		for _, of := range r.Rewards {
			if !slices.Contains(names, of.Reward) {
				names = append(names, of.Reward)
			}
		}
	}
	var parts []string
	for _, name := range names {
		parts = append(parts, fmt.Sprintf("**%s**\n\n%s", strings.ReplaceAll(name, "|", `\|`), valueTable(all, name)))
	}
	return strings.Join(parts, "\n\n")
}

// fewEffective is the effective number of samples of a reference below which it is marked.
const fewEffective = 10

// valueText formats the comparison of an estimate with the reference. It is empty if their
// correlation is undefined.
func valueText(e alignment.ValueEstimate) string {
	if e.Pearson.IsZero() {
		return ""
	}
	text := fmt.Sprintf("%.2f", e.Pearson.Float())
	if !e.PearsonSE.IsZero() {
		text += fmt.Sprintf(" ± %.2f", e.PearsonSE.Float())
	}
	text += fmt.Sprintf(", %+.2f, %s", e.Bias.Float(), short(e.RMS.Float()))
	if e.Undefined > 0 {
		text += fmt.Sprintf(" (%.2g %% undefined)", 100*e.Undefined)
	}
	return text
}

// valueTable has a line for each estimate of the values of a reward, and a column for each time.
func valueTable(all []alignment.ValueResult, name string) string {
	header := "estimate | samples | NFE"
	names := map[alignment.ValueMethod]string{
		alignment.ByDenoiser: "denoiser", alignment.ByMap: "map, one step", alignment.ByGLASS: "GLASS",
		alignment.BySDE: "reference",
	}
	lines := [][]string{{"*a perfect estimate*", "", ""}, {"*standard deviation of the value*", "", ""},
		{"*effective number of samples*", "", ""}}
	index := make(map[string]int) // of the lines of estimates
	for k, r := range all {
		header += fmt.Sprintf(" | t = %g", r.T)
		at := slices.IndexFunc(r.Rewards, func(of alignment.RewardValues) bool { return of.Reward == name })
		if at < 0 {
			continue
		}
		of := r.Rewards[at]
		set := func(line int, text string) {
			for len(lines[line]) < 3+k {
				lines[line] = append(lines[line], "")
			}
			lines[line] = append(lines[line], text)
		}
		if r := of.Reachable(); !r.IsZero() {
			set(0, fmt.Sprintf("%.2f", r.Float()))
		}
		if !of.SD.IsZero() {
			set(1, short(of.SD.Float()))
		}
		number := fmt.Sprintf("%.1f", of.Effective)
		if of.Effective < fewEffective {
			number += " †"
		}
		set(2, number)
		for _, e := range of.Estimates {
			how := names[e.Method]
			if e.Method == alignment.ByGLASS || e.Method == alignment.BySDE {
				how += fmt.Sprintf(", %d steps", e.Steps)
				if e.Steps == 1 {
					how = strings.TrimSuffix(how, "s")
				}
			}
			key := fmt.Sprintf("%s %d", how, e.N)
			if _, found := index[key]; !found {
				index[key] = len(lines)
				lines = append(lines, []string{how, fmt.Sprint(e.N), fmt.Sprint(e.NFE)})
			}
			set(index[key], valueText(e))
		}
	}
	return table(header, lines)
}

// recoveries are the results on recovered pictures, by time.
func (s *store) recoveries() []latent.RecoveryResult {
	all := decode[latent.RecoveryResult](s.rows(recoveryFile, "test="+latent.RecoveryTest))
	slices.SortFunc(all, func(a, b latent.RecoveryResult) int { return cmp.Compare(a.T, b.T) })
	return all
}

// recoveryTable has a line for the autoencoder's reconstructions of the held-out pictures, and one
// for each sampler at each time. Without an evaluator the columns of its features are empty.
func (s *store) recoveryTable() string {
	var lines [][]string
	number := func(v *float64) string {
		if v == nil {
			return ""
		}
		return fmt.Sprintf("%.3f", *v)
	}
	distribution := func(r *picture.Result) []string {
		return []string{fmt.Sprintf("%.0f", r.Frechet), fmt.Sprintf("%.2f ± %.2f", r.Kernel, r.KernelSE)}
	}
	for i, r := range s.recoveries() {
		if i == 0 {
			line := []string{"", "held-out emoji", "", "", number(&r.Floor.Pixels), number(r.Floor.Features), "", "", ""}
			if r.HeldOut != nil {
				line = append(line, distribution(r.HeldOut)...)
			}
			lines = append(lines, line)
		}
		for _, w := range r.Recovered {
			line := []string{fmt.Sprint(r.T), fmt.Sprintf("%s, K = %d", w.Method, w.Steps), fmt.Sprint(w.NFE)}
			for _, d := range []*latent.Distances{&w.Original, w.Reference} {
				if d == nil {
					line = append(line, "", "", "")
					continue
				}
				line = append(line, number(&d.Latents), number(&d.Pixels), number(d.Features))
			}
			if w.Pictures != nil {
				line = append(line, distribution(w.Pictures)...)
			}
			lines = append(lines, line)
		}
	}
	return table("t | samples | NFE | from the originals: latents | pixels | features | from the ODE: latents | pixels | "+
		"features | Fréchet distance | kernel distance", lines)
}
