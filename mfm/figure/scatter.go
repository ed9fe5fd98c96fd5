package figure

import (
	"fmt"
	"image/color"
	"math"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"
)

// Scatter is a cloud of samples.
type Scatter struct {
	// Name appears in the legend. Empty means the label of the style.
	Name string
	// Style is the name of a style of the theme, such as "mfm-g". Name and Color take precedence.
	Style string
	// Points are the samples, [n][dim]. The first two coordinates are drawn.
	Points [][]float64
	// Alpha is the opacity, in (0, 1]. 0 means a value that decreases with the number of points.
	Alpha float64
	// Size is the radius in units of Theme.PointRadius. 0 means a value that decreases with the
	// number of points.
	Size float64
	// Color is the color of the points. Nil means a color of the palette.
	Color color.Color
}

func (l Scatter) info() info {
	return info{kind: "Scatter", name: l.Name, style: l.Style, color: l.Color, colored: true}
}

func (l Scatter) check() error {
	if !(l.Alpha >= 0 && l.Alpha <= 1) {
		return fmt.Errorf("Alpha = %v, want 0 to 1", l.Alpha)
	}
	if !(l.Size >= 0) || math.IsInf(l.Size, 0) {
		return fmt.Errorf("Size = %v, want 0 or more", l.Size)
	}
	if len(l.Points) == 0 {
		return fmt.Errorf("Points is empty")
	}
	for i, p := range l.Points {
		if len(p) < 2 {
			return fmt.Errorf("Points[%d] has %d coordinates, want 2 or more", i, len(p))
		}
		if !finite(p[0]) || !finite(p[1]) {
			return fmt.Errorf("Points[%d] = (%v, %v), want finite values", i, p[0], p[1])
		}
	}
	return nil
}

func (l Scatter) extent(bool) (x, y interval) {
	x, y = nothing, nothing
	for _, p := range l.Points {
		x, y = x.join(interval{p[0], p[0]}), y.join(interval{p[1], p[1]})
	}
	return x, y
}

func (l Scatter) draw(f *frame) ([]plot.Plotter, []plot.Thumbnailer, error) {
	xys := make(plotter.XYs, len(l.Points))
	for i, p := range l.Points {
		xys[i] = plotter.XY{X: p[0], Y: p[1]}
	}
	s, err := plotter.NewScatter(xys)
	if err != nil {
		return nil, nil, err
	}
	// With these values clouds of 100 to 10,000 points are neither faint nor solid.
	alpha, size, n := l.Alpha, l.Size, float64(len(xys))
	if alpha == 0 {
		alpha = min(0.8, max(0.2, 0.65-0.2*math.Log10(n/100)))
	}
	if size == 0 {
		size = min(1, math.Pow(n/250, -0.2))
	}
	s.GlyphStyle = draw.GlyphStyle{
		Color:  fade(f.color, alpha),
		Radius: vg.Points(size * f.theme.PointRadius),
		Shape:  draw.CircleGlyph{},
	}
	dot := draw.GlyphStyle{Color: f.color, Radius: f.theme.em(0.26), Shape: draw.CircleGlyph{}}
	thumb := thumbFunc(func(c *draw.Canvas) { // a disc close to the name
		c.DrawGlyphNoClip(dot, vg.Point{X: c.Max.X - 1.3*dot.Radius, Y: c.Center().Y})
	})
	if f.vector && len(xys) > maxVectorPoints {
		return []plot.Plotter{f.raster(s)}, []plot.Thumbnailer{thumb}, nil
	}
	return []plot.Plotter{s}, []plot.Thumbnailer{thumb}, nil
}

// maxVectorPoints is the number of points above which an SVG holds a cloud as an image: browsers
// take seconds to draw tens of thousands of translucent discs.
const maxVectorPoints = 2000

// raster draws a plotter as an image of Theme.DPI on a transparent background.
func (f *frame) raster(q plot.Plotter) plot.Plotter {
	return plotterFunc(func(c draw.Canvas, p *plot.Plot) {
		size := c.Size()
		img := vgimg.NewWith(vgimg.UseWH(size.X, size.Y), vgimg.UseDPI(f.theme.DPI),
			vgimg.UseBackgroundColor(color.Transparent))
		q.Plot(draw.NewCanvas(img, size.X, size.Y), p)
		c.DrawImage(c.Rectangle, img.Image())
	})
}

// Discs are discs with given radii in the units of the axes, such as obstacles of a plane. Both
// axes must be linear.
type Discs struct {
	// Name appears in the legend.
	Name string
	// Centers are the centers, [n][2], and Radii the radii, [n], above 0.
	Centers [][]float64
	Radii   []float64
	// Color is the color of the outline, and in a pale shade of the inside. Nil means a color of the
	// palette.
	Color color.Color
}

func (l Discs) info() info { return info{kind: "Discs", name: l.Name, color: l.Color, colored: true} }

func (l Discs) check() error {
	if len(l.Centers) == 0 || len(l.Centers) != len(l.Radii) {
		return fmt.Errorf("%d Centers and %d Radii, want equal numbers above 0", len(l.Centers), len(l.Radii))
	}
	for i, r := range l.Radii {
		if !(r > 0) || math.IsInf(r, 0) {
			return fmt.Errorf("Radii[%d] = %v, want a finite number above 0", i, r)
		}
	}
	return Scatter{Points: l.Centers}.check()
}

func (l Discs) extent(bool) (x, y interval) {
	x, y = nothing, nothing
	for i, p := range l.Centers {
		r := l.Radii[i]
		x, y = x.join(interval{p[0] - r, p[0] + r}), y.join(interval{p[1] - r, p[1] + r})
	}
	return x, y
}

func (l Discs) draw(f *frame) ([]plot.Plotter, []plot.Thumbnailer, error) {
	if f.logX || f.logY {
		return nil, nil, fmt.Errorf("discs need linear axes")
	}
	line := f.line(0.7)
	ps := make([]plot.Plotter, len(l.Centers))
	for i, center := range l.Centers {
		ring := make(plotter.XYs, 73)
		for k := range ring {
			sin, cos := math.Sincos(2 * math.Pi * float64(k) / 72)
			ring[k] = plotter.XY{X: center[0] + l.Radii[i]*cos, Y: center[1] + l.Radii[i]*sin}
		}
		disc, err := area(ring, f.color)
		if err != nil {
			return nil, nil, err
		}
		disc.LineStyle = line
		ps[i] = disc
	}
	thumb := thumbFunc(func(c *draw.Canvas) {
		r, at := (c.Max.Y-c.Min.Y)*0.42, vg.Point{X: c.Max.X - (c.Max.Y-c.Min.Y)*0.5, Y: c.Center().Y}
		c.DrawGlyphNoClip(draw.GlyphStyle{Color: fade(f.color, 0.2), Radius: r, Shape: draw.CircleGlyph{}}, at)
		c.DrawGlyphNoClip(draw.GlyphStyle{Color: f.color, Radius: r, Shape: draw.RingGlyph{}}, at)
	})
	return ps, []plot.Thumbnailer{thumb}, nil
}
