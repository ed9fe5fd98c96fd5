package points

import (
	"fmt"
	"image/color"

	"github.com/gomfm/gomfm/data/tabular"
	"github.com/gomfm/gomfm/mfm/experiment/samplefile"
	"github.com/gomfm/gomfm/mfm/figure"
)

// Samples are samples of points, in the units of the data.
type Samples struct {
	Rows [][]float64 // [n][columns]
	// Classes are those of the samples, [n], as indices of the names; nil if they are not known or all
	// the same.
	Classes []int32
	// Given is the observation that they are samples of the posterior of.
	Given Observation
	// Data are rows that a figure shows behind the samples, [n][columns], of the class in Given if it
	// names one; nil for none.
	Data [][]float64
}

// Table returns the samples as a table, with their classes in a column named as in the data.
func (e *Experiment) Table(s Samples) *tabular.Table {
	return &tabular.Table{
		Columns: e.Columns, Rows: s.Rows, Classes: s.Classes, Names: e.Names, Class: e.Config.Classes,
	}
}

// mostDrawn is the largest number of columns of a figure, of 15 panels.
const mostDrawn = 6

// CheckFile returns an error if samples cannot be written to path: those of [samplefile.Check], and
// for a figure of points of one column or of more than six.
func (e *Experiment) CheckFile(path string) error {
	if err := samplefile.Check(path); err != nil {
		return err
	}
	if n := len(e.Columns); samplefile.IsFigure(path) && (n < 2 || n > mostDrawn) {
		return fmt.Errorf("a figure shows two to %d columns, the points have %d: name a .csv, .json or .npy file",
			mostDrawn, n)
	}
	return nil
}

// WriteSamples writes samples to a file: [Experiment.Table] as .csv, .npy or .json, which
// [tabular.Read] reads, or a figure of each pair of columns as .png or .svg. It replaces the file
// in one step. Non-finite samples are an error.
func (e *Experiment) WriteSamples(path string, s Samples) error {
	if err := e.CheckFile(path); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return samplefile.Write(path, samplefile.Samples{
		Table: e.Table(s), Figure: func() *figure.Figure { return e.figure(s) },
	})
}

// figure draws each pair of columns in a triangle of panels: a row for each column but the first, a
// column for each but the last. Samples with classes have their colors, and the observation is
// marked. Data are gray, behind them.
func (e *Experiment) figure(s Samples) *figure.Figure {
	n := len(e.Columns) - 1
	fig := figure.New(figure.Paper(), n, n)
	name := "samples"
	if o := s.Given; o.T > 0 {
		fig.Title, name = fmt.Sprintf("posterior at t = %g", o.T), "posterior samples"
		fig.Caption = "Samples of the posterior, and the observation that they are given."
	}
	behind := "data"
	if s.Given.Class != "" {
		name += " of " + s.Given.Class
		behind += " of " + s.Given.Class
	}
	parts, names := [][][]float64{s.Rows}, []string{name}
	if s.Classes != nil {
		parts, names = make([][][]float64, len(e.Names)), e.Names
		for i, row := range s.Rows {
			parts[s.Classes[i]] = append(parts[s.Classes[i]], row)
		}
	}
	for y := 1; y <= n; y++ {
		for x := range y {
			p := fig.Panel(y-1, x)
			p.X.Label, p.Y.Label = e.Columns[x], e.Columns[y]
			if len(s.Data) > 0 {
				p.Add(figure.Scatter{Name: behind, Points: pair(s.Data, x, y), Color: color.Gray{Y: 0xc0}})
			}
			for k, part := range parts {
				if len(part) > 0 { // a rare class may have no samples
					p.Add(figure.Scatter{Name: names[k], Points: pair(part, x, y)})
				}
			}
			if s.Given.T > 0 {
				p.Add(figure.Scatter{
					Name: "observation", Points: pair([][]float64{s.Given.X}, x, y), Size: 2.5, Alpha: 1, Color: color.Black,
				})
			}
		}
	}
	return fig
}

// pair returns two columns of rows.
func pair(rows [][]float64, x, y int) [][]float64 {
	out := make([][]float64, len(rows))
	for i, row := range rows {
		out[i] = []float64{row[x], row[y]}
	}
	return out
}
