package progress

import (
	"cmp"
	"fmt"
	"time"
)

// counts returns "1200/2500", with the first number padded to the width of the second, or "1200
// steps" if the total is unknown.
func counts(r Report) string {
	if r.Total <= 0 && r.Step == 1 {
		return "1 " + r.unit()
	}
	if r.Total <= 0 {
		return fmt.Sprintf("%d %ss", r.Step, r.unit())
	}
	total := fmt.Sprint(r.Total)
	return fmt.Sprintf("%*d/%s", len(total), r.Step, total)
}

// unit returns what is counted, in the singular.
func (r Report) unit() string { return cmp.Or(r.Unit, "step") }

// percent returns the share of the steps that are done, in [0, 100].
func percent(r Report) float64 {
	if r.Total <= 0 {
		return 0
	}
	return min(max(100*float64(r.Step)/float64(r.Total), 0), 100)
}

// facts returns the parts of a line after the counts: share, loss, values, rate, time left.
func (m *meter) facts(r Report) []string {
	facts := m.figures(r)
	if r.Doing != "" {
		return append(facts, r.Doing)
	}
	if left, ok := m.rate.Left(r.Total); ok && r.Total > 0 {
		facts = append(facts, clock(left)+" left")
	}
	return facts
}

// outcome returns the same parts for the last line, with the outcome instead of the time left.
func (m *meter) outcome(r Report, err error) []string {
	word, after, why := "done", " in ", ""
	if err != nil {
		word, after, why = "stopped", " after ", fmt.Sprintf(": %v", err)
	}
	if r.Elapsed > 0 {
		word += after + clock(r.Elapsed)
	}
	return append(m.figures(r), word+why)
}

func (m *meter) figures(r Report) []string {
	var facts []string
	if r.Total > 0 {
		facts = append(facts, fmt.Sprintf("%3d%%", int(percent(r)))) // rounded down
	}
	if r.Loss != 0 {
		facts = append(facts, "loss "+number(r.Loss))
	}
	for _, v := range r.Values {
		facts = append(facts, v.Name+" "+number(v.Value))
	}
	if perSecond := m.rate.PerSecond(); perSecond > 0 {
		facts = append(facts, speed(perSecond, r.unit()))
	}
	return facts
}

// number formats x with four significant digits, trailing zeros included to keep the line's width.
func number(x float64) string { return fmt.Sprintf("%#.4g", x) }

// speed formats a rate with three digits, or below 0.1 per second as the time of one. The bounds
// are where rounding adds a digit.
func speed(perSecond float64, unit string) string {
	switch {
	case perSecond >= 99.95:
		return fmt.Sprintf("%.0f %ss/s", perSecond, unit)
	case perSecond >= 9.995:
		return fmt.Sprintf("%.1f %ss/s", perSecond, unit)
	case perSecond >= 0.1:
		return fmt.Sprintf("%.2f %ss/s", perSecond, unit)
	}
	return fmt.Sprintf("%.1f s/%s", 1/perSecond, unit)
}

// clock formats a duration, as "2h03m", "12m05s" or "8s", rounded up so that "0s" means zero.
func clock(d time.Duration) string {
	s := int64((max(d, 0) + time.Second - 1) / time.Second)
	switch {
	case s >= 3600:
		return fmt.Sprintf("%dh%02dm", s/3600, s%3600/60)
	case s >= 60:
		return fmt.Sprintf("%dm%02ds", s/60, s%60)
	}
	return fmt.Sprintf("%ds", s)
}
