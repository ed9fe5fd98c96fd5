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

// HLine is a horizontal line with a label on it, such as a sampling floor. It is dashed unless it
// has the style of solid curves.
type HLine struct {
	// Y is the height of the line.
	Y float64
	// Style is the name of a style of the theme, such as "floor": the line is as a curve of that
	// style. Empty means a thin line in the color of axes.
	Style string
	// Label stands on the line. Empty means the label of the style; without a style it must not be
	// empty.
	Label string
	// Left puts the label at the left end of the line instead of the right end.
	Left bool
	// Below puts the label below the line instead of above it.
	Below bool
}

// HBand is a shaded horizontal band with a label on it, such as the range between a sampling floor
// and the error of an exact method.
type HBand struct {
	// Y are the ends of the band, the lower one first.
	Y [2]float64
	// Label must not be empty.
	Label string
	// Left and Below place the label, as in [HLine].
	Left, Below bool
}

// VLine is a dashed vertical line with a label at its upper end, such as the time at which a run
// ends.
type VLine struct {
	// X is the position of the line.
	X float64
	// Label must not be empty.
	Label string
	// Left puts the label at the left of the line instead of the right.
	Left bool
	// Color is the color of line and label. Nil means that of reference lines.
	Color color.Color
}

// Guide is a thin line of known slope over the whole panel, to compare curves with. On two
// logarithmic axes it is the power law y ∝ x^Slope.
type Guide struct {
	// Name appears in the legend.
	Name string
	// X and Y are a point of the line.
	X, Y float64
	// Slope is the slope, on logarithmic axes the exponent.
	Slope float64
}

// Key is an entry of the legend without data: what solid and dashed curves mean if their colors
// mean something else.
type Key struct {
	// Name appears in the legend.
	Name string
	// Dashed and Markers describe the curve of the entry.
	Dashed, Markers bool
}

func (l Key) info() info                  { return info{kind: "Key", name: l.Name, color: gray, colored: true} }
func (l Key) check() error                { return nil }
func (l Key) extent(bool) (x, y interval) { return nothing, nothing }
func (l Key) draw(f *frame) ([]plot.Plotter, []plot.Thumbnailer, error) {
	line := f.line(1)
	if line.Dashes = nil; l.Dashed {
		line.Dashes = f.theme.dashes()
	}
	return nil, []plot.Thumbnailer{thumbFunc(func(c *draw.Canvas) {
		c.StrokeLine2(line, c.Min.X, c.Center().Y, c.Max.X, c.Center().Y)
		if l.Markers {
			c.DrawGlyph(draw.GlyphStyle{Color: f.color, Radius: f.widths(1.6), Shape: circle}, c.Center())
		}
	})}, nil
}

func (l HLine) info() info { return info{kind: "HLine", name: l.Label, style: l.Style} }
func (l HBand) info() info { return info{kind: "HBand"} }
func (l VLine) info() info { return info{kind: "VLine"} }
func (l Guide) info() info { return info{kind: "Guide", name: l.Name} }

// checkRule returns an error for a line without a label or at a value that is not finite.
func checkRule(label string, at float64) error {
	if label == "" {
		return fmt.Errorf("no Label: name the line at %v", at)
	}
	if !finite(at) {
		return fmt.Errorf("%q is at %v, want a finite value", label, at)
	}
	return typeset.Check("label", label)
}

func (l HLine) check() error { return checkRule(cmp.Or(l.Label, l.Style), l.Y) }

func (l HBand) check() error {
	if !(l.Y[0] < l.Y[1]) {
		return fmt.Errorf("%q has the ends %v, want the first below the second", l.Label, l.Y)
	}
	return cmp.Or(checkRule(l.Label, l.Y[0]), checkRule(l.Label, l.Y[1]))
}

func (l VLine) check() error { return checkRule(l.Label, l.X) }

func (l Guide) check() error {
	for _, v := range []float64{l.X, l.Y, l.Slope} {
		if err := checkRule(l.Name, v); err != nil {
			return err
		}
	}
	return nil
}

func (l HLine) extent(bool) (x, y interval) { return nothing, span(l.Y) }
func (l HBand) extent(bool) (x, y interval) { return nothing, span(l.Y[:]...) }
func (l VLine) extent(bool) (x, y interval) { return span(l.X), nothing }
func (l Guide) extent(bool) (x, y interval) { return nothing, nothing }

// rule is the line style of reference lines.
func (f *frame) rule(c color.Color) draw.LineStyle {
	return draw.LineStyle{Color: c, Width: f.widths(0.7), Dashes: []vg.Length{f.widths(2.6), f.widths(1.8)}}
}

// labelAt writes a label with its lower left corner at pt, on a patch of the background that keeps
// it legible across grid lines and curves.
func (f *frame) labelAt(c *draw.Canvas, style text.Style, pt vg.Point, label string) {
	e, pad := style.FontExtents(), f.theme.em(0.12)
	c.SetColor(fade(f.theme.Background, 0.75))
	c.Fill(vg.Rectangle{
		Min: vg.Point{X: pt.X - pad, Y: pt.Y - e.Descent*0.9},
		Max: vg.Point{X: pt.X + style.Width(label) + pad, Y: pt.Y + e.Ascent*0.9},
	}.Path())
	c.FillText(style, pt, label)
}

// labelBeside writes the label of a horizontal line at y.
func (f *frame) labelBeside(c *draw.Canvas, y vg.Length, label string, left, below bool) {
	style := f.theme.style(sizeTick, false, f.theme.Muted)
	gap := f.theme.em(0.3)
	at := vg.Point{X: c.Max.X - gap - style.Width(label), Y: y + gap}
	if left {
		at.X = c.Min.X + gap
	}
	if below {
		at.Y = y - gap - style.FontExtents().Ascent*0.8
	}
	f.labelAt(c, style, at, label)
}

func (l HLine) draw(f *frame) ([]plot.Plotter, []plot.Thumbnailer, error) {
	line, label := f.rule(f.theme.Muted), l.Label
	if l.Style != "" {
		line, label = f.line(1), cmp.Or(l.Label, f.theme.Label(l.Style))
	}
	at := func(write func(c *draw.Canvas, y vg.Length)) plot.Plotter {
		return plotterFunc(func(c draw.Canvas, p *plot.Plot) {
			_, ty := p.Transforms(&c)
			if y := ty(l.Y); c.ContainsY(y) {
				write(&c, y)
			}
		})
	}
	return []plot.Plotter{
		behind{at(func(c *draw.Canvas, y vg.Length) { c.StrokeLine2(line, c.Min.X, y, c.Max.X, y) })},
		at(func(c *draw.Canvas, y vg.Length) { f.labelBeside(c, y, label, l.Left, l.Below) }),
	}, nil, nil
}

func (l HBand) draw(f *frame) ([]plot.Plotter, []plot.Thumbnailer, error) {
	ends := func(c *draw.Canvas, p *plot.Plot) (lo, hi vg.Length) {
		_, ty := p.Transforms(c)
		return max(ty(l.Y[0]), c.Min.Y), min(ty(l.Y[1]), c.Max.Y)
	}
	shade := plotterFunc(func(c draw.Canvas, p *plot.Plot) {
		if lo, hi := ends(&c, p); lo < hi {
			c.SetColor(fade(f.theme.Muted, 0.22))
			c.Fill(vg.Rectangle{Min: vg.Point{X: c.Min.X, Y: lo}, Max: vg.Point{X: c.Max.X, Y: hi}}.Path())
		}
	})
	label := plotterFunc(func(c draw.Canvas, p *plot.Plot) {
		lo, hi := ends(&c, p)
		if lo >= hi {
			return
		}
		if l.Below {
			hi = lo
		}
		f.labelBeside(&c, hi, l.Label, l.Left, l.Below)
	})
	return []plot.Plotter{behind{shade}, label}, nil, nil
}

func (l VLine) draw(f *frame) ([]plot.Plotter, []plot.Thumbnailer, error) {
	ink := l.Color
	if ink == nil {
		ink = f.theme.Muted
	}
	return []plot.Plotter{plotterFunc(func(c draw.Canvas, p *plot.Plot) {
		tx, _ := p.Transforms(&c)
		x := tx(l.X)
		if !c.ContainsX(x) {
			return
		}
		c.StrokeLine2(f.rule(ink), x, c.Min.Y, x, c.Max.Y)
		style, gap := f.theme.style(sizeTick, false, ink), f.theme.em(0.3)
		at := vg.Point{X: x + gap, Y: c.Max.Y - style.FontExtents().Ascent}
		if l.Left {
			at.X = x - gap - style.Width(l.Label)
		}
		f.labelAt(&c, style, at, l.Label)
	})}, nil, nil
}

func (l Guide) draw(f *frame) ([]plot.Plotter, []plot.Thumbnailer, error) {
	if f.logX != f.logY {
		return nil, nil, fmt.Errorf("a guide needs two linear or two logarithmic axes")
	}
	if f.logX && (l.X <= 0 || l.Y <= 0) {
		return nil, nil, fmt.Errorf("a guide through (%v, %v) on logarithmic axes, want positive values", l.X, l.Y)
	}
	at := func(x float64) float64 { return l.Y + l.Slope*(x-l.X) }
	if f.logX {
		at = func(x float64) float64 { return max(l.Y*math.Pow(x/l.X, l.Slope), 1e-300) }
	}
	rule := draw.LineStyle{Color: fade(f.theme.Ink, 0.55), Width: f.widths(0.6),
		Dashes: []vg.Length{f.widths(0.8), f.widths(1.2)}}
	line := plotterFunc(func(c draw.Canvas, p *plot.Plot) {
		tx, ty := p.Transforms(&c)
		lo, hi := vg.Point{X: tx(f.x.lo), Y: ty(at(f.x.lo))}, vg.Point{X: tx(f.x.hi), Y: ty(at(f.x.hi))}
		c.StrokeLines(rule, c.ClipLinesXY([]vg.Point{lo, hi})...)
	})
	thumb := thumbFunc(func(c *draw.Canvas) { c.StrokeLine2(rule, c.Min.X, c.Center().Y, c.Max.X, c.Center().Y) })
	return []plot.Plotter{behind{line}}, []plot.Thumbnailer{thumb}, nil
}
