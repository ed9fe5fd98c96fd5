package figure

import (
	"cmp"
	"fmt"
	"strings"

	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
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
func (p *Panel) check() error {
	if len(p.layers) == 0 {
		return fmt.Errorf("it has no layers")
	}
	if err := checkText("title", p.Title); err != nil {
		return err
	}
	for i, l := range p.layers {
		if l == nil {
			return fmt.Errorf("layer %d is nil", i)
		}
		in := l.info()
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
		if err := checkText("name", in.name); err != nil {
			return err
		}
	}
	if _, ok := p.images(); ok {
		return nil
	}
	if p.Equal && (p.X.Log || p.Y.Log) {
		return fmt.Errorf("equal units need linear axes; set Equal or Log, not both")
	}
	return cmp.Or(p.X.check("X"), p.Y.check("Y"))
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
	return wrap(style, t.text, w), style
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
