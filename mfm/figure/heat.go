package figure

import (
	"fmt"
	"image/color"
	"math"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// Heat is a table of numbers as cells of colour, each with its number written on it, so that no scale is needed beside it. Cells fill the unit square, or what Ends say: row i of Values runs along x at the i-th height from
// below. NaN leaves a cell empty.
type Heat struct {
	Values [][]float64 // [rows][columns]
	// X and Y are the ends of the cells along each axis; zero means 0 to 1.
	X, Y [2]float64
	// Most is the value of the darkest colour; 0 means the largest of Values. Panels that are compared have it in common.
	Most float64
	// Format of the numbers, as fmt has it; empty means %.2f, "-" writes none.
	Format string
}

const heatMost = 256 // cells along an axis

func (l Heat) info() info { return info{kind: "Heat"} }

func (l Heat) check() error {
	if len(l.Values) == 0 || len(l.Values) > heatMost {
		return fmt.Errorf("Values has %d rows, want 1 to %d", len(l.Values), heatMost)
	}
	for i, row := range l.Values {
		if len(row) == 0 || len(row) > heatMost || len(row) != len(l.Values[0]) {
			return fmt.Errorf("Values[%d] has %d numbers, want as many as the first row's %d, 1 to %d", i, len(row), len(l.Values[0]), heatMost)
		}
		for j, v := range row {
			if math.IsInf(v, 0) || v < 0 {
				return fmt.Errorf("Values[%d][%d] = %v, want a finite number that is not negative, or NaN", i, j, v)
			}
		}
	}
	for name, e := range map[string][2]float64{"X": l.X, "Y": l.Y} {
		if e != [2]float64{} && !(finite(e[0]) && finite(e[1]) && e[0] < e[1]) {
			return fmt.Errorf("%s = %v, want the first end below the second", name, e)
		}
	}
	if l.Most < 0 || !finite(l.Most) {
		return fmt.Errorf("Most = %v, want a finite number that is not negative", l.Most)
	}
	return nil
}

func (l Heat) ends() (x, y interval) {
	x, y = interval{0, 1}, interval{0, 1}
	if l.X != [2]float64{} {
		x = interval{l.X[0], l.X[1]}
	}
	if l.Y != [2]float64{} {
		y = interval{l.Y[0], l.Y[1]}
	}
	return x, y
}

func (l Heat) extent(bool) (x, y interval) { return l.ends() }

func (l Heat) draw(f *frame) ([]plot.Plotter, []plot.Thumbnailer, error) {
	if f.logX || f.logY {
		return nil, nil, fmt.Errorf("cells need linear axes")
	}
	x, y := l.ends()
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
	cells := plotterFunc(func(c draw.Canvas, p *plot.Plot) {
		tx, ty := p.Transforms(&c)
		for i, row := range l.Values {
			for j, v := range row {
				if math.IsNaN(v) {
					continue
				}
				x0, x1 := at(x, j, len(row)), at(x, j+1, len(row))
				y0, y1 := at(y, i, len(l.Values)), at(y, i+1, len(l.Values))
				share := 0.0
				if most > 0 {
					share = math.Min(v/most, 1)
				}
				c.FillPolygon(heatColor(share), []vg.Point{{X: tx(x0), Y: ty(y0)}, {X: tx(x1), Y: ty(y0)}, {X: tx(x1), Y: ty(y1)}, {X: tx(x0), Y: ty(y1)}})
				if format == "-" {
					continue
				}
				ink := f.theme.Ink
				if share > 0.55 {
					ink = color.White
				}
				// As large as the cell lets a number be, up to that of the ticks.
				style := f.theme.style(sizeTick, false, ink)
				text := fmt.Sprintf(format, v)
				if room := 0.86 * (tx(x1) - tx(x0)); style.Width(text) > room {
					style.Font.Size *= room / style.Width(text)
				}
				style.XAlign, style.YAlign = draw.XCenter, draw.YCenter
				c.FillText(style, vg.Point{X: (tx(x0) + tx(x1)) / 2, Y: (ty(y0) + ty(y1)) / 2}, text)
			}
		}
	})
	return []plot.Plotter{cells}, nil, nil
}

// at returns the lower end of cell i of n.
func at(iv interval, i, n int) float64 { return iv.lo + float64(i)/float64(n)*(iv.hi-iv.lo) }

// heatColor goes from near white by orange to dark red, for shares in [0, 1].
func heatColor(share float64) color.Color {
	stops := []color.NRGBA{{R: 0xfb, G: 0xf6, B: 0xee, A: 0xff}, {R: 0xf6, G: 0xc2, B: 0x7a, A: 0xff}, {R: 0xd5, G: 0x5e, B: 0x2a, A: 0xff}, {R: 0x6b, G: 0x10, B: 0x1e, A: 0xff}}
	u := share * float64(len(stops)-1)
	k := min(int(u), len(stops)-2)
	u -= float64(k)
	mix := func(a, b uint8) uint8 { return uint8(float64(a)*(1-u) + float64(b)*u + 0.5) }
	a, b := stops[k], stops[k+1]
	return color.NRGBA{R: mix(a.R, b.R), G: mix(a.G, b.G), B: mix(a.B, b.B), A: 0xff}
}
