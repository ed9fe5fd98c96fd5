package main

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/gomfm/gomfm/mfm/experiment/latent"
	"github.com/gomfm/gomfm/mfm/experiment/latent/alignment"
	"github.com/gomfm/gomfm/mfm/experiment/latent/picture"
)

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
