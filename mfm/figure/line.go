package figure

import (
	"fmt"
	"image/color"

	"gonum.org/v1/gonum/stat"
	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// Line is a curve through points, with an error band around it or error bars at the points.
type Line struct {
	Name string
	X, Y []float64
	// Band and Bars are half widths of an error, as many as points; nil for none.
	Band, Bars []float64
	Markers    bool // a sign at each point; always there with Bars
	Dashed     bool
	Color      color.Color // nil: from the palette
}

// MeanSE returns the curve of the mean over runs (seeds) with a band of one standard error, which is the standard
// deviation over the square root of the number of runs. Each run has as many values as x. From a single run there is
// no standard error, and no band.
func MeanSE(name string, x []float64, runs [][]float64) (Line, error) {
	if len(runs) == 0 {
		return Line{}, fmt.Errorf("figure: MeanSE %q: no runs", name)
	}
	for i, r := range runs {
		if len(r) != len(x) {
			return Line{}, fmt.Errorf("figure: MeanSE %q: run %d has %d values for %d of x, want as many", name, i, len(r), len(x))
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

func (l Line) info() info { return info{kind: "Line", name: l.Name, color: l.Color, colored: true} }

func (l Line) check() error {
	if err := checkSeries(l.X, l.Y); err != nil {
		return err
	}
	if err := checkErrors("Band", l.Band, len(l.X)); err != nil {
		return err
	}
	return checkErrors("Bars", l.Bars, len(l.X))
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

func (l Line) draw(f *frame) ([]plot.Plotter, []plot.Thumbnailer, error) {
	var (
		ps     []plot.Plotter
		thumbs []plot.Thumbnailer
	)
	xys := points(l.X, l.Y)
	if l.Dashed {
		f.dashes = []vg.Length{vg.Points(3 * f.theme.LineWidth), vg.Points(2 * f.theme.LineWidth)}
	}
	if l.Band != nil {
		band, err := l.band(f)
		if err != nil {
			return nil, nil, err
		}
		ps, thumbs = append(ps, behind{band}), append(thumbs, swatch{band.Color})
	}
	curve, err := plotter.NewLine(xys)
	if err != nil {
		return nil, nil, err
	}
	curve.LineStyle = f.line(1)
	ps, thumbs = append(ps, curve), append(thumbs, curve)
	if l.Bars != nil {
		bars, err := l.bars(f)
		if err != nil {
			return nil, nil, err
		}
		ps = append(ps, bars)
	}
	if l.Markers || l.Bars != nil {
		marks, err := plotter.NewScatter(xys)
		if err != nil {
			return nil, nil, err
		}
		marks.GlyphStyle = draw.GlyphStyle{Color: f.color, Radius: vg.Points(1.6 * f.theme.LineWidth), Shape: f.marker}
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
	p, err := plotter.NewPolygon(ring)
	if err != nil {
		return nil, err
	}
	p.LineStyle.Width = 0
	p.Color = fade(f.color, 0.2)
	return p, nil
}

// bars returns error bars of Bars.
func (l Line) bars(f *frame) (*plotter.YErrorBars, error) {
	return errorBars(f, l.X, l.Y, l.Bars, f.color)
}

func errorBars(f *frame, x, y, e []float64, c color.Color) (*plotter.YErrorBars, error) {
	errs := make(plotter.YErrors, len(e))
	for i, v := range e {
		errs[i].Low, errs[i].High = v, v
		if f.logY {
			errs[i].Low = min(v, y[i]-f.y.lo)
		}
	}
	bars, err := plotter.NewYErrorBars(struct {
		plotter.XYs
		plotter.YErrors
	}{points(x, y), errs})
	if err != nil {
		return nil, err
	}
	bars.LineStyle = draw.LineStyle{Color: c, Width: vg.Points(0.7 * f.theme.LineWidth)}
	bars.CapWidth = vg.Points(3 * f.theme.LineWidth)
	return bars, nil
}

func points(x, y []float64) plotter.XYs {
	xys := make(plotter.XYs, len(x))
	for i := range x {
		xys[i] = plotter.XY{X: x[i], Y: y[i]}
	}
	return xys
}
