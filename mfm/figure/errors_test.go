package figure_test

import (
	"math"
	"strings"
	"testing"

	"github.com/gomfm/gomfm/mfm/figure"
)

func TestErrors(t *testing.T) {
	nan := math.NaN()
	line := figure.Line{Name: "a", X: []float64{1, 2}, Y: []float64{1, 2}}
	images := figure.Images{Pixels: make([]float32, 8), N: 2, H: 2, W: 2, C: 1}
	xy := func(f *figure.Figure, layers ...figure.Layer) {
		f.X, f.Y = figure.Axis{Label: "x"}, figure.Axis{Label: "y"}
		f.Panel(0, 0).Add(layers...)
	}
	for _, tc := range []struct {
		name string
		set  func(f *figure.Figure)
		want string
	}{
		{"empty", func(f *figure.Figure) {}, "no panels"},
		{"no layers", func(f *figure.Figure) { f.Panel(0, 0) }, "no layers"},
		{"nil layer", func(f *figure.Figure) { xy(f, nil) }, "layer 0 is nil"},
		{"no x label", func(f *figure.Figure) { xy(f, line); f.X.Label = " " }, "X axis has no label"},
		{"no y label", func(f *figure.Figure) { xy(f, line); f.Y.Label = "" }, "Y axis has no label"},
		{"no name", func(f *figure.Figure) { xy(f, figure.Line{X: []float64{1}, Y: []float64{1}}) },
			"layer 0 (Line) has no Name"},
		{"no place", func(f *figure.Figure) { xy(f, line); f.Panel(1, 0).Add(line) }, "no panel at row 1, column 0"},
		{"lengths", func(f *figure.Figure) { xy(f, figure.Line{Name: "a", X: []float64{1, 2}, Y: []float64{1}}) },
			"X has 2 values and Y has 1"},
		{"no points", func(f *figure.Figure) { xy(f, figure.Line{Name: "a"}) }, "X is empty"},
		{"NaN", func(f *figure.Figure) { xy(f, figure.Line{Name: "a", X: []float64{1, 2}, Y: []float64{1, nan}}) },
			`Line "a": Y[1] = NaN`},
		{"infinite", func(f *figure.Figure) {
			xy(f, figure.Trace{Name: "a", X: []float64{1}, Y: []float64{math.Inf(-1)}})
		}, "Y[0] = -Inf"},
		{"band length", func(f *figure.Figure) { l := line; l.Band = []float64{1}; xy(f, l) },
			"Band has 1 values for 2 points"},
		{"negative band", func(f *figure.Figure) { l := line; l.Bars = []float64{1, -1}; xy(f, l) }, "Bars[1] = -1"},
		{"log of zero", func(f *figure.Figure) {
			xy(f, figure.Line{Name: "a", X: []float64{1, 2}, Y: []float64{0, 2}})
			f.Y.Log = true
		}, "logarithmic but the data reaches 0"},
		{"log range", func(f *figure.Figure) { xy(f, line); f.X.Log, f.X.Range = true, [2]float64{-1, 1} },
			"want positive ends"},
		{"range", func(f *figure.Figure) { xy(f, line); f.X.Range = [2]float64{2, 1} },
			"want the first end below the second"},
		{"tiny range", func(f *figure.Figure) { xy(f, line); f.X.Range = [2]float64{1, 1 + 1e-15} },
			"by more than rounding"},
		{"infinite range", func(f *figure.Figure) { xy(f, line); f.X.Range = [2]float64{0, math.Inf(1)} },
			"want finite ends"},
		{"half range", func(f *figure.Figure) { xy(f, line); f.X.Range = [2]float64{5, nan} }, "would run from 5 to"},
		{"NaN tick", func(f *figure.Figure) { xy(f, line); f.X.Ticks = []float64{nan} }, "tick at NaN"},
		{"overflow", func(f *figure.Figure) {
			xy(f, figure.Line{Name: "a", X: []float64{-math.MaxFloat64, math.MaxFloat64}, Y: []float64{1, 2}})
		}, "set its Range"},
		{"equal and log", func(f *figure.Figure) { xy(f, line); f.X.Log = true; f.Panel(0, 0).Equal = true },
			"set Equal or Log, not both"},
		{"ranges too different for equal", func(f *figure.Figure) {
			xy(f, figure.Line{Name: "a", X: []float64{0, 1000}, Y: []float64{0, 1}})
			f.Panel(0, 0).Equal = true
		}, "too different for Equal"},
		{"aspect", func(f *figure.Figure) { xy(f, line); f.Theme.Aspect = -1 }, "Aspect = -1"},
		{"samples of one dimension",
			func(f *figure.Figure) { xy(f, figure.Scatter{Name: "a", Points: [][]float64{{1, 2}, {1}}}) },
			"Points[1] has 1 coordinates"},
		{"no samples", func(f *figure.Figure) { xy(f, figure.Scatter{Name: "a"}) }, "Points is empty"},
		{"NaN sample", func(f *figure.Figure) { xy(f, figure.Scatter{Name: "a", Points: [][]float64{{1, nan}}}) },
			"Points[0] = (1, NaN)"},
		{"alpha", func(f *figure.Figure) { xy(f, figure.Scatter{Name: "a", Points: [][]float64{{1, 2}}, Alpha: 2}) },
			"Alpha = 2"},
		{"size", func(f *figure.Figure) { xy(f, figure.Scatter{Name: "a", Points: [][]float64{{1, 2}}, Size: nan}) },
			"Size = NaN"},
		{"no density", func(f *figure.Figure) { xy(f, figure.Density{}) }, "F is nil"},
		{"density zero", func(f *figure.Figure) { xy(f, figure.Density{F: func(x, y float64) float64 { return 0 }}) },
			"want a positive mass"},
		{"density NaN", func(f *figure.Figure) { xy(f, figure.Density{F: func(x, y float64) float64 { return nan }}) },
			"= NaN, want a finite density"},
		{"density grid", func(f *figure.Figure) { xy(f, figure.Density{F: density(1), Grid: 3}) }, "Grid = 3"},
		{"density and log", func(f *figure.Figure) { xy(f, figure.Density{F: density(1)}); f.X.Log = true },
			"needs linear axes"},
		{"density panics", func(f *figure.Figure) {
			xy(f, figure.Density{F: func(x, y float64) float64 { panic("oh") }})
		}, "cannot draw \"\": oh"},
		{"field NaN", func(f *figure.Figure) {
			xy(f, figure.Quiver{F: func(x, y float64) (float64, float64) { return nan, 0 }})
		}, "want finite values"},
		{"no field", func(f *figure.Figure) { xy(f, figure.Quiver{}) }, "F is nil"},
		{"field grid", func(f *figure.Figure) {
			xy(f, figure.Quiver{Grid: 1e6, F: func(x, y float64) (float64, float64) { return 0, 0 }})
		}, "Grid = 1000000"},
		{"no bars", func(f *figure.Figure) { xy(f, figure.Bars{Name: "a"}) }, "Values is empty"},
		{"categories", func(f *figure.Figure) { xy(f, figure.Bars{Name: "a", Values: []float64{1}}) },
			"1 Values for 0 Categories"},
		{"rule without label", func(f *figure.Figure) { xy(f, line, figure.HLine{Y: 1}) }, "no Label"},
		{"rule of no style", func(f *figure.Figure) { xy(f, line, figure.HLine{Y: 1, Style: "x"}) }, `style "x"`},
		{"rule NaN", func(f *figure.Figure) { xy(f, line, figure.HLine{Y: nan, Label: "a"}) }, "is at NaN"},
		{"no glyph", func(f *figure.Figure) { xy(f, line, figure.HLine{Y: 1, Label: "\U0001F40D"}) },
			"no glyph for '\U0001F40D' (U+1F40D)"},
		{"no glyph in title", func(f *figure.Figure) { xy(f, line); f.Title = "\U0001F40D" }, "no glyph"},
		{"pixels", func(f *figure.Figure) { l := images; l.N = 3; f.Panel(0, 0).Add(l) },
			"want N·H·W·C = 3·2·2·1 = 12"},
		{"channels", func(f *figure.Figure) { l := images; l.C = 2; f.Panel(0, 0).Add(l) }, "C = 2"},
		{"no images", func(f *figure.Figure) { f.Panel(0, 0).Add(figure.Images{C: 1}) }, "N, H, W = 0, 0, 0"},
		{"huge images", func(f *figure.Figure) { l := images; l.N = 1 << 40; f.Panel(0, 0).Add(l) },
			"N, H, W = 1099511627776"},
		{"NaN pixel", func(f *figure.Figure) {
			l := images
			l.Pixels = append(make([]float32, 7), float32(nan))
			f.Panel(0, 0).Add(l)
		}, "Pixels[7] = NaN (image 1)"},
		{"row labels", func(f *figure.Figure) { l := images; l.RowLabels = []string{"a", "b"}; f.Panel(0, 0).Add(l) },
			"2 RowLabels for 1 rows"},
		{"column titles", func(f *figure.Figure) { l := images; l.ColTitles = make([]string, 3); f.Panel(0, 0).Add(l) },
			"3 ColTitles for 2 columns in 1 groups"},
		{"gaps", func(f *figure.Figure) { l := images; l.Gaps = []int{1}; f.Panel(0, 0).Add(l) }, "Gaps = [1]"},
		{"images and lines", func(f *figure.Figure) { xy(f, images, line) }, "a panel of their own"},
		{"row labels of figure", func(f *figure.Figure) { xy(f, line); f.RowLabels = []string{"a", "b"} },
			"2 RowLabels for 1 rows"},
		{"column titles of figure", func(f *figure.Figure) { xy(f, line); f.ColTitles = []string{} },
			"0 ColTitles for 1 columns"},
		{"style", func(f *figure.Figure) { l := line; l.Style = "mfm-h"; xy(f, l) }, `style "mfm-h" is not one of`},
		{"scale without label", func(f *figure.Figure) { xy(f, line); f.Scale = &figure.Scale{} }, "no label"},
		{"scale range", func(f *figure.Figure) {
			xy(f, line)
			f.Scale = &figure.Scale{Label: "a", Range: [2]float64{0, 1}, Log: true}
		}, "want positive ends"},
		{"half scale", func(f *figure.Figure) {
			xy(f, line)
			f.Scale = &figure.Scale{Label: "a", Range: [2]float64{0, nan}}
		}, "want finite ends"},
		{"band of rules", func(f *figure.Figure) { xy(f, line, figure.HBand{Y: [2]float64{2, 1}, Label: "a"}) },
			"the first below the second"},
		{"band below a log axis", func(f *figure.Figure) {
			xy(f, line, figure.HBand{Y: [2]float64{0, 1}, Label: "a"})
			f.Y.Log = true
		}, "logarithmic but the data reaches 0"},
		{"vertical rule", func(f *figure.Figure) { xy(f, line, figure.VLine{X: nan, Label: "a"}) }, "is at NaN"},
		{"guide", func(f *figure.Figure) { xy(f, line, figure.Guide{Name: "a", X: 1, Y: nan}) }, "is at NaN"},
		{"guide on one log axis", func(f *figure.Figure) {
			xy(f, line, figure.Guide{Name: "a", X: 1, Y: 1, Slope: 1})
			f.X.Log = true
		}, "two logarithmic axes"},
		{"disc", func(f *figure.Figure) {
			xy(f, figure.Discs{Name: "a", Centers: [][]float64{{1, 2}}, Radii: []float64{0}})
		}, "Radii[0] = 0"},
		{"discs", func(f *figure.Figure) { xy(f, figure.Discs{Name: "a", Centers: [][]float64{{1, 2}}}) },
			"1 Centers and 0 Radii"},
		{"inset", func(f *figure.Figure) { xy(f, line); f.Panel(0, 0).Inset = &figure.Inset{X: [2]float64{1, 0}} },
			"the inset has the ranges"},
		{"inset size", func(f *figure.Figure) {
			xy(f, line)
			f.Panel(0, 0).Inset = &figure.Inset{X: [2]float64{0, 1}, Y: [2]float64{0, 1}, Size: 2}
		}, "Size 2"},
		{"theme", func(f *figure.Figure) { xy(f, line); f.Theme.FontSize = 0 }, "Theme.FontSize = 0"},
		{"no theme", func(f *figure.Figure) { xy(f, line); f.Theme = figure.Theme{} },
			"start from Notebook() or Paper()"},
		{"no palette", func(f *figure.Figure) { xy(f, line); f.Theme.Palette = nil }, "lacks a color"},
		{"too many pixels", func(f *figure.Figure) { xy(f, line); f.Theme.Width, f.Theme.DPI = 50, 600 },
			"reduce Theme.Width"},
		{"label wider than figure", func(f *figure.Figure) {
			xy(f, figure.Bars{Name: "a", Values: []float64{1}})
			f.Y.Categories = []string{strings.Repeat("wide", 200)}
			f.X.Categories = []string{"a"}
		}, "do not fit"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := figure.New(small(), 1, 1)
			tc.set(f)
			_, err := f.PNG()
			if err == nil {
				t.Fatal("no error")
			}
			if !strings.HasPrefix(err.Error(), "figure: ") || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %q, want one with %q", err, tc.want)
			}
		})
	}
}

func TestBadGrids(t *testing.T) {
	for _, size := range [][2]int{{0, 1}, {1, -1}, {1 << 62, 4}, {100, 100}} {
		f := figure.New(small(), size[0], size[1])
		f.Panel(0, 0)
		if _, err := f.PNG(); err == nil || !strings.Contains(err.Error(), "panels, want 1 to") {
			t.Errorf("%v: error %v", size, err)
		}
	}
	if _, err := new(figure.Figure).PNG(); err == nil {
		t.Error("no error for a figure not created by New")
	}
	if _, err := barsFigure(small()).Render("gif"); err == nil ||
		!strings.Contains(err.Error(), `unknown format "gif"`) {
		t.Errorf("error %v", err)
	}
}

// Unusual but valid figures are drawn.
func TestOddFigures(t *testing.T) {
	for name, layers := range map[string][]figure.Layer{
		"one point":    {figure.Scatter{Name: "a", Points: [][]float64{{2, 3}}}},
		"constant":     {figure.Line{Name: "a", X: []float64{1, 2}, Y: []float64{0, 0}}},
		"nearly so":    {figure.Line{Name: "a", X: []float64{1, 2}, Y: []float64{1, 1 + 1e-16}}},
		"denormal":     {figure.Line{Name: "a", X: []float64{1, 2}, Y: []float64{0, 5e-324}}},
		"tiny":         {figure.Line{Name: "a", X: []float64{1, 2}, Y: []float64{1e-200, 2e-200}}},
		"huge":         {figure.Line{Name: "a", X: []float64{-1e300, 1e300}, Y: []float64{1e300, -2e300}}},
		"flat density": {figure.Density{F: func(x, y float64) float64 { return 1 }}},
		"spike": {figure.Density{F: func(x, y float64) float64 { return math.Exp(-1e6 * (x*x + y*y)) }},
			figure.Scatter{Name: "a", Points: [][]float64{{-1, -1}, {1, 1}}}},
		"no field":  {figure.Quiver{F: func(x, y float64) (float64, float64) { return 0, 0 }}},
		"one value": {figure.Trace{Name: "a", X: []float64{1}, Y: []float64{1}}},
		"rule elsewhere": {figure.HLine{Y: 1e6, Label: "far"},
			figure.Line{Name: "a", X: []float64{1, 2}, Y: []float64{1, 2}}},
	} {
		f := figure.New(small(), 1, 1)
		f.X, f.Y = figure.Axis{Label: "x"}, figure.Axis{Label: "y"}
		f.Panel(0, 0).Add(layers...)
		if _, err := f.PNG(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
