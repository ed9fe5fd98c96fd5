package figure

import (
	"cmp"
	"fmt"
	"image/color"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"github.com/gomfm/gomfm/mfm/figure/internal/typeset"
)

// Panel is one plot of a figure, with two axes and a stack of layers.
type Panel struct {
	// Title stands above the panel. Empty means no title.
	Title string
	// X and Y are the axes. An axis without a label takes its unset fields from the figure.
	X, Y Axis
	// Equal gives both axes the same unit of length, as for samples on a plane. The height of the
	// panel then follows from the ranges of its axes. Both axes must be linear.
	Equal bool
	// Inset shows a part of the panel enlarged. Nil means none.
	Inset *Inset

	layers []Layer
}

// Add puts layers on top of those of the panel and returns the panel.
func (p *Panel) Add(layers ...Layer) *Panel {
	p.layers = append(p.layers, layers...)
	return p
}

// images returns the images of a panel of images.
func (p *Panel) images() (Images, bool) {
	if p == nil || len(p.layers) != 1 {
		return Images{}, false
	}
	l, ok := p.layers[0].(Images)
	return l, ok
}

// heatMaps returns the heat maps that have the colors of the scale.
func (p *Panel) heatMaps() (maps []Heat) {
	if p == nil {
		return nil
	}
	for _, l := range p.layers {
		if h, ok := l.(Heat); ok && h.Color == nil {
			maps = append(maps, h)
		}
	}
	return maps
}

// bars returns the number of bar charts.
func (p *Panel) bars() (n int) {
	for _, l := range p.layers {
		if _, ok := l.(Bars); ok {
			n++
		}
	}
	return n
}

// check returns an error if the panel cannot be drawn.
func (p *Panel) check(th *Theme) error {
	if len(p.layers) == 0 {
		return fmt.Errorf("it has no layers")
	}
	if err := typeset.Check("title", p.Title); err != nil {
		return err
	}
	for i, l := range p.layers {
		if l == nil {
			return fmt.Errorf("layer %d is nil", i)
		}
		in := th.info(l)
		if _, err := th.lookup(in.style); in.style != "" && err != nil {
			return fmt.Errorf("%s: %w", layerName(i, in), err)
		}
		if in.colored && strings.TrimSpace(in.name) == "" {
			return fmt.Errorf("layer %d (%s) has no Name", i, in.kind)
		}
		if err := l.check(); err != nil {
			return fmt.Errorf("%s: %w", layerName(i, in), err)
		}
		if b, ok := l.(Bars); ok && len(b.Values) != len(p.X.Categories) {
			return fmt.Errorf("%s: %d Values for %d Categories of the X axis, want equal numbers",
				layerName(i, in), len(b.Values), len(p.X.Categories))
		}
		if err := typeset.Check("name", in.name); err != nil {
			return err
		}
	}
	if _, ok := p.images(); ok {
		return nil
	}
	if p.Equal && (p.X.Log || p.Y.Log) {
		return fmt.Errorf("equal units need linear axes; set Equal or Log, not both")
	}
	return cmp.Or(p.X.check("X"), p.Y.check("Y"), p.Inset.check(p))
}

func layerName(i int, in info) string {
	if in.name == "" {
		return fmt.Sprintf("layer %d (%s)", i, in.kind)
	}
	return fmt.Sprintf("%s %q", in.kind, in.name)
}

// extent returns the range of the data along both axes.
func (p *Panel) extent() (x, y interval) {
	x, y = nothing, nothing
	for _, l := range p.layers {
		lx, ly := l.extent(p.Y.Log)
		x, y = x.join(lx), y.join(ly)
	}
	return x, y
}

// panelTitle is the title above a panel.
type panelTitle struct {
	theme *Theme
	text  string
}

const titleGap = 0.35 // below a title, in units of the font size

// wrapped returns the title in lines no wider than w, and their style.
func (t panelTitle) wrapped(w vg.Length) (string, text.Style) {
	style := t.theme.style(sizePanel, false, t.theme.Ink)
	style.XAlign = draw.XCenter
	return typeset.Wrap(style, t.text, w), style
}

func (t panelTitle) height(w vg.Length) vg.Length {
	if t.text == "" {
		return 0
	}
	txt, style := t.wrapped(w)
	return style.Height(txt) + t.theme.em(titleGap)
}

// draw writes the title above r.
func (t panelTitle) draw(c draw.Canvas, r vg.Rectangle) {
	txt, style := t.wrapped(r.Size().X)
	y := r.Max.Y + t.theme.em(titleGap) + style.FontExtents().Descent
	c.FillText(style, vg.Point{X: (r.Min.X + r.Max.X) / 2, Y: y}, txt)
}

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
	style   string      // name of a style of the theme, which gives name and color if the layer has none
}

// info returns the info of a layer with the name and the color of its style.
func (th *Theme) info(l Layer) info {
	in := l.info()
	if s, err := th.lookup(in.style); err == nil {
		in.name = cmp.Or(in.name, s.Label)
		if in.color == nil {
			in.color = s.Color
		}
	}
	return in
}

// frame is what a layer needs to know of its panel.
type frame struct {
	seriesStyle
	theme      *Theme
	vector     bool     // the file is an SVG
	x, y       interval // of the axes
	logX, logY bool
	scale      *colors // of the heat maps
	bar, bars  int     // index of this bar chart among all bar charts of the panel, and their number
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
