package diagnose

import (
	"fmt"
	"slices"
	"strings"

	"github.com/gomfm/gomfm/mfm/steer"
	"github.com/gomfm/gomfm/mfm/tune"
)

// Finding is something that is wrong.
type Finding struct {
	// Name is not finite, collapse, overspread, mean, drift, consistency, steering, unseen tuning, tuning, overshoot or behind.
	Name string `json:"name"`
	// What was seen, and what to Try.
	What string `json:"what"`
	Try  string `json:"try"`
}

// Report is what a look at a map gave.
type Report struct {
	Config   Config    `json:"config"`
	Rows     []Row     `json:"rows"`
	Findings []Finding `json:"findings"`
}

// findings puts rows into words.
func findings(rows []Row, l Limits) []Finding {
	var out []Finding
	add := func(name, try string, wrong func(r Row) bool, text func(r Row) string) {
		var where []string
		var most *Row
		for i, r := range rows {
			if wrong(r) {
				where = append(where, fmt.Sprintf("%g", r.T))
				if most == nil {
					most = &rows[i]
				}
			}
		}
		if most != nil {
			out = append(out, Finding{name, fmt.Sprintf("%s (t = %s)", text(*most), strings.Join(where, ", ")), try})
		}
	}
	// Beside the exact posteriors where these are known, otherwise beside the ODE's samples, which share the drift's errors.
	diversity := func(r Row) (ratio float64, of string) {
		if r.Exact > 0 {
			return r.Exact, "the exact posteriors'"
		}
		return r.Diversity, "the ODE's"
	}
	add("collapse", "train longer, use more data rows on the diagonal (diagonal_share), or a loss with a teacher; look whether the ODE's samples are spread", func(r Row) bool { v, _ := diversity(r); return v < 1-l.Diversity },
		func(r Row) string {
			v, of := diversity(r)
			return fmt.Sprintf("one-step samples have %.2f of the spread of %s: the map does not listen to its noise", v, of)
		})
	add("overspread", "train longer, or take several steps of the map", func(r Row) bool { v, _ := diversity(r); return v > 1+l.Diversity },
		func(r Row) string {
			v, of := diversity(r)
			return fmt.Sprintf("one-step samples have %.2f times the spread of %s: the long step misses what the short ones know", v, of)
		})
	add("mean", "the consistency loss is not converged: train longer or give it more rows; where the drift is another model's, distil from that one", func(r Row) bool { return r.Mean > l.Mean },
		func(r Row) string {
			return fmt.Sprintf("the mean of one-step samples is %.2f posterior spreads from the denoiser", r.Mean)
		})
	add("drift", "the diagonal is not converged, or the map was trained on another law than the drift's: train longer, or with that drift as teacher", func(r Row) bool { return r.Drift > l.Drift },
		func(r Row) string {
			return fmt.Sprintf("the map's own drift is off the reference by %.1f %% of its variance", 100*r.Drift)
		})
	add("consistency", "long steps do not agree with the short ones that they are made of: train longer, use the semigroup loss, or several steps of the map", func(r Row) bool { v, _, _ := r.worst(); return v > l.Consistency },
		func(r Row) string {
			v, s, u := r.worst()
			return fmt.Sprintf("the step from s = %.3g to u = %.3g misses its two halves by %.2f posterior spreads", s, u, v)
		})
	return out
}

// AddSteering adds what the series of a steered run show, whose estimator draws n samples a state; see [steer.Series].
func (r *Report) AddSteering(s steer.Series, t steer.Thresholds, n int) {
	for _, w := range s.Warnings(t, n) {
		r.Findings = append(r.Findings, Finding{"steering", w, "look at the run's series (steer.Series) from there on, with more steps, more draws or a smaller λ"})
	}
}

// AddTuning adds what looks at a drift that was tuned show beside what is known of its target; see [tune.Collapse], [tune.Overshoot] and [tune.Behind].
func (r *Report) AddTuning(looks []tune.Look, target tune.Target) {
	if len(looks) < tune.FewestLooks {
		r.Findings = append(r.Findings, Finding{"unseen tuning", fmt.Sprintf("the drift was looked at %d times while it was tuned, which is too little to tell of a collapse", len(looks)), "tune with looks in shorter turns (budget.every)"})
	}
	if text := tune.Collapse(looks, target); text != "" {
		r.Findings = append(r.Findings, Finding{"tuning", text, "go back to the last checkpoint before the spread fell"})
	}
	if text := tune.Overshoot(looks, target); text != "" {
		r.Findings = append(r.Findings, Finding{"overshoot", text, "go back to the last checkpoint before the divergence passed that of the tilted law"})
	}
	if text := tune.Behind(looks, target); text != "" {
		r.Findings = append(r.Findings, Finding{"behind", text, "go on with the training, if its KL budget allows"})
	}
}

// Has reports whether there is a finding of that name.
func (r *Report) Has(name string) bool {
	return slices.ContainsFunc(r.Findings, func(f Finding) bool { return f.Name == name })
}

// Text returns the report as text: a table, and the findings in words.
func (r *Report) Text() string {
	var s strings.Builder
	if len(r.Rows) > 0 {
		fmt.Fprintf(&s, "%6s %10s %10s %10s %10s %10s %12s\n", "t", "spread", "diversity", "by exact", "mean off", "drift off", "consistency")
	}
	for _, row := range r.Rows {
		worst, _, _ := row.worst()
		exact, drift := "-", "-"
		if row.Exact > 0 {
			exact = fmt.Sprintf("%.3f", row.Exact)
		}
		if row.Drift > 0 {
			drift = fmt.Sprintf("%.4f", row.Drift)
		}
		fmt.Fprintf(&s, "%6g %10.4f %10.3f %10s %10.3f %10s %12.3f\n", row.T, row.Spread, row.Diversity, exact, row.Mean, drift, worst)
	}
	if len(r.Findings) == 0 {
		s.WriteString("Nothing is out of its limits.\n")
	}
	for _, f := range r.Findings {
		fmt.Fprintf(&s, "%s: %s. Try this: %s.\n", f.Name, f.What, f.Try)
	}
	return s.String()
}
