package figure

import (
	"cmp"
	"fmt"
	"image/color"
	"maps"
	"math"
	"slices"

	"gonum.org/v1/gonum/stat"
	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg/draw"
)

// Line is a curve through points, with an error band or error bars.
type Line struct {
	// Name appears in the legend. Empty means the label of the style.
	Name string
	// Style is the name of a style of the theme, such as "mfm-g". Name and Color take precedence.
	Style string
	// X and Y are the coordinates of the points. Their lengths must be equal.
	X, Y []float64
	// Band and Bars are the half widths of an error band and of error bars, one for each point. Nil
	// means none, and a bar of zero is not drawn.
	Band, Bars []float64
	// Markers draws a marker at each point. Bars implies it.
	Markers bool
	// Dashed draws the curve dashed.
	Dashed bool
	// Pale draws curve, bars and markers in a pale shade, for a variant of a method.
	Pale bool
	// Color is the color of the curve. Nil means a color of the palette.
	Color color.Color
}

// Curve returns the curve of y against x of rows, in their order, with markers. Its bars are the
// standard errors that y returns, of which NaN is none. It leaves out rows whose x or value is NaN.
func Curve[R any](rows []R, x func(row R) float64, y func(row R) (value, se float64)) Line {
	l := Line{Markers: true}
	for _, r := range rows {
		at := x(r)
		value, se := y(r)
		if math.IsNaN(at) || math.IsNaN(value) {
			continue
		}
		if math.IsNaN(se) {
			se = 0
		}
		l.X, l.Y, l.Bars = append(l.X, at), append(l.Y, value), append(l.Bars, se)
	}
	if !slices.ContainsFunc(l.Bars, func(se float64) bool { return se != 0 }) {
		l.Bars = nil
	}
	return l
}

// Means returns the curve of the mean of y over rows, such as the seeds of a setting, at each value
// of x, in the order of x, with markers. Its bars are standard errors; an x of one row has none. It
// leaves out rows whose x or y is NaN.
func Means[R any](rows []R, x, y func(row R) float64) Line {
	at := make(map[float64][]float64)
	for _, r := range rows {
		if x, y := x(r), y(r); !math.IsNaN(x) && !math.IsNaN(y) {
			at[x] = append(at[x], y)
		}
	}
	return Curve(slices.Sorted(maps.Keys(at)), func(x float64) float64 { return x },
		func(x float64) (mean, se float64) {
			mean, sd := stat.MeanStdDev(at[x], nil)
			return mean, stat.StdErr(sd, float64(len(at[x])))
		})
}

// MeanSE returns the curve of the mean over runs. Each run has one value for each x. The band has a
// half width of one standard error, the standard deviation divided by the square root of the number
// of runs. A single run has no band. MeanSE returns an error if there is no run or if lengths
// differ.
func MeanSE(name string, x []float64, runs [][]float64) (Line, error) {
	if len(runs) == 0 {
		return Line{}, fmt.Errorf("figure: MeanSE %q: no runs", name)
	}
	for i, r := range runs {
		if len(r) != len(x) {
			return Line{}, fmt.Errorf("figure: MeanSE %q: run %d has %d values for %d of x, want equal numbers",
				name, i, len(r), len(x))
		}
	}
	l := Line{Name: name, X: x, Y: make([]float64, len(x))}
	if len(runs) > 1 {
		l.Band = make([]float64, len(x))
	}
	column := make([]float64, len(runs))
	for i := range x {
		for j, r := range runs {
			column[j] = r[i]
		}
		mean, sd := stat.MeanStdDev(column, nil)
		l.Y[i] = mean
		if l.Band != nil {
			l.Band[i] = stat.StdErr(sd, float64(len(runs)))
		}
	}
	return l, nil
}

func (l Line) info() info {
	return info{kind: "Line", name: l.Name, style: l.Style, color: l.Color, colored: true}
}

func (l Line) check() error {
	n := len(l.X)
	return cmp.Or(checkSeries(l.X, l.Y), checkErrors("Band", l.Band, n), checkErrors("Bars", l.Bars, n))
}

func (l Line) extent(logY bool) (x, y interval) {
	x, y = span(l.X...), span(l.Y...)
	for _, e := range [][]float64{l.Band, l.Bars} {
		for i, v := range e {
			y.hi = max(y.hi, l.Y[i]+v)
			if lo := l.Y[i] - v; lo > 0 || !logY {
				y.lo = min(y.lo, lo)
			}
		}
	}
	return x, y
}

func (l Line) draw(f *frame) (ps []plot.Plotter, thumbs []plot.Thumbnailer, err error) {
	xys := points(l.X, l.Y)
	if l.Dashed {
		f.dashes = f.theme.dashes()
	}
	if l.Pale {
		f.color = pale(f.color)
	}
	if l.Band != nil {
		band, err := l.band(f)
		if err != nil {
			return nil, nil, err
		}
		ps, thumbs = append(ps, behind{band}), append(thumbs, band)
	}
	curve, err := plotter.NewLine(xys)
	if err != nil {
		return nil, nil, err
	}
	curve.LineStyle = f.line(1)
	ps, thumbs = append(ps, curve), append(thumbs, curve)
	if l.Bars != nil {
		bars, err := errorBars(f, l.X, l.Y, l.Bars, f.color)
		if err != nil {
			return nil, nil, err
		}
		ps = append(ps, bars...)
	}
	if f.marker != nil && (l.Markers || l.Bars != nil) {
		marks, err := plotter.NewScatter(xys)
		if err != nil {
			return nil, nil, err
		}
		marks.GlyphStyle = draw.GlyphStyle{Color: f.color, Radius: f.widths(1.6), Shape: f.marker}
		ps, thumbs = append(ps, marks), append(thumbs, marks)
	}
	return ps, thumbs, nil
}

// band returns the polygon between Y - Band and Y + Band.
func (l Line) band(f *frame) (*plotter.Polygon, error) {
	n := len(l.X)
	ring := make(plotter.XYs, 2*n)
	for i, x := range l.X {
		lo := l.Y[i] - l.Band[i]
		if f.logY {
			lo = max(lo, f.y.lo)
		}
		ring[i] = plotter.XY{X: x, Y: l.Y[i] + l.Band[i]}
		ring[2*n-1-i] = plotter.XY{X: x, Y: lo}
	}
	return area(ring, f.color)
}

// area returns a polygon in a pale shade of c.
func area(ring plotter.XYs, c color.Color) (*plotter.Polygon, error) {
	p, err := plotter.NewPolygon(ring)
	if err != nil {
		return nil, err
	}
	p.LineStyle.Width, p.Color = 0, fade(c, 0.2)
	return p, nil
}

// errorBars returns bars of half width e where that is not zero, nil if it is nowhere. On a
// logarithmic axis they end at the lower end of the axis.
func errorBars(f *frame, x, y, e []float64, c color.Color) ([]plot.Plotter, error) {
	var xys plotter.XYs
	var errs plotter.YErrors
	for i, v := range e {
		if v == 0 {
			continue
		}
		low := v
		if f.logY {
			low = max(min(v, y[i]-f.y.lo), 0)
		}
		xys = append(xys, plotter.XY{X: x[i], Y: y[i]})
		errs = append(errs, struct{ Low, High float64 }{low, v})
	}
	if xys == nil {
		return nil, nil
	}
	bars, err := plotter.NewYErrorBars(struct {
		plotter.XYs
		plotter.YErrors
	}{xys, errs})
	if err != nil {
		return nil, err
	}
	bars.LineStyle = draw.LineStyle{Color: c, Width: f.widths(0.7)}
	bars.CapWidth = f.widths(3)
	return []plot.Plotter{bars}, nil
}

func points(x, y []float64) plotter.XYs {
	xys := make(plotter.XYs, len(x))
	for i := range x {
		xys[i] = plotter.XY{X: x[i], Y: y[i]}
	}
	return xys
}

// Trace is a noisy series such as a loss. It shows the values in a pale color and their exponential
// mean as a curve. The half-life of the mean is a fiftieth of the series. On a logarithmic y axis
// the mean is geometric. A long series shows the range of its values instead of the values.
type Trace struct {
	// Name appears in the legend. Empty means the label of the style.
	Name string
	// Style is the name of a style of the theme, such as "mfm-g". Name and Color take precedence.
	Style string
	// X and Y are the coordinates of the points. Their lengths must be equal.
	X, Y []float64
	// Color is the color of the curve. Nil means a color of the palette.
	Color color.Color
}

func (l Trace) info() info {
	return info{kind: "Trace", name: l.Name, style: l.Style, color: l.Color, colored: true}
}

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
