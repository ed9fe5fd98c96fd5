package diagnose

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/gomfm/gomfm/mfm/steer"
	"github.com/gomfm/gomfm/mfm/tune"
)

// Finding is something that is wrong.
type Finding struct {
	// Name is one of: not finite, collapse, overspread, mean, drift, coverage, consistency,
	// sensitivity, steering, reward, unseen tuning, tuning, overshoot, behind.
	Name string `json:"name"`
	// What says what is wrong, Try what to try.
	What string `json:"what"`
	Try  string `json:"try"`
}

// Report has the metrics of a map and what is wrong with it.
type Report struct {
	Config   Config    `json:"config"`
	Results  []Result  `json:"results"`
	Findings []Finding `json:"findings"`
}

// findings returns a finding for each metric that exceeds its threshold at some time.
func findings(results []Result, limit Thresholds) []Finding {
	var out []Finding
	add := func(name, try string, exceeds func(r Result) bool, text func(r Result) string) {
		var times []string
		var first *Result
		for i, r := range results {
			if exceeds(r) {
				times = append(times, fmt.Sprintf("%g", r.T))
				if first == nil {
					first = &results[i]
				}
			}
		}
		if first != nil {
			out = append(out, Finding{name, fmt.Sprintf("%s (t = %s)", text(*first), strings.Join(times, ", ")), try})
		}
	}
	// The exact posteriors are preferred, if they are known: the ODE's samples share errors of the
	// drift.
	diversity := func(r Result) (ratio float64, of string) {
		if r.Exact > 0 {
			return r.Exact, "the exact posteriors"
		}
		return r.Diversity, "the ODE's samples"
	}
	add("collapse",
		"train longer, use more data rows on the diagonal (diagonal_share), or a loss with a teacher; check that the "+
			"ODE's samples vary",
		func(r Result) bool { v, _ := diversity(r); return v < 1-limit.Diversity },
		func(r Result) string {
			v, of := diversity(r)
			return fmt.Sprintf("one-step samples have %.2f of the standard deviation of %s: they depend too weakly "+
				"on the noise",
				v, of)
		})
	add("overspread", "train longer, or use several steps of the map",
		func(r Result) bool { v, _ := diversity(r); return v > 1+limit.Diversity },
		func(r Result) string {
			v, of := diversity(r)
			return fmt.Sprintf("one-step samples have %.2f times the standard deviation of %s: the long step "+
				"disagrees with the short ones",
				v, of)
		})
	add("mean",
		"train longer; if the drift is off as well, its loss has not converged, otherwise give the consistency loss more rows "+
			"of the batch (a smaller diagonal_share); if the drift is that of another model, distil from that model",
		func(r Result) bool { return r.Mean > limit.Mean },
		func(r Result) string {
			return fmt.Sprintf("the mean of one-step samples is %.2f posterior standard deviations from the denoiser",
				r.Mean)
		})
	add("drift",
		"train longer; if the map was trained on another distribution than that of the reference drift, use this drift as the "+
			"teacher",
		func(r Result) bool { return r.Drift > limit.Drift },
		func(r Result) string {
			return fmt.Sprintf("the map's drift differs from the reference by %.1f %% of its variance", 100*r.Drift)
		})
	narrow := func(r Result) float64 { _, _, v := r.Coverage.deviation(limit.Coverage); return v }
	coverage := func(r Result) string {
		share, measured, _ := r.Coverage.deviation(limit.Coverage)
		return fmt.Sprintf("along random directions, %.0f %% of the held-out data lie within the central %.0f %% of their posterior samples",
			100*measured, 100*share)
	}
	add("coverage",
		"train longer if the loss still falls; if not, the map may repeat its training data: use more data, or fewer training "+
			"steps; with guidance, lower its scale",
		func(r Result) bool { return narrow(r) > 1 },
		func(r Result) string { return coverage(r) + ", which are too narrow or lie elsewhere" })
	add("coverage", "train longer, or use a more accurate drift or prior",
		func(r Result) bool { return narrow(r) < -1 },
		func(r Result) string { return coverage(r) + ", which are too wide" })
	add("consistency",
		"train longer, use the semigroup loss, or several steps of the map: long steps disagree with the short ones that "+
			"compose them",
		func(r Result) bool { v, _, _ := r.worst(); return v > limit.Consistency },
		func(r Result) string {
			v, s, u := r.worst()
			return fmt.Sprintf("the step from s = %.3g to u = %.3g differs from its two halves by %.2f posterior "+
				"standard deviations",
				s, u, v)
		})
	add("sensitivity",
		"train longer, use more data rows off the diagonal, a loss with a teacher, or several steps of the map; if the ODE is "+
			"off as well, the drift is; for a linear reward the gradient of the value by MFM-G is off by about this factor",
		func(r Result) bool {
			s := r.Sensitivity
			return s != Sensitivity{} && math.Abs(s.Slope-1) > limit.Sensitivity+2*s.Error
		},
		func(r Result) string {
			return fmt.Sprintf("the mean of one-step samples follows x_t with %.2f ± %.2f of the denoiser's change, the "+
				"mean of the ODE's samples with %.2f", r.Sensitivity.Slope, r.Sensitivity.Error, r.Sensitivity.ODE)
		})
	return out
}

// AddSteering adds the warnings of a steered run's series; see [steer.Series.Warnings].
func (r *Report) AddSteering(s steer.Series, t steer.Thresholds, n int) {
	for _, w := range s.Warnings(t, n) {
		r.Findings = append(r.Findings, Finding{
			"steering", w,
			"plot the run's series (steer.Series) from there on, with more steps, more posterior samples or a " +
				"smaller λ",
		})
	}
}

// AddReward adds a warning about the scale of a steered run's reward, and what to try; an empty
// warning adds nothing.
func (r *Report) AddReward(warning, try string) {
	if warning != "" {
		r.Findings = append(r.Findings, Finding{"reward", warning, try})
	}
}

// AddTuning adds what the evaluations of a tuned drift show in comparison with its target; see
// [tune.Collapse], [tune.Overshoot] and [tune.Behind].
func (r *Report) AddTuning(evaluations []tune.Evaluation, target tune.Target) {
	if n := len(evaluations); n < tune.LeastEvaluations {
		r.Findings = append(r.Findings, Finding{
			"unseen tuning",
			fmt.Sprintf("the drift was evaluated %d times while it was tuned, too few to detect a collapse", n),
			"evaluate more often (budget.every)",
		})
	}
	for _, check := range []struct{ name, text, try string }{
		{"tuning", tune.Collapse(evaluations, target), "use the last checkpoint before the standard deviation fell"},
		{
			"overshoot", tune.Overshoot(evaluations, target),
			"use the last checkpoint before the divergence exceeded that of the tilted distribution",
		},
		{"behind", tune.Behind(evaluations, target), "train longer, if the KL budget allows it"},
	} {
		if check.text != "" {
			r.Findings = append(r.Findings, Finding{check.name, check.text, check.try})
		}
	}
}

// Has reports whether there is a finding of that name.
func (r *Report) Has(name string) bool {
	return slices.ContainsFunc(r.Findings, func(f Finding) bool { return f.Name == name })
}

// Text returns the report as text: a table of the metrics, and the findings.
func (r *Report) Text() string {
	var s strings.Builder
	if len(r.Results) > 0 {
		fmt.Fprintf(&s, "%6s %10s %10s %10s %10s %10s %12s %12s %12s %12s %12s\n", "t", "deviation", "diversity", "by exact",
			"mean error", "drift err.", "within 50 %", "within 90 %", "consistency", "sensitivity", "of the ODE")
	}
	for _, result := range r.Results {
		worst, _, _ := result.worst()
		exact, drift, consistency, sensitivity, ode := "-", "-", "-", "-", "-"
		if result.Exact > 0 {
			exact = fmt.Sprintf("%.3f", result.Exact)
		}
		if result.Drift > 0 {
			drift = fmt.Sprintf("%.4f", result.Drift)
		}
		if !r.Config.Moments {
			consistency, ode = fmt.Sprintf("%.3f", worst), fmt.Sprintf("%.3f", result.Sensitivity.ODE)
			sensitivity = fmt.Sprintf("%.3f±%.3f", result.Sensitivity.Slope, result.Sensitivity.Error)
		}
		fmt.Fprintf(&s, "%6g %10.4f %10.3f %10s %10.3f %10s %10.0f %% %10.0f %% %12s %12s %12s\n", result.T, result.Std,
			result.Diversity, exact, result.Mean, drift, 100*result.Coverage.Half, 100*result.Coverage.Most, consistency,
			sensitivity, ode)
	}
	if len(r.Findings) == 0 {
		s.WriteString("No metric exceeds its threshold.\n")
	}
	for _, f := range r.Findings {
		fmt.Fprintf(&s, "%s: %s. Try this: %s.\n", f.Name, f.What, f.Try)
	}
	return s.String()
}
