package figure

import (
	"cmp"
	"fmt"
	"image/color"
	"math"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// Density shades a probability density on the plane and draws the contours of the regions of
// highest density that hold 25, 50, 75 and 95 % of the mass. The shade of a point follows the mass
// of the points at least as dense, so that narrow and wide densities are equally visible. Shades
// are pale, for samples to be drawn on top. Both axes must be linear.
//
// The density is evaluated over the range of the axes, which other layers or Axis.Range must set.
// Masses are relative to the mass in that range.
type Density struct {
	// Name appears in the legend. Empty means no entry.
	Name string
	// F is the density. It must be finite and not negative, but need not be normalized.
	F func(x, y float64) float64
	// Grid is the number of points along each axis, 8 to 2048. 0 means 128.
	Grid int
	// Bare draws the contours without shades.
	Bare bool
}

const densityMaxGrid = 2048

func (l Density) info() info { return info{kind: "Density", name: l.Name} }

func (l Density) check() error {
	if l.F == nil {
		return fmt.Errorf("F is nil")
	}
	if l.Grid != 0 && (l.Grid < 8 || l.Grid > densityMaxGrid) {
		return fmt.Errorf("Grid = %d, want 8 to %d, or 0", l.Grid, densityMaxGrid)
	}
	return nil
}

func (l Density) extent(bool) (x, y interval) { return nothing, nothing }

func (l Density) draw(f *frame) ([]plot.Plotter, []plot.Thumbnailer, error) {
	if f.logX || f.logY {
		return nil, nil, fmt.Errorf("a density needs linear axes")
	}
	n := l.Grid
	if n == 0 {
		n = 128
	}
	g, err := newShares(l.F, f.x, f.y, n)
	if err != nil {
		return nil, nil, err
	}
	logs, levels := g.contours(0.25, 0.5, 0.75, 0.95)
	contour := plotter.NewContour(logs, levels, nil)
	line := color.NRGBA{R: 0x50, G: 0x5a, B: 0x68, A: 0xa0}
	contour.LineStyles = []draw.LineStyle{{Color: line, Width: f.widths(0.35)}}
	ps := []plot.Plotter{contour}
	if !l.Bare {
		heat := plotter.NewHeatMap(g, shades(64))
		heat.Min, heat.Max, heat.Rasterized = 0, 1, true
		ps = []plot.Plotter{heat, contour}
	}
	return ps, []plot.Thumbnailer{thumbFunc(func(c *draw.Canvas) { densityThumb(c, line) })}, nil
}

// densityThumb draws two nested contours.
func densityThumb(c *draw.Canvas, line color.Color) {
	pal, full := shades(64), (c.Max.Y-c.Min.Y)*0.45
	at := vg.Point{X: c.Max.X - full, Y: c.Center().Y}
	for _, k := range []vg.Length{1, 0.5} {
		c.DrawGlyphNoClip(draw.GlyphStyle{Color: pal[int(60-30*k)], Radius: k * full, Shape: draw.CircleGlyph{}}, at)
		c.DrawGlyphNoClip(draw.GlyphStyle{Color: line, Radius: k * full, Shape: draw.RingGlyph{}}, at)
	}
}

// palette implements palette.Palette of gonum/plot.
type palette []color.Color

// Colors implements palette.Palette of gonum/plot.
func (p palette) Colors() []color.Color { return p }

// shades returns n grays, from transparent to a gray on which black, blue and vermillion stand out.
func shades(n int) palette {
	p := make(palette, n)
	for i := range p {
		u := float64(i) / float64(n-1)
		p[i] = color.NRGBA{R: 0x8a, G: 0x96, B: 0xa8, A: uint8(150 * u)}
	}
	return p
}

// shares is a density on a grid of n x n points. It implements [plotter.GridXYZ]. Its values are
// one minus the share of the mass at points at least as dense: near 1 at the mode, near 0 in the
// tails.
type shares struct {
	n       int
	x, y    interval
	z       []float64 // by row
	density []float64 // of each point, by row
	order   []int     // the points by decreasing density
}

func newShares(f func(x, y float64) float64, x, y interval, n int) (*shares, error) {
	g := &shares{n: n, x: x, y: y, z: make([]float64, n*n), density: make([]float64, n*n), order: make([]int, n*n)}
	total := 0.0
	for i := range g.density {
		g.order[i] = i
		v := f(g.X(i%n), g.Y(i/n))
		if !finite(v) || v < 0 {
			return nil, fmt.Errorf("F(%.4g, %.4g) = %v, want a finite density of at least 0", g.X(i%n), g.Y(i/n), v)
		}
		g.density[i] = v
		total += v
	}
	if !(total > 0) || math.IsInf(total, 0) {
		return nil, fmt.Errorf("F sums to %v over x in [%.4g, %.4g], y in [%.4g, %.4g], want a positive mass; "+
			"set the Range of the axes", total, x.lo, x.hi, y.lo, y.hi)
	}
	slices.SortStableFunc(g.order, func(i, j int) int { return cmp.Compare(g.density[j], g.density[i]) })
	mass := 0.0
	for _, i := range g.order {
		half := g.density[i] / 2
		mass += half
		g.z[i] = 1 - mass/total
		mass += half
	}
	return g, nil
}

// contours returns the log density, which is smoother between grid points than the shares, and its
// levels that hold the given shares of the mass. A level lies between the values of two grid
// points: plotter.Contour runs out of memory on some symmetric densities with grid points at a
// level.
func (g *shares) contours(masses ...float64) (plotter.GridXYZ, []float64) {
	floor := 1e-30 * g.density[g.order[0]]
	c := *g
	c.z = make([]float64, len(g.z))
	for i, v := range g.density {
		c.z[i] = math.Log(max(v, floor))
	}
	levels := make([]float64, len(masses))
	for k, m := range masses {
		at, _ := slices.BinarySearchFunc(g.order, 1-m, func(i int, z float64) int { return cmp.Compare(z, g.z[i]) })
		at = min(at, len(g.order)-1)
		level := c.z[g.order[at]]
		next := slices.IndexFunc(g.order[at:], func(i int) bool { return c.z[i] < level-1e-9 })
		if next > 0 {
			level = (c.z[g.order[at+next-1]] + c.z[g.order[at+next]]) / 2
		}
		levels[k] = level
	}
	return &c, levels
}

// Dims implements [plotter.GridXYZ].
func (g *shares) Dims() (c, r int) { return g.n, g.n }

// X implements [plotter.GridXYZ].
func (g *shares) X(c int) float64 { return g.x.at((float64(c) + 0.5) / float64(g.n)) }

// Y implements [plotter.GridXYZ].
func (g *shares) Y(r int) float64 { return g.y.at((float64(r) + 0.5) / float64(g.n)) }

// Z implements [plotter.GridXYZ].
func (g *shares) Z(c, r int) float64 { return g.z[r*g.n+c] }

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
