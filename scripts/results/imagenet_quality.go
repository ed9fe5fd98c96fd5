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

// valueTable has a line for each estimate of the values of a reward, and a column for each time.
func valueTable(all []alignment.ValueResult, name string) string {
	header := "estimate | samples | NFE"
	names := map[alignment.ValueMethod]string{
		alignment.ByDenoiser: "denoiser", alignment.ByMap: "map, one step", alignment.ByGLASS: "GLASS",
	}
	lines := [][]string{{"*a perfect estimate*", "", ""}, {"*standard deviation of the value*", "", ""}}
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
		h := max(of.Halves.Float(), 0)
		set(0, fmt.Sprintf("%.2f", math.Sqrt(2*h/(1+h))))
		set(1, short(of.SD))
		for _, e := range of.Estimates {
			how := names[e.Method]
			if e.Method == alignment.ByGLASS {
				how += fmt.Sprintf(", %d steps", e.Steps)
			}
			key := fmt.Sprintf("%s %d", how, e.N)
			if _, found := index[key]; !found {
				index[key] = len(lines)
				lines = append(lines, []string{how, fmt.Sprint(e.N), fmt.Sprint(e.NFE)})
			}
			set(index[key], fmt.Sprintf("%.2f, %s", e.Pearson.Float(), short(e.RMS)))
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

// recoveryTable has a line for each way to recover pictures from each time. Without an evaluator
// the columns of its features are empty.
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
		if r.HeldOut != nil && i == 0 {
			line := append([]string{"", "held-out emoji"}, make([]string, 7)...)
			lines = append(lines, append(line, distribution(r.HeldOut)...))
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
