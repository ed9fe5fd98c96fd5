package figure

import (
	"fmt"
	"image/color"
	"math"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// Heat is a heat map with the value of each cell written on it, which replaces a color bar. Row i
// of Values runs along x, at the i-th height from below. Both axes must be linear.
type Heat struct {
	// Values are the values of the cells, [rows][columns], up to 256 each. They must be finite and
	// at least 0. NaN leaves a cell empty.
	Values [][]float64
	// X and Y are the ends of the map along each axis. The zero value means 0 to 1.
	X, Y [2]float64
	// Most is the value of the darkest color. 0 means the largest of Values. Panels that are
	// compared need the same value.
	Most float64
	// Format is the format of the numbers, as in fmt.Sprintf. Empty means %.2f, and "-" means no
	// numbers.
	Format string
}

const heatMaxCells = 256 // along an axis

func (l Heat) info() info { return info{kind: "Heat"} }

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
	if l.Most < 0 || !finite(l.Most) {
		return fmt.Errorf("Most = %v, want a finite number of at least 0", l.Most)
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
	most := l.Most
	for _, row := range l.Values {
		for _, v := range row {
			if l.Most == 0 && v > most {
				most = v
			}
		}
	}
	format := l.Format
	if format == "" {
		format = "%.2f"
	}
	x, y := l.extent(false)
	cells := plotterFunc(func(c draw.Canvas, p *plot.Plot) {
		tx, ty := p.Transforms(&c)
		for i, row := range l.Values {
			for j, v := range row {
				if math.IsNaN(v) {
					continue
				}
				part := 0.0 // of the range of colors
				if most > 0 {
					part = min(v/most, 1)
				}
				m, n := float64(len(row)), float64(len(l.Values))
				r := vg.Rectangle{
					Min: vg.Point{X: tx(x.at(float64(j) / m)), Y: ty(y.at(float64(i) / n))},
					Max: vg.Point{X: tx(x.at(float64(j+1) / m)), Y: ty(y.at(float64(i+1) / n))},
				}
				c.SetColor(heatColor(part))
				c.Fill(r.Path())
				if format != "-" {
					f.heatNumber(&c, r, fmt.Sprintf(format, v), part)
				}
			}
		}
	})
	return []plot.Plotter{cells}, nil, nil
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
func heatColor(u float64) color.Color {
	stops := [][3]float64{{0xfb, 0xf6, 0xee}, {0xf6, 0xc2, 0x7a}, {0xd5, 0x5e, 0x2a}, {0x6b, 0x10, 0x1e}}
	k := min(int(u*3), 2)
	u = u*3 - float64(k)
	mix := func(i int) uint8 { return uint8(stops[k][i]*(1-u) + stops[k+1][i]*u + 0.5) }
	return color.NRGBA{R: mix(0), G: mix(1), B: mix(2), A: 0xff}
}
