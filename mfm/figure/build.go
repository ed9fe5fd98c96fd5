package figure

import (
	"fmt"
	"image/color"
	"math"
	"slices"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// look is the colour, dashes and marker of a name.
type look struct {
	color  color.Color
	dashes []vg.Length
	marker draw.GlyphDrawer
}

// looks gives every name of the figure its look, in order of appearance.
func (f *Figure) looks(panels []*Panel) map[string]look {
	markers := []draw.GlyphDrawer{draw.CircleGlyph{}, draw.BoxGlyph{}, draw.PyramidGlyph{}, diamond{}}
	th := &f.Theme
	out := make(map[string]look)
	used, marked := 0, 0
	for _, p := range panels {
		if p == nil {
			continue
		}
		for _, l := range p.layers {
			in := l.info()
			if _, known := out[in.name]; known || !in.colored {
				continue
			}
			k := look{marker: markers[marked%len(markers)]}
			marked++
			switch fixed := th.Colors[in.name]; {
			case in.color != nil:
				k.color = in.color
			case fixed != nil:
				k.color = fixed
			default:
				k.color = th.Palette[used%len(th.Palette)]
				if used >= len(th.Palette) {
					k.dashes = []vg.Length{vg.Points(4 * th.LineWidth), vg.Points(2 * th.LineWidth)}
				}
				used++
			}
			out[in.name] = k
		}
	}
	return out
}

// diamond is a filled square on its corner.
type diamond struct{}

// DrawGlyph implements [draw.GlyphDrawer].
func (diamond) DrawGlyph(c *draw.Canvas, sty draw.GlyphStyle, pt vg.Point) {
	r := 1.2 * sty.Radius
	c.FillPolygon(sty.Color, []vg.Point{{X: pt.X - r, Y: pt.Y}, {X: pt.X, Y: pt.Y - r}, {X: pt.X + r, Y: pt.Y}, {X: pt.X, Y: pt.Y + r}})
}

// ranges returns the ends of both axes of every panel.
func (f *Figure) ranges(panels []*Panel) (xs, ys []interval, err error) {
	xs, ys = make([]interval, len(panels)), make([]interval, len(panels))
	allX, allY := nothing, nothing
	for i, p := range panels {
		if p == nil {
			continue
		}
		xs[i], ys[i] = p.extent()
		allX, allY = allX.join(xs[i]), allY.join(ys[i])
	}
	for i, p := range panels {
		if p == nil {
			continue
		}
		if _, ok := p.images(); ok {
			continue
		}
		if f.ShareX {
			xs[i] = allX
		}
		if f.ShareY {
			ys[i] = allY
		}
		data := ys[i]
		if xs[i], err = p.X.resolve("X", xs[i]); err == nil {
			ys[i], err = p.Y.resolve("Y", ys[i])
		}
		if err != nil {
			return nil, nil, f.at(i, err)
		}
		if data.lo == 0 && p.hasBars() && p.Y.Range == [2]float64{} {
			ys[i].lo = 0 // bars stand on the axis
		}
	}
	return xs, ys, nil
}

func (p *Panel) hasBars() bool {
	return slices.ContainsFunc(p.layers, func(l Layer) bool { return l.info().bars })
}

// build returns what each panel holds, and the entries of the legend.
func (f *Figure) build(format string) ([]content, []entry, error) {
	panels, err := f.check()
	if err != nil {
		return nil, nil, err
	}
	xs, ys, err := f.ranges(panels)
	if err != nil {
		return nil, nil, err
	}
	var (
		looks    = f.looks(panels)
		contents = make([]content, len(panels))
		legend   []entry
		count    int
	)
	for i, p := range panels {
		if p == nil {
			continue
		}
		title := panelTitle{theme: &f.Theme, text: p.Title}
		if f.Theme.Letters {
			title.text = strings.TrimSpace("(" + letters(count) + ") " + title.text)
			count++
		}
		if pictures, ok := p.images(); ok {
			contents[i] = &imageContent{pictures, &f.Theme, title}
			continue
		}
		c, err := f.axes(panels, i, xs[i], ys[i])
		if err != nil {
			return nil, nil, f.at(i, err)
		}
		entries, err := f.addLayers(c, p, frame{theme: &f.Theme, vector: format != "png", x: xs[i], y: ys[i]}, looks)
		if err != nil {
			return nil, nil, f.at(i, err)
		}
		c.title = title
		contents[i], legend = c, mergeEntries(legend, entries)
	}
	return contents, legend, nil
}

// axes returns the empty plot of panel i, with its grid.
func (f *Figure) axes(panels []*Panel, i int, x, y interval) (*plotContent, error) {
	p := panels[i]
	c := &plotContent{theme: &f.Theme, plot: f.Theme.axes(p.X, p.Y, x, y), aspect: p.Aspect, fixed: p.Equal}
	if c.aspect == 0 {
		c.aspect = f.Theme.Aspect
	}
	if p.Equal {
		c.aspect = (y.hi - y.lo) / (x.hi - x.lo)
		if !(c.aspect > 0.02 && c.aspect < 50) {
			return nil, fmt.Errorf("x spans %.3g and y %.3g, too unlike for Equal; set the axes' Range", x.hi-x.lo, y.hi-y.lo)
		}
	}
	width := f.columnWidth(i%f.cols) * 72 / f.Theme.FontSize // in units of the font size
	nx, ny := clampTicks(width/3), clampTicks(width*c.aspect/2.2)
	if p.Equal { // the same numbers along both axes
		step := max(tickStep(x, nx), tickStep(y, ny))
		nx, ny = ticksWithin(x, step), ticksWithin(y, step)
	}
	ticksX, ticksY := f.ticksX(p.X, x, nx, inches(f.columnWidth(i%f.cols))), p.Y.ticks(y, ny)
	gridX := ticksX
	if len(p.X.Categories) > 0 {
		gridX, c.plot.X.Tick.LineStyle.Width = nil, 0
	}
	c.plot.Add(bare{gridLines(f.Theme.Grid, gridX, ticksY)})
	if f.ShareX && !f.lowest(panels, i) {
		ticksX, c.plot.X.Label.Text = unlabelled(ticksX), ""
	}
	if f.ShareY && !f.leftmost(panels, i) {
		ticksY, c.plot.Y.Label.Text = unlabelled(ticksY), ""
	}
	c.plot.X.Tick.Marker, c.plot.Y.Tick.Marker = plot.ConstantTicks(ticksX), plot.ConstantTicks(ticksY)
	// gonum centres the labels of logarithmic axes in the wrong place: we write them.
	c.labelX, c.labelY = c.plot.X.Label.Text, c.plot.Y.Label.Text
	c.plot.X.Label.Text, c.plot.Y.Label.Text = "", ""
	return c, nil
}

// addLayers draws the layers of a panel into its plot, and returns their entries of the legend.
func (f *Figure) addLayers(c *plotContent, p *Panel, fr frame, looks map[string]look) ([]entry, error) {
	fr.logX, fr.logY = p.X.Log, p.Y.Log
	for _, l := range p.layers {
		if l.info().bars {
			fr.ofBars++
		}
	}
	var (
		entries []entry
		front   []plot.Plotter
	)
	for i, l := range p.layers {
		in := l.info()
		own := fr
		own.look = looks[in.name]
		if in.color != nil {
			own.color = in.color
		}
		ps, thumbs, err := l.draw(&own)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", layerName(i, in), err)
		}
		for _, q := range ps {
			if b, ok := q.(behind); ok {
				c.plot.Add(bare(b))
			} else {
				front = append(front, bare{q})
			}
		}
		if in.bars {
			fr.bar++
		}
		if in.name != "" && len(thumbs) > 0 {
			entries = append(entries, entry{in.name, thumbs})
		}
	}
	c.plot.Add(front...)
	return entries, nil
}

// ticksX returns at most n ticks of an x axis of a width, fewer where their labels would touch; the names of
// categories are broken into lines instead.
func (f *Figure) ticksX(a Axis, iv interval, n int, width vg.Length) []plot.Tick {
	style := f.Theme.style(sizeTick, false, f.Theme.Muted)
	if k := len(a.Categories); k > 0 {
		ticks := a.ticks(iv, k)
		for i := range ticks {
			ticks[i].Label = wrap(style, ticks[i].Label, width/vg.Length(k)-f.Theme.em(0.9))
		}
		return ticks
	}
	for ; ; n-- {
		ticks := a.ticks(iv, n)
		var needed vg.Length
		for _, t := range ticks {
			if !t.IsMinor() {
				needed += style.Width(t.Label) + f.Theme.em(0.7)
			}
		}
		if needed <= width || n <= 2 || len(a.Ticks) > 0 {
			return ticks
		}
	}
}

// clampTicks returns a number of ticks for the number that there is room for.
func clampTicks(room float64) int { return int(math.Min(7, math.Max(2, room))) }

// lowest reports whether no panel with axes is below panel i.
func (f *Figure) lowest(panels []*Panel, i int) bool {
	for j := i + f.cols; j < len(panels); j += f.cols {
		if hasAxes(panels[j]) {
			return false
		}
	}
	return true
}

// leftmost reports whether no panel with axes is to the left of panel i.
func (f *Figure) leftmost(panels []*Panel, i int) bool {
	for j := i - i%f.cols; j < i; j++ {
		if hasAxes(panels[j]) {
			return false
		}
	}
	return true
}

func hasAxes(p *Panel) bool {
	if p == nil {
		return false
	}
	_, pictures := p.images()
	return !pictures
}

// letters returns a, b, ..., z, aa, ab, ...
func letters(i int) string {
	if i >= 26 {
		return letters(i/26-1) + letters(i%26)
	}
	return string(rune('a' + i))
}
