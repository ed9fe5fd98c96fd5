package figure

import (
	"fmt"
	"image/color"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// HLine is a dashed horizontal line with its label written on it: a floor, a target.
type HLine struct {
	Y     float64
	Label string
	Left  bool        // write at the left end instead of the right
	Below bool        // write below the line instead of above
	Color color.Color // nil: that of the axes
}

func (l HLine) info() info { return info{kind: "HLine", color: l.Color} }

func (l HLine) check() error { return checkRule(l.Label, l.Y) }

func (l HLine) extent(bool) (x, y interval) { return nothing, span(l.Y) }

func (l HLine) draw(f *frame) ([]plot.Plotter, []plot.Thumbnailer, error) {
	style, text := f.rule(l.Color)
	return []plot.Plotter{plotterFunc(func(c draw.Canvas, p *plot.Plot) {
		_, ty := p.Transforms(&c)
		y := ty(l.Y)
		if !c.ContainsY(y) {
			return
		}
		c.StrokeLine2(style, c.Min.X, y, c.Max.X, y)
		gap := f.theme.em(0.3)
		at := vg.Point{X: c.Max.X - gap, Y: y + gap}
		text.XAlign = draw.XRight
		if l.Left {
			at.X, text.XAlign = c.Min.X+gap, draw.XLeft
		}
		if l.Below {
			at.Y = y - gap - text.FontExtents().Ascent*0.8
		}
		f.onLine(c, text, at, l.Label)
	})}, nil, nil
}

// VLine is a dashed vertical line with its label beside its upper end.
type VLine struct {
	X     float64
	Label string
	Left  bool        // write on the left of the line instead of the right
	Color color.Color // nil: that of the axes
}

func (l VLine) info() info { return info{kind: "VLine", color: l.Color} }

func (l VLine) check() error { return checkRule(l.Label, l.X) }

func (l VLine) extent(bool) (x, y interval) { return span(l.X), nothing }

func (l VLine) draw(f *frame) ([]plot.Plotter, []plot.Thumbnailer, error) {
	style, text := f.rule(l.Color)
	return []plot.Plotter{plotterFunc(func(c draw.Canvas, p *plot.Plot) {
		tx, _ := p.Transforms(&c)
		x := tx(l.X)
		if !c.ContainsX(x) {
			return
		}
		c.StrokeLine2(style, x, c.Min.Y, x, c.Max.Y)
		gap := f.theme.em(0.35)
		at := vg.Point{X: x + gap, Y: c.Max.Y - text.FontExtents().Ascent}
		if l.Left {
			at.X, text.XAlign = x-gap, draw.XRight
		}
		f.onLine(c, text, at, l.Label)
	})}, nil, nil
}

func checkRule(label string, v float64) error {
	if label == "" {
		return fmt.Errorf("no Label: say what the line at %v is", v)
	}
	if !finite(v) {
		return fmt.Errorf("%q lies at %v, want a finite value", label, v)
	}
	return checkText("label", label)
}

// onLine writes a label, on a patch of the background so that it can be read across grid lines and curves.
func (f *frame) onLine(c draw.Canvas, style text.Style, at vg.Point, label string) {
	e := style.FontExtents()
	pad := f.theme.em(0.12)
	x := at.X + vg.Length(style.XAlign)*style.Width(label) - pad
	c.SetColor(fade(f.theme.Background, 0.75))
	c.Fill(vg.Rectangle{
		Min: vg.Point{X: x, Y: at.Y - e.Descent*0.9},
		Max: vg.Point{X: x + style.Width(label) + 2*pad, Y: at.Y + e.Ascent*0.9},
	}.Path())
	c.FillText(style, at, label)
}

// rule returns the styles of a reference line and of its label.
func (f *frame) rule(c color.Color) (draw.LineStyle, text.Style) {
	if c == nil {
		c = f.theme.Muted
	}
	w := f.theme.LineWidth
	line := draw.LineStyle{Color: c, Width: vg.Points(0.7 * w), Dashes: []vg.Length{vg.Points(2.6 * w), vg.Points(1.8 * w)}}
	return line, f.theme.style(sizeTick, false, c)
}
