// Package figure draws the figures of the project in one theme, on top of gonum/plot: inline in a
// GoNB notebook ([Figure.Show]) or as a PNG or SVG file ([Figure.Save]).
//
// A [Figure] is a grid of panels. A [Panel] has a title, two labeled axes and a stack of layers. A
// [Layer] is a struct that holds its data and its name:
//
//	fig := figure.New(figure.Notebook(), 1, 1)
//	p := fig.Panel(0, 0)
//	p.X.Label, p.Y.Label = "t", "SW₂"
//	p.Add(
//		figure.Line{Name: "semigroup", X: t, Y: mean, Band: se},
//		figure.HLine{Y: floor, Label: "sampling floor"},
//	)
//	err := fig.Save("sw2.svg")
//
// The layers are [Line], [Trace], [Bars], [Scatter], [Discs], [Density], [Quiver], [Heat] and
// [Images], the references [HLine], [HBand], [VLine] and [Guide], and [Key]. A name has one entry
// in the legend below the panels, and one color in all panels. If its layers set several colors the
// entry is gray, and if one of its curves is solid the entry is solid. A layer with a Style, such
// as "mfm-g", has the label, color and marker of that method, loss or reference in all figures; see
// [Styles]. [Ordered] has the colors of curves by an ordered quantity, such as a time. [Table]
// shows text in rows and columns. [Live] updates a loss curve during training. [Explorer] is an
// interactive figure of the posteriors of a mixture.
//
// Labels are Unicode text, with Greek letters and mathematical signs. Unicode subscripts and
// superscripts (x₁, xₜ, W₂, 10⁻³) are drawn as small letters of the same font.
//
// Fields are not checked when they are set. The call that draws a figure returns an error if an
// axis has no label, a layer has no name, a value is NaN or infinite, or lengths do not match.
package figure

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/gomfm/gomfm/mfm/figure/internal/typeset"
)

// Figure is a grid of panels with common titles and one legend. Create it with [New].
type Figure struct {
	// Theme sets sizes and colors.
	Theme Theme
	// Title stands above all panels. Empty means no title.
	Title string
	// X and Y are the defaults for panels whose axis has no label. The fields that such an axis
	// sets take precedence.
	X, Y Axis
	// ShareX and ShareY give all panels the same range along an axis. Labels of x then appear only
	// below the lowest panel of each column, and labels of y only left of the first panel of each
	// row.
	ShareX, ShareY bool
	// ColTitles and RowLabels name the columns and rows. Nil means no names.
	ColTitles, RowLabels []string
	// Scale is the scale of the heat maps. Nil means that they share a scale from 0 to the largest
	// value, without a bar.
	Scale *Scale
	// Caption appears below the figure in a notebook, and in the files that Save writes.
	Caption string

	rows, cols int
	panels     []*Panel // by row; nil for an empty place
	err        error    // the first error of New or Panel
}

const maxPanels = 400

// New returns a figure of rows x cols panels, 1 to 400 in all. The call that draws the figure
// reports any other size as an error.
func New(theme Theme, rows, cols int) *Figure {
	f := &Figure{Theme: theme, rows: rows, cols: cols}
	if rows < 1 || cols < 1 || rows > maxPanels || cols > maxPanels || rows*cols > maxPanels {
		f.err = fmt.Errorf("figure: %d x %d panels, want 1 to %d in all", rows, cols, maxPanels)
		f.rows, f.cols = 1, 1
	}
	f.panels = make([]*Panel, f.rows*f.cols)
	return f
}

// Panel returns the panel at a row and column, counted from 0 at the upper left, and creates it on
// first use. Places that were never requested stay empty. The call that draws the figure reports a
// place outside the grid as an error.
func (f *Figure) Panel(row, col int) *Panel {
	if row < 0 || col < 0 || row >= f.rows || col >= f.cols {
		if f.err == nil {
			f.err = fmt.Errorf("figure: no panel at row %d, column %d of a %d x %d figure", row, col, f.rows, f.cols)
		}
		return &Panel{}
	}
	p := &f.panels[row*f.cols+col]
	if *p == nil {
		*p = &Panel{}
	}
	return *p
}

// check returns copies of the panels with the defaults of the axes filled in, or an error if the
// figure cannot be drawn.
func (f *Figure) check() ([]*Panel, error) {
	if f.err != nil {
		return nil, f.err
	}
	if f.panels == nil {
		return nil, fmt.Errorf("figure: not created by New")
	}
	if err := cmp.Or(f.Theme.check(), f.checkLabels(), f.Scale.check()); err != nil {
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
		if err := q.check(&f.Theme); err != nil {
			return nil, f.at(i, err)
		}
		panels[i] = &q
	}
	if n == 0 {
		return nil, fmt.Errorf("figure: no panels; call Panel and Add layers")
	}
	return panels, nil
}

// check returns an error if the scale cannot be drawn.
func (s *Scale) check() error {
	if s == nil {
		return nil
	}
	if err := (&Axis{Label: s.Label, Range: s.Range, Log: s.Log}).check("Scale"); err != nil {
		return fmt.Errorf("figure: %w", err)
	}
	if math.IsNaN(s.Range[0]) || math.IsNaN(s.Range[1]) {
		return fmt.Errorf("figure: the scale has Range %v, want finite ends", s.Range)
	}
	return nil
}

// at adds the position of panel i to an error.
func (f *Figure) at(i int, err error) error {
	return fmt.Errorf("figure: panel at row %d, column %d: %w", i/f.cols, i%f.cols, err)
}

func (f *Figure) checkLabels() error {
	if f.ColTitles != nil && len(f.ColTitles) != f.cols {
		return fmt.Errorf("figure: %d ColTitles for %d columns, want equal numbers", len(f.ColTitles), f.cols)
	}
	if f.RowLabels != nil && len(f.RowLabels) != f.rows {
		return fmt.Errorf("figure: %d RowLabels for %d rows, want equal numbers", len(f.RowLabels), f.rows)
	}
	return typeset.Check("title", slices.Concat([]string{f.Title}, f.ColTitles, f.RowLabels)...)
}

// alt describes the figure in text: its titles, the names of its layers, and its caption.
func (f *Figure) alt() string {
	var parts []string
	add := func(s string) {
		if s != "" && !slices.Contains(parts, s) {
			parts = append(parts, s)
		}
	}
	add(f.Title)
	for _, p := range f.panels {
		if p == nil {
			continue
		}
		add(p.Title)
		for _, l := range p.layers {
			add(f.Theme.info(l).name)
		}
	}
	add(f.Caption)
	return strings.ReplaceAll(strings.Join(parts, "; "), "\n", " ")
}
