package points

import (
	"cmp"
	"fmt"
	"strings"
)

// Text returns the check as text: a table, and a verdict.
func (c *Check) Text() string {
	var s strings.Builder
	fmt.Fprintf(&s, "check on %d held-out rows:\n", c.Rows)
	fmt.Fprintf(&s, "%6s %18s %14s %14s\n", "t", "one step from ODE", "within 50 %", "within 90 %")
	for _, r := range c.Results {
		fmt.Fprintf(&s, "%6g %18.3f %12.1f %% %12.1f %%\n", r.T, r.Excess, 100*r.Half, 100*r.Most)
	}
	fmt.Fprintf(&s, "nearest training row: %.3g for samples, %.3g for held-out rows (median, in standard deviations)\n",
		c.NearestSamples, c.NearestHeldOut)
	s.WriteString(c.priorText())
	findings := c.Findings()
	if len(findings) == 0 && c.Rows < leastChecked {
		fmt.Fprintf(&s, "Verdict: no fault found, but %d held-out rows show little: they determine the shares above "+
			"to ±%.0f %%, and a map that is wrong by less looks good, too. Give %d rows or more: a tenth is held "+
			"out.\n",
			c.Rows, 100*c.coverageError(), 10*leastChecked)
		return s.String()
	}
	if len(findings) == 0 {
		s.WriteString("Verdict: good. One step is as good as the ODE, held-out rows lie where their posteriors say, " +
			"and samples are not copies of training rows.\n")
		return s.String()
	}
	fmt.Fprintf(&s, "Verdict: not yet good. %s\n", strings.Join(findings, " "))
	return s.String()
}

// priorText describes the prior in a line, empty without one.
func (c *Check) priorText() string {
	n, of, density := len(c.Parts), "", 0.
	if n == 0 {
		return ""
	}
	for _, p := range c.Parts {
		density += p.LogDensity
	}
	by := fmt.Sprintf(" (%.3f nats)", density)
	switch {
	case len(c.Groups) > 0:
		of = fmt.Sprintf(" for each of %d groups of columns that look independent", n)
	case n > 1:
		of, by = fmt.Sprintf(" for each of %d classes", n), ""
	}
	return fmt.Sprintf("prior: %s of bandwidth %s%s, chosen by the density of rows held back%s\n",
		counted(span(c.Parts, func(p Part) int { return p.Components }), "component"),
		span(c.Parts, func(p Part) float64 { return p.Bandwidth }), of, by)
}

// counted returns a number of things, such as "1 component" and "4 to 8 components".
func counted(number, thing string) string {
	if number != "1" {
		thing += "s"
	}
	return number + " " + thing
}

// span formats a number of all parts, as in 8 to 64 or, if it is one, 8.
func span[T cmp.Ordered](parts []Part, of func(Part) T) string {
	least, most := of(parts[0]), of(parts[0])
	for _, p := range parts {
		least, most = min(least, of(p)), max(most, of(p))
	}
	if least == most {
		return fmt.Sprint(least)
	}
	return fmt.Sprintf("%v to %v", least, most)
}
