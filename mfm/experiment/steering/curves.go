package steering

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"github.com/gomfm/gomfm/mfm/figure"
	"github.com/gomfm/gomfm/mfm/metric"
	"github.com/gomfm/gomfm/mfm/steer"
)

// Quantity is a number of a result, such as its reward, with its standard error. Either may be
// undefined.
type Quantity[R any] func(result R) (value, se metric.Optional)

// Curves returns a curve of y against x for each method and renormalization of results, whose common
// part is of: the means over the seeds of each setting, in the order of x, with the standard errors
// that follow from those of y. Curves are in the order of [figure.Styles]; that without
// renormalization is pale, that of clipped steering dashed. It leaves out pools, results without a
// Config, and those whose y is undefined.
func Curves[R any](results []R, of func(result R) Result, x, y Quantity[R]) (lines []figure.Line) {
	for _, style := range figure.Styles() {
		for _, how := range []struct {
			steer.Renormalization
			name string
		}{{steer.NoRenormalization, ""}, {steer.RescaleLength, ", rescaled"}, {steer.ClipLength, ", clipped"}} {
			l := figure.Line{Name: style.Label + how.name, Style: style.Name, Markers: true}
			l.Pale, l.Dashed = how.Renormalization == steer.NoRenormalization, how.Renormalization == steer.ClipLength
			own := slices.DeleteFunc(slices.Clone(results), func(r R) bool {
				c := of(r)
				return c.Method != style.Name || c.PoolRewards != nil || c.Config == nil ||
					c.Config.Renormalization != how.Renormalization
			})
			for _, p := range meansOf(own, of, x, y) {
				l.X, l.Y, l.Bars = append(l.X, p.x), append(l.Y, p.y), append(l.Bars, p.se)
			}
			if len(l.X) > 0 {
				lines = append(lines, l)
			}
		}
	}
	return lines
}

// meanPoint is the mean of two quantities over the seeds of a setting.
type meanPoint struct{ x, y, se float64 }

// meansOf returns the means over the seeds of each setting, in the order of x.
func meansOf[R any](results []R, of func(R) Result, x, y Quantity[R]) (points []meanPoint) {
	seeds := map[string][]R{}
	for _, r := range results {
		if v, _ := y(r); !v.IsZero() {
			c := of(r)
			setting := fmt.Sprint(c.Dynamics, c.N, c.Particles, c.Steps, c.SNR, c.Config.Lambda, c.Config.Ratio)
			seeds[setting] = append(seeds[setting], r)
		}
	}
	for _, all := range seeds {
		var p meanPoint
		n := float64(len(all))
		for _, r := range all {
			a, _ := x(r)
			b, se := y(r)
			p.x, p.y = p.x+a.Float()/n, p.y+b.Float()/n
			if !se.IsZero() {
				p.se = math.Hypot(p.se, se.Float()/n)
			}
		}
		points = append(points, p)
	}
	slices.SortFunc(points, func(a, b meanPoint) int { return cmp.Compare(a.x, b.x) })
	return points
}
