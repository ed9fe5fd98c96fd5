package steering

import (
	"cmp"
	"encoding/json"
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

// Curves returns a curve of y against x for each method and renormalization of results, whose
// common part is of: the means over the seeds of each setting, in the order of x, with the standard
// errors that follow from those of y. Curves are in the order of [figure.Styles]; that without
// renormalization is pale, that of clipped steering dashed. It leaves out pools, results without a
// Config, and those whose x or y is undefined.
func Curves[R any](results []R, of func(result R) Result, x, y Quantity[R]) (lines []figure.Line) {
	names := []string{"", ", rescaled", ", clipped"}
	for _, style := range figure.Styles() {
		for i, how := range []steer.Renormalization{steer.NoRenormalization, steer.RescaleLength, steer.ClipLength} {
			own := slices.DeleteFunc(slices.Clone(results), func(r R) bool {
				c := of(r)
				return c.Method != style.Name || c.PoolRewards != nil || c.Config == nil || c.Config.Renormalization != how
			})
			l := figure.Curve(meansOf(own, of, x, y), func(p meanPoint) float64 { return p.x },
				func(p meanPoint) (value, se float64) { return p.y, p.se })
			l.Name, l.Style = style.Label+names[i], style.Name
			l.Pale, l.Dashed = how == steer.NoRenormalization, how == steer.ClipLength
			if len(l.X) > 0 {
				lines = append(lines, l)
			}
		}
	}
	return lines
}

// meanPoint is the mean of two quantities over the seeds of a setting. An unknown error is NaN.
type meanPoint struct{ x, y, se float64 }

// meansOf returns the means over the seeds of each setting, in the order of x.
func meansOf[R any](results []R, of func(R) Result, x, y Quantity[R]) (points []meanPoint) {
	seeds := map[string][]R{}
	for i, r := range results {
		a, _ := x(r)
		if b, _ := y(r); a.IsZero() || b.IsZero() {
			continue
		}
		c := of(r)
		setting, err := json.Marshal(c.RunSettings)
		if err != nil { // a number that is not finite: no other result has the same setting
			setting = fmt.Append(nil, i)
		}
		key := fmt.Sprintf("%d %s", c.N, setting)
		seeds[key] = append(seeds[key], r)
	}
	for _, all := range seeds {
		var p meanPoint
		n := float64(len(all))
		for _, r := range all {
			a, _ := x(r)
			b, se := y(r)
			p.x, p.y, p.se = p.x+a.Float()/n, p.y+b.Float()/n, math.Hypot(p.se, se.Float()/n)
		}
		points = append(points, p)
	}
	slices.SortFunc(points, func(a, b meanPoint) int { return cmp.Or(cmp.Compare(a.x, b.x), cmp.Compare(a.y, b.y)) })
	return points
}
