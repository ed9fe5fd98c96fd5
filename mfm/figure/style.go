package figure

import (
	"cmp"
	"fmt"
	"image/color"
	"math"
	"slices"

	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// Style is how all figures draw a method, a loss, a source of samples or a reference. Layers refer
// to it by its name.
type Style struct {
	// Name is the name in configurations and results, such as "mfm-g" or "semigroup".
	Name string
	// Label is the name in the legend, unless the layer has one of its own.
	Label string
	// Color is the color of curves, bars and points, Marker the marker of a curve. Nil means no
	// marker.
	Color  color.Color
	Marker draw.GlyphDrawer
	// Dashed draws curves dashed, as those of references.
	Dashed bool
}

// Colors that remain distinct under the common forms of color blindness: seven by Okabe and Ito
// ("Color Universal Design", 2008), without their yellow, which is hard to see on white, and three
// that differ from them.
var (
	blue       = color.NRGBA{R: 0x00, G: 0x72, B: 0xB2, A: 0xff}
	vermillion = color.NRGBA{R: 0xD5, G: 0x5E, B: 0x00, A: 0xff}
	green      = color.NRGBA{R: 0x00, G: 0x9E, B: 0x73, A: 0xff}
	purple     = color.NRGBA{R: 0xCC, G: 0x79, B: 0xA7, A: 0xff}
	orange     = color.NRGBA{R: 0xE6, G: 0x9F, B: 0x00, A: 0xff}
	sky        = color.NRGBA{R: 0x56, G: 0xB4, B: 0xE9, A: 0xff}
	black      = color.NRGBA{R: 0x22, G: 0x22, B: 0x22, A: 0xff}
	plum       = color.NRGBA{R: 0x7A, G: 0x2A, B: 0x5E, A: 0xff}
	brown      = color.NRGBA{R: 0x6B, G: 0x4B, B: 0x1F, A: 0xff}
	gray       = color.NRGBA{R: 0x68, G: 0x68, B: 0x68, A: 0xff}
)

// Styles returns the styles of the methods of packages steer and tune, of the losses and
// parametrizations of package mfm, and of references. The color shows the family of a method, and
// the marker its member: a particle filter has the open marker of its twist. No two methods of
// steering, and no two of tuning, have the same color and marker.
func Styles() []Style {
	return []Style{
		{Name: "unsteered", Label: "unsteered", Color: gray, Marker: cross},
		{Name: "mfm-g", Label: "MFM-G", Color: blue, Marker: circle},
		{Name: "mfm-gf", Label: "MFM-GF", Color: green, Marker: box},
		{Name: "dps", Label: "DPS", Color: vermillion, Marker: triangle},
		{Name: "weighted-diamond", Label: "weighted diamond", Color: brown, Marker: diamond},
		{Name: "best-of-n", Label: "Best-of-N", Color: purple, Marker: diamond},
		{Name: "best-of-n-one-step", Label: "Best-of-N, one step", Color: purple, Marker: diamond.hollow()},
		{Name: "fmrg-e", Label: "FMRG-E", Color: plum, Marker: circle},
		{Name: "fmrg-j", Label: "FMRG-J", Color: plum, Marker: box},
		{Name: "smc-none", Label: "SMC", Color: orange, Marker: plus},
		{Name: "smc-mfm-g", Label: "SMC, twist MFM-G", Color: orange, Marker: circle.hollow()},
		{Name: "smc-mfm-gf", Label: "SMC, twist MFM-GF", Color: orange, Marker: box.hollow()},
		{Name: "smc-dps", Label: "SMC, twist DPS", Color: orange, Marker: triangle.hollow()},
		{Name: "smc-weighted-diamond", Label: "SMC, twist weighted diamond", Color: orange, Marker: diamond.hollow()},
		{Name: "smc-exact", Label: "SMC, exact twist", Color: orange, Marker: cross},
		{Name: "search-greedy-renoise", Label: "search, greedy", Color: sky, Marker: triangle},
		{Name: "search-greedy-ddpm", Label: "search, greedy, DDPM", Color: sky, Marker: triangle.hollow()},
		{Name: "search-softmax-renoise", Label: "search, softmax", Color: sky, Marker: box},
		{Name: "search-softmax-ddpm", Label: "search, softmax, DDPM", Color: sky, Marker: box.hollow()},
		{Name: "search-max-overall-renoise", Label: "search, maximum", Color: sky, Marker: circle},
		{Name: "search-max-overall-ddpm", Label: "search, maximum, DDPM", Color: sky, Marker: circle.hollow()},

		{Name: "mfm-ft", Label: "MFM-FT", Color: plum, Marker: triangle},
		{Name: "mfm-ft-gf", Label: "MFM-FT, gradient-free", Color: orange, Marker: triangle},
		{Name: "plug-in-mfm-g", Label: "plug-in MFM-G", Color: blue, Marker: circle.hollow()},
		{Name: "plug-in-mfm-gf", Label: "plug-in MFM-GF", Color: green, Marker: box.hollow()},
		{Name: "plug-in-exact", Label: "plug-in exact", Color: black, Marker: diamond.hollow()},
		{Name: "reward-weighted", Label: "reward-weighted", Color: vermillion, Marker: diamond},
		{Name: "adjoint", Label: "adjoint matching", Color: sky, Marker: diamond},

		{Name: "semigroup", Label: "semigroup", Color: blue, Marker: circle},
		{Name: "meanflow", Label: "mean flow", Color: orange, Marker: box},
		{Name: "eulerian", Label: "Eulerian", Color: green, Marker: triangle},
		{Name: "lagrangian", Label: "Lagrangian", Color: vermillion, Marker: diamond},
		{Name: "energy", Label: "energy", Color: purple, Marker: circle.hollow()},

		{Name: "gaussian", Label: "gaussian", Color: blue, Marker: circle},
		{Name: "unfused", Label: "unfused", Color: green, Marker: box},
		{Name: "diagonal", Label: "diagonal", Color: purple, Marker: cross}, // also the loss of that name
		{Name: "plain", Label: "plain", Color: vermillion, Marker: triangle},
		{Name: "anchored", Label: "anchored", Color: orange, Marker: diamond},
		{Name: "mixture", Label: "mixture", Color: sky, Marker: circle.hollow()},

		{Name: "map", Label: "one-step samples", Color: blue, Marker: circle},
		{Name: "refine", Label: "flow map, fresh noise between steps", Color: sky, Marker: box},
		{Name: "ode", Label: "ODE", Color: vermillion, Marker: triangle},
		{Name: "prior", Label: "no network", Color: orange, Marker: diamond},
		{Name: "points", Label: "training set as points", Color: green, Marker: box},
		{Name: "glass", Label: "GLASS", Color: purple, Marker: diamond},
		{Name: "denoiser", Label: "denoiser", Color: brown, Marker: triangle},

		{Name: "exact", Label: "exact", Color: black, Dashed: true},
		{Name: "floor", Label: "sampling floor", Color: color.Gray{Y: 0x8c}, Dashed: true},
		{Name: "data", Label: "data", Color: brown, Dashed: true},
	}
}

// Label returns the label of a style of the theme, or the name itself if it has no style.
func (th *Theme) Label(name string) string {
	s, _ := th.lookup(name)
	return cmp.Or(s.Label, name)
}

// lookup returns the style of a name.
func (th *Theme) lookup(name string) (Style, error) {
	i := slices.IndexFunc(th.Styles, func(s Style) bool { return s.Name == name })
	if i < 0 {
		return Style{}, fmt.Errorf("style %q is not one of Theme.Styles; add it, or set Name and Color", name)
	}
	return th.Styles[i], nil
}

// Ordered returns the color of value i of n, i from 0 to n-1, of an ordered quantity, such as a
// time: from dark blue over purple to orange. Its lightness rises, so that the order is visible
// without hue.
func Ordered(i, n int) color.Color {
	return ramp(float64(i)/math.Max(1, float64(n-1)),
		[3]float64{0x1c, 0x14, 0x8c}, [3]float64{0x8a, 0x0d, 0xa3}, [3]float64{0xd6, 0x4e, 0x6c}, [3]float64{0xf5, 0xa0, 0x3a})
}

// ramp returns the color at u in [0, 1] of equally spaced colors.
func ramp(u float64, stops ...[3]float64) color.NRGBA {
	u = math.Min(1, math.Max(0, u)) * float64(len(stops)-1)
	k := min(int(u), len(stops)-2)
	u -= float64(k)
	mix := func(i int) uint8 { return uint8(stops[k][i]*(1-u) + stops[k+1][i]*u + 0.5) }
	return color.NRGBA{R: mix(0), G: mix(1), B: mix(2), A: 0xff}
}

// marker is a shape around the origin with a size near 1.
type marker struct {
	points []vg.Point // corners of a polygon, or ends of strokes; nil for a circle
	stroke bool       // each pair of points is a line
	open   bool       // white inside
}

var (
	circle   = marker{}
	box      = marker{points: []vg.Point{{X: -0.9, Y: -0.9}, {X: 0.9, Y: -0.9}, {X: 0.9, Y: 0.9}, {X: -0.9, Y: 0.9}}}
	triangle = marker{points: []vg.Point{{X: -1.1, Y: -0.8}, {X: 1.1, Y: -0.8}, {Y: 1.15}}}
	diamond  = marker{points: []vg.Point{{X: -1.2}, {Y: -1.2}, {X: 1.2}, {Y: 1.2}}}
	cross    = marker{stroke: true, points: []vg.Point{{X: -1, Y: -1}, {X: 1, Y: 1}, {X: -1, Y: 1}, {X: 1, Y: -1}}}
	plus     = marker{stroke: true, points: []vg.Point{{X: -1.2}, {X: 1.2}, {Y: -1.2}, {Y: 1.2}}}
)

// hollow returns the marker with a white inside.
func (m marker) hollow() marker {
	m.open = true
	return m
}

// DrawGlyph implements [draw.GlyphDrawer].
func (m marker) DrawGlyph(c *draw.Canvas, sty draw.GlyphStyle, pt vg.Point) {
	at := func(i int) vg.Point { return pt.Add(m.points[i%len(m.points)].Scale(sty.Radius)) }
	c.SetLineStyle(draw.LineStyle{Color: sty.Color, Width: 0.5 * sty.Radius})
	var p vg.Path
	switch {
	case m.stroke:
		for i := 0; i < len(m.points); i += 2 {
			p.Move(at(i))
			p.Line(at(i + 1))
		}
		c.Stroke(p)
		return
	case m.points == nil:
		p.Move(pt.Add(vg.Point{X: sty.Radius}))
		p.Arc(pt, sty.Radius, 0, 2*math.Pi)
	default:
		p.Move(at(0))
		for i := range m.points {
			p.Line(at(i + 1))
		}
	}
	p.Close()
	c.SetColor(sty.Color)
	if m.open {
		c.SetColor(color.White)
	}
	c.Fill(p)
	if m.open {
		c.SetColor(sty.Color)
		c.Stroke(p)
	}
}
