package main

import (
	"fmt"
	"math"
	"slices"

	"gonum.org/v1/gonum/stat"
)

// curve says how an error grows with that of the base drift.
type curve struct {
	plain          float64 // error of maps of the true base, root mean square over seeds
	slope, slopeSE float64 // of log error against log base error; NaN for fewer than two points
}

// rms returns the root mean square of the numbers at a key, and its standard error.
func rms(key string, rows []row) (root, se float64) {
	squares := values(key, rows)
	for i, x := range squares {
		squares[i] = x * x
	}
	m, se := meanSE(squares)
	root = math.Sqrt(m)
	return root, se / (2 * root)
}

// newCurve returns the curve of the error at a key. The error of maps of the true base is
// subtracted in quadrature. A size counts if what is left is at least as large as what was
// subtracted. The standard error of the slope is the larger of the one by the seeds and the one by
// the points' residuals.
func newCurve(rows []row, perturbation, key string) curve {
	plain, plainSE := rms(key, where(rows, "size=0"))
	c := curve{plain, math.NaN(), math.NaN()}
	// own and shared are relative errors: by the point's seeds, and by those of plain.
	var x, y, own, shared []float64
	bySize := groupBy(where(rows, "perturbation="+perturbation, "size!=0"), "size")
	slices.SortFunc(bySize, func(a, b []row) int { return int(math.Copysign(1, a[0].Num("size")-b[0].Num("size"))) })
	for _, g := range bySize {
		base, _ := rms("base", g)
		e, se := rms(key, g)
		if e*e < 2*plain*plain {
			continue
		}
		left := e*e - plain*plain
		x, y = append(x, math.Log(base)), append(y, math.Log(left)/2)
		own, shared = append(own, e*se/left), append(shared, plain*plainSE/left)
	}
	n := len(x)
	if n < 2 {
		return c
	}
	var at, residual, common float64
	at, c.slope = stat.LinearRegression(x, y, nil, false)
	center, square := stat.Mean(x, nil), stat.Variance(x, nil)*float64(n-1)
	c.slopeSE = 0
	for i := range x {
		residual += math.Pow(y[i]-at-c.slope*x[i], 2)
		c.slopeSE = math.Hypot(c.slopeSE, own[i]*(x[i]-center)/square)
		common += shared[i] * (x[i] - center) / square
	}
	c.slopeSE = math.Hypot(c.slopeSE, common)
	if n > 2 {
		c.slopeSE = max(c.slopeSE, math.Sqrt(residual/float64(n-2)/square))
	}
	return c
}

// baseMeasures are the keys of the errors in stress_tests.json and their names.
var baseMeasures = []struct{ key, name string }{
	{"map", "drift"}, {"samples", "samples"}, {"posterior", "posteriors"}, {"value", "value"},
	{"steering", "steering"}, {"tuning", "tuning"},
}

// curves returns the curves of all measures for a perturbation of the base and a distillation.
func (s *store) curves(perturbation, distillation string) map[string]curve {
	rows := s.rows("stress_tests.json", "test=base", "distillation="+distillation, "diverged=")
	all := map[string]curve{}
	for _, m := range baseMeasures {
		all[m.key] = newCurve(rows, perturbation, m.key)
	}
	return all
}

// baseTable is the slopes of all errors against that of the base.
func (s *store) baseTable() string {
	header := "perturbation | distillation"
	for _, m := range baseMeasures {
		header += " | " + m.name
	}
	var lines [][]string
	for _, d := range []string{"teacher", "self"} {
		plain := []string{"none: the error itself", d}
		for _, p := range []string{"weights", "shift", "smooth", "noise"} {
			if p == "noise" && d == "self" {
				continue // a noisy drift has no samples to learn from
			}
			line, curves := []string{p, d}, s.curves(p, d)
			for _, m := range baseMeasures {
				c, text := curves[m.key], dash
				if !math.IsNaN(c.slope) {
					text = fmt.Sprintf("%.2f ± %.2f", c.slope, c.slopeSE)
				}
				line = append(line, text)
				if p == "weights" {
					plain = append(plain, fmt.Sprintf("%.3f", c.plain))
				}
			}
			lines = append(lines, line)
		}
		lines = append(lines, plain)
	}
	return table(header, lines)
}

// slopes formats the range of the slopes at some keys of stress_tests.json, over all perturbations
// and distillations, as in 0.54 to 0.93.
func (s *store) slopes(keys ...string) string {
	low, high := math.Inf(1), math.Inf(-1)
	for _, d := range []string{"teacher", "self"} {
		for _, p := range []string{"weights", "shift", "smooth", "noise"} {
			if p == "noise" && d == "self" {
				continue
			}
			curves := s.curves(p, d)
			for _, key := range keys {
				if slope := curves[key].slope; !math.IsNaN(slope) {
					low, high = min(low, slope), max(high, slope)
				}
			}
		}
	}
	return fmt.Sprintf("%.2f to %.2f", low, high)
}
