package figure

import (
	"fmt"
	"html"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/janpfeifer/gonb/gonbui"
)

// Align is how the cells of a column stand.
type Align int

// The alignments. AlignAuto is AlignRight for a column of numbers and AlignLeft for any other.
const (
	AlignAuto Align = iota
	AlignLeft
	AlignRight
	AlignCenter
)

// Table is a table of text: HTML in a notebook, Markdown for a README, plain text in a terminal.
type Table struct {
	Caption string
	Header  []string   // [columns]
	Rows    [][]string // [rows][columns]
	Align   []Align    // [columns]; nil means AlignAuto for all
	Strong  []int      // rows to set in bold
}

func (t Table) check() error {
	if len(t.Header) == 0 {
		return fmt.Errorf("figure: table: no Header")
	}
	for i, r := range t.Rows {
		if len(r) != len(t.Header) {
			return fmt.Errorf("figure: table: row %d has %d cells under a Header of %d, want as many", i, len(r), len(t.Header))
		}
	}
	if t.Align != nil && len(t.Align) != len(t.Header) {
		return fmt.Errorf("figure: table: %d of Align for %d columns, want as many", len(t.Align), len(t.Header))
	}
	for _, a := range t.Align {
		if a < AlignAuto || a > AlignCenter {
			return fmt.Errorf("figure: table: Align = %d, want AlignAuto, AlignLeft, AlignRight or AlignCenter", a)
		}
	}
	for _, i := range t.Strong {
		if i < 0 || i >= len(t.Rows) {
			return fmt.Errorf("figure: table: Strong row %d of %d", i, len(t.Rows))
		}
	}
	return nil
}

// align returns the alignment of column j, never AlignAuto.
func (t Table) align(j int) Align {
	if t.Align != nil && t.Align[j] != AlignAuto {
		return t.Align[j]
	}
	numbers := 0
	for _, r := range t.Rows {
		switch cell := strings.TrimSpace(r[j]); {
		case strings.Trim(cell, "-–—") == "": // nothing to see
		case isNumber(cell):
			numbers++
		default:
			return AlignLeft
		}
	}
	if numbers > 0 {
		return AlignRight
	}
	return AlignLeft
}

// isNumber reports whether a cell starts as a number does; what follows may be an error or a unit.
func isNumber(cell string) bool {
	cell = strings.TrimLeft(cell, "+-−±<>≤≥~≈ .")
	return cell != "" && cell[0] >= '0' && cell[0] <= '9'
}

// HTML returns the table with its styles in place, for a notebook.
func (t Table) HTML() (string, error) {
	if err := t.check(); err != nil {
		return "", err
	}
	const cell = "padding:0.25em 0.8em;border:none;text-align:"
	align := map[Align]string{AlignLeft: "left", AlignRight: "right", AlignCenter: "center"}
	var b strings.Builder
	b.WriteString(`<table style="border-collapse:collapse;border-top:2px solid;border-bottom:2px solid;font-variant-numeric:tabular-nums">`)
	if t.Caption != "" {
		fmt.Fprintf(&b, `<caption style="caption-side:top;text-align:left;padding-bottom:0.4em">%s</caption>`, htmlText(t.Caption))
	}
	b.WriteString(`<thead><tr style="border-bottom:1px solid">`)
	for j, s := range t.Header {
		fmt.Fprintf(&b, `<th style="%s%s">%s</th>`, cell, align[t.align(j)], htmlText(s))
	}
	b.WriteString("</tr></thead><tbody>")
	for i, r := range t.Rows {
		b.WriteString("<tr>")
		for j, s := range r {
			s = htmlText(s)
			if slices.Contains(t.Strong, i) {
				s = "<b>" + s + "</b>"
			}
			fmt.Fprintf(&b, `<td style="%s%s">%s</td>`, cell, align[t.align(j)], s)
		}
		b.WriteString("</tr>")
	}
	b.WriteString("</tbody></table>")
	return b.String(), nil
}

// Markdown returns the table in GitHub's Markdown, with aligned columns in the source.
func (t Table) Markdown() (string, error) {
	if err := t.check(); err != nil {
		return "", err
	}
	escape := strings.NewReplacer("|", `\|`, "\n", " ")
	rule := make([]string, len(t.Header))
	rows := [][]string{t.Header, rule}
	for i, r := range t.Rows {
		if slices.Contains(t.Strong, i) {
			r = slices.Clone(r)
			for j, s := range r {
				r[j] = "**" + s + "**"
			}
		}
		rows = append(rows, r)
	}
	for i, r := range rows {
		rows[i] = make([]string, len(r))
		for j, s := range r {
			rows[i][j] = escape.Replace(s)
		}
	}
	widths := columnWidths(rows)
	for j := range rows[1] {
		dashes := []rune(strings.Repeat("-", max(3, widths[j])))
		switch t.align(j) {
		case AlignRight:
			dashes[len(dashes)-1] = ':'
		case AlignCenter:
			dashes[0], dashes[len(dashes)-1] = ':', ':'
		}
		rows[1][j] = string(dashes)
	}
	widths = columnWidths(rows)
	var b strings.Builder
	if t.Caption != "" {
		b.WriteString(t.Caption + "\n\n")
	}
	for _, r := range rows {
		b.WriteString("|")
		for j, s := range r {
			b.WriteString(" " + pad(s, widths[j], t.align(j)) + " |")
		}
		b.WriteString("\n")
	}
	return b.String(), nil
}

// Text returns the table for a terminal. Rows that are Strong are marked with a star.
func (t Table) Text() (string, error) {
	if err := t.check(); err != nil {
		return "", err
	}
	rows := [][]string{t.Header}
	rows = append(rows, t.Rows...)
	for i, r := range rows {
		rows[i] = make([]string, len(r))
		for j, s := range r {
			rows[i][j] = plainText(s)
		}
	}
	widths := columnWidths(rows)
	var b strings.Builder
	if t.Caption != "" {
		b.WriteString(plainText(t.Caption) + "\n")
	}
	for i, r := range rows {
		var line []string
		for j, s := range r {
			line = append(line, pad(s, widths[j], t.align(j)))
		}
		if i > 0 && slices.Contains(t.Strong, i-1) {
			line = append(line, "*")
		}
		b.WriteString(strings.TrimRight(strings.Join(line, "  "), " ") + "\n")
		if i == 0 {
			for j, w := range widths {
				line[j] = strings.Repeat("─", w)
			}
			b.WriteString(strings.Join(line, "  ") + "\n")
		}
	}
	return b.String(), nil
}

// Show displays the table below the cell of a GoNB notebook. Elsewhere it displays nothing; print Text there.
func (t Table) Show() error {
	s, err := t.HTML()
	if err != nil {
		return err
	}
	gonbui.DisplayHTML(s)
	return displayError()
}

func columnWidths(rows [][]string) []int {
	widths := make([]int, len(rows[0]))
	for _, r := range rows {
		for j, s := range r {
			widths[j] = max(widths[j], utf8.RuneCountInString(s))
		}
	}
	return widths
}

// pad fills a cell with blanks to a width.
func pad(s string, width int, a Align) string {
	room := width - utf8.RuneCountInString(s)
	left := map[Align]int{AlignRight: room, AlignCenter: room / 2}[a]
	return strings.Repeat(" ", left) + s + strings.Repeat(" ", room-left)
}

// htmlText escapes a label, with its scripts as <sub> and <sup>.
func htmlText(label string) string {
	tags := map[int]string{1: "sup", -1: "sub"}
	var b strings.Builder
	level := 0
	turn := func(to int) {
		if to == level {
			return
		}
		if level != 0 {
			b.WriteString("</" + tags[level] + ">")
		}
		if to != 0 {
			b.WriteString("<" + tags[to] + ">")
		}
		level = to
	}
	for _, s := range parse(label) {
		turn(s.level)
		b.WriteString(html.EscapeString(string(s.r)))
	}
	turn(0)
	return b.String()
}
