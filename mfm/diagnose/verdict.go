package diagnose

import (
	"fmt"
	"strings"
)

// Verdict returns two plain sentences about a report, such as one of [Config.Brief] after a
// training: how one-step samples compare with samples of the ODE of the same weights, and the first
// finding or that there is none. There is only the second if no result is finite.
func Verdict(r *Report) []string {
	var lines, times, deviations, means []string
	for _, result := range r.Results {
		times = append(times, fmt.Sprintf("%g", result.T))
		deviations = append(deviations, fmt.Sprintf("%.2f", result.Diversity))
		means = append(means, fmt.Sprintf("%.2f", result.Mean))
	}
	list := func(values []string) string { return strings.Join(values, ", ") }
	if len(r.Results) > 0 {
		lines = append(lines, fmt.Sprintf("On held-out data at t = %s, one-step samples have %s of the standard deviation "+
			"of the ODE's samples, and their mean is %s posterior standard deviations from the denoiser.",
			list(times), list(deviations), list(means)))
	}
	if len(r.Findings) == 0 {
		return append(lines, "One step is as good as the ODE here: no metric exceeds its threshold.")
	}
	first, more := r.Findings[0], ""
	for i, f := range r.Findings[1:] {
		more += []string{" Also found: ", ", "}[min(i, 1)] + f.Name
	}
	if more != "" {
		more += "."
	}
	return append(lines, fmt.Sprintf("Found, %s: %s. Try this: %s.%s", first.Name, first.What, first.Try, more))
}
