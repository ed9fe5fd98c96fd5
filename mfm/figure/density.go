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

// Density shades a density on the plane and draws the contours of its regions of highest density, each of which holds a
// given share of the mass. Shades follow the same shares, so that narrow and wide densities are equally visible; they
// are pale greys, for samples to be drawn on top.
//
// The density is evaluated over the range of the axes, which other layers or Axis.Range must set. Shares are of the
// mass within that range.
type Density struct {
	Name   string                     // in the legend; empty for no entry
	F      func(x, y float64) float64 // >= 0; need not be normalized
	Shares []float64                  // of the mass inside each contour, in (0, 1); nil means 0.25, 0.5, 0.75, 0.95
	Grid   int                        // points along each axis; 0 means 128
	Bare   bool                       // contours without shades
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
	for i, s := range l.Shares {
		if !(s > 0 && s < 1) {
			return fmt.Errorf("Shares[%d] = %v, want more than 0 and less than 1", i, s)
		}
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
	shares := l.Shares
	if shares == nil {
		shares = []float64{0.25, 0.5, 0.75, 0.95}
	}
	logs, levels := g.contours(shares)
	contour := plotter.NewContour(logs, levels, nil)
	contour.LineStyles = []draw.LineStyle{{Color: color.NRGBA{R: 0x50, G: 0x5a, B: 0x68, A: 0xa0}, Width: vg.Points(0.35 * f.theme.LineWidth)}}
	ps := []plot.Plotter{contour}
	if !l.Bare {
		heat := plotter.NewHeatMap(g, shades(64))
		heat.Min, heat.Max, heat.Rasterized = 0, 1, true
		ps = []plot.Plotter{heat, contour}
	}
	return ps, []plot.Thumbnailer{thumbFunc(func(c *draw.Canvas) { densityThumb(c, contour.LineStyles[0]) })}, nil
}

// densityThumb draws two nested contours.
func densityThumb(c *draw.Canvas, sty draw.LineStyle) {
	pal := shades(64)
	for _, k := range []vg.Length{1, 0.5} {
		full := (c.Max.Y - c.Min.Y) * 0.45
		at := vg.Point{X: c.Max.X - full, Y: c.Center().Y}
		var p vg.Path
		p.Move(at.Add(vg.Point{X: k * full}))
		p.Arc(at, k*full, 0, 2*math.Pi)
		p.Close()
		c.SetColor(pal[int(60-30*k)])
		c.Fill(p)
		c.SetLineStyle(sty)
		c.Stroke(p)
	}
}

// palette implements gonum's palette.Palette.
type palette []color.Color

// Colors implements gonum's palette.Palette.
func (p palette) Colors() []color.Color { return p }

// shades returns n greys, from transparent to one that black, blue and vermillion stand out on.
func shades(n int) palette {
	p := make(palette, n)
	for i := range p {
		u := float64(i) / float64(n-1)
		p[i] = color.NRGBA{R: 0x8a, G: 0x96, B: 0xa8, A: uint8(150 * u)}
	}
	return p
}

// shares is a density on a grid of cell centres. It implements [plotter.GridXYZ] with one minus the share of the mass
// at places at least as dense: near 1 at the mode, near 0 in the tails.
type shares struct {
	n       int
	x, y    interval
	z       []float64 // by row
	density []float64 // of each point, by row
	order   []int     // of the points, densest first
}

func newShares(f func(x, y float64) float64, x, y interval, n int) (*shares, error) {
	g := &shares{n: n, x: x, y: y, z: make([]float64, n*n), density: make([]float64, n*n), order: make([]int, n*n)}
	total := 0.0
	for i := range g.density {
		g.order[i] = i
		v := f(g.X(i%n), g.Y(i/n))
		if !finite(v) || v < 0 {
			return nil, fmt.Errorf("F(%.4g, %.4g) = %v, want a finite density that is not negative", g.X(i%n), g.Y(i/n), v)
		}
		g.density[i] = v
		total += v
	}
	if !(total > 0) || math.IsInf(total, 0) {
		return nil, fmt.Errorf("F sums to %v over x in [%.4g, %.4g], y in [%.4g, %.4g], want a positive mass there; set the axes' Range",
			total, x.lo, x.hi, y.lo, y.hi)
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

// contours returns the logarithm of the density, which is smoother between grid points than shares are, and its
// levels that hold the given shares of the mass.
func (g *shares) contours(masses []float64) (plotter.GridXYZ, []float64) {
	const below = 1e-30 // of the mode, is drawn as nothing
	floor := below * g.density[g.order[0]]
	c := *g
	c.z = make([]float64, len(g.z))
	for i, v := range g.density {
		c.z[i] = math.Log(max(v, floor))
	}
	levels := make([]float64, len(masses))
	for k, m := range masses {
		at, _ := slices.BinarySearchFunc(g.order, 1-m, func(i int, z float64) int { return cmp.Compare(z, g.z[i]) })
		levels[k] = c.z[g.order[min(at, len(g.order)-1)]]
	}
	return &c, levels
}

// Dims implements [plotter.GridXYZ].
func (g *shares) Dims() (c, r int) { return g.n, g.n }

// X implements [plotter.GridXYZ].
func (g *shares) X(c int) float64 { return cell(g.x, c, g.n) }

// Y implements [plotter.GridXYZ].
func (g *shares) Y(r int) float64 { return cell(g.y, r, g.n) }

// Z implements [plotter.GridXYZ].
func (g *shares) Z(c, r int) float64 { return g.z[r*g.n+c] }

// cell returns the middle of cell i of n.
func cell(iv interval, i, n int) float64 { return iv.lo + (float64(i)+0.5)/float64(n)*(iv.hi-iv.lo) }
