package figure

import (
	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// entry is a name and what stands for it in the legend.
type entry struct {
	name   string
	thumbs []plot.Thumbnailer
}

// mergeEntries appends the entries of more whose names are new.
func mergeEntries(entries, more []entry) []entry {
next:
	for _, e := range more {
		for _, known := range entries {
			if known.name == e.name {
				continue next
			}
		}
		entries = append(entries, e)
	}
	return entries
}

// legend is a centred block of entries, in lines as long as the figure is wide. Entries of several lines stand in
// columns.
type legend struct {
	theme   *Theme
	entries []entry
	columns int
	widths  []vg.Length // of the columns
}

func newLegend(th *Theme, entries []entry, width vg.Length) *legend {
	if len(entries) == 0 {
		return nil
	}
	l := &legend{theme: th, entries: entries}
	for l.columns = len(entries); l.columns > 1; l.columns-- {
		if l.measure() <= width-th.em(0.8) {
			break
		}
	}
	// As few lines as that takes, evenly filled.
	l.columns = (len(entries) + l.lines() - 1) / l.lines()
	l.measure()
	return l
}

func (l *legend) lines() int { return (len(l.entries) + l.columns - 1) / l.columns }

// measure sets the widths of the columns and returns that of all.
func (l *legend) measure() vg.Length {
	style := l.theme.style(sizeLabel, false, l.theme.Ink)
	l.widths = make([]vg.Length, l.columns)
	for i, e := range l.entries {
		w := &l.widths[i%l.columns]
		*w = max(*w, l.theme.em(thumbWidth+thumbGap)+style.Width(e.name))
	}
	total := l.theme.em(entryGap) * vg.Length(l.columns-1)
	for _, w := range l.widths {
		total += w
	}
	return total
}

// Sizes in units of the font size.
const (
	thumbWidth = 1.9
	thumbGap   = 0.5
	entryGap   = 1.6
	entryLine  = 1.45
)

func (l *legend) height() vg.Length {
	if l == nil {
		return 0
	}
	return vg.Length(l.lines()) * l.theme.em(entryLine)
}

// draw draws the legend around x, above y.
func (l *legend) draw(c draw.Canvas, x, y vg.Length) {
	style := l.theme.style(sizeLabel, false, l.theme.Ink)
	style.YAlign = draw.YCenter
	line := l.theme.em(entryLine)
	left := x - l.measure()/2
	for i, e := range l.entries {
		col, row := i%l.columns, i/l.columns
		at := left
		for _, w := range l.widths[:col] {
			at += w + l.theme.em(entryGap)
		}
		mid := y + line*(vg.Length(l.lines()-row)-0.5)
		half := l.theme.em(0.45)
		thumb := draw.Canvas{Canvas: c.Canvas, Rectangle: vg.Rectangle{
			Min: vg.Point{X: at, Y: mid - half},
			Max: vg.Point{X: at + l.theme.em(thumbWidth), Y: mid + half},
		}}
		for _, t := range e.thumbs {
			t.Thumbnail(&thumb)
		}
		text := vg.Point{X: at + l.theme.em(thumbWidth+thumbGap), Y: mid + style.FontExtents().Descent}
		c.FillText(style, text, e.name)
	}
}
