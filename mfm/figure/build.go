package figure

import (
	"fmt"
	"image/color"
	"math"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"github.com/gomfm/gomfm/mfm/figure/internal/typeset"
)

// seriesStyle is the color, dashes and marker of a name.
type seriesStyle struct {
	color  color.Color
	dashes []vg.Length
	marker draw.GlyphDrawer
	mixed  bool // layers of the name have other colors
}

// styles assigns a style to each name of the figure in order of appearance.
func (f *Figure) styles(panels []*Panel) map[string]seriesStyle {
	markers := []draw.GlyphDrawer{circle, box, triangle, diamond}
	th := &f.Theme
	out := make(map[string]seriesStyle)
	used := 0 // colors of the palette
	for _, p := range panels {
		if p == nil {
			continue
		}
		for _, l := range p.layers {
			in := th.info(l)
			if !in.colored {
				continue
			}
			if s, known := out[in.name]; known {
				s.mixed = s.mixed || in.color != nil && in.color != s.color
				out[in.name] = s
				continue
			}
			s := seriesStyle{color: in.color, marker: markers[len(out)%len(markers)]}
			if s.color == nil {
				s.color = th.Palette[used%len(th.Palette)]
				if used >= len(th.Palette) {
					s.dashes = th.dashes()
				}
				used++
			}
			out[in.name] = s
		}
	}
	return out
}

// dashes returns the dashes of a curve.
func (th *Theme) dashes() []vg.Length {
	return []vg.Length{vg.Points(3 * th.LineWidth), vg.Points(2 * th.LineWidth)}
}

// ranges returns the ends of both axes of each panel.
func (f *Figure) ranges(panels []*Panel) (xs, ys []interval, err error) {
	xs, ys = make([]interval, len(panels)), make([]interval, len(panels))
	allX, allY := nothing, nothing
	for i, p := range panels {
		if p != nil {
			xs[i], ys[i] = p.extent()
			allX, allY = allX.join(xs[i]), allY.join(ys[i])
		}
	}
	for i, p := range panels {
		if !hasAxes(p) {
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
		if data.lo == 0 && p.bars() > 0 && p.Y.Range == [2]float64{} {
			ys[i].lo = 0 // bars stand on the axis
		}
	}
	return xs, ys, nil
}

// build returns the contents of the panels, the entries of the legend, and the bar of the scale,
// nil if there is none.
func (f *Figure) build(format string) ([]content, []entry, *colorBar, error) {
	panels, err := f.check()
	if err != nil {
		return nil, nil, nil, err
	}
	xs, ys, err := f.ranges(panels)
	if err != nil {
		return nil, nil, nil, err
	}
	var (
		styles   = f.styles(panels)
		contents = make([]content, len(panels))
		legend   []entry
		maps     []Heat
		bar      *colorBar
	)
	for _, p := range panels {
		maps = append(maps, p.heatMaps()...)
	}
	scale := newColors(&Scale{}, maps...)
	if f.Scale != nil {
		scale = newColors(f.Scale, maps...)
		bar = &colorBar{scale, &f.Theme, f.Scale.Label}
	}
	for i, p := range panels {
		if p == nil {
			continue
		}
		if images, ok := p.images(); ok {
			contents[i] = &imageContent{images, panelTitle{&f.Theme, p.Title}}
			continue
		}
		c, err := f.axes(panels, i, xs[i], ys[i])
		if err != nil {
			return nil, nil, nil, f.at(i, err)
		}
		fr := frame{theme: &f.Theme, vector: format != "png", x: xs[i], y: ys[i], bars: p.bars()}
		fr.logX, fr.logY, fr.scale = p.X.Log, p.Y.Log, scale
		entries, err := addLayers(c.plot, p, fr, styles)
		if err != nil {
			return nil, nil, nil, f.at(i, err)
		}
		contents[i], legend = c, mergeEntries(legend, entries)
	}
	return contents, legend, bar, nil
}

// axes returns the empty plot of panel i with its ticks and grid lines.
func (f *Figure) axes(panels []*Panel, i int, x, y interval) (*plotContent, error) {
	p := panels[i]
	c := &plotContent{plot: f.Theme.axes(p.X, p.Y, x, y), title: panelTitle{&f.Theme, p.Title}, labelX: p.X.Label,
		labelY: p.Y.Label, aspect: f.Theme.Aspect, fixed: p.Equal}
	if p.Equal {
		c.aspect = (y.hi - y.lo) / (x.hi - x.lo)
		if !(c.aspect > 0.02 && c.aspect < 50) {
			return nil, fmt.Errorf("x spans %.3g and y %.3g, too different for Equal; set the Range of the axes",
				x.hi-x.lo, y.hi-y.lo)
		}
	}
	const labels = 0.13 // of the width of the figure, estimated
	column := inches(f.Theme.Width * (1 - labels) / float64(f.cols))
	width := float64(column / f.Theme.em(1))
	nx, ny := clampTicks(width/3), clampTicks(width*c.aspect/2.2)
	if p.Equal { // the same step along both axes
		step := max(tickStep(x, nx), tickStep(y, ny))
		nx, ny = ticksWithin(x, step), ticksWithin(y, step)
	}
	ticksX, ticksY := f.ticksX(p.X, x, nx, column), p.Y.ticks(y, ny)
	gridX := ticksX
	if len(p.X.Categories) > 0 {
		gridX, c.plot.X.Tick.LineStyle.Width = nil, 0
	}
	c.plot.Add(bare{gridLines(f.Theme.Grid, gridX, ticksY)})
	if f.ShareX && !f.lowest(panels, i) {
		ticksX, c.labelX = unlabeled(ticksX), ""
	}
	if f.ShareY && slices.ContainsFunc(panels[i-i%f.cols:i], hasAxes) {
		ticksY, c.labelY = unlabeled(ticksY), ""
	}
	c.plot.X.Tick.Marker, c.plot.Y.Tick.Marker = plot.ConstantTicks(ticksX), plot.ConstantTicks(ticksY)
	return c, nil
}

// drawLayers returns the plotters of the layers of a panel, from behind to front, and their entries
// of the legend.
func drawLayers(p *Panel, fr frame, styles map[string]seriesStyle) (back, front []plot.Plotter, entries []entry, err error) {
	for i, l := range p.layers {
		in, layer := fr.theme.info(l), fr
		layer.seriesStyle = styles[in.name]
		if in.color != nil {
			layer.color = in.color
		}
		if s, err := fr.theme.lookup(in.style); err == nil { // also of layers that share a name
			if layer.marker, layer.dashes = s.Marker, nil; s.Dashed {
				layer.dashes = fr.theme.dashes()
			}
		}
		ps, thumbs, err := l.draw(&layer)
		if err != nil {
			return nil, nil, nil, fmt.Errorf("%s: %w", layerName(i, in), err)
		}
		if layer.mixed { // no color of the legend would be right in all panels
			layer.color = gray
			if _, thumbs, err = l.draw(&layer); err != nil {
				return nil, nil, nil, fmt.Errorf("%s: %w", layerName(i, in), err)
			}
		}
		for _, q := range ps {
			if b, ok := q.(behind); ok {
				back = append(back, bare(b))
			} else {
				front = append(front, bare{q})
			}
		}
		if _, ok := l.(Bars); ok {
			fr.bar++
		}
		if in.name != "" && len(thumbs) > 0 {
			line, _ := l.(Line)
			entries = append(entries, entry{in.name, thumbs, line.Dashed})
		}
	}
	return back, front, entries, nil
}

// addLayers draws the layers of a panel and its inset into a plot and returns their entries of the
// legend.
func addLayers(to *plot.Plot, p *Panel, fr frame, styles map[string]seriesStyle) ([]entry, error) {
	back, front, entries, err := drawLayers(p, fr, styles)
	if err != nil {
		return nil, err
	}
	to.Add(append(back, front...)...)
	if p.Inset != nil {
		fr.x, fr.y = interval{p.Inset.X[0], p.Inset.X[1]}, interval{p.Inset.Y[0], p.Inset.Y[1]}
		back, front, _, err := drawLayers(p, fr, styles)
		if err != nil {
			return nil, fmt.Errorf("inset: %w", err)
		}
		to.Add(bare{p.Inset.plotter(fr, append(back, front...), p.Equal)})
	}
	return entries, nil
}

// ticksX returns at most n ticks of an x axis of a width, or fewer if their labels would touch. It
// wraps the names of categories.
func (f *Figure) ticksX(a Axis, iv interval, n int, width vg.Length) []plot.Tick {
	style := f.Theme.style(sizeTick, false, f.Theme.Muted)
	if k := len(a.Categories); k > 0 {
		ticks := a.ticks(iv, k)
		for i := range ticks {
			ticks[i].Label = typeset.Wrap(style, ticks[i].Label, width/vg.Length(k)-f.Theme.em(0.9))
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

// clampTicks returns the number of ticks for the number that fits.
func clampTicks(room float64) int { return int(math.Min(7, math.Max(2, room))) }

// lowest reports whether no panel below panel i has axes.
func (f *Figure) lowest(panels []*Panel, i int) bool {
	for j := i + f.cols; j < len(panels); j += f.cols {
		if hasAxes(panels[j]) {
			return false
		}
	}
	return true
}

func hasAxes(p *Panel) bool {
	_, images := p.images()
	return p != nil && !images
}
