package figure

import (
	"fmt"
	"image/color"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// Layer is one thing drawn in a panel; the types of this package that implement it are listed in the package's
// documentation. Layers are drawn in the order in which they were added.
type Layer interface {
	// info returns what the figure must know of the layer to colour and list it.
	info() info
	// check returns an error for data that cannot be drawn.
	check() error
	// extent returns the data's range along x and y, empty where the layer takes the range it is given. On a
	// logarithmic y axis it leaves out the ends of errors that reach zero.
	extent(logY bool) (x, y interval)
	// draw returns gonum's plotters, and what stands for them in the legend.
	draw(f *frame) ([]plot.Plotter, []plot.Thumbnailer, error)
}

// info describes a layer.
type info struct {
	kind  string // its type, for errors
	name  string // in the legend
	color color.Color
	// colored layers take a colour from the palette, unless they set one, and must have a name.
	colored bool
	// bars stand side by side.
	bars bool
}

// frame is what a layer is drawn in.
type frame struct {
	look
	theme       *Theme
	vector      bool     // the file is SVG or PDF
	x, y        interval // of the axes
	logX, logY  bool
	bar, ofBars int // which of how many bars of a category
}

// line returns the style of a curve.
func (f *frame) line(width float64) draw.LineStyle {
	return draw.LineStyle{Color: f.color, Width: vg.Points(width * f.theme.LineWidth), Dashes: f.dashes}
}

// swatch is a rectangle of colour in the legend.
type swatch struct{ color color.Color }

// Thumbnail implements [plot.Thumbnailer].
func (s swatch) Thumbnail(c *draw.Canvas) {
	h := (c.Max.Y - c.Min.Y) * 0.14
	c.FillPolygon(s.color, []vg.Point{
		{X: c.Min.X, Y: c.Min.Y + h}, {X: c.Max.X, Y: c.Min.Y + h}, {X: c.Max.X, Y: c.Max.Y - h}, {X: c.Min.X, Y: c.Max.Y - h},
	})
}

// behind marks a plotter that is drawn below all others of its panel, such as an error band.
type behind struct{ plot.Plotter }

// plotterFunc is a [plot.Plotter] made of a function.
type plotterFunc func(c draw.Canvas, p *plot.Plot)

// Plot implements [plot.Plotter].
func (f plotterFunc) Plot(c draw.Canvas, p *plot.Plot) { f(c, p) }

// thumbFunc is a [plot.Thumbnailer] made of a function.
type thumbFunc func(c *draw.Canvas)

// Thumbnail implements [plot.Thumbnailer].
func (f thumbFunc) Thumbnail(c *draw.Canvas) { f(c) }

// Custom is a layer of plotters made elsewhere, by gonum/plot/plotter or by hand, with their own colours.
type Custom struct {
	Name     string // in the legend, which shows those of Plotters that have a thumbnail; empty for no entry
	Plotters []plot.Plotter
}

func (l Custom) info() info { return info{kind: "Custom", name: l.Name} }

func (l Custom) check() error {
	if len(l.Plotters) == 0 {
		return fmt.Errorf("no plotters")
	}
	for i, p := range l.Plotters {
		if p == nil {
			return fmt.Errorf("plotter %d is nil", i)
		}
	}
	return nil
}

func (l Custom) extent(bool) (x, y interval) {
	x, y = nothing, nothing
	for _, p := range l.Plotters {
		if r, ok := p.(plot.DataRanger); ok {
			xlo, xhi, ylo, yhi := r.DataRange()
			x, y = x.join(interval{xlo, xhi}), y.join(interval{ylo, yhi})
		}
	}
	return x, y
}

func (l Custom) draw(*frame) ([]plot.Plotter, []plot.Thumbnailer, error) {
	var thumbs []plot.Thumbnailer
	for _, p := range l.Plotters {
		if t, ok := p.(plot.Thumbnailer); ok {
			thumbs = append(thumbs, t)
		}
	}
	return l.Plotters, thumbs, nil
}

// checkSeries returns an error unless x and y are as long, not empty, and finite.
func checkSeries(x, y []float64) error {
	if len(x) == 0 {
		return fmt.Errorf("X is empty")
	}
	if len(x) != len(y) {
		return fmt.Errorf("X has %d values and Y has %d, want as many", len(x), len(y))
	}
	if err := checkFinite("X", x); err != nil {
		return err
	}
	return checkFinite("Y", y)
}

// checkFinite returns an error that names the first NaN or infinity.
func checkFinite(what string, values []float64) error {
	for i, v := range values {
		if !finite(v) {
			return fmt.Errorf("%s[%d] = %v, want finite values", what, i, v)
		}
	}
	return nil
}

// checkErrors returns an error unless e is nil or has n finite values that are not negative.
func checkErrors(what string, e []float64, n int) error {
	if e == nil {
		return nil
	}
	if len(e) != n {
		return fmt.Errorf("%s has %d values for %d points, want as many", what, len(e), n)
	}
	for i, v := range e {
		if !finite(v) || v < 0 {
			return fmt.Errorf("%s[%d] = %v, want finite values that are not negative", what, i, v)
		}
	}
	return nil
}

// checkPoints returns an error unless every row has two finite coordinates at least, and there is a row.
func checkPoints(what string, points [][]float64) error {
	if len(points) == 0 {
		return fmt.Errorf("%s is empty", what)
	}
	for i, p := range points {
		if len(p) < 2 {
			return fmt.Errorf("%s[%d] has %d coordinates, want 2 or more", what, i, len(p))
		}
		if !finite(p[0]) || !finite(p[1]) {
			return fmt.Errorf("%s[%d] = (%v, %v), want finite values", what, i, p[0], p[1])
		}
	}
	return nil
}
