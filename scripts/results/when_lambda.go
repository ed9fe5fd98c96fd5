package main

import (
	"fmt"

	"github.com/gomfm/gomfm/mfm/experiment/mixture"
)

// lambdas are those of the table of λ.
var lambdas = []float64{0.5, 1, 2}

// lambdaTable has the reward and the excess of methods on the mixture without renormalization by λ;
// empty without runs of another λ than 1.
func (s *store) lambdaTable() string {
	rows := filter(s.rows(whenFile), "test="+mixture.SteeringTest)
	at := make(map[string][]runs)    // by target and method, one for each λ
	for i, lambda := range lambdas { // in its order, so that a group lacks those that have no runs
		for _, t := range tiltsWith(rows, lambda) {
			for _, g := range t.runs {
				key := lambdaKey(t, g)
				if g.renormalization != "none" || len(g.results) == 0 || len(at[key]) != i {
					continue // no runs of a smaller λ
				}
				at[key] = append(at[key], g)
			}
		}
	}
	var lines [][]string
	for _, t := range tiltsOf(rows) {
		for _, g := range t.runs {
			all := at[lambdaKey(t, g)]
			if len(all) != len(lambdas) || g.renormalization != "none" {
				continue
			}
			line := []string{t.name, g.name(), fmt.Sprint(g.n)}
			for _, g := range all {
				line = append(line, pair(g.reward()))
			}
			for _, g := range all {
				line = append(line, pair(g.mean(steered.excess)))
			}
			lines = append(lines, line)
		}
	}
	if lines == nil {
		return ""
	}
	header := "target | method | N"
	for _, name := range []string{"reward", "excess"} {
		for _, lambda := range lambdas {
			header += fmt.Sprintf(" | %s, λ = %g", name, lambda)
		}
	}
	return table(header, lines)
}

// lambdaKey names runs of a target but for their λ.
func lambdaKey(t tilt, g runs) string {
	return fmt.Sprintf("%s|%s|%d|%d", t.name, g.name(), g.n, g.steps)
}
