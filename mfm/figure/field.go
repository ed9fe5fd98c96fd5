package figure

import (
	"fmt"
	"image/color"
	"math"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// Quiver is a vector field, as arrows on a grid over the range of the axes. The longest arrow is as long as the
// grid's spacing; the others are in proportion, which needs Panel.Equal for directions to be true.
type Quiver struct {
	Name  string // in the legend; empty for no entry
	F     func(x, y float64) (u, v float64)
	Grid  int         // arrows along each axis; 0 means 15
	Color color.Color // nil: that of the axes
}

func (l Quiver) info() info { return info{kind: "Quiver", name: l.Name, color: l.Color} }

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
	at, vectors := make(plotter.XYs, 0, n*n), make(plotter.XYs, 0, n*n)
	longest := 0.0
	for i := range n * n {
		x, y := cell(f.x, i%n, n), cell(f.y, i/n, n)
		u, v := l.F(x, y)
		if !finite(u) || !finite(v) {
			return nil, nil, fmt.Errorf("F(%.4g, %.4g) = (%v, %v), want finite values", x, y, u, v)
		}
		at, vectors = append(at, plotter.XY{X: x, Y: y}), append(vectors, plotter.XY{X: u, Y: v})
		longest = max(longest, math.Hypot(u, v))
	}
	sty := draw.LineStyle{Color: f.theme.Muted, Width: vg.Points(0.55 * f.theme.LineWidth)}
	if l.Color != nil {
		sty.Color = l.Color
	}
	arrows := plotterFunc(func(c draw.Canvas, p *plot.Plot) {
		if longest == 0 {
			return
		}
		tx, ty := p.Transforms(&c)
		unit := min(c.Max.X-c.Min.X, c.Max.Y-c.Min.Y) / vg.Length(float64(n)*longest)
		for i, v := range vectors {
			arrow(&c, sty, vg.Point{X: tx(at[i].X), Y: ty(at[i].Y)}, vg.Point{X: vg.Length(v.X), Y: vg.Length(v.Y)}.Scale(unit))
		}
	})
	thumb := thumbFunc(func(c *draw.Canvas) {
		arrow(c, sty, c.Center(), vg.Point{X: 0.8 * (c.Max.X - c.Min.X)})
	})
	return []plot.Plotter{arrows}, []plot.Thumbnailer{thumb}, nil
}

// arrow draws v with its middle at pt; its head shrinks with it.
func arrow(c *draw.Canvas, sty draw.LineStyle, pt, v vg.Point) {
	length := vg.Length(math.Hypot(float64(v.X), float64(v.Y)))
	if length < sty.Width/2 {
		return
	}
	along := v.Scale(1 / length)
	across := vg.Point{X: -along.Y, Y: along.X}
	head := min(4.2*sty.Width, 0.5*length)
	tail, tip := pt.Sub(v.Scale(0.5)), pt.Add(v.Scale(0.5))
	neck := tip.Sub(along.Scale(head))
	c.StrokeLine2(sty, tail.X, tail.Y, neck.X, neck.Y)
	c.FillPolygon(sty.Color, []vg.Point{tip, neck.Add(across.Scale(0.42 * head)), neck.Sub(across.Scale(0.42 * head))})
}

// Paths is a bundle of trajectories, each drawn as a thin line from a ring at its start to a disc at its end.
type Paths struct {
	Name  string
	Paths [][][]float64 // [n][steps][dim]; the first two coordinates are drawn
	Alpha float64       // opacity of the lines in (0, 1]; 0 means 0.55
	Color color.Color   // nil: from the palette
}

func (l Paths) info() info { return info{kind: "Paths", name: l.Name, color: l.Color, colored: true} }

func (l Paths) check() error {
	if len(l.Paths) == 0 {
		return fmt.Errorf("Paths is empty")
	}
	if !(l.Alpha >= 0 && l.Alpha <= 1) {
		return fmt.Errorf("Alpha = %v, want 0 to 1", l.Alpha)
	}
	for i, p := range l.Paths {
		if err := checkPoints(fmt.Sprintf("Paths[%d]", i), p); err != nil {
			return err
		}
	}
	return nil
}

func (l Paths) extent(bool) (x, y interval) {
	x, y = nothing, nothing
	for _, p := range l.Paths {
		px, py := extentOf(p)
		x, y = x.join(px), y.join(py)
	}
	return x, y
}

func (l Paths) draw(f *frame) ([]plot.Plotter, []plot.Thumbnailer, error) {
	alpha := l.Alpha
	if alpha == 0 {
		alpha = 0.55
	}
	var (
		ps          []plot.Plotter
		starts, end plotter.XYs
	)
	for _, path := range l.Paths {
		xys := make(plotter.XYs, len(path))
		for i, p := range path {
			xys[i] = plotter.XY{X: p[0], Y: p[1]}
		}
		line, err := plotter.NewLine(xys)
		if err != nil {
			return nil, nil, err
		}
		line.LineStyle = f.line(0.5)
		line.LineStyle.Color = fade(f.color, alpha)
		ps = append(ps, line)
		starts, end = append(starts, xys[0]), append(end, xys[len(xys)-1])
	}
	marks := ends{f.color, f.theme.Background, vg.Points(1.1 * f.theme.PointRadius), vg.Points(0.5 * f.theme.LineWidth)}
	ps = append(ps, plotterFunc(func(c draw.Canvas, p *plot.Plot) {
		tx, ty := p.Transforms(&c)
		for i := range starts {
			marks.start(&c, vg.Point{X: tx(starts[i].X), Y: ty(starts[i].Y)})
		}
		for i := range end {
			marks.end(&c, vg.Point{X: tx(end[i].X), Y: ty(end[i].Y)})
		}
	}))
	thumb := thumbFunc(func(c *draw.Canvas) {
		y := c.Center().Y
		c.StrokeLine2(f.line(0.5), c.Min.X, y, c.Max.X, y)
		marks.start(c, vg.Point{X: c.Min.X + marks.radius, Y: y})
		marks.end(c, vg.Point{X: c.Max.X - marks.radius, Y: y})
	})
	return ps, []plot.Thumbnailer{thumb}, nil
}

// ends draws the marks at the ends of a trajectory.
type ends struct {
	color, inside color.Color
	radius, width vg.Length
}

func (e ends) start(c *draw.Canvas, pt vg.Point) {
	if !c.Contains(pt) {
		return
	}
	var ring vg.Path
	ring.Move(pt.Add(vg.Point{X: e.radius}))
	ring.Arc(pt, e.radius, 0, 2*math.Pi)
	ring.Close()
	c.SetColor(e.inside)
	c.Fill(ring)
	c.SetLineStyle(draw.LineStyle{Color: e.color, Width: e.width})
	c.Stroke(ring)
}

func (e ends) end(c *draw.Canvas, pt vg.Point) {
	c.DrawGlyph(draw.GlyphStyle{Color: e.color, Radius: 1.2 * e.radius, Shape: draw.CircleGlyph{}}, pt)
}
