package diagnose

import (
	"fmt"
	"math"
	"slices"

	"github.com/gomfm/gomfm/mfm/figure"
)

// Figures returns the report as figures, none where no row is finite, by name: "diversity", the figures against t with their limits, and "consistency", a map of the residuals over (s, u) for each t.
func (r *Report) Figures(theme figure.Theme) map[string]*figure.Figure {
	if len(r.Rows) == 0 {
		return nil
	}
	return map[string]*figure.Figure{"diversity": r.lines(theme), "consistency": r.heat(theme)}
}

func (r *Report) lines(theme figure.Theme) *figure.Figure {
	fig := figure.New(theme, 1, 2)
	fig.X = figure.Axis{Label: "t, time of the context", Range: [2]float64{0, 1}}
	var t, diversity, mean, drift, consistency []float64
	for _, row := range r.Rows {
		worst, _, _ := row.worst()
		t, diversity, mean, drift, consistency = append(t, row.T), append(diversity, row.Diversity), append(mean, row.Mean), append(drift, math.Sqrt(row.Drift)), append(consistency, worst)
	}
	left, right := fig.Panel(0, 0), fig.Panel(0, 1)
	room := 1.6 * r.Config.Limits.Diversity
	exact := figure.Line{Name: "over the exact posteriors'", Markers: true}
	for _, row := range r.Rows {
		if row.Exact > 0 {
			exact.X, exact.Y = append(exact.X, row.T), append(exact.Y, row.Exact)
		}
	}
	all := slices.Concat(diversity, exact.Y)
	left.Y = figure.Axis{Label: "spread of one-step samples", Range: [2]float64{min(1-room, 0.95*slices.Min(all)), max(1+room, 1.05*slices.Max(all))}}
	left.Add(figure.Line{Name: "over that of the ODE's", X: t, Y: diversity, Markers: true})
	if len(exact.X) > 0 {
		left.Add(exact)
	}
	left.Add(figure.HLine{Y: 1 - r.Config.Limits.Diversity, Label: "collapsed", Below: true}, figure.HLine{Y: 1 + r.Config.Limits.Diversity, Label: "spread too far"})
	right.Y = figure.Axis{Label: "error, posterior spreads", Range: [2]float64{0, math.NaN()}}
	right.Add(figure.Line{Name: "mean against the denoiser", X: t, Y: mean, Markers: true}, figure.Line{Name: "worst step against its halves", X: t, Y: consistency, Markers: true})
	for _, v := range drift {
		if v > 0 {
			right.Add(figure.Line{Name: "drift against the reference, of its deviation", X: t, Y: drift, Markers: true})
			break
		}
	}
	fig.Caption = "What a map says of itself."
	return fig
}

func (r *Report) heat(theme figure.Theme) *figure.Figure {
	columns := min(len(r.Rows), 3)
	rows := (len(r.Rows) + columns - 1) / columns
	fig := figure.New(theme, rows, columns)
	fig.X, fig.Y, fig.ShareX, fig.ShareY = figure.Axis{Label: "u, end of the step"}, figure.Axis{Label: "s, its start"}, true, true
	most := 0.0
	for _, row := range r.Rows {
		v, _, _ := row.worst()
		most = max(most, v)
	}
	for k, row := range r.Rows {
		values := make([][]float64, len(row.Consistency))
		for i, line := range row.Consistency {
			values[i] = append([]float64(nil), line...)
			for j := range i {
				values[i][j] = math.NaN()
			}
		}
		p := fig.Panel(k/columns, k%columns)
		p.Title, p.Equal = fmt.Sprintf("t = %g", row.T), true
		p.Add(figure.Heat{Values: values, Most: most})
	}
	fig.Caption = "How far a step from s to u is from its two halves, in posterior spreads."
	return fig
}
