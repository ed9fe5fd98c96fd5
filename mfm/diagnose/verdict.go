package diagnose

import (
	"fmt"
	"strings"
)

// Verdict returns three plain sentences about a report, such as one of [Config.Brief] after a
// training: how one-step samples compare with samples of the ODE of the same weights, how often
// held-out data lie within their central intervals, and the first finding or that there is none. If
// no result is finite, only the last is left.
func Verdict(r *Report) []string {
	var lines []string
	list := func(format string, of func(r Result) float64) string {
		var values []string
		for _, result := range r.Results {
			values = append(values, fmt.Sprintf(format, of(result)))
		}
		return strings.Join(values, ", ")
	}
	if len(r.Results) > 0 {
		lines = append(lines, fmt.Sprintf("On held-out data at t = %s, one-step samples have %s of the standard deviation "+
			"of the ODE's samples, and their mean is %s posterior standard deviations from the denoiser.",
			list("%g", func(r Result) float64 { return r.T }),
			list("%.2f", func(r Result) float64 { return r.Diversity }),
			list("%.2f", func(r Result) float64 { return r.Mean })),
			fmt.Sprintf("Along random directions, %s %% of the held-out data lie within the central 50 %% of their "+
				"posterior samples, and %s %% within the central 90 %%.",
				list("%.0f", func(r Result) float64 { return 100 * r.Coverage.Half }),
				list("%.0f", func(r Result) float64 { return 100 * r.Coverage.Most })))
	}
	if len(r.Findings) == 0 {
		return append(lines, "One step is as good as the ODE here: no metric exceeds its threshold.")
	}
	first, more := r.Findings[0], ""
	for i, f := range r.Findings[1:] {
		more += []string{" Other problems: ", ", "}[min(i, 1)] + f.Name
	}
	if more != "" {
		more += "."
	}
	return append(lines, fmt.Sprintf("Problem (%s): %s. Try this: %s.%s", first.Name, first.What, first.Try, more))
}
