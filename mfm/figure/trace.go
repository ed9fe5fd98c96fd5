package figure

import (
	"fmt"
	"image/color"
	"math"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// Trace is a noisy series, such as a loss: drawn thin and pale (where it is long, as the range that it covers), with a smooth curve on top. Set Panel.Y.Log for a loss.
type Trace struct {
	Name string
	X, Y []float64
	// HalfLife of the exponential mean, in points of the series; 0 takes a fiftieth of its length. On a logarithmic
	// axis the mean is that of log Y.
	HalfLife float64
	Color    color.Color // nil: from the palette
}

func (l Trace) info() info { return info{kind: "Trace", name: l.Name, color: l.Color, colored: true} }

func (l Trace) check() error {
	if l.HalfLife < 0 || !finite(l.HalfLife) {
		return fmt.Errorf("HalfLife = %v, want 0 or more", l.HalfLife)
	}
	return checkSeries(l.X, l.Y)
}

func (l Trace) extent(bool) (x, y interval) { return span(l.X...), span(l.Y...) }

func (l Trace) draw(f *frame) ([]plot.Plotter, []plot.Thumbnailer, error) {
	raw, err := l.raw(f)
	if err != nil {
		return nil, nil, err
	}
	half := l.HalfLife
	if half == 0 {
		half = float64(len(l.Y)) / 50
	}
	// A smooth curve needs no more points than a panel has pixels.
	mean := Smooth(l.Y, half, f.logY)
	every := 1 + len(mean)/stretches
	var xys plotter.XYs
	for i := (len(mean) - 1) % every; i < len(mean); i += every {
		xys = append(xys, plotter.XY{X: l.X[i], Y: mean[i]})
	}
	smooth, err := plotter.NewLine(xys)
	if err != nil {
		return nil, nil, err
	}
	smooth.LineStyle = f.line(1)
	return []plot.Plotter{behind{raw}, smooth}, []plot.Thumbnailer{smooth}, nil
}

// stretches is the number of pieces of a long series of which only the range is drawn.
const stretches = 400

// raw returns the series itself, or where it is long the area between the smallest and largest value of each stretch.
func (l Trace) raw(f *frame) (plot.Plotter, error) {
	if len(l.X) <= 2*stretches {
		line, err := plotter.NewLine(points(l.X, l.Y))
		if err != nil {
			return nil, err
		}
		line.LineStyle = draw.LineStyle{Color: fade(f.color, 0.3), Width: vg.Points(0.45 * f.theme.LineWidth)}
		return line, nil
	}
	ring := make(plotter.XYs, 2*stretches)
	for k := range stretches {
		from, to := k*len(l.X)/stretches, (k+1)*len(l.X)/stretches
		x := l.X[(from+to)/2]
		ring[k] = plotter.XY{X: x, Y: slices.Min(l.Y[from:to])}
		ring[2*stretches-1-k] = plotter.XY{X: x, Y: slices.Max(l.Y[from:to])}
	}
	area, err := plotter.NewPolygon(ring)
	if err != nil {
		return nil, err
	}
	area.LineStyle.Width, area.Color = 0, fade(f.color, 0.2)
	return area, nil
}

// Smooth returns the exponential mean of y with a half-life in points, each value weighed by 2^(-age/halfLife) over the
// weights so far, so that it starts unbiased. With geometric it is the mean of log y, for values above zero.
func Smooth(y []float64, halfLife float64, geometric bool) []float64 {
	out := make([]float64, len(y))
	if halfLife <= 0 {
		copy(out, y)
		return out
	}
	decay := math.Exp2(-1 / halfLife)
	var sum, weight float64
	for i, v := range y {
		if geometric {
			v = math.Log(v)
		}
		sum, weight = decay*sum+v, decay*weight+1
		out[i] = sum / weight
		if geometric {
			out[i] = math.Exp(out[i])
		}
	}
	return out
}
