package figure

import (
	"cmp"
	"fmt"
	"image/color"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// Bars is one series of a bar chart, with one bar for each category of the x axis. The bars of
// several series in a panel stand side by side. Both axes must be linear.
type Bars struct {
	// Name appears in the legend. Empty means the label of the style.
	Name string
	// Style is the name of a style of the theme, such as "mfm-g". Name and Color take precedence.
	Style string
	// Values are the heights of the bars, [categories].
	Values []float64
	// Err are the half widths of error bars, [categories]. Nil means none.
	Err []float64
	// Color is the color of the bars. Nil means a color of the palette.
	Color color.Color
}

// barsWidth is the width of all bars of a category, whose distance is 1.
const barsWidth = 0.8

func (l Bars) info() info {
	return info{kind: "Bars", name: l.Name, style: l.Style, color: l.Color, colored: true}
}

func (l Bars) check() error {
	if len(l.Values) == 0 {
		return fmt.Errorf("Values is empty")
	}
	return cmp.Or(checkFinite("Values", l.Values), checkErrors("Err", l.Err, len(l.Values)))
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
	chart, err := plotter.NewBarChart(plotter.Values(l.Values), 1)
	if err != nil {
		return nil, nil, err
	}
	chart.Color, chart.LineStyle.Width = f.color, 0
	width := barsWidth / float64(f.bars)
	offset := (float64(f.bar)+0.47)*width - barsWidth/2
	ps := []plot.Plotter{plotterFunc(func(c draw.Canvas, p *plot.Plot) {
		tx, _ := p.Transforms(&c)
		unit := tx(1) - tx(0)
		chart.Width, chart.Offset = unit*vg.Length(0.94*width), unit*vg.Length(offset)
		chart.Plot(c, p)
	})}
	if l.Err != nil {
		centers := make([]float64, len(l.Values))
		for i := range centers {
			centers[i] = float64(i) + offset
		}
		e, err := errorBars(f, centers, l.Values, l.Err, f.theme.Ink)
		if err != nil {
			return nil, nil, err
		}
		ps = append(ps, e...)
	}
	return ps, []plot.Thumbnailer{chart}, nil
}
