package figure

import (
	"image"
	"image/color"
	"math"
	"slices"
	"strings"
	"testing"

	xdraw "golang.org/x/image/draw"
	"gonum.org/v1/gonum/floats/scalar"
	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg"
)

// labels returns the labels of the ticks that have one.
func labels(ticks []plot.Tick) string {
	var out []string
	for _, t := range ticks {
		if !t.IsMinor() {
			out = append(out, t.Label)
		}
	}
	return strings.Join(out, " ")
}

func TestTicks(t *testing.T) {
	for _, tc := range []struct {
		axis   Axis
		lo, hi float64
		n      int
		want   string
	}{
		{Axis{}, 0, 1, 6, "0.0 0.2 0.4 0.6 0.8 1.0"},
		{Axis{}, 0, 1, 5, "0.0 0.5 1.0"},
		{Axis{}, -4, 4, 5, "−4 −2 0 2 4"},
		{Axis{}, -4, 4, 4, "−4 −2 0 2 4"}, // not 0 alone
		{Axis{}, -5.3, 5.1, 4, "−5 0 5"},
		{Axis{}, 0.012, 0.049, 4, "0.02 0.03 0.04"},
		{Axis{}, 0, 20000, 5, "0 5k 10k 15k 20k"},
		{Axis{}, 0, 2e6, 5, "0.0M 0.5M 1.0M 1.5M 2.0M"},
		{Axis{}, 0, 2e-4, 5, "0 0.5·10⁻⁴ 1.0·10⁻⁴ 1.5·10⁻⁴ 2.0·10⁻⁴"},
		{Axis{}, 10000, 10010, 4, "10000 10005 10010"},
		{Axis{}, 2e9, 3e9, 3, "2.0·10⁹ 2.5·10⁹ 3.0·10⁹"},
		{Axis{Log: true}, 1e-3, 1, 5, "10⁻³ 10⁻² 10⁻¹ 10⁰"},
		{Axis{Log: true}, 1e-8, 1, 5, "10⁻⁸ 10⁻⁶ 10⁻⁴ 10⁻² 10⁰"},
		{Axis{Log: true}, 0.04, 0.3, 5, "0.05 0.1 0.2"},
		{Axis{Log: true}, 4e-6, 3e-5, 5, "5·10⁻⁶ 1·10⁻⁵ 2·10⁻⁵"},
		{Axis{Log: true}, 0.11, 0.14, 4, "0.11 0.12 0.13 0.14"},
		{Axis{Ticks: []float64{-0.5, 0, 2}}, -1, 3, 5, "−0.5 0 2"},
		{Axis{Categories: []string{"a", "b"}}, -0.5, 1.5, 5, "a b"},
	} {
		got := strings.ReplaceAll(labels(tc.axis.ticks(interval{tc.lo, tc.hi}, tc.n)), "0.0M", "0")
		if want := strings.ReplaceAll(tc.want, "0.0M", "0"); got != want {
			t.Errorf("%g to %g: %q, want %q", tc.lo, tc.hi, got, want)
		}
	}
}

// On any range there are few ticks, increasing and within the range.
func TestTicksAreSane(t *testing.T) {
	for e := -280.0; e < 290; e += 7.3 {
		for _, f := range [][2]float64{{0, 1}, {-1, 1}, {0.9, 1}, {1, 1.0001}, {-3.7, -3.1}} {
			iv := interval{f[0] * math.Pow(10, e), f[1] * math.Pow(10, e)}
			ticks := linearTicks(iv, 6)
			if len(ticks) < 2 || len(ticks) > 8 {
				t.Fatalf("%v: %d ticks", iv, len(ticks))
			}
			seen := make(map[string]bool)
			for i, k := range ticks {
				if slack := 1e-6 * (iv.hi - iv.lo); k.Value < iv.lo-slack || k.Value > iv.hi+slack ||
					i > 0 && k.Value <= ticks[i-1].Value {
					t.Fatalf("%v: tick at %v", iv, k.Value)
				}
				if seen[k.Label] {
					t.Fatalf("%v: two ticks labeled %q", iv, k.Label)
				}
				seen[k.Label] = true
			}
		}
	}
}

// On the contour that holds mass m of an isotropic Gaussian in 2D, log p is log(1 - m) below the
// mode.
func TestDensityContoursHoldTheirShares(t *testing.T) {
	gaussian := func(x, y float64) float64 { return 3 * math.Exp(-(x*x+y*y)/2) }
	g, err := newShares(gaussian, interval{-6, 6}, interval{-5, 5}, 200)
	if err != nil {
		t.Fatal(err)
	}
	masses := []float64{0.25, 0.5, 0.75, 0.95}
	_, levels := g.contours(masses...)
	for i, m := range masses {
		// A cell of the grid holds at most 3e-3 of 2π, a relative error of 5e-4 of the mass.
		if want := math.Log(3) + math.Log(1-m); !scalar.EqualWithinAbs(levels[i], want, 0.01) {
			t.Errorf("mass %v: level %v, want %v", m, levels[i], want)
		}
	}
	// The shade at radius r is the mass outside it, exp(-r²/2).
	for _, c := range []int{100, 120, 140, 160} {
		x, y := g.X(c), g.Y(100)
		if got, want := g.Z(c, 100), math.Exp(-(x*x+y*y)/2); !scalar.EqualWithinAbs(got, want, 2e-3) {
			t.Errorf("shade at (%.2f, %.2f) is %v, want %v", x, y, got, want)
		}
	}
}

// plotter.Contour runs out of memory on densities that are symmetric on the grid if a level equals
// the density at a grid point.
func TestDensityLevelsLieBetweenGridPoints(t *testing.T) {
	gaussian := func(x, y float64) float64 { return math.Exp(-(x*x + y*y) / 2) }
	g, err := newShares(gaussian, interval{-6, 6}, interval{-6, 6}, 128)
	if err != nil {
		t.Fatal(err)
	}
	logs, levels := g.contours(0.25, 0.5, 0.75, 0.95)
	for _, level := range levels {
		for i := range 128 * 128 {
			if z := logs.Z(i%128, i/128); math.Abs(z-level) < 1e-10 {
				t.Fatalf("the level %v is the value %v of a grid point", level, z)
			}
		}
	}
	f := New(smallTheme(), 1, 1)
	f.X, f.Y = Axis{Label: "x", Range: [2]float64{-6, 6}}, Axis{Label: "y", Range: [2]float64{-6, 6}}
	f.Panel(0, 0).Add(Density{F: gaussian})
	if _, err := f.PNG(); err != nil {
		t.Error(err)
	}
}

// Scaling preserves area: each source pixel contributes to the same number of pixels of the file.
func TestOverlap(t *testing.T) {
	for _, size := range [][2]int{{28, 28}, {28, 84}, {28, 94}, {28, 13}, {1, 7}, {7, 1}, {64, 63}} {
		n, m := size[0], size[1]
		for j := range n {
			src, dst := image.NewRGBA64(image.Rect(0, 0, n, 1)), image.NewRGBA64(image.Rect(0, 0, m, 1))
			src.Set(j, 0, color.White)
			overlap(float64(n)/float64(m)).Scale(dst, dst.Bounds(), src, src.Bounds(), xdraw.Src, nil)
			area, blends := 0.0, 0
			for x := range m {
				v := float64(dst.RGBA64At(x, 0).R) / 0xffff
				area += v
				if v > 0 && v < 1 {
					blends++
				}
			}
			if want := float64(m) / float64(n); !scalar.EqualWithinAbs(area, want, 1e-4*(1+want)) {
				t.Errorf("%v: source pixel %d covers %v pixels, want %v", size, j, area, want)
			}
			if m%n == 0 && blends > 0 {
				t.Errorf("%v: %d blended pixels around source pixel %d, want none", size, blends, j)
			}
		}
	}
}

func TestSmooth(t *testing.T) {
	const tol = 1e-12
	constant := smooth([]float64{3, 3, 3, 3}, 2, false)
	for i, v := range constant {
		if !scalar.EqualWithinAbs(v, 3, tol) {
			t.Errorf("the mean of a constant is %v at %d", v, i)
		}
	}
	// With a half-life of 1 the values 0, 0, 1 have the weights 1/4, 1/2, 1.
	if got := smooth([]float64{0, 0, 1}, 1, false)[2]; !scalar.EqualWithinAbs(got, 1/1.75, tol) {
		t.Errorf("step: %v, want %v", got, 1/1.75)
	}
	if got := smooth([]float64{1, 100}, 1, true)[1]; !scalar.EqualWithinRel(got, math.Pow(100, 1/1.5), tol) {
		t.Errorf("geometric: %v, want %v", got, math.Pow(100, 1/1.5))
	}
}

func TestCurve(t *testing.T) {
	rows := [][3]float64{{4, 1, 0.5}, {2, math.NaN(), 1}, {3, 2, math.NaN()}}
	l := Curve(rows, func(r [3]float64) float64 { return r[0] }, func(r [3]float64) (v, se float64) { return r[1], r[2] })
	if !slices.Equal(l.X, []float64{4, 3}) || !slices.Equal(l.Y, []float64{1, 2}) || !slices.Equal(l.Bars, []float64{0.5, 0}) {
		t.Errorf("curve %+v", l)
	}
	none := func(r [3]float64) (v, se float64) { return r[1], math.NaN() }
	if l := Curve(rows, func(r [3]float64) float64 { return r[0] }, none); l.Bars != nil {
		t.Errorf("bars %v of values without errors", l.Bars)
	}
}

func TestMeans(t *testing.T) {
	rows := [][2]float64{{4, 1}, {2, 1}, {2, 3}, {2, 5}, {8, math.NaN()}, {math.NaN(), 1}}
	l := Means(rows, func(r [2]float64) float64 { return r[0] }, func(r [2]float64) float64 { return r[1] })
	want := Line{X: []float64{2, 4}, Y: []float64{3, 1}, Bars: []float64{2 / math.Sqrt(3), 0}, Markers: true}
	if !slices.Equal(l.X, want.X) || !slices.Equal(l.Y, want.Y) || math.Abs(l.Bars[0]-want.Bars[0]) > 1e-12 ||
		l.Bars[1] != 0 || !l.Markers {
		t.Errorf("curve %+v, want %+v", l, want)
	}
}

func TestMeanSE(t *testing.T) {
	l, err := MeanSE("a", []float64{0, 1}, [][]float64{{1, 2}, {3, 2}, {5, 2}})
	if err != nil {
		t.Fatal(err)
	}
	if l.Y[0] != 3 || l.Y[1] != 2 || !scalar.EqualWithinRel(l.Band[0], 2/math.Sqrt(3), 1e-12) || l.Band[1] != 0 {
		t.Errorf("%v ± %v", l.Y, l.Band)
	}
	if l, err := MeanSE("a", []float64{0}, [][]float64{{1}}); err != nil || l.Band != nil {
		t.Errorf("one run: band %v, error %v", l.Band, err)
	}
	for _, runs := range [][][]float64{nil, {{1}, {1, 2}}} {
		if _, err := MeanSE("a", []float64{0}, runs); err == nil {
			t.Errorf("no error for runs %v", runs)
		}
	}
}

// With Equal both axes have the same unit of length. Data areas fill the width of the figure and do
// not overlap.
func TestLayout(t *testing.T) {
	for _, tc := range []struct {
		name       string
		rows, cols int
		set        func(f *Figure)
	}{
		{"one", 1, 1, func(f *Figure) {}},
		{"grid", 3, 4, func(f *Figure) { f.ShareX, f.ShareY = true, true }},
		{"labels", 2, 2, func(f *Figure) {
			f.Title, f.RowLabels, f.ColTitles = "title", []string{"a", "b"}, []string{"c", "d"}
		}},
	} {
		f := New(Notebook(), tc.rows, tc.cols)
		f.X, f.Y = Axis{Label: "x", Range: [2]float64{-4, 4}}, Axis{Label: "y", Range: [2]float64{-1, 5}}
		for i := range tc.rows * tc.cols {
			p := f.Panel(i/tc.cols, i%tc.cols)
			p.Equal = true
			p.Add(Line{Name: "a", X: []float64{0, 1}, Y: []float64{0, 1}})
		}
		tc.set(f)
		contents, _, _, err := f.build("png")
		if err != nil {
			t.Fatal(err)
		}
		g, err := f.lay(contents, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		for i, c := range contents {
			row, col := i/tc.cols, i%tc.cols
			r := g.area(c, row, col)
			if got := float64(r.Size().Y / r.Size().X); !scalar.EqualWithinAbs(got, 6.0/8, 1e-9) {
				t.Errorf("%s, panel %d: height over width %v, want 0.75", tc.name, i, got)
			}
			m := c.margins(r.Size().X, r.Size().Y)
			outer := vg.Rectangle{Min: r.Min.Sub(vg.Point{X: m.left, Y: m.bottom}),
				Max: r.Max.Add(vg.Point{X: m.right, Y: m.top})}
			if outer.Min.X < 0 || outer.Min.Y < 0 || outer.Max.X > g.width || outer.Max.Y > g.height {
				t.Errorf("%s, panel %d: %v is outside the figure of %v x %v", tc.name, i, outer, g.width, g.height)
			}
			if col > 0 && outer.Min.X < g.area(contents[i-1], row, col-1).Max.X {
				t.Errorf("%s, panel %d overlaps the panel at its left", tc.name, i)
			}
			if row > 0 && outer.Max.Y > g.area(contents[i-tc.cols], row-1, col).Min.Y {
				t.Errorf("%s, panel %d overlaps the panel above", tc.name, i)
			}
			if px := float64(g.height / vg.Inch * 192); !scalar.EqualWithinAbs(px, math.Round(px), 1e-6) {
				t.Errorf("%s: %v pixels high, want a whole number", tc.name, px)
			}
		}
		if end := g.x[tc.cols-1] + g.w + g.cols[tc.cols-1].right; g.width-end > f.Theme.em(1) {
			t.Errorf("%s: the panels leave %v of the width empty", tc.name, g.width-end)
		}
	}
}

// With shared axes only the outer panels have labels.
func TestSharedAxes(t *testing.T) {
	f := New(Notebook(), 2, 2)
	f.ShareX, f.ShareY = true, true
	f.X, f.Y = Axis{Label: "x"}, Axis{Label: "y"}
	for i := range 3 { // the panel at the lower right is missing
		f.Panel(i/2, i%2).Add(Line{Name: "a", X: []float64{0, float64(i + 1)}, Y: []float64{0, 1}})
	}
	contents, _, _, err := f.build("png")
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []struct{ x, y string }{{"", "y"}, {"x", ""}, {"x", "y"}} {
		c := contents[i].(*plotContent)
		if c.labelX != want.x || c.labelY != want.y {
			t.Errorf("panel %d has labels %q and %q, want %q and %q", i, c.labelX, c.labelY, want.x, want.y)
		}
		if c.plot.X.Max < 3 {
			t.Errorf("panel %d ends at %v, want the range of all panels", i, c.plot.X.Max)
		}
		if shown := labels(c.plot.X.Tick.Marker.Ticks(0, 1)) != ""; shown != (want.x != "") {
			t.Errorf("panel %d: tick labels of x: %v, want %v", i, shown, want.x != "")
		}
	}
}

func TestLegendFits(t *testing.T) {
	th := Paper()
	var entries []entry
	for _, name := range []string{"Mean Flow", "Eulerian, self", "Eulerian, teacher", "Lagrangian, self",
		"Lagrangian, teacher", "semigroup, self", "semigroup, teacher"} {
		entries = mergeEntries(entries, []entry{{name: name}, {name: "Mean Flow"}})
	}
	if len(entries) != 7 {
		t.Fatalf("%d entries, want 7", len(entries))
	}
	l := newLegend(&th, entries, inches(th.Width))
	if l.width > inches(th.Width) {
		t.Errorf("the legend is %v wide, the figure %v", l.width, inches(th.Width))
	}
	if lines := l.height / th.em(1.45); len(l.columns) != 2 || math.Round(float64(lines)) != 4 {
		t.Errorf("%d columns, %v lines, want 2 and 4", len(l.columns), lines)
	}
	if newLegend(&th, nil, 100) != nil {
		t.Error("a legend without entries")
	}
}

// A solid curve has the entry of its name, wherever dashed ones of the name are.
func TestSolidEntries(t *testing.T) {
	solid, dashed, other := entry{name: "a"}, entry{name: "a", dashed: true}, entry{name: "b", dashed: true}
	for _, tc := range []struct {
		name  string
		given [][]entry
		want  []bool // dashed
	}{
		{"dashed first", [][]entry{{dashed, other}, {solid}}, []bool{false, true}},
		{"dashed first, in one panel", [][]entry{{dashed, solid, other}}, []bool{false, true}},
		{"solid first", [][]entry{{solid, other}, {dashed}}, []bool{false, true}},
		{"dashed only", [][]entry{{dashed, other}, {dashed}}, []bool{true, true}},
	} {
		var got []entry
		for _, more := range tc.given {
			got = mergeEntries(got, more)
		}
		if len(got) != 2 || got[0].name != "a" || got[0].dashed != tc.want[0] || got[1].dashed != tc.want[1] {
			t.Errorf("%s: %v, want a and b dashed as in %v", tc.name, got, tc.want)
		}
	}
}

// An axis without a label takes its unset fields from the figure. An axis with a label takes
// nothing.
func TestAxisOfTheFigure(t *testing.T) {
	f := New(Notebook(), 1, 3)
	f.X, f.Y = Axis{Label: "x", Range: [2]float64{-6, 6}}, Axis{Label: "y", Log: true}
	for i := range 3 {
		f.Panel(0, i).Add(Line{Name: "a", X: []float64{0.25, 0.75}, Y: []float64{1, 2}})
	}
	f.Panel(0, 1).X.Range = [2]float64{-1, 2}
	f.Panel(0, 2).X = Axis{Label: "its own", Range: [2]float64{0, 1}}
	panels, err := f.check()
	if err != nil {
		t.Fatal(err)
	}
	xs, _, err := f.ranges(panels)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []interval{{-6, 6}, {-1, 2}, {0, 1}} {
		if xs[i] != want {
			t.Errorf("panel %d has the range %v, want %v", i, xs[i], want)
		}
	}
	if panels[1].X.Label != "x" || panels[2].X.Label != "its own" || !panels[1].Y.Log {
		t.Errorf("axes %+v, %+v", panels[1].X, panels[2].X)
	}
}

// A heat map rejects invalid values and draws valid ones.
func TestHeat(t *testing.T) {
	for name, c := range map[string]struct {
		heat Heat
		want string
	}{
		"empty":    {Heat{}, "0 rows"},
		"ragged":   {Heat{Values: [][]float64{{1, 2}, {1}}}, "Values[1] has 1 numbers"},
		"negative": {Heat{Values: [][]float64{{-1}}}, "Values[0][0] = -1"},
		"ends":     {Heat{Values: [][]float64{{1}}, X: [2]float64{1, 0}}, "the first below"},
	} {
		if err := c.heat.check(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q", name, err, c.want)
		}
	}
	f := New(Notebook(), 1, 1)
	f.X, f.Y = Axis{Label: "u"}, Axis{Label: "s"}
	f.Panel(0, 0).Add(Heat{Values: [][]float64{{0, 0.5}, {math.NaN(), 1}}})
	if _, err := f.PNG(); err != nil {
		t.Fatal(err)
	}
	if heatColor(0) == heatColor(1) {
		t.Error("the smallest and the largest value have the same color")
	}
}

// Colors of styles remain distinct under three forms of color blindness, by the matrices of
// Machado, Oliveira and Fernandes (2009).
func TestStylesAreDistinctForColorBlindReaders(t *testing.T) {
	visions := map[string][9]float64{
		"normal":       {1, 0, 0, 0, 1, 0, 0, 0, 1},
		"protanopia":   {0.152286, 1.052583, -0.204868, 0.114503, 0.786281, 0.099216, -0.003882, -0.048116, 1.051998},
		"deuteranopia": {0.367322, 0.860646, -0.227968, 0.280085, 0.672501, 0.047413, -0.011820, 0.042940, 0.968881},
		"tritanopia":   {1.255528, -0.076749, -0.178779, -0.078411, 0.930809, 0.147602, 0.004733, 0.691367, 0.303900},
	}
	colors := map[color.NRGBA]string{}
	for _, s := range Styles() {
		if c, ok := s.Color.(color.NRGBA); ok {
			colors[c] = s.Name
		}
	}
	for vision, m := range visions {
		for a, nameA := range colors {
			for b, nameB := range colors {
				if d := labDistance(m, a, b); a != b && d < 12 {
					t.Errorf("%s: %s and %s differ by %.1f in CIELAB, want at least 12", vision, nameA, nameB, d)
				}
			}
		}
	}
}

// labDistance returns the distance of two colors in CIELAB, as seen through a matrix on linear RGB.
func labDistance(m [9]float64, a, b color.NRGBA) float64 {
	lab := func(c color.NRGBA) (v [3]float64) {
		var rgb, seen [3]float64
		for i, level := range []uint8{c.R, c.G, c.B} {
			rgb[i] = math.Pow((float64(level)/255+0.055)/1.055, 2.4)
			if level <= 10 {
				rgb[i] = float64(level) / 255 / 12.92
			}
		}
		for i := range seen {
			seen[i] = min(1, max(0, m[3*i]*rgb[0]+m[3*i+1]*rgb[1]+m[3*i+2]*rgb[2]))
		}
		var f [3]float64
		for i, k := range [3][3]float64{{0.4339, 0.3762, 0.1899}, {0.2127, 0.7152, 0.0722}, {0.0177, 0.1095, 0.8729}} {
			v := k[0]*seen[0] + k[1]*seen[1] + k[2]*seen[2]
			f[i] = math.Cbrt(v)
			if v <= 0.008856 {
				f[i] = 7.787*v + 16.0/116
			}
		}
		return [3]float64{116*f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])}
	}
	x, y := lab(a), lab(b)
	return math.Sqrt((x[0]-y[0])*(x[0]-y[0]) + (x[1]-y[1])*(x[1]-y[1]) + (x[2]-y[2])*(x[2]-y[2]))
}

// Values map to the part of the scale between its ends, and the scale knows which lie beyond.
func TestScale(t *testing.T) {
	maps := Heat{Values: [][]float64{{0, 0.1, 10}, {math.NaN(), 1, 100}}}
	for _, c := range []struct {
		scale       Scale
		v, part     float64
		under, over bool
	}{
		{Scale{}, 50, 0.5, false, false},
		{Scale{Log: true}, 10, 2. / 3, false, false},
		{Scale{Log: true}, 0, 0, false, false},
		{Scale{Range: [2]float64{1, 3}}, 2, 0.5, true, true},
		{Scale{Range: [2]float64{1, 100}, Log: true}, 10, 0.5, true, false},
	} {
		got := newColors(&c.scale, maps)
		if p := got.part(c.v); !scalar.EqualWithinAbs(p, c.part, 1e-12) || got.under != c.under || got.over != c.over {
			t.Errorf("%+v: %v is at %v, under %v, over %v, want %v, %v, %v", c.scale, c.v, p, got.under, got.over,
				c.part, c.under, c.over)
		}
	}
	for _, s := range []Scale{{}, {Log: true}} { // nothing to scale
		if got := newColors(&s, Heat{Values: [][]float64{{0}}}); !(got.lo < got.hi) || got.part(0) != 0 {
			t.Errorf("the scale of a map of zeros is %+v", got)
		}
	}
}
