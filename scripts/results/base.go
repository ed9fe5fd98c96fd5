package main

import (
	"fmt"
	"math"
	"slices"

	"gonum.org/v1/gonum/floats"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/experiment/stress"
)

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
