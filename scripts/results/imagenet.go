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
		all[i].bound = all[i].effective < usableNumber
		for k, w := range weights {
			all[i].target += w * usable[k]
		}
	}
	slices.SortStableFunc(all, func(a, b tilt) int { return cmp.Compare(a.kl, b.kl) })
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

// atTarget formats what Best-of-N needs for the mean reward of the target, over the evaluations of
// the runs g, and is "unknown" if the pool has too few pictures of the target.
func (t tilt) atTarget(g runs) string {
	if t.effective < usableNumber {
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
			"from them (effective number %.0f).", strings.ReplaceAll(t.name, "|", `\|`), comma(float64(len(t.pool))), t.nats(1),
			t.effective))
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
			if e.Method == alignment.ByGLASS && e.Steps == 1 {
				continue // its single step ends at the denoiser
			}
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

// valueClaim compares sixteen one-step samples of the map with as many by GLASS in eight steps, and
// with the denoiser, over the usable entries of the tables; empty without such estimates.
func (s *store) valueClaim() string {
	const n, steps = 16, 8
	usable, level, single, nearer, biased := 0, 0, 0, 0, 0
	var where []string
	for _, r := range s.pictureValues() {
		for _, of := range r.Rewards {
			if of.Effective < fewEffective {
				continue
			}
			find := func(method alignment.ValueMethod, n, steps int) (alignment.ValueEstimate, bool) {
				i := slices.IndexFunc(of.Estimates, func(e alignment.ValueEstimate) bool {
					return e.Method == method && (n == 0 || e.N == n) && (steps == 0 || e.Steps == steps) &&
						(method == alignment.BySDE || !e.Pearson.IsZero())
				})
				if i < 0 {
					return alignment.ValueEstimate{}, false
				}
				return of.Estimates[i], true
			}
			ours, a := find(alignment.ByMap, n, 0)
			glass, b := find(alignment.ByGLASS, n, steps)
			denoiser, c := find(alignment.ByDenoiser, 0, 0)
			second, d := find(alignment.BySDE, 0, 0)
			if !a || !b || !c || !d {
				continue
			}
			usable++
			behind := func(e, other alignment.ValueEstimate) bool {
				by := other.Pearson.Float() - e.Pearson.Float()
				return by > 0.005 && by > 2*math.Hypot(e.PearsonSE.Float(), other.PearsonSE.Float())
			}
			if !behind(ours, glass) {
				level++
			}
			if behind(denoiser, ours) {
				single++
			}
			if glass.RMS.Float() < ours.RMS.Float() {
				nearer++
			}
			if math.Abs(second.Bias.Float()) > math.Abs(ours.Bias.Float()) {
				biased++
				where = append(where, fmt.Sprintf("%s at t = %g", strings.ReplaceAll(of.Reward, "|", `\|`), r.T))
			}
		}
	}
	if usable == 0 {
		return ""
	}
	text := fmt.Sprintf("In %d of the %d usable pairs of a reward and a time %d one-step samples of the map (%[3]d evaluations) "+
		"do not correlate worse with the reference than %[3]d by GLASS in %d steps (%d), by 0.005 and two standard errors. In %d the "+
		"denoiser, one evaluation, correlates worse than the map by that much. By the root mean square difference GLASS is nearer "+
		"in %d.", level, usable, n, steps, n*steps, single, nearer)
	if biased > 0 {
		text += fmt.Sprintf(" In %d (%s) the references by two numbers of steps differ by more than the bias of the map: there only "+
			"correlations count.", biased, strings.Join(where, "; "))
	}
	return text
}

// generationClaim says which samples of the table of generated pictures are nearest to the training
// pictures by kernel distance, and what one step of the map has.
func (s *store) generationClaim() string {
	all := s.rows("imagenet_model.json:generated")
	best := slices.MinFunc(all, func(a, b row) int { return cmp.Compare(a.Num("kernel"), b.Num("kernel")) })
	name := func(r row) string {
		return fmt.Sprintf("%s (%s, K = %s, w = %s, NFE %s)", r.format("%.2f", "kernel"), r.Text("method"), r.Text("steps"),
			r.Text("guidance"), r.Text("nfe"))
	}
	one := where(all, "method=map", "steps=1", "guidance=1")[0]
	text := fmt.Sprintf("The least kernel distance is %s. One step without guidance has %s", name(best), name(one))
	if ode := filter(all, "method=ode"); len(ode) > 0 {
		text += fmt.Sprintf(", the ODE of the map's own drift %s", name(ode[0]))
	}
	held := s.rows("imagenet_model.json:held_out")[0]
	return text + fmt.Sprintf(". Held-out emoji have %s ± %s.", held.format("%.2f", "kernel"), held.format("%.2f", "kernel_se"))
}

// recoveryClaim compares one step of the map with its ODE at each time, by the kernel distance, and
// says how much of the difference four steps make up for; empty without these.
func (s *store) recoveryClaim() string {
	var parts []string
	low, high := math.Inf(1), math.Inf(-1)
	for _, r := range s.recoveries() {
		kernel := func(method string, steps int) float64 {
			for _, w := range r.Recovered {
				if string(w.Method) == method && (steps == 0 || w.Steps == steps) && w.Pictures != nil {
					return w.Pictures.Kernel
				}
			}
			return math.NaN()
		}
		one, four, ode := kernel("map", 1), kernel("map", 4), kernel("ode", 0)
		if math.IsNaN(one + four + ode) {
			continue
		}
		parts = append(parts, fmt.Sprintf("%.2f and %.2f at t = %g", one, ode, r.T))
		share := (one - four) / (one - ode)
		low, high = min(low, share), max(high, share)
	}
	if parts == nil {
		return ""
	}
	return fmt.Sprintf("The kernel distances of one step of the map and of its ODE are %s. Four steps make up for %.0f to %.0f %% of the "+
		"difference.", enumerate(parts), 100*low, 100*high)
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
