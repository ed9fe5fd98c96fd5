package figure

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"gonum.org/v1/plot"

	"github.com/gomfm/gomfm/mfm/figure/internal/typeset"
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
	if err := typeset.Check(name+" axis", append([]string{a.Label}, a.Categories...)...); err != nil {
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

// ticks returns at most n labeled ticks, and unlabeled ticks between them on a logarithmic axis.
func (a *Axis) ticks(iv interval, n int) []plot.Tick {
	switch {
	case len(a.Categories) > 0:
		out := make([]plot.Tick, len(a.Categories))
		for i, name := range a.Categories {
			out[i] = plot.Tick{Value: float64(i), Label: name}
		}
		return out
	case len(a.Ticks) > 0:
		out := make([]plot.Tick, len(a.Ticks))
		for i, v := range a.Ticks {
			out[i] = plot.Tick{Value: v, Label: number(v, 'g', -1)}
		}
		return out
	case a.Log:
		return logTicks(iv, n)
	}
	return linearTicks(iv, n)
}

// tickSlack, in steps, keeps the tick at an end of an axis in spite of rounding.
const tickSlack = 1e-9

// tickStep returns the smallest step of 1, 2 or 5 times a power of ten with at most n multiples in
// iv. To avoid an axis with fewer than three ticks it accepts up to n+2 of them.
func tickStep(iv interval, n int) float64 {
	power := math.Pow(10, math.Floor(math.Log10((iv.hi-iv.lo)/float64(n))))
	step, finer := 0.0, 0.0
	for _, k := range []float64{1, 2, 5, 10} {
		step, finer = k*power, step
		if ticksWithin(iv, step) <= n {
			break
		}
	}
	if finer > 0 && ticksWithin(iv, step) < 3 && ticksWithin(iv, finer) <= n+2 {
		return finer
	}
	return step
}

// ticksWithin returns the number of multiples of step in iv.
func ticksWithin(iv interval, step float64) int {
	return int(math.Floor(iv.hi/step+tickSlack)-math.Ceil(iv.lo/step-tickSlack)) + 1
}

// linearTicks returns at most n multiples of a step, with equal numbers of decimals. It replaces
// plot.DefaultTicks, which aims at three labels on any width, at steps such as 0.4 and of any
// length.
func linearTicks(iv interval, n int) []plot.Tick {
	step := tickStep(iv, n)
	var out []plot.Tick
	largest := step
	for i := math.Ceil(iv.lo/step - tickSlack); i <= math.Floor(iv.hi/step+tickSlack); i++ {
		out = append(out, plot.Tick{Value: i * step})
		largest = max(largest, math.Abs(i*step))
	}
	exponent := func(v float64) int { return int(math.Floor(math.Log10(v) + tickSlack)) }
	scale, unit := 0, "" // the power of ten that the labels leave out, and its sign
	switch e := exponent(largest); {
	case e >= 9 || e <= -3:
		scale, unit = e, "·10"+superscript(e)
	case e >= 6 && exponent(step) >= 4:
		scale, unit = 6, "M"
	case e >= 4 && exponent(step) >= 3:
		scale, unit = 3, "k"
	}
	for i, t := range out {
		out[i].Label = number(t.Value/math.Pow10(scale), 'f', max(0, scale-exponent(step))) + unit
		if t.Value == 0 && unit != "" {
			out[i].Label = "0"
		}
	}
	return out
}

// logTicks labels powers of ten, or their multiples by 1, 2 and 5 if fewer than two powers lie in
// iv, or round numbers if fewer than two of those do. It replaces plot.LogTicks, which labels every
// power on any width and leaves out the ticks between the lower end and the next power if that is
// at most 1.
func logTicks(iv interval, n int) []plot.Tick {
	lo, hi := int(math.Floor(math.Log10(iv.lo))), int(math.Ceil(math.Log10(iv.hi)))
	inside := func(v float64) bool { return v >= iv.lo*(1-1e-9) && v <= iv.hi*(1+1e-9) }
	decades := 0
	for e := lo; e <= hi; e++ {
		if inside(math.Pow10(e)) {
			decades++
		}
	}
	every := max(1, (decades+n-1)/max(n, 1))
	var out []plot.Tick
	labels := 0
	for e := lo; e <= hi; e++ {
		for m := 1; m < 10; m++ {
			t := plot.Tick{Value: float64(m) * math.Pow10(e)}
			if !inside(t.Value) {
				continue
			}
			switch {
			case decades >= 2 && m == 1 && e%every == 0:
				t.Label = "10" + superscript(e)
			case decades < 2 && (m == 1 || m == 2 || m == 5) && e >= -3 && e <= 3:
				t.Label = number(t.Value, 'f', max(0, -e))
			case decades < 2 && (m == 1 || m == 2 || m == 5):
				t.Label = strconv.Itoa(m) + "·10" + superscript(e)
			}
			if !t.IsMinor() {
				labels++
			}
			out = append(out, t)
		}
	}
	if labels < 2 {
		return linearTicks(iv, n)
	}
	return out
}

// number formats v with a minus sign in place of a hyphen.
func number(v float64, format byte, precision int) string {
	if v == 0 {
		v = 0 // not -0
	}
	return strings.Replace(strconv.FormatFloat(v, format, precision, 64), "-", "−", 1)
}

// superscript formats an exponent in Unicode superscripts.
func superscript(e int) string {
	return strings.NewReplacer("-", "⁻", "0", "⁰", "1", "¹", "2", "²", "3", "³", "4", "⁴", "5", "⁵", "6", "⁶",
		"7", "⁷", "8", "⁸", "9", "⁹").Replace(strconv.Itoa(e))
}
