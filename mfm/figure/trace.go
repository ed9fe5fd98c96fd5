package figure

import (
	"image/color"
	"math"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg/draw"
)

// Trace is a noisy series such as a loss. It shows the values in a pale color and their exponential
// mean as a curve. The half-life of the mean is a fiftieth of the series. On a logarithmic y axis
// the mean is geometric. A long series shows the range of its values instead of the values.
type Trace struct {
	// Name appears in the legend.
	Name string
	// X and Y are the coordinates of the points. Their lengths must be equal.
	X, Y []float64
	// Color is the color of the curve. Nil means a color of the palette.
	Color color.Color
}

func (l Trace) info() info { return info{kind: "Trace", name: l.Name, color: l.Color, colored: true} }

func (l Trace) check() error { return checkSeries(l.X, l.Y) }

func (l Trace) extent(bool) (x, y interval) { return span(l.X...), span(l.Y...) }

func (l Trace) draw(f *frame) ([]plot.Plotter, []plot.Thumbnailer, error) {
	values, err := l.values(f)
	if err != nil {
		return nil, nil, err
	}
	// A smooth curve needs no more points than a panel has pixels.
	mean := smooth(l.Y, float64(len(l.Y))/50, f.logY)
	every := 1 + len(mean)/stretches
	var xys plotter.XYs
	for i := (len(mean) - 1) % every; i < len(mean); i += every {
		xys = append(xys, plotter.XY{X: l.X[i], Y: mean[i]})
	}
	curve, err := plotter.NewLine(xys)
	if err != nil {
		return nil, nil, err
	}
	curve.LineStyle = f.line(1)
	return []plot.Plotter{behind{values}, curve}, []plot.Thumbnailer{curve}, nil
}

// stretches is the number of pieces of a long series. Each piece is drawn as the range of its
// values.
const stretches = 400

// values returns the series, or the area between the extremes of each stretch of a long series.
func (l Trace) values(f *frame) (plot.Plotter, error) {
	if len(l.X) <= 2*stretches {
		line, err := plotter.NewLine(points(l.X, l.Y))
		if err != nil {
			return nil, err
		}
		line.LineStyle = draw.LineStyle{Color: fade(f.color, 0.3), Width: f.widths(0.45)}
		return line, nil
	}
	ring := make(plotter.XYs, 2*stretches)
	for k := range stretches {
		from, to := k*len(l.X)/stretches, (k+1)*len(l.X)/stretches
		x := l.X[(from+to)/2]
		ring[k] = plotter.XY{X: x, Y: slices.Min(l.Y[from:to])}
		ring[2*stretches-1-k] = plotter.XY{X: x, Y: slices.Max(l.Y[from:to])}
	}
	return area(ring, f.color)
}

// smooth returns the exponential mean of y. The weight of a value is 2^(-age/halfLife) divided by
// the sum of the weights so far, so that the mean has no bias at the start. If geometric is set, it
// returns the exponential of the mean of log y.
func smooth(y []float64, halfLife float64, geometric bool) []float64 {
	out := make([]float64, len(y))
	decay := math.Exp2(-1 / halfLife)
	var sum, weight float64
	for i, v := range y {
		if geometric {
			v = math.Log(v)
		}
		sum, weight = decay*sum+v, decay*weight+1
		out[i] = sum / weight
		if geometric {
			out[i] = math.Exp(out[i])
		}
	}
	return out
}
