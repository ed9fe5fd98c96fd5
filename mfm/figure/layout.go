package figure

import (
	"fmt"
	"math"

	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// content is what stands in a cell of the grid: a data area with labels around it.
type content interface {
	// margins returns the room that the labels need around a data area of w x h.
	margins(w, h vg.Length) margin
	// height returns the height that a data area of width w wants, and whether it can have no other.
	height(w vg.Length) (h vg.Length, fixed bool)
	// draw draws the data area at data, and the labels around it.
	draw(c draw.Canvas, data vg.Rectangle)
}

type margin struct{ left, right, bottom, top vg.Length }

func (m margin) join(o margin) margin {
	return margin{max(m.left, o.left), max(m.right, o.right), max(m.bottom, o.bottom), max(m.top, o.top)}
}

// layout places the cells. Data areas of a column are as wide, and all columns as wide as their weights say; a row is
// as high as the highest of its data areas wants. The height of the figure follows.
type layout struct {
	width, height vg.Length
	top, bottom   vg.Length   // taken by the titles above and the legend below all rows
	left          vg.Length   // taken by the row labels
	x, w          []vg.Length // of the data areas of each column
	y, h          []vg.Length // of the data areas of each row; y is the lower edge, from the bottom of the figure
	cols, rows    []margin    // of the columns (left, right) and the rows (bottom, top)
}

// columnWidth estimates the width of a column's data area, in inches, for the number of its ticks.
func (f *Figure) columnWidth(col int) float64 {
	const labels = 0.13 // of the width
	return f.Theme.Width * (1 - labels) * f.weight(col) / f.weights()
}

func (f *Figure) weight(col int) float64 {
	if f.Widths == nil {
		return 1
	}
	return f.Widths[col]
}

func (f *Figure) weights() float64 {
	sum := 0.0
	for j := range f.cols {
		sum += f.weight(j)
	}
	return sum
}

// lay computes the layout.
func (f *Figure) lay(contents []content, legendHeight vg.Length) (*layout, error) {
	th := &f.Theme
	g := &layout{
		width: inches(th.Width),
		x:     make([]vg.Length, f.cols), w: make([]vg.Length, f.cols), cols: make([]margin, f.cols),
		y: make([]vg.Length, f.rows), h: make([]vg.Length, f.rows), rows: make([]margin, f.rows),
	}
	pad := th.em(0.4)
	g.top, g.bottom, g.left = pad, pad, pad
	if f.Title != "" {
		txt, style := f.title()
		g.top += style.Height(txt) + th.em(0.5)
	}
	if f.ColTitles != nil {
		g.top += th.style(sizePanel, true, th.Ink).Height("x") + th.em(0.3)
	}
	if legendHeight > 0 {
		g.bottom += legendHeight + th.em(0.5)
	}
	if f.RowLabels != nil {
		g.left += th.style(sizePanel, true, th.Ink).Height("x") + th.em(0.3)
	}
	for range 3 { // margins depend a little on sizes
		g.measure(f, contents)
		if err := g.share(f); err != nil {
			return nil, err
		}
		for i := range g.h {
			g.h[i] = rowHeight(contents[i*f.cols:(i+1)*f.cols], g.w)
		}
	}
	g.place(f)
	return g, nil
}

// title returns the title in lines, and its style.
func (f *Figure) title() (string, text.Style) {
	style := f.Theme.style(sizeTitle, true, f.Theme.Ink)
	style.XAlign, style.YAlign = draw.XCenter, draw.YTop
	return wrap(style, f.Title, inches(f.Theme.Width)-f.Theme.em(2)), style
}

// measure takes the margins of all cells.
func (g *layout) measure(f *Figure, contents []content) {
	clear(g.cols)
	clear(g.rows)
	for i, c := range contents {
		if c == nil {
			continue
		}
		row, col := i/f.cols, i%f.cols
		w := max(g.w[col], vg.Inch/2)
		m := c.margins(w, max(g.h[row], w/2))
		g.cols[col], g.rows[row] = g.cols[col].join(m), g.rows[row].join(m)
	}
}

// share gives the columns their widths.
func (g *layout) share(f *Figure) error {
	room := g.width - g.left - f.Theme.em(0.4) - f.gap()*vg.Length(f.cols-1)
	for _, m := range g.cols {
		room -= m.left + m.right
	}
	for j := range g.w {
		g.w[j] = room * vg.Length(f.weight(j)/f.weights())
		if g.w[j] < vg.Inch/5 {
			return fmt.Errorf("figure: %d columns with their labels do not fit into %.3g inches; widen Theme.Width, or set ShareY", f.cols, f.Theme.Width)
		}
	}
	return nil
}

// gap returns the space between neighbouring cells.
func (f *Figure) gap() vg.Length { return f.Theme.em(1) }

// rowHeight returns the height of a row of data areas: what those want that can have no other height, and otherwise
// what the others want.
func rowHeight(row []content, widths []vg.Length) vg.Length {
	var fixed, free vg.Length
	for j, c := range row {
		if c == nil {
			continue
		}
		if h, is := c.height(widths[j]); is {
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

// place sets the positions of all cells and the height of the figure, which is a whole number of pixels.
func (g *layout) place(f *Figure) {
	x := g.left
	for j := range g.x {
		g.x[j] = x + g.cols[j].left
		x = g.x[j] + g.w[j] + g.cols[j].right + f.gap()
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

// cell returns the data area of a cell: all of it, or for one of fixed height its middle.
func (g *layout) cell(c content, row, col int) vg.Rectangle {
	h := g.h[row]
	if own, fixed := c.height(g.w[col]); fixed {
		h = min(h, own)
	}
	y := g.y[row] + (g.h[row]-h)/2
	return vg.Rectangle{
		Min: vg.Point{X: g.x[col], Y: y},
		Max: vg.Point{X: g.x[col] + g.w[col], Y: y + h},
	}
}

// draw draws the figure.
func (f *Figure) draw(c draw.Canvas, g *layout, contents []content, legend *legend) {
	th := &f.Theme
	c.SetColor(th.Background)
	c.Fill(c.Rectangle.Path())
	for i, q := range contents {
		if q != nil {
			q.draw(c, g.cell(q, i/f.cols, i%f.cols))
		}
	}
	title, style := f.title()
	c.FillText(style, vg.Point{X: g.width / 2, Y: g.height - th.em(0.4) + style.FontExtents().Descent}, title)

	head := th.style(sizePanel, true, th.Ink)
	head.XAlign = draw.XCenter
	for j, s := range f.ColTitles {
		y := g.height - g.top + th.em(0.3) + head.FontExtents().Descent
		c.FillText(head, vg.Point{X: g.x[j] + g.w[j]/2, Y: y}, s)
	}
	head.Rotation = math.Pi / 2
	for i, s := range f.RowLabels {
		c.FillText(head, vg.Point{X: th.em(0.4) + head.FontExtents().Ascent, Y: g.y[i] + g.h[i]/2}, s)
	}
	if legend != nil {
		legend.draw(c, g.width/2, th.em(0.4))
	}
}
