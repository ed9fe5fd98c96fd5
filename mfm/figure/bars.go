package figure

import (
	"fmt"
	"image/color"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
)

// Bars is one series of a bar chart, a bar for each of the x axis' Categories. Several of them in a panel stand side by
// side.
type Bars struct {
	Name   string
	Values []float64   // [categories]; bars start at zero
	Err    []float64   // half widths of error bars; nil for none
	Color  color.Color // nil: from the palette
}

const barsWidth = 0.8 // of all bars of a category, whose own width is 1

func (l Bars) info() info {
	return info{kind: "Bars", name: l.Name, color: l.Color, colored: true, bars: true}
}

func (l Bars) check() error {
	if len(l.Values) == 0 {
		return fmt.Errorf("Values is empty")
	}
	if err := checkFinite("Values", l.Values); err != nil {
		return err
	}
	return checkErrors("Err", l.Err, len(l.Values))
}

func (l Bars) extent(bool) (x, y interval) {
	x, y = interval{-0.5, float64(len(l.Values)) - 0.5}, span(l.Values...).join(interval{0, 0})
	for i, e := range l.Err {
		y = y.join(interval{l.Values[i] - e, l.Values[i] + e})
	}
	return x, y
}

func (l Bars) draw(f *frame) ([]plot.Plotter, []plot.Thumbnailer, error) {
	if f.logX || f.logY {
		return nil, nil, fmt.Errorf("bars need linear axes")
	}
	width := barsWidth / float64(f.ofBars)
	var (
		rings   []plotter.XYer
		centres []float64
	)
	for i, v := range l.Values {
		x := float64(i) - barsWidth/2 + float64(f.bar)*width
		rings = append(rings, plotter.XYs{{X: x, Y: 0}, {X: x + 0.94*width, Y: 0}, {X: x + 0.94*width, Y: v}, {X: x, Y: v}})
		centres = append(centres, x+0.47*width)
	}
	bars, err := plotter.NewPolygon(rings...)
	if err != nil {
		return nil, nil, err
	}
	bars.LineStyle.Width = 0
	bars.Color = f.color
	ps := []plot.Plotter{bars}
	if l.Err != nil {
		e, err := errorBars(f, centres, l.Values, l.Err, f.theme.Ink)
		if err != nil {
			return nil, nil, err
		}
		ps = append(ps, e)
	}
	return ps, []plot.Thumbnailer{swatch{f.color}}, nil
}
