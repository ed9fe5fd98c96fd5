package figure

import (
	"image/color"
	"math"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"github.com/gomfm/gomfm/mfm/figure/internal/typeset"
)

// plotContent is the content of a panel with axes. It draws the labels of the axes itself: gonum
// does not wrap them and reserves room for those of logarithmic axes in the wrong place.
type plotContent struct {
	plot           *plot.Plot
	title          panelTitle
	labelX, labelY string
	aspect         float64
	fixed          bool // the panel can have no other aspect
}

// axes returns an empty plot with two axes over ix and iy.
func (th *Theme) axes(x, y Axis, ix, iy interval) *plot.Plot {
	p := plot.New()
	p.BackgroundColor = nil
	p.TextHandler = typeset.Handler{}
	for _, a := range []struct {
		to   *plot.Axis
		from Axis
		iv   interval
	}{{&p.X, x, ix}, {&p.Y, y, iy}} {
		a.to.Min, a.to.Max = a.iv.lo, a.iv.hi
		a.to.Padding = 0
		a.to.LineStyle = draw.LineStyle{Color: th.Muted, Width: vg.Points(0.6)}
		a.to.Label.TextStyle = th.style(sizeTick, false, th.Ink) // sets the gap beside tick labels
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

// gridLines draws a thin line at each labeled tick.
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

// unlabeled returns the ticks without their labels.
func unlabeled(ticks []plot.Tick) []plot.Tick {
	out := make([]plot.Tick, len(ticks))
	for i, t := range ticks {
		out[i].Value = t.Value
	}
	return out
}

// around returns the margins that the axes of gonum take around a data area of w x h. They depend
// on its size because the last label of an axis may extend beyond it.
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
		m.bottom += l.title.theme.em(labelGap) + style.Height(txt)
	}
	if txt, style := l.label(l.labelY, h); txt != "" {
		m.left += l.title.theme.em(labelGap) + style.Height(txt)
	}
	return m
}

// label returns the lines of the label of an axis of a length, and their style.
func (l *plotContent) label(txt string, length vg.Length) (string, text.Style) {
	th := l.title.theme
	style := th.style(sizeLabel, false, th.Ink)
	style.XAlign, style.YAlign = draw.XCenter, draw.YTop
	return typeset.Wrap(style, txt, length+th.em(1.2)), style
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
	gap := l.title.theme.em(labelGap)
	txt, style := l.label(l.labelX, data.Size().X)
	descent := style.FontExtents().Descent
	c.FillText(style, vg.Point{X: mid.X, Y: data.Min.Y - m.bottom - gap + descent}, txt)
	txt, style = l.label(l.labelY, data.Size().Y)
	style.Rotation, style.YAlign = math.Pi/2, draw.YBottom
	c.FillText(style, vg.Point{X: data.Min.X - m.left - gap - descent, Y: mid.Y}, txt)
}

// bare hides the data range and the glyph boxes of a plotter from gonum: the axes are fixed, and
// glyphs at the edge need no room.
type bare struct{ plot.Plotter }
