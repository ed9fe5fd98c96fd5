package figure

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"gonum.org/v1/plot"
)

// Axis is one axis of a panel.
type Axis struct {
	// Label names the quantity and, where it has one, its unit. It must not be empty.
	Label string
	// Range fixes the ends of the axis. Zero means from the data, and so does an end that is NaN:
	// {0, math.NaN()} starts at zero.
	Range [2]float64
	// Log makes the scale logarithmic; all values must then be above zero.
	Log bool
	// Ticks fixes where the labelled ticks are; nil means round numbers.
	Ticks []float64
	// Categories makes the axis one of names, the first at 0, the second at 1, and so on.
	Categories []string
}

// or returns the axis with what it leaves out taken from the figure's, which an axis with a label of its own does not.
func (a Axis) or(figures Axis) Axis {
	if a.Label != "" {
		return a
	}
	a.Label, a.Log = figures.Label, a.Log || figures.Log
	if a.Range == [2]float64{} {
		a.Range = figures.Range
	}
	if a.Ticks == nil {
		a.Ticks = figures.Ticks
	}
	if a.Categories == nil {
		a.Categories = figures.Categories
	}
	return a
}

// interval is a closed interval, empty where lo > hi.
type interval struct{ lo, hi float64 }

var nothing = interval{math.Inf(1), math.Inf(-1)}

func (iv interval) join(o interval) interval { return interval{min(iv.lo, o.lo), max(iv.hi, o.hi)} }

func (iv interval) empty() bool { return iv.lo > iv.hi }

// narrow reports whether the interval is too small for float64 to tell places in it apart.
func (iv interval) narrow() bool {
	return iv.hi-iv.lo <= max(1e-9*max(math.Abs(iv.lo), math.Abs(iv.hi)), 1e-290)
}

// span returns the interval of the values, empty for none.
func span(values ...float64) interval {
	iv := nothing
	for _, v := range values {
		iv = iv.join(interval{v, v})
	}
	return iv
}

// check returns an error for an axis that cannot be drawn.
func (a *Axis) check(what string) error {
	if strings.TrimSpace(a.Label) == "" {
		return fmt.Errorf("the %s axis has no label: set Panel.%s.Label, or Figure.%s for all panels", what, what, what)
	}
	for _, s := range append([]string{a.Label}, a.Categories...) {
		if err := checkText(what+" axis", s); err != nil {
			return err
		}
	}
	if a.Log && len(a.Categories) > 0 {
		return fmt.Errorf("the %s axis has both Log and Categories, want one of them", what)
	}
	lo, hi := a.Range[0], a.Range[1]
	switch {
	case math.IsInf(lo, 0) || math.IsInf(hi, 0):
		return fmt.Errorf("the %s axis has Range %v, want finite ends", what, a.Range)
	case a.Range != [2]float64{} && (lo >= hi || interval{lo, hi}.narrow()):
		return fmt.Errorf("the %s axis has Range %v, want the first below the second, by more than rounding", what, a.Range)
	case a.Log && a.Range != [2]float64{} && (lo <= 0 || hi <= 0):
		return fmt.Errorf("the %s axis is logarithmic with Range %v, want both ends above zero", what, a.Range)
	}
	for _, v := range a.Ticks {
		if !finite(v) || a.Log && v <= 0 {
			return fmt.Errorf("the %s axis has a tick at %v", what, v)
		}
	}
	return nil
}

// resolve returns the ends of the axis for data in iv, with a little air where they are not fixed.
func (a *Axis) resolve(what string, iv interval) (interval, error) {
	if n := len(a.Categories); n > 0 {
		iv = interval{-0.5, float64(n) - 0.5}
	} else if iv.empty() {
		iv = interval{0, 1}
		if a.Log {
			iv = interval{0.1, 1}
		}
	}
	if a.Log && iv.lo <= 0 {
		return iv, fmt.Errorf("the %s axis is logarithmic but the data reaches %v; drop what is not above zero, or set Log to false", what, iv.lo)
	}
	const air = 0.04
	out := iv
	switch {
	case len(a.Categories) > 0:
	case a.Log:
		k := math.Exp(air * max(math.Log(iv.hi)-math.Log(iv.lo), math.Ln2))
		out = interval{max(iv.lo/k, 1e-307), min(iv.hi*k, 1e307)}
	case iv.narrow():
		d := max(math.Abs(iv.lo)/2, 1e-3)
		if iv.lo == 0 {
			d = 1
		}
		out = interval{iv.lo - d, iv.hi + d}
	default:
		d := air * (iv.hi - iv.lo)
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
		return iv, fmt.Errorf("the %s axis would run from %v to %v; set its Range", what, out.lo, out.hi)
	}
	return out, nil
}

// ticks returns at most n labelled ticks, and on a logarithmic axis the small ones between them.
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

// tickStep returns the smallest of 1, 2, 5 times a power of ten of which at most n multiples lie in iv. Rather than
// leave an axis with fewer than three it goes a little beyond n.
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

// linearTicks returns at most n round numbers.
func linearTicks(iv interval, n int) []plot.Tick {
	step := tickStep(iv, n)
	var values []float64
	for i := math.Ceil(iv.lo/step - tickSlack); i <= math.Floor(iv.hi/step+tickSlack); i++ {
		values = append(values, i*step)
	}
	return labelled(values, step)
}

// labelled labels values that are multiples of step, all with as many decimals.
func labelled(values []float64, step float64) []plot.Tick {
	largest := 0.0
	for _, v := range values {
		largest = max(largest, math.Abs(v))
	}
	exponent := func(v float64) int { return int(math.Floor(math.Log10(v) + tickSlack)) }
	scale, unit := 0, "" // the power of ten that the labels leave out, and what is written for it
	switch e := exponent(max(largest, step)); {
	case e >= 9 || e <= -3:
		scale, unit = e, "·10"+superscript(e)
	case e >= 6 && exponent(step) >= 4:
		scale, unit = 6, "M"
	case e >= 4 && exponent(step) >= 3:
		scale, unit = 3, "k"
	}
	out := make([]plot.Tick, len(values))
	for i, v := range values {
		label := number(v/math.Pow10(scale), 'f', max(0, scale-exponent(step))) + unit
		if v == 0 && unit != "" {
			label = "0"
		}
		out[i] = plot.Tick{Value: v, Label: label}
	}
	return out
}

// logTicks labels powers of ten, 1, 2, 5 times them where the axis has fewer than two, and round numbers where it has
// fewer than two of those.
func logTicks(iv interval, n int) []plot.Tick {
	lo, hi := int(math.Floor(math.Log10(iv.lo))), int(math.Ceil(math.Log10(iv.hi)))
	inside := func(v float64) bool { return v >= iv.lo*(1-1e-9) && v <= iv.hi*(1+1e-9) }
	decades := 0
	for e := lo; e <= hi; e++ {
		if inside(math.Pow(10, float64(e))) {
			decades++
		}
	}
	every := max(1, (decades+n-1)/max(n, 1))
	var out []plot.Tick
	labels := 0
	for e := lo; e <= hi; e++ {
		for m := 1; m < 10; m++ {
			v := float64(m) * math.Pow(10, float64(e))
			if !inside(v) {
				continue
			}
			t := plot.Tick{Value: v}
			switch {
			case decades < 2 && (m == 1 || m == 2 || m == 5):
				t.Label = plainPower(m, e)
			case decades >= 2 && m == 1 && e%every == 0:
				t.Label = "10" + superscript(e)
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

// plainPower writes m 10^e.
func plainPower(m, e int) string {
	if e >= -3 && e <= 3 {
		return number(float64(m)*math.Pow(10, float64(e)), 'f', max(0, -e))
	}
	return strconv.Itoa(m) + "·10" + superscript(e)
}

// number formats v with a true minus sign.
func number(v float64, format byte, precision int) string {
	if v == 0 {
		v = 0 // not -0
	}
	return strings.Replace(strconv.FormatFloat(v, format, precision, 64), "-", "−", 1)
}

// superscript writes an exponent.
func superscript(e int) string {
	return "^{" + strings.Replace(strconv.Itoa(e), "-", "−", 1) + "}"
}

func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }
