package figure

import (
	"fmt"
	"image/color"
	"math"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"github.com/gomfm/gomfm/mfm/figure/internal/typeset"
)

// Heat is a heat map. Row i of Values runs along x, at the i-th height from below. Both axes must
// be linear. All heat maps of a figure have the scale of [Figure].Scale.
type Heat struct {
	// Values are the values of the squares, [rows][columns], up to 256 each. They must be finite and
	// at least 0. NaN leaves a square empty.
	Values [][]float64
	// X and Y are the ends of the map along each axis. The zero value means 0 to 1.
	X, Y [2]float64
	// Format is the format of the numbers that are written into the squares, as in fmt.Sprintf.
	// Empty means no numbers.
	Format string
	// Name appears in the legend if Color is set. Empty means no entry.
	Name string
	// Color shades the squares in one color, the more opaque the larger the value, instead of the
	// colors of the scale.
	Color color.Color
}

// Scale maps the values of heat maps to colors. It is drawn as a bar right of the panels. The bar
// ends in a point where values lie beyond it.
type Scale struct {
	// Label names the quantity and its unit. It must not be empty.
	Label string
	// Range sets the ends of the scale. The zero value means 0, or the smallest positive value if
	// Log is set, and the largest value. Values beyond have the color of the nearer end.
	Range [2]float64
	// Log makes the scale logarithmic. Zero has the color of the lower end.
	Log bool
}

const heatMaxCells = 256 // along an axis

func (l Heat) info() info {
	if l.Color == nil {
		return info{kind: "Heat"}
	}
	return info{kind: "Heat", name: l.Name, color: l.Color}
}

func (l Heat) check() error {
	if len(l.Values) == 0 || len(l.Values) > heatMaxCells {
		return fmt.Errorf("Values has %d rows, want 1 to %d", len(l.Values), heatMaxCells)
	}
	for i, row := range l.Values {
		if len(row) == 0 || len(row) > heatMaxCells || len(row) != len(l.Values[0]) {
			return fmt.Errorf("Values[%d] has %d numbers and the first row %d, want equal numbers, 1 to %d",
				i, len(row), len(l.Values[0]), heatMaxCells)
		}
		for j, v := range row {
			if math.IsInf(v, 0) || v < 0 {
				return fmt.Errorf("Values[%d][%d] = %v, want a finite number of at least 0, or NaN", i, j, v)
			}
		}
	}
	for name, e := range map[string][2]float64{"X": l.X, "Y": l.Y} {
		if e != [2]float64{} && !(finite(e[0]) && finite(e[1]) && e[0] < e[1]) {
			return fmt.Errorf("%s = %v, want finite ends, the first below the second", name, e)
		}
	}
	return nil
}

func (l Heat) extent(bool) (x, y interval) {
	x, y = interval{0, 1}, interval{0, 1}
	if l.X != [2]float64{} {
		x = interval{l.X[0], l.X[1]}
	}
	if l.Y != [2]float64{} {
		y = interval{l.Y[0], l.Y[1]}
	}
	return x, y
}

func (l Heat) draw(f *frame) ([]plot.Plotter, []plot.Thumbnailer, error) {
	if f.logX || f.logY {
		return nil, nil, fmt.Errorf("a heat map needs linear axes")
	}
	paint, scale := heatColor, f.scale
	if l.Color != nil {
		scale = newColors(&Scale{}, l)
		paint = func(u float64) color.NRGBA { return fade(l.Color, u) }
	}
	x, y := l.extent(false)
	overlap := vg.Points(0.4) // of opaque squares, whose seams would be visible; the next one covers it
	if l.Color != nil {
		overlap = 0
	}
	squares := plotterFunc(func(c draw.Canvas, p *plot.Plot) {
		tx, ty := p.Transforms(&c)
		end := vg.Point{X: tx(x.hi), Y: ty(y.hi)}
		for i, row := range l.Values {
			for j, v := range row {
				if math.IsNaN(v) {
					continue
				}
				m, n := float64(len(row)), float64(len(l.Values))
				r := vg.Rectangle{
					Min: vg.Point{X: tx(x.at(float64(j) / m)), Y: ty(y.at(float64(i) / n))},
					Max: vg.Point{
						X: min(end.X, tx(x.at(float64(j+1)/m))+overlap), Y: min(end.Y, ty(y.at(float64(i+1)/n))+overlap),
					},
				}
				part := scale.part(v)
				c.SetColor(paint(part))
				c.Fill(r.Path())
				if l.Format != "" {
					f.heatNumber(&c, r, fmt.Sprintf(l.Format, v), part)
				}
			}
		}
	})
	if l.Color == nil || l.Name == "" {
		return []plot.Plotter{squares}, nil, nil
	}
	return []plot.Plotter{behind{squares}}, []plot.Thumbnailer{thumbFunc(func(c *draw.Canvas) {
		c.SetColor(l.Color)
		c.Fill(c.Rectangle.Path())
	})}, nil
}

// heatNumber writes a number into a cell, as large as a tick label if the cell is wide enough.
func (f *frame) heatNumber(c *draw.Canvas, r vg.Rectangle, number string, part float64) {
	style := f.theme.style(sizeTick, false, f.theme.Ink)
	if part > 0.55 {
		style.Color = color.White
	}
	if room := 0.86 * r.Size().X; style.Width(number) > room {
		style.Font.Size *= room / style.Width(number)
	}
	style.XAlign, style.YAlign = draw.XCenter, draw.YCenter
	c.FillText(style, vg.Point{X: (r.Min.X + r.Max.X) / 2, Y: (r.Min.Y + r.Max.Y) / 2}, number)
}

// heatColor returns the color at u in [0, 1] of a range from near white over orange to dark red.
func heatColor(u float64) color.NRGBA {
	return ramp(u, [3]float64{0xfb, 0xf6, 0xee}, [3]float64{0xf6, 0xc2, 0x7a}, [3]float64{0xd5, 0x5e, 0x2a},
		[3]float64{0x6b, 0x10, 0x1e})
}

// colors is a scale with its ends.
type colors struct {
	interval
	log         bool
	under, over bool // values lie beyond an end
}

// newColors returns the scale of heat maps.
func newColors(s *Scale, maps ...Heat) *colors {
	values, positive := interval{0, 0}, nothing
	for _, l := range maps {
		for _, row := range l.Values {
			for _, v := range row {
				if !math.IsNaN(v) {
					values = values.join(span(v))
				}
				if v > 0 {
					positive = positive.join(span(v))
				}
			}
		}
	}
	c := &colors{interval: values, log: s.Log}
	if s.Log && !positive.empty() {
		c.interval = positive
	}
	if s.Range != [2]float64{} {
		c.interval = interval{s.Range[0], s.Range[1]}
	}
	if !(c.hi > c.lo) {
		c.hi = c.lo + 1
		if s.Log {
			c.lo = c.hi / 10
		}
	}
	c.over, c.under = values.hi > c.hi, s.Log && positive.lo < c.lo || !s.Log && values.lo < c.lo
	return c
}

// part returns the place of a value between the ends, 0 to 1.
func (c *colors) part(v float64) float64 {
	lo, hi := c.lo, c.hi
	if c.log {
		v, lo, hi = math.Log(max(v, lo)), math.Log(lo), math.Log(hi)
	}
	if !(hi > lo) {
		return 0
	}
	return min(1, max(0, (v-lo)/(hi-lo)))
}

// colorBar is the bar of a scale.
type colorBar struct {
	*colors
	theme *Theme
	label string
}

const barWidth = 1.1 // in units of the font size

// ticks returns the ticks of a bar of a height.
func (b *colorBar) ticks(h vg.Length) []plot.Tick {
	axis := Axis{Log: b.log}
	return axis.ticks(b.interval, clampTicks(float64(h/b.theme.em(1.5))))
}

// width returns the width of bar, numbers and label for a bar of a height.
func (b *colorBar) width(h vg.Length) vg.Length {
	tick, label := b.theme.style(sizeTick, false, b.theme.Muted), b.theme.style(sizeLabel, false, b.theme.Ink)
	var numbers vg.Length
	for _, t := range b.ticks(h) {
		numbers = max(numbers, tick.Width(t.Label))
	}
	return b.theme.em(1+barWidth+0.6+labelGap) + numbers + label.Height(typeset.Wrap(label, b.label, h))
}

// draw draws the bar into r, which leaves room for the label, from its left edge.
func (b *colorBar) draw(c draw.Canvas, r vg.Rectangle) {
	const steps = 128
	th := b.theme
	left, right, height := r.Min.X+th.em(1), r.Min.X+th.em(1+barWidth), r.Size().Y
	at := func(u float64) vg.Length { return r.Min.Y + vg.Length(u)*height }
	for i := range steps {
		u := float64(i) / steps
		c.SetColor(heatColor(u + 0.5/steps))
		// Strips overlap: the seams of adjacent ones would be visible.
		c.Fill(vg.Rectangle{Min: vg.Point{X: left, Y: at(u)}, Max: vg.Point{X: right, Y: at(math.Min(1, u+1.5/steps))}}.Path())
	}
	point := func(beyond bool, u float64, length vg.Length) {
		if beyond {
			c.FillPolygon(heatColor(u), []vg.Point{{X: left, Y: at(u)}, {X: right, Y: at(u)},
				{X: (left + right) / 2, Y: at(u) + length}})
		}
	}
	point(b.over, 1, th.em(0.8))
	point(b.under, 0, -th.em(0.8))
	line := draw.LineStyle{Color: th.Muted, Width: vg.Points(0.6)}
	tick := th.style(sizeTick, false, th.Muted)
	tick.YAlign = draw.YCenter
	var numbers vg.Length
	for _, t := range b.ticks(height) {
		y := at(b.part(t.Value))
		if !t.IsMinor() {
			c.StrokeLine2(line, right, y, right+th.em(0.3), y)
			c.FillText(tick, vg.Point{X: right + th.em(0.45), Y: y + tick.FontExtents().Descent}, t.Label)
			numbers = max(numbers, tick.Width(t.Label))
		}
	}
	label := th.style(sizeLabel, false, th.Ink)
	label.XAlign, label.YAlign, label.Rotation = draw.XCenter, draw.YTop, math.Pi/2
	c.FillText(label, vg.Point{X: right + th.em(0.6+labelGap) + numbers, Y: (r.Min.Y + r.Max.Y) / 2},
		typeset.Wrap(label, b.label, height))
}
