package figure

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// Axis describes one axis of a panel.
type Axis struct {
	// Label names the quantity and its unit. It must not be empty.
	Label string
	// Range sets the ends of the axis. The zero value means the range of the data. An end that is
	// NaN also comes from the data: {0, math.NaN()} starts at zero.
	Range [2]float64
	// Log makes the scale logarithmic. All values must then be positive.
	Log bool
	// Ticks sets the values of the labeled ticks. Nil means round numbers.
	Ticks []float64
	// Categories labels the values 0, 1, ... with names. It excludes Log.
	Categories []string
}

// or returns a if it has a label, and otherwise a with its unset fields taken from def.
func (a Axis) or(def Axis) Axis {
	if a.Label != "" {
		return a
	}
	a.Label, a.Log = def.Label, a.Log || def.Log
	if a.Range == [2]float64{} {
		a.Range = def.Range
	}
	if a.Ticks == nil {
		a.Ticks = def.Ticks
	}
	if a.Categories == nil {
		a.Categories = def.Categories
	}
	return a
}

// interval is a closed interval. It is empty if lo > hi.
type interval struct{ lo, hi float64 }

var nothing = interval{math.Inf(1), math.Inf(-1)}

func (iv interval) join(o interval) interval { return interval{min(iv.lo, o.lo), max(iv.hi, o.hi)} }

func (iv interval) empty() bool { return iv.lo > iv.hi }

// at returns the point at fraction u of the interval.
func (iv interval) at(u float64) float64 { return iv.lo + u*(iv.hi-iv.lo) }

// narrow reports whether the interval is too small for float64 to distinguish points in it.
func (iv interval) narrow() bool {
	return iv.hi-iv.lo <= max(1e-9*max(math.Abs(iv.lo), math.Abs(iv.hi)), 1e-290)
}

// span returns the smallest interval that holds all values.
func span(values ...float64) interval {
	iv := nothing
	for _, v := range values {
		iv = iv.join(interval{v, v})
	}
	return iv
}

// check returns an error if the axis cannot be drawn. The name is X or Y.
func (a *Axis) check(name string) error {
	if strings.TrimSpace(a.Label) == "" {
		return fmt.Errorf("the %s axis has no label: set Panel.%[1]s.Label, or Figure.%[1]s for all panels", name)
	}
	if err := checkText(name+" axis", append([]string{a.Label}, a.Categories...)...); err != nil {
		return err
	}
	if a.Log && len(a.Categories) > 0 {
		return fmt.Errorf("the %s axis has both Log and Categories; set one of them", name)
	}
	lo, hi := a.Range[0], a.Range[1]
	switch {
	case math.IsInf(lo, 0) || math.IsInf(hi, 0):
		return fmt.Errorf("the %s axis has Range %v, want finite ends", name, a.Range)
	case a.Range != [2]float64{} && (lo >= hi || interval{lo, hi}.narrow()):
		return fmt.Errorf("the %s axis has Range %v, want the first end below the second by more than rounding",
			name, a.Range)
	case a.Log && a.Range != [2]float64{} && (lo <= 0 || hi <= 0):
		return fmt.Errorf("the %s axis is logarithmic with Range %v, want positive ends", name, a.Range)
	}
	if i := slices.IndexFunc(a.Ticks, func(v float64) bool { return !finite(v) || a.Log && v <= 0 }); i >= 0 {
		return fmt.Errorf("the %s axis has a tick at %v, want finite values, positive if Log is set", name, a.Ticks[i])
	}
	return nil
}

// resolve returns the ends of the axis for data in iv. Ends that Range does not set have a margin.
func (a *Axis) resolve(name string, iv interval) (interval, error) {
	if n := len(a.Categories); n > 0 {
		iv = interval{-0.5, float64(n) - 0.5}
	} else if iv.empty() {
		iv = interval{0, 1}
		if a.Log {
			iv = interval{0.1, 1}
		}
	}
	if a.Log && iv.lo <= 0 {
		return iv, fmt.Errorf("the %s axis is logarithmic but the data reaches %v; drop such values, or unset Log",
			name, iv.lo)
	}
	const margin = 0.04
	out := iv
	switch {
	case len(a.Categories) > 0:
	case a.Log:
		k := math.Exp(margin * max(math.Log(iv.hi)-math.Log(iv.lo), math.Ln2))
		out = interval{max(iv.lo/k, 1e-307), min(iv.hi*k, 1e307)}
	default:
		d := margin * (iv.hi - iv.lo)
		if iv.narrow() {
			d = max(math.Abs(iv.lo)/2, 1e-3)
			if iv.lo == 0 {
				d = 1
			}
		}
		out = interval{iv.lo - d, iv.hi + d}
	}
	if a.Range != [2]float64{} {
		if !math.IsNaN(a.Range[0]) {
			out.lo = a.Range[0]
		}
		if !math.IsNaN(a.Range[1]) {
			out.hi = a.Range[1]
		}
	}
	if !(out.lo < out.hi) || out.narrow() || math.IsInf(out.hi-out.lo, 0) {
		return iv, fmt.Errorf("the %s axis would run from %v to %v; set its Range", name, out.lo, out.hi)
	}
	return out, nil
}

func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }
