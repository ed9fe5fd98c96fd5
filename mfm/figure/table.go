package figure

import (
	"fmt"
	"html"
	"strings"

	"github.com/janpfeifer/gonb/gonbui"
)

// Table is a table of text for a notebook. Columns of numbers are aligned right, others left.
type Table struct {
	// Caption stands above the table. Empty means no caption.
	Caption string
	// Header names the columns, [columns]. It must not be empty.
	Header []string
	// Rows are the cells, [rows][columns].
	Rows [][]string
}

func (t Table) check() error {
	if len(t.Header) == 0 {
		return fmt.Errorf("figure: table: no Header")
	}
	for i, r := range t.Rows {
		if len(r) != len(t.Header) {
			return fmt.Errorf("figure: table: row %d has %d cells under a Header of %d, want equal numbers",
				i, len(r), len(t.Header))
		}
	}
	return nil
}

// align returns the alignment of column j, "right" or "left".
func (t Table) align(j int) string {
	numbers := 0
	for _, r := range t.Rows {
		switch cell := strings.TrimSpace(r[j]); {
		case strings.Trim(cell, "-–—") == "": // empty
		case isNumber(cell):
			numbers++
		default:
			return "left"
		}
	}
	if numbers > 0 {
		return "right"
	}
	return "left"
}

// isNumber reports whether a cell starts with a number. An error or a unit may follow.
func isNumber(cell string) bool {
	cell = strings.TrimLeft(cell, "+-−±<>≤≥~≈ .")
	return cell != "" && cell[0] >= '0' && cell[0] <= '9'
}

// HTML returns the table with inline styles. It returns an error if Header is empty or if the
// length of a row differs from that of Header.
func (t Table) HTML() (string, error) {
	if err := t.check(); err != nil {
		return "", err
	}
	var b strings.Builder
	row := func(tag, style string, cells []string) {
		fmt.Fprintf(&b, `<tr style="%s">`, style)
		for j, s := range cells {
			fmt.Fprintf(&b, `<%s style="padding:0.25em 0.8em;border:none;text-align:%s">%s</%[1]s>`,
				tag, t.align(j), html.EscapeString(s))
		}
		b.WriteString("</tr>")
	}
	b.WriteString(`<table style="border-collapse:collapse;border-top:2px solid;border-bottom:2px solid;` +
		`font-variant-numeric:tabular-nums">`)
	if t.Caption != "" {
		fmt.Fprintf(&b, `<caption style="caption-side:top;text-align:left;padding-bottom:0.4em">%s</caption>`,
			html.EscapeString(t.Caption))
	}
	b.WriteString("<thead>")
	row("th", "border-bottom:1px solid", t.Header)
	b.WriteString("</thead><tbody>")
	for _, r := range t.Rows {
		row("td", "", r)
	}
	b.WriteString("</tbody></table>")
	return b.String(), nil
}

// Show displays the table below the cell of a GoNB notebook. Outside a notebook it displays
// nothing. It returns the errors of [Table.HTML].
func (t Table) Show() error {
	s, err := t.HTML()
	if err != nil {
		return err
	}
	gonbui.DisplayHTML(s)
	return displayError()
}
