package figure

import (
	"fmt"
	"image/color"
	"math"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// Panel is one plot of a figure.
type Panel struct {
	Title string
	X, Y  Axis
	// Equal makes a unit of x as long as a unit of y, as samples on a plane want it; the panel's height then follows
	// from the ranges of its axes.
	Equal bool
	// Aspect is the height of the panel over its width; 0 means Theme.Aspect. Panels of a row are as high as the
	// highest of them.
	Aspect float64

	layers []Layer
}

// Add puts layers on top of those that are there, and returns the panel.
func (p *Panel) Add(layers ...Layer) *Panel {
	p.layers = append(p.layers, layers...)
	return p
}

// images returns the panel's pictures, if it is a panel of pictures.
func (p *Panel) images() (Images, bool) {
	if len(p.layers) != 1 {
		return Images{}, false
	}
	l, ok := p.layers[0].(Images)
	return l, ok
}

// check returns an error for a panel that cannot be drawn.
func (p *Panel) check() error {
	if len(p.layers) == 0 {
		return fmt.Errorf("it has no layers")
	}
	if err := checkText("title", p.Title); err != nil {
		return err
	}
	if !(p.Aspect >= 0 && p.Aspect <= 20) {
		return fmt.Errorf("Aspect = %v, want 0 to 20", p.Aspect)
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
		if err := checkText("name", in.name); err != nil {
			return err
		}
	}
	if _, ok := p.images(); ok {
		return nil
	}
	if err := p.X.check("X"); err != nil {
		return err
	}
	if err := p.Y.check("Y"); err != nil {
		return err
	}
	if p.Equal && (p.X.Log || p.Y.Log) {
		return fmt.Errorf("equal units need linear axes; set Equal or Log, not both")
	}
	return p.checkBars()
}

// checkBars returns an error where the bars do not match the categories of the x axis.
func (p *Panel) checkBars() error {
	for i, l := range p.layers {
		bars, ok := l.(Bars)
		if !ok {
			continue
		}
		if n := len(p.X.Categories); n != len(bars.Values) {
			return fmt.Errorf("%s: %d Values for %d Categories of the X axis, want as many", layerName(i, l.info()), len(bars.Values), n)
		}
	}
	return nil
}

func layerName(i int, in info) string {
	if in.name == "" {
		return fmt.Sprintf("layer %d (%s)", i, in.kind)
	}
	return fmt.Sprintf("%s %q", in.kind, in.name)
}

// extent returns the range of all data along both axes.
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
	c.FillText(style, vg.Point{X: (r.Min.X + r.Max.X) / 2, Y: r.Max.Y + t.theme.em(titleGap) + style.FontExtents().Descent}, txt)
}

// plotContent is what a panel with axes holds.
type plotContent struct {
	plot           *plot.Plot
	theme          *Theme
	title          panelTitle
	labelX, labelY string
	aspect         float64
	fixed          bool
}

// axes returns gonum's plot in the theme, with its two axes.
func (th *Theme) axes(x, y Axis, ix, iy interval) *plot.Plot {
	p := plot.New()
	p.BackgroundColor = nil
	p.TextHandler = newHandler()
	for _, a := range []struct {
		to   *plot.Axis
		from Axis
		iv   interval
	}{{&p.X, x, ix}, {&p.Y, y, iy}} {
		a.to.Min, a.to.Max = a.iv.lo, a.iv.hi
		a.to.Padding = 0
		a.to.LineStyle = draw.LineStyle{Color: th.Muted, Width: vg.Points(0.6)}
		a.to.Label.Text = a.from.Label
		a.to.Label.TextStyle = th.style(sizeTick, false, th.Ink) // whose blank is the gap beside tick labels
		tick := th.style(sizeTick, false, th.Muted)
		tick.XAlign, tick.YAlign = a.to.Tick.Label.XAlign, a.to.Tick.Label.YAlign
		a.to.Tick.Label = tick
		a.to.Tick.LineStyle = draw.LineStyle{Color: th.Muted, Width: vg.Points(0.6)}
		a.to.Tick.Length = th.em(0.3)
		if a.from.Log {
			a.to.Scale = plot.LogScale{}
		}
	}
	return p
}

// gridLines draws a thin line at each labelled tick.
func gridLines(c color.Color, xs, ys []plot.Tick) plot.Plotter {
	style := draw.LineStyle{Color: c, Width: vg.Points(0.5)}
	return plotterFunc(func(c draw.Canvas, p *plot.Plot) {
		tx, ty := p.Transforms(&c)
		for _, t := range xs {
			if x := tx(t.Value); !t.IsMinor() && c.ContainsX(x) {
				c.StrokeLine2(style, x, c.Min.Y, x, c.Max.Y)
			}
		}
		for _, t := range ys {
			if y := ty(t.Value); !t.IsMinor() && c.ContainsY(y) {
				c.StrokeLine2(style, c.Min.X, y, c.Max.X, y)
			}
		}
	})
}

// unlabelled returns the ticks without their labels.
func unlabelled(ticks []plot.Tick) []plot.Tick {
	out := make([]plot.Tick, len(ticks))
	for i, t := range ticks {
		out[i].Value = t.Value
	}
	return out
}

// around returns the margins that gonum's axes take around a data area of w x h. They depend on it a little, since
// the last label of an axis may stick out.
func (l *plotContent) around(w, h vg.Length) margin {
	var m margin
	for range 3 {
		c := draw.Canvas{Rectangle: vg.Rectangle{Max: vg.Point{X: w + m.left + m.right, Y: h + m.bottom + m.top}}}
		d := l.plot.DataCanvas(c)
		m = margin{left: d.Min.X, right: c.Max.X - d.Max.X, bottom: d.Min.Y, top: c.Max.Y - d.Max.Y}
	}
	return m
}

const labelGap = 0.3 // beside the label of an axis, in units of the font size

func (l *plotContent) margins(w, h vg.Length) margin {
	m := l.around(w, h)
	m.top = max(m.top, l.title.height(w))
	if txt, style := l.label(l.labelX, w); txt != "" {
		m.bottom += l.theme.em(labelGap) + style.Height(txt)
	}
	if txt, style := l.label(l.labelY, h); txt != "" {
		m.left += l.theme.em(labelGap) + style.Height(txt)
	}
	return m
}

// label returns the label of an axis of a length, in lines, and its style.
func (l *plotContent) label(txt string, length vg.Length) (string, text.Style) {
	style := l.theme.style(sizeLabel, false, l.theme.Ink)
	style.XAlign, style.YAlign = draw.XCenter, draw.YTop
	return wrap(style, txt, length+l.theme.em(1.2)), style
}

func (l *plotContent) height(w vg.Length) (vg.Length, bool) { return w * vg.Length(l.aspect), l.fixed }

func (l *plotContent) draw(c draw.Canvas, data vg.Rectangle) {
	m := l.around(data.Size().X, data.Size().Y)
	l.plot.Draw(draw.Canvas{Canvas: c.Canvas, Rectangle: vg.Rectangle{
		Min: data.Min.Sub(vg.Point{X: m.left, Y: m.bottom}),
		Max: data.Max.Add(vg.Point{X: m.right, Y: m.top}),
	}})
	l.title.draw(c, data)

	mid := vg.Point{X: (data.Min.X + data.Max.X) / 2, Y: (data.Min.Y + data.Max.Y) / 2}
	txt, style := l.label(l.labelX, data.Size().X)
	descent := style.FontExtents().Descent
	c.FillText(style, vg.Point{X: mid.X, Y: data.Min.Y - m.bottom - l.theme.em(labelGap) + descent}, txt)
	txt, style = l.label(l.labelY, data.Size().Y)
	style.Rotation, style.YAlign = math.Pi/2, draw.YBottom
	c.FillText(style, vg.Point{X: data.Min.X - m.left - l.theme.em(labelGap) - descent, Y: mid.Y}, txt)
}

// bare hides the data range and the glyph boxes of a plotter: the axes are set beforehand, and glyphs at the edge
// neither move them nor are worth measuring by the thousand.
type bare struct{ plot.Plotter }
