package figure

import (
	"cmp"
	"fmt"
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

// Inset is a small plot in a corner of a panel that shows the layers of the panel over a part of
// its range.
type Inset struct {
	// X and Y are the ends of that part.
	X, Y [2]float64
	// Left and Below select the corner. Without them it is the upper right one.
	Left, Below bool
	// Size is the width of the inset divided by that of the panel, 0.1 to 0.9. 0 means 0.45.
	Size float64
}

// check returns an error if the inset of a panel cannot be drawn.
func (in *Inset) check(p *Panel) error {
	if in == nil {
		return nil
	}
	for _, e := range [][2]float64{in.X, in.Y} {
		if !finite(e[0]) || !finite(e[1]) || e[0] >= e[1] {
			return fmt.Errorf("the inset has the ranges %v and %v, want finite ends, the first below the second", in.X, in.Y)
		}
	}
	if in.Size != 0 && !(in.Size >= 0.1 && in.Size <= 0.9) {
		return fmt.Errorf("the inset has Size %v, want 0.1 to 0.9, or 0", in.Size)
	}
	if p.X.Log || p.Y.Log {
		return fmt.Errorf("an inset needs linear axes")
	}
	return nil
}

// plotter draws the inset, the outline of the part that it shows, and the ends of its axes.
func (in *Inset) plotter(fr frame, layers []plot.Plotter, equal bool) plot.Plotter {
	inner := plot.New()
	inner.X.Min, inner.X.Max, inner.Y.Min, inner.Y.Max = fr.x.lo, fr.x.hi, fr.y.lo, fr.y.hi
	th := fr.theme
	return plotterFunc(func(c draw.Canvas, p *plot.Plot) {
		tx, ty := p.Transforms(&c)
		w := c.Size().X * vg.Length(cmp.Or(in.Size, 0.45))
		h := w * c.Size().Y / c.Size().X
		if equal {
			h = w * vg.Length((fr.y.hi-fr.y.lo)/(fr.x.hi-fr.x.lo))
		}
		lo := vg.Point{X: c.Max.X - w - th.em(0.5), Y: c.Max.Y - h - th.em(0.5)}
		if in.Left {
			lo.X = c.Min.X + th.em(0.5)
		}
		if in.Below {
			lo.Y = c.Min.Y + th.em(1.4)
		}
		box := vg.Rectangle{Min: lo, Max: lo.Add(vg.Point{X: w, Y: h})}
		part := vg.Rectangle{Min: vg.Point{X: tx(fr.x.lo), Y: ty(fr.y.lo)}, Max: vg.Point{X: tx(fr.x.hi), Y: ty(fr.y.hi)}}
		line := draw.LineStyle{Color: th.Muted, Width: vg.Points(0.6)}
		from, to := part.Max, box.Min // corners that face each other
		if in.Left {
			from.X, to.X = part.Min.X, box.Max.X
		}
		if in.Below {
			from.Y, to.Y = part.Min.Y, box.Max.Y
		}
		c.StrokeLine2(line, from.X, from.Y, to.X, to.Y)
		c.SetColor(th.Background)
		c.Fill(box.Path())
		for _, q := range layers {
			q.Plot(draw.Canvas{Canvas: c.Canvas, Rectangle: box}, inner)
		}
		c.SetLineStyle(line)
		c.Stroke(part.Path())
		c.Stroke(box.Path())
		tick := th.style(0.75*sizeTick, false, th.Muted)
		tick.YAlign = draw.YTop
		c.FillText(tick, vg.Point{X: box.Min.X, Y: box.Min.Y - th.em(0.1)}, number(fr.x.lo, 'g', 3))
		tick.XAlign = draw.XRight
		c.FillText(tick, vg.Point{X: box.Max.X, Y: box.Min.Y - th.em(0.1)}, number(fr.x.hi, 'g', 3))
		beside := box.Min.X - th.em(0.2)
		if in.Left {
			tick.XAlign, beside = draw.XLeft, box.Max.X+th.em(0.2)
		}
		c.FillText(tick, vg.Point{X: beside, Y: box.Max.Y}, number(fr.y.hi, 'g', 3))
		tick.YAlign = draw.YBottom
		c.FillText(tick, vg.Point{X: beside, Y: box.Min.Y + tick.FontExtents().Descent}, number(fr.y.lo, 'g', 3))
	})
}
