package figure

import (
	"fmt"
	"math"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// Quiver is a vector field, drawn as arrows on a grid over the range of the axes. The longest arrow
// is as long as the spacing of the grid, and the lengths of the others are proportional. Both axes
// must be linear. Set Panel.Equal to show directions without distortion.
type Quiver struct {
	// Name appears in the legend. Empty means no entry.
	Name string
	// F returns the vector (u, v) at (x, y). It must be finite on the grid.
	F func(x, y float64) (u, v float64)
	// Grid is the number of arrows along each axis, 1 to 200. 0 means 15.
	Grid int
}

func (l Quiver) info() info { return info{kind: "Quiver", name: l.Name} }

func (l Quiver) check() error {
	if l.F == nil {
		return fmt.Errorf("F is nil")
	}
	if l.Grid < 0 || l.Grid > 200 {
		return fmt.Errorf("Grid = %d, want 1 to 200, or 0", l.Grid)
	}
	return nil
}

func (l Quiver) extent(bool) (x, y interval) { return nothing, nothing }

func (l Quiver) draw(f *frame) ([]plot.Plotter, []plot.Thumbnailer, error) {
	if f.logX || f.logY {
		return nil, nil, fmt.Errorf("a vector field needs linear axes")
	}
	n := l.Grid
	if n == 0 {
		n = 15
	}
	at, vectors := make(plotter.XYs, n*n), make(plotter.XYs, n*n)
	longest := 0.0
	for i := range at {
		x, y := f.x.at((float64(i%n)+0.5)/float64(n)), f.y.at((float64(i/n)+0.5)/float64(n))
		u, v := l.F(x, y)
		if !finite(u) || !finite(v) {
			return nil, nil, fmt.Errorf("F(%.4g, %.4g) = (%v, %v), want finite values", x, y, u, v)
		}
		at[i], vectors[i] = plotter.XY{X: x, Y: y}, plotter.XY{X: u, Y: v}
		longest = max(longest, math.Hypot(u, v))
	}
	sty := draw.LineStyle{Color: f.theme.Muted, Width: f.widths(0.55)}
	arrows := plotterFunc(func(c draw.Canvas, p *plot.Plot) {
		if longest == 0 {
			return
		}
		tx, ty := p.Transforms(&c)
		unit := min(c.Max.X-c.Min.X, c.Max.Y-c.Min.Y) / vg.Length(float64(n)*longest)
		for i, v := range vectors {
			pt := vg.Point{X: tx(at[i].X), Y: ty(at[i].Y)}
			arrow(&c, sty, pt, vg.Point{X: vg.Length(v.X), Y: vg.Length(v.Y)}.Scale(unit))
		}
	})
	thumb := thumbFunc(func(c *draw.Canvas) {
		arrow(c, sty, c.Center(), vg.Point{X: 0.8 * (c.Max.X - c.Min.X)})
	})
	return []plot.Plotter{arrows}, []plot.Thumbnailer{thumb}, nil
}

// arrow draws v centered at pt. The head of a short arrow is smaller.
func arrow(c *draw.Canvas, sty draw.LineStyle, pt, v vg.Point) {
	length := vg.Length(math.Hypot(float64(v.X), float64(v.Y)))
	if length < sty.Width/2 {
		return
	}
	along := v.Scale(1 / length)
	head := min(4.2*sty.Width, 0.5*length)
	side := vg.Point{X: -along.Y, Y: along.X}.Scale(0.42 * head)
	tail, tip := pt.Sub(v.Scale(0.5)), pt.Add(v.Scale(0.5))
	neck := tip.Sub(along.Scale(head))
	c.StrokeLine2(sty, tail.X, tail.Y, neck.X, neck.Y)
	c.FillPolygon(sty.Color, []vg.Point{tip, neck.Add(side), neck.Sub(side)})
}
