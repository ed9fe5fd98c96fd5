package diagnose

import (
	"fmt"
	"math"
	"slices"

	"github.com/gomfm/gomfm/mfm/figure"
)

// Figures returns the figures of the report by name: "diversity", the metrics against t with their
// thresholds, and "consistency", a heat map over (s, u) for each t, with a scale up to twice the
// threshold. It returns nil without results, and if only moments were evaluated.
func (r *Report) Figures(theme figure.Theme) map[string]*figure.Figure {
	if len(r.Results) == 0 || r.Config.Moments {
		return nil
	}
	return map[string]*figure.Figure{"diversity": r.lines(theme), "consistency": r.heatMaps(theme)}
}

func (r *Report) lines(theme figure.Theme) *figure.Figure {
	fig := figure.New(theme, 1, 3)
	fig.X = figure.Axis{Label: "t, time of the context", Range: [2]float64{0, 1}}
	var t, diversity, mean, drift, consistency []float64
	sensitivity := figure.Line{Name: "sensitivity to xₜ", Markers: true}
	exact := figure.Line{Name: "one-step samples / exact posteriors", Markers: true}
	for _, result := range r.Results {
		worst, _, _ := result.worst()
		t, diversity, mean = append(t, result.T), append(diversity, result.Diversity), append(mean, result.Mean)
		sensitivity.X, sensitivity.Y = append(sensitivity.X, result.T), append(sensitivity.Y, result.Sensitivity.Slope)
		sensitivity.Band = append(sensitivity.Band, result.Sensitivity.Error)
		drift, consistency = append(drift, math.Sqrt(result.Drift)), append(consistency, worst)
		if result.Exact > 0 {
			exact.X, exact.Y = append(exact.X, result.T), append(exact.Y, result.Exact)
		}
	}
	left, middle, right := fig.Panel(0, 0), fig.Panel(0, 1), fig.Panel(0, 2)
	threshold := r.Config.Thresholds.Diversity
	room := 1.6 * threshold
	all := slices.Concat(diversity, exact.Y)
	top := max(1+room, 1.05*slices.Max(all))
	left.Y = figure.Axis{
		Label: "ratio of standard deviations",
		// With room for the label below the lower threshold.
		Range: [2]float64{min(1-room, 0.95*slices.Min(all), 1-threshold-0.2*(top-1)), top},
	}
	left.Add(figure.Line{Name: "one-step samples / ODE samples", X: t, Y: diversity, Markers: true})
	if len(exact.X) > 0 {
		left.Add(exact)
	}
	left.Add(
		figure.HLine{Y: 1 - threshold, Label: "collapsed", Below: true},
		figure.HLine{Y: 1 + threshold, Label: "too wide"},
	)
	right.Y = figure.Axis{Label: "error, posterior standard deviations", Range: [2]float64{0, math.NaN()}}
	right.Add(
		figure.Line{Name: "mean against the denoiser", X: t, Y: mean, Markers: true},
		figure.Line{Name: "worst step against its halves", X: t, Y: consistency, Markers: true},
	)
	if slices.ContainsFunc(drift, func(v float64) bool { return v > 0 }) {
		right.Add(figure.Line{Name: "drift against the reference, relative", X: t, Y: drift, Markers: true})
	}
	limit := r.Config.Thresholds.Sensitivity
	middle.Y = figure.Axis{
		Label: "slope, 1 for exact samples",
		Range: [2]float64{min(1-1.6*limit, 0.95*slices.Min(sensitivity.Y)), max(1+1.6*limit, 1.05*slices.Max(sensitivity.Y))},
	}
	middle.Add(sensitivity, figure.HLine{Y: 1 - limit, Label: "too weak", Below: true},
		figure.HLine{Y: 1 + limit, Label: "too strong"})
	fig.Caption = "Metrics of a map without a closed form. Band: one standard error."
	return fig
}

func (r *Report) heatMaps(theme figure.Theme) *figure.Figure {
	columns := min(len(r.Results), 3)
	rows := (len(r.Results) + columns - 1) / columns
	fig := figure.New(theme, rows, columns)
	fig.X, fig.Y = figure.Axis{Label: "u, end of the step"}, figure.Axis{Label: "s, start of the step"}
	fig.ShareX, fig.ShareY = true, true
	limit := r.Config.Thresholds.Consistency
	// The same scale for all maps, so that their figures can be compared.
	fig.Scale = &figure.Scale{Range: [2]float64{0, 2 * limit}, Label: fmt.Sprintf("residual, threshold %g", limit)}
	for k, result := range r.Results {
		values := make([][]float64, len(result.Consistency))
		for i, line := range result.Consistency {
			values[i] = append([]float64(nil), line...)
			for j := range i {
				values[i][j] = math.NaN()
			}
		}
		p := fig.Panel(k/columns, k%columns)
		p.Title, p.Equal = fmt.Sprintf("t = %g", result.T), true
		p.Add(figure.Heat{Values: values})
	}
	fig.Caption = "Distance of a step from s to u from its two halves, in posterior standard deviations."
	return fig
}
