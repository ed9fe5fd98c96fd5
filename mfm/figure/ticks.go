package figure

import (
	"math"
	"strconv"
	"strings"

	"gonum.org/v1/plot"
)

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
