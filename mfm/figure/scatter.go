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
	Name   string
	Points [][]float64 // [n][dim]; the first two coordinates are drawn
	Alpha  float64     // opacity in (0, 1]; 0 takes one that falls with the number of points
	Size   float64     // radius in units of Theme.PointRadius; 0 takes one that falls with the number of points
	Color  color.Color // nil: from the palette
}

func (l Scatter) info() info {
	return info{kind: "Scatter", name: l.Name, color: l.Color, colored: true}
}

func (l Scatter) check() error {
	if !(l.Alpha >= 0 && l.Alpha <= 1) {
		return fmt.Errorf("Alpha = %v, want 0 to 1", l.Alpha)
	}
	if !(l.Size >= 0) || math.IsInf(l.Size, 0) {
		return fmt.Errorf("Size = %v, want 0 or more", l.Size)
	}
	return checkPoints("Points", l.Points)
}

func (l Scatter) extent(bool) (x, y interval) { return extentOf(l.Points) }

func extentOf(points [][]float64) (x, y interval) {
	x, y = nothing, nothing
	for _, p := range points {
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
	// Chosen by eye: from 100 to 10,000 points, clouds are neither faint nor solid.
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
	thumbs := []plot.Thumbnailer{dot{f.color, f.theme.em(0.26)}}
	if f.vector && len(xys) > mostVectors {
		return []plot.Plotter{f.raster(s)}, thumbs, nil
	}
	return []plot.Plotter{s}, thumbs, nil
}

// mostVectors is the number of points above which a cloud is a picture in an SVG or PDF file too: readers take
// seconds over tens of thousands of translucent discs.
const mostVectors = 2000

// raster draws a plotter as a picture of Theme.DPI, transparent where the plotter leaves it so.
func (f *frame) raster(q plot.Plotter) plot.Plotter {
	return plotterFunc(func(c draw.Canvas, p *plot.Plot) {
		size := c.Size()
		img := vgimg.NewWith(vgimg.UseWH(size.X, size.Y), vgimg.UseDPI(f.theme.DPI), vgimg.UseBackgroundColor(color.Transparent))
		q.Plot(draw.NewCanvas(img, size.X, size.Y), p)
		c.DrawImage(c.Rectangle, img.Image())
	})
}

// dot is a disc in the legend, close to the name.
type dot struct {
	color  color.Color
	radius vg.Length
}

// Thumbnail implements [plot.Thumbnailer].
func (d dot) Thumbnail(c *draw.Canvas) {
	c.DrawGlyphNoClip(draw.GlyphStyle{Color: d.color, Radius: d.radius, Shape: draw.CircleGlyph{}},
		vg.Point{X: c.Max.X - 1.3*d.radius, Y: c.Center().Y})
}
