package figure

import (
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// entry is a name of the legend and its signs.
type entry struct {
	name   string
	thumbs []plot.Thumbnailer
}

// mergeEntries appends the entries of more whose names are new.
func mergeEntries(entries, more []entry) []entry {
	for _, e := range more {
		if !slices.ContainsFunc(entries, func(known entry) bool { return known.name == e.name }) {
			entries = append(entries, e)
		}
	}
	return entries
}

// legend is a centered block of entries in one or more lines. Each of its columns is a legend of
// gonum, which has only one column.
type legend struct {
	columns       []plot.Legend
	widths        []vg.Length // of the columns
	width, height vg.Length
	gap           vg.Length // between columns
}

// newLegend returns a legend of the fewest lines that fit into a width, or nil without entries.
func newLegend(th *Theme, entries []entry, width vg.Length) *legend {
	if len(entries) == 0 {
		return nil
	}
	for lines := 1; ; lines++ {
		columns := (len(entries) + lines - 1) / lines
		l := &legend{columns: make([]plot.Legend, columns), height: vg.Length(lines) * th.em(1.45), gap: th.em(1.6)}
		for j := range l.columns {
			c := &l.columns[j]
			*c = plot.NewLegend()
			c.TextStyle = th.style(sizeLabel, false, th.Ink)
			c.Top, c.Left, c.ThumbnailWidth = true, true, th.em(1.9)
			c.Padding = th.em(1.45) - c.TextStyle.Rectangle("x").Max.Y
			for i := j; i < len(entries); i += columns {
				c.Add("\u2009"+entries[i].name, entries[i].thumbs...)
			}
			l.widths = append(l.widths, c.Rectangle(draw.Canvas{}).Size().X)
			l.width += l.widths[j]
		}
		l.width += l.gap * vg.Length(columns-1)
		if columns == 1 || l.width <= width-th.em(0.8) {
			return l
		}
	}
}

// draw draws the legend centered at x, above y.
func (l *legend) draw(c draw.Canvas, x, y vg.Length) {
	c.Min, c.Max.Y = vg.Point{X: x - l.width/2, Y: y}, y+l.height
	for j := range l.columns {
		l.columns[j].Draw(c)
		c.Min.X += l.widths[j] + l.gap
	}
}
