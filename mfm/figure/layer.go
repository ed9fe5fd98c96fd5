package figure

import (
	"cmp"
	"fmt"
	"image/color"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// Layer is one element of a panel. The types of this package that implement it are listed in the
// documentation of the package. A panel draws its layers in the order in which they were added.
type Layer interface {
	// info returns the name and color of the layer.
	info() info
	// check returns an error if the data cannot be drawn.
	check() error
	// extent returns the range of the data along x and y. It is empty for a layer that fills the
	// range of the axes. On a logarithmic y axis it leaves out error bars that reach zero.
	extent(logY bool) (x, y interval)
	// draw returns the plotters of the layer and its signs in the legend.
	draw(f *frame) ([]plot.Plotter, []plot.Thumbnailer, error)
}

// info describes a layer.
type info struct {
	kind    string      // type of the layer, for error messages
	name    string      // name in the legend
	color   color.Color // nil means a color of the palette, if colored
	colored bool        // the layer needs a name and a color
}

// frame is what a layer needs to know of its panel.
type frame struct {
	seriesStyle
	theme      *Theme
	vector     bool     // the file is an SVG
	x, y       interval // of the axes
	logX, logY bool
	bar, bars  int // index of this bar chart among all bar charts of the panel, and their number
}

// line returns the style of a curve whose width is a multiple of that of the theme.
func (f *frame) line(width float64) draw.LineStyle {
	return draw.LineStyle{Color: f.color, Width: f.widths(width), Dashes: f.dashes}
}

// widths returns k line widths of the theme.
func (f *frame) widths(k float64) vg.Length { return vg.Points(k * f.theme.LineWidth) }

// behind marks a plotter that is drawn below the other plotters of its panel, such as an error
// band.
type behind struct{ plot.Plotter }

// plotterFunc is a function that implements [plot.Plotter].
type plotterFunc func(c draw.Canvas, p *plot.Plot)

// Plot implements [plot.Plotter].
func (f plotterFunc) Plot(c draw.Canvas, p *plot.Plot) { f(c, p) }

// thumbFunc is a function that implements [plot.Thumbnailer].
type thumbFunc func(c *draw.Canvas)

// Thumbnail implements [plot.Thumbnailer].
func (f thumbFunc) Thumbnail(c *draw.Canvas) { f(c) }

// checkSeries returns an error unless x and y have equal lengths above zero and finite values.
func checkSeries(x, y []float64) error {
	if len(x) == 0 {
		return fmt.Errorf("X is empty")
	}
	if len(x) != len(y) {
		return fmt.Errorf("X has %d values and Y has %d, want equal numbers", len(x), len(y))
	}
	return cmp.Or(checkFinite("X", x), checkFinite("Y", y))
}

// checkFinite returns an error that names the first value that is NaN or infinite.
func checkFinite(name string, values []float64) error {
	for i, v := range values {
		if !finite(v) {
			return fmt.Errorf("%s[%d] = %v, want finite values", name, i, v)
		}
	}
	return nil
}

// checkErrors returns an error unless e is nil or holds n finite values of at least zero.
func checkErrors(name string, e []float64, n int) error {
	if e != nil && len(e) != n {
		return fmt.Errorf("%s has %d values for %d points, want equal numbers", name, len(e), n)
	}
	for i, v := range e {
		if !finite(v) || v < 0 {
			return fmt.Errorf("%s[%d] = %v, want finite values of at least 0", name, i, v)
		}
	}
	return nil
}
