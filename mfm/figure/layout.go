package figure

import (
	"fmt"
	"math"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"github.com/gomfm/gomfm/mfm/figure/internal/typeset"
)

// content is what a panel shows: a data area with labels around it.
type content interface {
	// margins returns the room for the labels around a data area of w x h.
	margins(w, h vg.Length) margin
	// height returns the height of a data area of width w, and whether it is fixed.
	height(w vg.Length) (h vg.Length, fixed bool)
	// draw draws the data area and the labels around it.
	draw(c draw.Canvas, data vg.Rectangle)
}

type margin struct{ left, right, bottom, top vg.Length }

func (m margin) join(o margin) margin {
	return margin{max(m.left, o.left), max(m.right, o.right), max(m.bottom, o.bottom), max(m.top, o.top)}
}

// layout holds the positions of all panels. All data areas are equally wide. Their contents
// determine the height of each row, and the rows determine the height of the figure. plot.Align
// cannot derive heights from widths.
type layout struct {
	width, height vg.Length
	top, bottom   vg.Length   // room for the titles and the legend
	left, right   vg.Length   // room for the row labels and for the bar of the scale
	w             vg.Length   // width of a data area
	x             []vg.Length // left edge of the data areas of each column
	y, h          []vg.Length // lower edge and height of the data areas of each row
	cols, rows    []margin    // of the columns (left, right) and the rows (bottom, top)
}

// lay computes the layout.
func (f *Figure) lay(contents []content, legend *legend, bar *colorBar) (*layout, error) {
	th := &f.Theme
	g := &layout{
		width: inches(th.Width), x: make([]vg.Length, f.cols), cols: make([]margin, f.cols),
		y: make([]vg.Length, f.rows), h: make([]vg.Length, f.rows), rows: make([]margin, f.rows),
	}
	pad := th.em(0.4)
	g.top, g.bottom, g.left = pad, pad, pad
	head := th.style(sizePanel, true, th.Ink).Height("x") + th.em(0.3)
	if f.Title != "" {
		txt, style := f.title()
		g.top += style.Height(txt) + th.em(0.5)
	}
	if f.ColTitles != nil {
		g.top += head
	}
	if legend != nil {
		g.bottom += legend.height + th.em(0.5)
	}
	if f.RowLabels != nil {
		g.left += head
	}
	for range 3 { // margins depend a little on sizes
		g.measure(contents)
		if bar != nil {
			g.right = bar.width(g.barHeight())
		}
		room := g.width - g.left - g.right - pad - f.gap()*vg.Length(f.cols-1)
		for _, m := range g.cols {
			room -= m.left + m.right
		}
		g.w = room / vg.Length(f.cols)
		if g.w < vg.Inch/5 {
			return nil, fmt.Errorf("figure: %d columns with their labels do not fit into %.3g inches; "+
				"increase Theme.Width, or set ShareY", f.cols, th.Width)
		}
		for i := range g.h {
			g.h[i] = rowHeight(contents[i*f.cols:(i+1)*f.cols], g.w)
		}
	}
	g.place(f)
	return g, nil
}

// title returns the lines of the title and their style.
func (f *Figure) title() (string, text.Style) {
	style := f.Theme.style(sizeTitle, true, f.Theme.Ink)
	style.XAlign, style.YAlign = draw.XCenter, draw.YTop
	return typeset.Wrap(style, f.Title, inches(f.Theme.Width)-f.Theme.em(2)), style
}

// gap returns the space between neighboring panels.
func (f *Figure) gap() vg.Length { return f.Theme.em(1) }

// measure sets the margins of the columns and rows.
func (g *layout) measure(contents []content) {
	clear(g.cols)
	clear(g.rows)
	for i, c := range contents {
		if c == nil {
			continue
		}
		row, col := i/len(g.cols), i%len(g.cols)
		w := max(g.w, vg.Inch/2)
		m := c.margins(w, max(g.h[row], w/2))
		g.cols[col], g.rows[row] = g.cols[col].join(m), g.rows[row].join(m)
	}
}

// rowHeight returns the height of a row of data areas: the largest fixed height, or the largest
// height if none is fixed.
func rowHeight(row []content, width vg.Length) vg.Length {
	var fixed, free vg.Length
	for _, c := range row {
		if c == nil {
			continue
		}
		if h, is := c.height(width); is {
			fixed = max(fixed, h)
		} else {
			free = max(free, h)
		}
	}
	if fixed > 0 {
		return fixed
	}
	return free
}

// barHeight returns the height of the bar of the scale, from the lowest data area to the highest.
func (g *layout) barHeight() (h vg.Length) {
	for i := range g.h {
		h += g.h[i]
		if i > 0 {
			h += g.rows[i-1].bottom + g.rows[i].top
		}
	}
	return h
}

// place sets the positions of all data areas and the height of the figure, a whole number of
// pixels.
func (g *layout) place(f *Figure) {
	x := g.left
	for j := range g.x {
		g.x[j] = x + g.cols[j].left
		x = g.x[j] + g.w + g.cols[j].right + f.gap()
	}
	g.height = g.top + g.bottom + f.gap()*vg.Length(f.rows-1)
	for i := range g.h {
		g.height += g.rows[i].top + g.h[i] + g.rows[i].bottom
	}
	px := vg.Inch / vg.Length(f.Theme.DPI)
	g.height = vg.Length(math.Ceil(float64(g.height/px))) * px
	y := g.height - g.top
	for i := range g.y {
		y -= g.rows[i].top + g.h[i]
		g.y[i] = y
		y -= g.rows[i].bottom + f.gap()
	}
}

// area returns the data area of a panel. One of fixed height is centered in its row.
func (g *layout) area(c content, row, col int) vg.Rectangle {
	h := g.h[row]
	if own, fixed := c.height(g.w); fixed {
		h = min(h, own)
	}
	lo := vg.Point{X: g.x[col], Y: g.y[row] + (g.h[row]-h)/2}
	return vg.Rectangle{Min: lo, Max: lo.Add(vg.Point{X: g.w, Y: h})}
}

// draw draws the figure.
func (f *Figure) draw(c draw.Canvas, g *layout, contents []content, legend *legend, bar *colorBar) {
	th := &f.Theme
	c.SetColor(th.Background)
	c.Fill(c.Rectangle.Path())
	for i, q := range contents {
		if q != nil {
			q.draw(c, g.area(q, i/f.cols, i%f.cols))
		}
	}
	if bar != nil { // beside all rows
		right, last := g.width-th.em(0.4)-g.right, len(g.y)-1
		bar.draw(c, vg.Rectangle{Min: vg.Point{X: right, Y: g.y[last]}, Max: vg.Point{X: right, Y: g.y[0] + g.h[0]}})
	}
	title, style := f.title()
	c.FillText(style, vg.Point{X: g.width / 2, Y: g.height - th.em(0.4) + style.FontExtents().Descent}, title)

	head := th.style(sizePanel, true, th.Ink)
	head.XAlign = draw.XCenter
	for j, s := range f.ColTitles {
		y := g.height - g.top + th.em(0.3) + head.FontExtents().Descent
		c.FillText(head, vg.Point{X: g.x[j] + g.w/2, Y: y}, s)
	}
	head.Rotation = math.Pi / 2
	for i, s := range f.RowLabels {
		c.FillText(head, vg.Point{X: th.em(0.4) + head.FontExtents().Ascent, Y: g.y[i] + g.h[i]/2}, s)
	}
	if legend != nil {
		legend.draw(c, g.width/2, th.em(0.4))
	}
}

// entry is a name of the legend and its signs.
type entry struct {
	name   string
	thumbs []plot.Thumbnailer
	dashed bool // the layer is a curve that is dashed other than by its style
}

// mergeEntries appends the entries of more whose names are new. A solid curve replaces a dashed
// one.
func mergeEntries(entries, more []entry) []entry {
	for _, e := range more {
		i := slices.IndexFunc(entries, func(known entry) bool { return known.name == e.name })
		switch {
		case i < 0:
			entries = append(entries, e)
		case entries[i].dashed && !e.dashed:
			entries[i] = e
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
