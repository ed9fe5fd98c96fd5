package main

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"gonum.org/v1/gonum/floats"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/experiment/stress"
)

// dash stands in a table for a number that there is not.
const dash = "–"

var dimensions = []int{2, 8, 32}

// diversityTable is the excess of one-step samples by kind and number of modes, and dimension.
func (s *store) diversityTable() string {
	var lines [][]string
	for _, kind := range []string{"overlapping", "separated", "anisotropic"} {
		for _, modes := range []int{1, 4, 16, 64} {
			line := []string{kind, fmt.Sprint(modes)}
			for _, dim := range dimensions {
				r := s.rows("stress_tests.json", "test=diversity", "kind="+kind,
					fmt.Sprintf("modes=%d", modes), fmt.Sprintf("dim=%d", dim))
				line = append(line, fmt.Sprintf("%.3f", mean("excess", nested("posterior", r))))
			}
			lines = append(lines, line)
		}
	}
	return table("modes | number | 2 dimensions | 8 dimensions | 32 dimensions", lines)
}

// modeTable is the share of samples on wrong modes, in total variation at t = 0.2, of mixtures of
// 64 modes, with that of as many exact samples in brackets.
func (s *store) modeTable() string {
	var lines [][]string
	for _, kind := range []string{"overlapping", "separated", "anisotropic"} {
		line := []string{kind}
		for _, dim := range dimensions {
			r := s.rows("stress_tests.json", "test=diversity", "kind="+kind, "modes=64", fmt.Sprintf("dim=%d", dim))
			at := where(nested("contexts", r), "t=0.2")
			line = append(line, fmt.Sprintf("%.2f (%.2f)", mean("variation", at), mean("variation_floor", at)))
		}
		lines = append(lines, line)
	}
	return table("64 modes | 2 dimensions | 8 dimensions | 32 dimensions", lines)
}

// spreadCounts says of how many contexts the samples' standard deviation is off by more than a
// tenth, and how many of these are in two dimensions.
func (s *store) spreadCounts() string {
	of := s.rows("stress_tests.json", "test=diversity")
	all, flat := nested("contexts", of), nested("contexts", where(of, "dim=2"))
	count := func(condition string) string {
		return fmt.Sprintf("%d (%d in two dimensions)", len(filter(all, condition)), len(filter(flat, condition)))
	}
	return fmt.Sprintf("Of all %s contexts the samples of %s are too wide by more than a tenth, and of %s too narrow",
		comma(float64(len(all))), count("diversity>=1.1"), count("diversity<=0.9"))
}

// equalOrder are the losses in the order of the table, each with its distillation.
var equalOrder = [][2]string{
	{"eulerian", "teacher"}, {"semigroup", "teacher"}, {"lagrangian", "teacher"}, {"meanflow", "self"},
	{"energy", "self"}, {"semigroup", "self"}, {"lagrangian", "self"}, {"eulerian", "self"},
}

// equalTable compares the losses on three mixtures in equal time.
func (s *store) equalTable() string {
	var lines [][]string
	for _, l := range equalOrder {
		line := []string{lossNames[l[0]], l[1]}
		for _, on := range []string{"overlapping-16x8", "separated-16x2", "anisotropic-4x32"} {
			rows := s.rows("stress_tests.json", "test=losses", "on="+on, "loss="+l[0], "distillation="+l[1])
			line = append(line, within("%.3f", "mean_excess", rows))
		}
		lines = append(lines, line)
	}
	return table("loss | distillation | 16 overlapping modes in 8 dimensions | 16 separated in 2 | "+
		"4 anisotropic in 32", lines)
}

// equalDigitsTable compares the losses on digits in equal time, with the map before training.
func (s *store) equalDigitsTable() string {
	type line struct{ label, loss, distillation, steps string }
	var lines [][]string
	for _, l := range []line{
		{"semigroup", "semigroup", "teacher", ""}, {"semigroup", "semigroup", "self", ""},
		{"energy score", "energy", "self", ""}, {"Lagrangian", "lagrangian", "self", ""},
		{"before training", "semigroup", "teacher", "1"}, {"mean flow", "meanflow", "self", ""},
		{"Eulerian", "eulerian", "teacher", ""}, {"Eulerian", "eulerian", "self", ""},
	} {
		steps := "steps>=2"
		distillation := l.distillation
		if l.steps == "1" {
			steps, distillation = "steps<=1", ""
		}
		rows := s.rows("stress_tests.json", "test=losses", "on=digits", steps,
			"loss="+l.loss, "distillation="+l.distillation)
		if len(rows) == 0 {
			continue
		}
		var confident []float64
		for _, r := range rows {
			share := 0.0 // the files leave out a share of 0
			if _, found := r.value("confident"); found {
				share = r.Num("confident")
			}
			confident = append(confident, share)
		}
		entries := []string{l.label, distillation, comma(rows[0].Num("steps")), within("%.2f", "distance", rows),
			fmt.Sprintf("%.2f", most("distance", rows)), withinValues("%.3f", confident)}
		for i := range rows[0].list("classes") {
			entries = append(entries, within("%.3f", fmt.Sprintf("classes.%d.total_variation", i), rows))
		}
		lines = append(lines, entries)
	}
	return table("loss | distillation | steps | distance | worst seed | confident | t = 0.2 | t = 0.3 | t = 0.4", lines)
}

// precisionTable is what float32 keeps at width 0.001 and t = 0.999, near a circle and near a
// plane.
func (s *store) precisionTable() string {
	var lines [][]string
	for _, q := range []struct{ key, label string }{
		{"denoiser", "denoiser"}, {"drift", "drift"}, {"jvp", "derivative of the drift"}, {"score", "score"},
		{"steering", "steering, difference of scores"}, {"by_denoiser", "steering, difference of denoisers"},
		{"by_samples", "steering, MFM-GF with 32 exact samples"},
	} {
		line := []string{q.label}
		for _, shape := range []string{"curve", "plane"} {
			x := only(q.key, s.rows("stress_tests.json", "test=precision", "shape="+shape, "width=0.001", "t=0.999"))
			line = append(line, power(1, x))
		}
		lines = append(lines, line)
	}
	return table("relative error in float32 | circle | plane", lines)
}

// manifoldTable is the error of one-step samples near a circle by parametrization.
func (s *store) manifoldTable() string {
	widths := []string{"0.3", "0.1", "0.03", "0.01"}
	header := "parametrization"
	for _, w := range widths {
		header += " | excess, η = " + w
	}
	var lines [][]string
	for _, p := range []string{"unfused", "gaussian", "plain", "anchored"} {
		line := []string{p}
		var last row
		for _, w := range widths {
			rows := s.rows("stress_tests.json", "test=manifold", "parametrization="+p, "width="+w)
			line, last = append(line, fmt.Sprintf("%.2f", mean("excess", nested("posterior", rows)))), rows[0]
		}
		for i, at := range last.list("posterior") {
			if t := at.Num("t"); math.Abs(t-0.6) < 1e-9 || math.Abs(t-0.95) < 1e-9 {
				across, exact := last.Num(fmt.Sprintf("across.%d", i)), last.Num(fmt.Sprintf("exact.%d", i))
				line = append(line, fmt.Sprintf("%.1f", across/exact))
			}
		}
		lines = append(lines, line)
	}
	return table(header+" | distance, t = 0.6 | distance, t = 0.95", lines)
}

// pointsClaim says which trainings on sets of points miss the aim.
func (s *store) pointsClaim() string {
	var far, slow []string
	runs := s.rows("points.json")
	missed := 0
	for _, r := range runs {
		name, at := r.Text("set"), r.list("posterior")
		if len(where(runs, "set="+name)) > 1 {
			name += " with seed " + r.Text("seed")
		}
		before := len(far)
		for _, p := range at {
			if e := p.Num("excess"); e > 0.15 {
				far = append(far, fmt.Sprintf("%s has %.3f at t = %g", name, e, p.Num("t")))
			}
		}
		if e := mean("excess", at); e > 0.1 {
			far = append(far, fmt.Sprintf("%s has %.3f in the mean", name, e))
		}
		if len(far) > before {
			missed++
		}
		if seconds := r.Num("seconds"); seconds > 180 {
			slow = append(slow, fmt.Sprintf("%s (%.0f s)", name, seconds))
		}
	}
	text := fmt.Sprintf("All %d trainings reach these errors.", len(runs))
	if missed > 0 {
		text = fmt.Sprintf("%d of %d trainings miss them: %s.", missed, len(runs), strings.Join(far, "; "))
	}
	if len(slow) > 0 {
		text += " Longer than three minutes: " + strings.Join(slow, "; ") + "."
	}
	return text
}

// pointsTable is the excess of one-step samples of maps of points, by t: of one training, or the
// mean over seeds and its standard error.
func (s *store) pointsTable() string {
	header := "set | dimensions | seeds | mean | prior alone"
	var lines [][]string
	for i, group := range groupBy(s.rows("points.json"), "set") {
		overSeeds := func(of func(at []row) float64) string {
			var all []float64
			for _, r := range group {
				all = append(all, of(r.list("posterior")))
			}
			if len(all) == 1 {
				return fmt.Sprintf("%.3f", all[0])
			}
			return withinValues("%.3f", all)
		}
		line := []string{group[0].Text("set"), group[0].Text("columns"), strconv.Itoa(len(group)),
			overSeeds(func(at []row) float64 { return mean("excess", at) }),
			overSeeds(func(at []row) float64 { return mean("prior", at) })}
		for j, p := range group[0].list("posterior") {
			if i == 0 {
				header += " | t = " + p.Text("t")
			}
			line = append(line, overSeeds(func(at []row) float64 { return at[j].Num("excess") }))
		}
		lines = append(lines, append(line, fmt.Sprintf("%.0f", mean("seconds", group))))
	}
	return table(header+" | s", lines)
}

// rms returns the root mean square of the numbers at a key.
func rms(key string, rows []row) float64 {
	return floats.Norm(values(key, rows), 2) / math.Sqrt(float64(len(rows)))
}

// eachCurve calls do with the curves of all errors for each distillation and each perturbation of
// the base that has them: a noisy drift has no samples to learn from.
func (s *store) eachCurve(do func(d mfm.Distillation, p stress.Perturbation, curves map[string]stress.BaseCurve)) {
	results := decode[stress.BaseResult](s.rows("stress_tests.json", "test=base"))
	for _, d := range []mfm.Distillation{mfm.Teacher, mfm.Self} {
		for _, p := range stress.Perturbations() {
			if p == stress.Noised && d == mfm.Self {
				continue
			}
			curves := map[string]stress.BaseCurve{}
			for _, m := range stress.BaseMeasures() {
				curves[m.Name] = stress.NewBaseCurve(results, p, d, m)
			}
			do(d, p, curves)
		}
	}
}

// baseTable is the slopes of all errors against that of the base.
func (s *store) baseTable() string {
	header := "perturbation | distillation"
	for _, m := range stress.BaseMeasures() {
		header += " | " + m.Name
	}
	lines := map[mfm.Distillation][][]string{}
	plain := map[mfm.Distillation][]string{}
	s.eachCurve(func(d mfm.Distillation, p stress.Perturbation, curves map[string]stress.BaseCurve) {
		line := []string{string(p), string(d)}
		plain[d] = []string{"none: the error itself", string(d)}
		for _, m := range stress.BaseMeasures() {
			c, text := curves[m.Name], dash
			if !math.IsNaN(c.Slope) {
				text = fmt.Sprintf("%.2f ± %.2f", c.Slope, c.SlopeSE)
			}
			line, plain[d] = append(line, text), append(plain[d], fmt.Sprintf("%.3f", c.Plain))
		}
		lines[d] = append(lines[d], line)
	})
	return table(header, slices.Concat(
		lines[mfm.Teacher], [][]string{plain[mfm.Teacher]}, lines[mfm.Self], [][]string{plain[mfm.Self]}))
}

// slopes formats the range of the slopes of some errors, by their names, over all perturbations and
// distillations, as in 0.54 to 0.93.
func (s *store) slopes(names ...string) string {
	low, high := math.Inf(1), math.Inf(-1)
	s.eachCurve(func(_ mfm.Distillation, _ stress.Perturbation, curves map[string]stress.BaseCurve) {
		for _, name := range names {
			if slope := curves[name].Slope; !math.IsNaN(slope) {
				low, high = min(low, slope), max(high, slope)
			}
		}
	})
	return fmt.Sprintf("%.2f to %.2f", low, high)
}
