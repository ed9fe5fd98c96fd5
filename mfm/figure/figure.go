package figure

import (
	"fmt"
	"strings"
)

// Figure is a grid of panels with common titles and one legend.
type Figure struct {
	Theme Theme
	Title string
	// X and Y are the axes of the panels whose own have no label; what such an axis sets besides, it keeps.
	X, Y Axis
	// ShareX and ShareY give all panels one range along an axis, and write its labels only below the lowest panel of
	// each column, or at the left of the first of each row.
	ShareX, ShareY bool
	// ColTitles and RowLabels name columns and rows; nil for none.
	ColTitles, RowLabels []string
	// Widths of the columns, relative to each other; nil for equal ones.
	Widths []float64
	// NoLegend leaves out the legend.
	NoLegend bool
	// Caption is written below the figure in a notebook.
	Caption string
	// Alt describes the figure to those who cannot see it; where empty, titles, axes and names are put together.
	Alt string

	rows, cols int
	panels     []*Panel // nil where there is none
	misplaced  error
}

const maxPanels = 400

// New returns a figure of rows x cols panels.
func New(theme Theme, rows, cols int) *Figure {
	f := &Figure{Theme: theme, rows: rows, cols: cols}
	if rows < 1 || cols < 1 || rows > maxPanels || cols > maxPanels || rows*cols > maxPanels {
		f.misplaced = fmt.Errorf("figure: %d x %d panels, want 1 to %d in all", rows, cols, maxPanels)
		f.rows, f.cols = 1, 1
	}
	f.panels = make([]*Panel, f.rows*f.cols)
	return f
}

// Panel returns the panel at a row and column, counted from 0 at the upper left, and makes it if it is not there yet.
// Places never asked for stay empty.
func (f *Figure) Panel(row, col int) *Panel {
	if row < 0 || col < 0 || row >= f.rows || col >= f.cols {
		if f.misplaced == nil {
			f.misplaced = fmt.Errorf("figure: no panel at row %d, column %d of a %d x %d figure", row, col, f.rows, f.cols)
		}
		return &Panel{}
	}
	p := &f.panels[row*f.cols+col]
	if *p == nil {
		*p = &Panel{}
	}
	return *p
}

// check returns an error for a figure that cannot be drawn, and fills in the axes that panels take from the figure.
func (f *Figure) check() ([]*Panel, error) {
	if f.misplaced != nil {
		return nil, f.misplaced
	}
	if f.panels == nil {
		return nil, fmt.Errorf("figure: not made by New")
	}
	if err := f.Theme.check(); err != nil {
		return nil, err
	}
	if err := f.checkLabels(); err != nil {
		return nil, err
	}
	panels := make([]*Panel, len(f.panels))
	n := 0
	for i, p := range f.panels {
		if p == nil {
			continue
		}
		n++
		q := *p
		q.X, q.Y = q.X.or(f.X), q.Y.or(f.Y)
		if err := q.check(); err != nil {
			return nil, f.at(i, err)
		}
		panels[i] = &q
	}
	if n == 0 {
		return nil, fmt.Errorf("figure: no panels; call Panel and Add layers")
	}
	return panels, nil
}

// at says which panel an error is of.
func (f *Figure) at(i int, err error) error {
	return fmt.Errorf("figure: panel at row %d, column %d: %w", i/f.cols, i%f.cols, err)
}

func (f *Figure) checkLabels() error {
	if f.ColTitles != nil && len(f.ColTitles) != f.cols {
		return fmt.Errorf("figure: %d ColTitles for %d columns, want as many", len(f.ColTitles), f.cols)
	}
	if f.RowLabels != nil && len(f.RowLabels) != f.rows {
		return fmt.Errorf("figure: %d RowLabels for %d rows, want as many", len(f.RowLabels), f.rows)
	}
	if f.Widths != nil && len(f.Widths) != f.cols {
		return fmt.Errorf("figure: %d Widths for %d columns, want as many", len(f.Widths), f.cols)
	}
	for _, w := range f.Widths {
		if !(w > 0 && w <= 1000) {
			return fmt.Errorf("figure: a column of width %v, want more than 0", w)
		}
	}
	for _, s := range append(append([]string{f.Title}, f.ColTitles...), f.RowLabels...) {
		if err := checkText("title", s); err != nil {
			return err
		}
	}
	return nil
}

// alt returns the description of the figure.
func (f *Figure) alt() string {
	if f.Alt != "" {
		return f.Alt
	}
	var parts []string
	add := func(s string) {
		if s = plainText(s); s != "" {
			parts = append(parts, s)
		}
	}
	add(f.Title)
	seen := make(map[string]bool)
	for _, p := range f.panels {
		if p == nil {
			continue
		}
		add(p.Title)
		for _, l := range p.layers {
			if name := l.info().name; name != "" && !seen[name] {
				seen[name] = true
				add(name)
			}
		}
	}
	add(f.Caption)
	return strings.Join(parts, "; ")
}
