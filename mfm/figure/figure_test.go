package figure_test

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"gonum.org/v1/plot/cmpimg"

	"github.com/gomfm/gomfm/internal/fuzztest"
	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/figure"
	"github.com/gomfm/gomfm/mfm/steer"
	"github.com/gomfm/gomfm/mfm/tune"
)

// small is the theme of the golden images.
func small() figure.Theme {
	th := figure.Paper()
	th.DPI = 110
	return th
}

var times = []float64{0.05, 0.2, 0.4, 0.6, 0.8, 0.95}

// The PNGs of the following figures, which show all layers, are the golden images.

func densityFigure(th figure.Theme) *figure.Figure {
	rng := newRand(1)
	f := figure.New(th, 1, 2)
	f.Title = "Samples of p(xₜ)"
	f.ShareX, f.ShareY = true, true
	f.X, f.Y = figure.Axis{Label: "x₁"}, figure.Axis{Label: "x₂"}
	a := f.Panel(0, 0)
	a.Title, a.Equal = "t = 0.4", true
	a.Add(figure.Density{Name: "exact density", F: density(0.4)},
		figure.Scatter{Name: "X₀₁(ε; t, xₜ)", Points: samples(rng, 0.4, 300)})
	b := f.Panel(0, 1)
	b.Title, b.Equal = "t = 1", true
	b.Add(figure.Scatter{Name: "exact", Points: samples(rng, 1, 300)},
		figure.Scatter{Name: "X₀₁(ε; t, xₜ)", Points: samples(rng, 1, 300)})
	return f
}

func linesFigure(th figure.Theme) *figure.Figure {
	f := figure.New(th, 1, 2)
	f.X = figure.Axis{Label: "t", Range: [2]float64{0, 1}}
	linear, log := f.Panel(0, 0), f.Panel(0, 1)
	linear.Y = figure.Axis{Label: "sliced W₂", Range: [2]float64{0, math.NaN()}}
	log.Y = figure.Axis{Label: "excess", Log: true}
	for k, name := range []string{"semigroup", "Lagrangian", "Eulerian"} {
		var runs [][]float64
		for seed := range 3 {
			var run []float64
			for _, t := range times {
				run = append(run, 0.05+(0.1+0.04*float64(k))*(1-t)*(1+0.15*float64(seed-1)))
			}
			runs = append(runs, run)
		}
		l, err := figure.MeanSE(name, times, runs)
		if err != nil {
			panic(err)
		}
		linear.Add(l)
		l.Bars, l.Band, l.Dashed = l.Band, nil, k == 2
		log.Add(l)
	}
	linear.Add(figure.HLine{Y: 0.04, Label: "floor", Left: true, Below: true})
	log.Add(figure.HLine{Y: 0.04, Label: "floor"})
	return f
}

func barsFigure(th figure.Theme) *figure.Figure {
	f := figure.New(th, 1, 1)
	p := f.Panel(0, 0)
	p.X = figure.Axis{Label: "digit", Categories: []string{"0", "1", "2", "3", "4"}}
	p.Y = figure.Axis{Label: "share"}
	p.Add(
		figure.Bars{Name: "samples", Values: []float64{0.2, 0.22, 0.18, 0.15, 0.25},
			Err: []float64{0.02, 0.02, 0.02, 0.02, 0.02}},
		figure.Bars{Name: "p(class | xₜ)", Values: []float64{0.21, 0.19, 0.2, 0.16, 0.24}},
	)
	return f
}

func fieldFigure(th figure.Theme) *figure.Figure {
	f := figure.New(th, 1, 2)
	ends := [2]float64{-4, 4}
	f.X, f.Y = figure.Axis{Label: "x₁", Range: ends}, figure.Axis{Label: "x₂", Range: ends}
	f.ShareY = true
	a, b := f.Panel(0, 0), f.Panel(0, 1)
	a.Equal, b.Equal = true, true
	a.Add(figure.Quiver{Name: "drift bₜ", F: func(x, y float64) (float64, float64) { return y - 0.3*x, -x }})
	b.Add(figure.Density{F: density(1), Bare: true},
		figure.Quiver{F: func(x, y float64) (float64, float64) { return x, y }, Grid: 9})
	return f
}

// rings returns n images of h x h pixels with one channel.
func rings(n, h int) []float32 {
	out := make([]float32, n*h*h)
	for i := range out {
		k, y, x := i/(h*h), i/h%h, i%h
		r := math.Hypot(float64(x)-float64(h-1)/2, float64(y)-float64(h-1)/2)
		out[i] = float32(math.Cos(r * (0.4 + 0.1*float64(k))))
	}
	return out
}

func imagesFigure(th figure.Theme) *figure.Figure {
	f := figure.New(th, 1, 1)
	f.Title = "Posterior samples"
	f.Panel(0, 0).Add(figure.Images{
		Pixels: rings(12, 14), N: 12, H: 14, W: 14, C: 1, Cols: 6, Gaps: []int{0},
		RowLabels: []string{"t = 0.2", "t = 0.8"}, ColTitles: []string{"xₜ", "one step"},
	})
	return f
}

func traceFigure(th figure.Theme) *figure.Figure {
	rng := newRand(3)
	f := figure.New(th, 1, 2)
	f.X, f.Y = figure.Axis{Label: "step"}, figure.Axis{Label: "loss", Log: true}
	for k, n := range []int{300, 20000} {
		x, y := make([]float64, n), make([]float64, n)
		for i := range x {
			x[i] = float64(i)
			y[i] = (0.01 + math.Exp(-8*float64(i)/float64(n))) * math.Exp(0.4*rng.NormFloat64())
		}
		f.Panel(0, k).Add(figure.Trace{Name: "semigroup", X: x, Y: y})
	}
	return f
}

// methodsFigure has styles and all kinds of rules.
func methodsFigure(th figure.Theme) *figure.Figure {
	f := figure.New(th, 1, 2)
	f.X, f.Y = figure.Axis{Label: "N", Log: true}, figure.Axis{Label: "error", Log: true}
	f.ShareY = true
	for k, names := range [][]string{{"mfm-g", "mfm-gf", "best-of-n", "unsteered"},
		{"smc-mfm-g", "smc-mfm-gf", "smc-dps", "search-greedy-ddpm"}} {
		p := f.Panel(0, k)
		for i, name := range names {
			var n, y []float64
			for j := range 4 {
				n, y = append(n, math.Pow(4, float64(j))), append(y, 0.1+float64(1+i)/math.Pow(3, float64(j)))
			}
			p.Add(figure.Line{Style: name, X: n, Y: y, Markers: true})
		}
		p.Add(figure.HBand{Y: [2]float64{0.08, 0.1}, Label: "floor to exact", Left: true, Below: true})
	}
	f.Panel(0, 0).Add(figure.Guide{Name: "1/N", X: 1, Y: 2, Slope: -1}, figure.Key{Name: "dashed", Dashed: true, Markers: true},
		figure.Line{Style: "exact", X: []float64{1, 64}, Y: []float64{0.3, 0.3}})
	f.Panel(0, 1).Add(figure.VLine{X: 40, Label: "not finite", Left: true, Color: th.Palette[1]})
	return f
}

// heatFigure has a scale with values beyond it, discs, and an inset.
func heatFigure(th figure.Theme) *figure.Figure {
	f := figure.New(th, 1, 3)
	f.X, f.Y = figure.Axis{Label: "x₁", Range: [2]float64{-4, 4}}, figure.Axis{Label: "x₂", Range: [2]float64{-4, 4}}
	f.ShareY = true
	f.Scale = &figure.Scale{Label: "error in nats", Range: [2]float64{0.1, 10}, Log: true}
	ends := [2]float64{-4, 4}
	values := [][]float64{{0.01, 0.2, 0.4}, {math.NaN(), 1, 2}, {4, 8, 100}}
	a, b, c := f.Panel(0, 0), f.Panel(0, 1), f.Panel(0, 2)
	a.Equal, b.Equal, c.Equal = true, true, true
	a.Add(figure.Heat{Values: values, X: ends, Y: ends, Format: "%.3g"}, figure.Density{F: density(1), Bare: true})
	b.Add(figure.Heat{Values: [][]float64{{0, 1}, {1, 0}}, X: ends, Y: ends, Name: "reward", Color: color.Gray{Y: 0xd0}},
		figure.Discs{Name: "obstacles", Centers: [][]float64{{-2, -2}, {2, 1}}, Radii: []float64{1.5, 0.5}})
	c.Add(figure.Density{F: density(1)}, figure.Discs{Name: "obstacles", Centers: [][]float64{{3, -3}}, Radii: []float64{0.3}})
	c.Inset = &figure.Inset{X: [2]float64{2.5, 3.5}, Y: [2]float64{-3.5, -2.5}, Left: true}
	return f
}

var golden = map[string]func(figure.Theme) *figure.Figure{
	"density": densityFigure, "lines": linesFigure, "bars": barsFigure,
	"field": fieldFigure, "images": imagesFigure, "trace": traceFigure,
	"methods": methodsFigure, "heat": heatFigure,
}

// TestGolden compares each figure with its image in testdata. "go test -regen" writes the images
// anew; view them before you keep them.
func TestGolden(t *testing.T) {
	for name, build := range golden {
		t.Run(name, func(t *testing.T) {
			got, err := build(small()).PNG()
			if err != nil {
				t.Fatal(err)
			}
			path := filepath.Join("testdata", name+"_golden.png")
			if *cmpimg.GenerateTestData {
				if err := os.WriteFile(path, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if len(got) > 60_000 {
				t.Errorf("%d bytes, want at most 60,000 in the repository", len(got))
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			const delta = 0.1 // of the largest difference of colors: rounding depends on the processor
			same, err := cmpimg.EqualApprox("png", got, want, delta)
			if err != nil {
				t.Fatal(err)
			}
			if !same {
				failed := filepath.Join(os.TempDir(), "failed_"+name+".png")
				if err := os.WriteFile(failed, got, 0o644); err != nil {
					t.Error(err)
				}
				t.Errorf("%s differs from %s", failed, path)
			}
		})
	}
}

func decode(t *testing.T, f *figure.Figure) image.Image {
	t.Helper()
	file, err := f.PNG()
	if err != nil {
		t.Fatal(err)
	}
	img, err := png.Decode(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func TestSizes(t *testing.T) {
	for _, tc := range []struct {
		name  string
		theme figure.Theme
		width int
	}{{"notebook", figure.Notebook(), 1440}, {"paper", figure.Paper(), 1005}} {
		if got := decode(t, barsFigure(tc.theme)).Bounds().Dx(); got != tc.width {
			t.Errorf("%s: %d pixels wide, want %d", tc.name, got, tc.width)
		}
	}
}

func TestSave(t *testing.T) {
	for _, tc := range []struct{ ext, magic string }{{".png", "\x89PNG"}, {".svg", "<?xml"}, {".PNG", "\x89PNG"}} {
		dir := t.TempDir()
		path := filepath.Join(dir, "figure"+tc.ext)
		if err := os.WriteFile(path, []byte("an older file"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := fieldFigure(small()).Save(path); err != nil {
			t.Errorf("%s: %v", tc.ext, err)
			continue
		}
		file, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.HasPrefix(file, []byte(tc.magic)) {
			t.Errorf("%s starts with %q", tc.ext, file[:8])
		}
		if entries, _ := os.ReadDir(dir); len(entries) != 1 {
			t.Errorf("%s: %d files in the directory, want 1", tc.ext, len(entries))
		}
	}
}

func TestSaveErrors(t *testing.T) {
	dir := t.TempDir()
	for path, want := range map[string]string{
		filepath.Join(dir, "figure.gif"):         `unknown extension ".gif"`,
		filepath.Join(dir, "figure.pdf"):         `unknown extension ".pdf"`,
		filepath.Join(dir, "figure"):             `unknown extension ""`,
		filepath.Join(dir, "none", "figure.png"): "no such file",
	} {
		err := barsFigure(small()).Save(path)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want one with %q", path, err, want)
		}
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 0 {
		t.Errorf("failed calls left %d files", len(entries))
	}
}

// An SVG is well formed, has no <text>, which needs a font, and has a title.
func TestSVG(t *testing.T) {
	f := densityFigure(small())
	f.Title = "a < b & c"
	file, err := f.Render("svg")
	if err != nil {
		t.Fatal(err)
	}
	var title string
	for d := xml.NewDecoder(bytes.NewReader(file)); ; {
		token, err := d.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		start, ok := token.(xml.StartElement)
		switch {
		case ok && start.Name.Local == "text":
			t.Error("the SVG has a <text>, which needs a font")
		case ok && start.Name.Local == "title":
			if err := d.DecodeElement(&title, &start); err != nil {
				t.Fatal(err)
			}
		}
	}
	if want := "a < b & c; t = 0.4; exact density; X₀₁(ε; t, xₜ); t = 1; exact"; title != want {
		t.Errorf("title %q, want %q", title, want)
	}
}

// An SVG holds a cloud of many points as one image.
func TestLargeCloudsAreRaster(t *testing.T) {
	size := func(n int) int {
		f := figure.New(small(), 1, 1)
		f.X, f.Y = figure.Axis{Label: "x₁"}, figure.Axis{Label: "x₂"}
		f.Panel(0, 0).Add(figure.Scatter{Name: "samples", Points: samples(newRand(1), 1, n)})
		file, err := f.Render("svg")
		if err != nil {
			t.Fatal(err)
		}
		if got, want := bytes.Contains(file, []byte("<image")), n > 2000; got != want {
			t.Errorf("%d points drawn as an image: %v, want %v", n, got, want)
		}
		return len(file)
	}
	if few, many := size(2000), size(20000); many > few {
		t.Errorf("%d bytes for 20,000 points, %d for 2,000", many, few)
	}
}

// Outside a notebook Show displays nothing but returns errors.
func TestShowOutsideNotebook(t *testing.T) {
	if err := barsFigure(small()).Show(); err != nil {
		t.Error(err)
	}
	if err := figure.New(small(), 1, 1).Show(); err == nil {
		t.Error("no error for an empty figure")
	}
}

// Every method, objective, loss and parametrization has a style, and no two methods of steering or
// of tuning look alike.
func TestEveryMethodHasAStyle(t *testing.T) {
	th := figure.Notebook()
	var methods, objectives []string
	for _, e := range steer.Methods() {
		methods = append(methods, e.Name)
	}
	for _, e := range tune.Objectives() {
		objectives = append(objectives, e.Name)
	}
	losses := []string{string(mfm.Semigroup), string(mfm.MeanFlow), string(mfm.Eulerian), string(mfm.Lagrangian),
		string(mfm.Energy), string(mfm.DiagonalOnly)}
	parametrizations := []string{string(mfm.GaussianName), string(mfm.UnfusedName), string(mfm.DiagonalName),
		string(mfm.PlainName), string(mfm.AnchoredName), string(mfm.MixtureName)}
	for _, group := range [][]string{methods, objectives, losses, parametrizations} {
		seen := map[string]string{}
		for _, name := range group {
			i := slices.IndexFunc(th.Styles, func(s figure.Style) bool { return s.Name == name })
			if i < 0 {
				t.Errorf("%s has no style", name)
				continue
			}
			look := fmt.Sprintf("%v %#v %v", th.Styles[i].Color, th.Styles[i].Marker, th.Styles[i].Dashed)
			if other, found := seen[look]; found {
				t.Errorf("%s looks like %s", name, other)
			}
			seen[look] = name
		}
	}
	for i, s := range th.Styles {
		if slices.ContainsFunc(th.Styles[:i], func(o figure.Style) bool { return o.Name == s.Name || o.Label == s.Label }) {
			t.Errorf("%s: two styles have its name or its label %q", s.Name, s.Label)
		}
		if th.Label(s.Name) != s.Label {
			t.Errorf("%s has the label %q, want %q", s.Name, th.Label(s.Name), s.Label)
		}
	}
	if th.Label("other") != "other" {
		t.Errorf("a name without a style has the label %q", th.Label("other"))
	}
}

// A PNG holds the caption of its figure, in any language.
func TestCaption(t *testing.T) {
	for _, want := range []string{"", "Error of X₀₁(ε; t, xₜ) ± one standard error."} {
		f := barsFigure(small())
		f.Caption = want
		file, err := f.PNG()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := png.Decode(bytes.NewReader(file)); err != nil {
			t.Errorf("the PNG with the caption %q: %v", want, err)
		}
		if got, err := figure.ReadCaption(file); err != nil || got != want {
			t.Errorf("caption %q, error %v, want %q", got, err, want)
		}
		for _, bad := range [][]byte{nil, []byte("GIF89a"), append(slices.Clone(file[:8]), "\xff\xff\xff\xffiTXt....."...)} {
			if got, err := figure.ReadCaption(bad); err == nil {
				t.Errorf("caption %q of %.20q, want an error", got, bad)
			}
		}
	}
}

// FuzzReadCaption checks that any file gives a caption or an error.
func FuzzReadCaption(f *testing.F) {
	fig := barsFigure(small())
	fig.Caption = "A caption."
	file, err := fig.PNG()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(file[:100])
	f.Add(file[:20])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, file []byte) {
		_ = fuzztest.Read(t, len(file), 4, func() error {
			_, err := figure.ReadCaption(file)
			return err
		})
	})
}

// A name has one color in all panels, whatever its order there. Color takes precedence over the
// palette.
func TestColorsFollowNames(t *testing.T) {
	red := color.NRGBA{R: 0xff, A: 0xff}
	th := small()
	f := figure.New(th, 1, 2)
	f.X, f.Y = figure.Axis{Label: "x", Categories: []string{"a", "b"}}, figure.Axis{Label: "y"}
	bars := func(name string) figure.Bars { return figure.Bars{Name: name, Values: []float64{1, 1}} }
	fixed := bars("fixed")
	fixed.Color = red
	f.Panel(0, 0).Add(fixed, bars("one"), bars("two"))
	f.Panel(0, 1).Add(bars("two"), bars("one"))
	img := decode(t, f)
	count := func(c color.Color, x0, x1 int) (n int) {
		r, g, b, _ := c.RGBA()
		for x := x0; x < x1; x++ {
			for y := range img.Bounds().Dy() * 3 / 4 { // without the legend
				if r2, g2, b2, _ := img.At(x, y).RGBA(); r == r2 && g == g2 && b == b2 {
					n++
				}
			}
		}
		return n
	}
	half, width := img.Bounds().Dx()/2, img.Bounds().Dx()
	for _, tc := range []struct {
		name        string
		color       color.Color
		left, right bool
	}{{"fixed", red, true, false}, {"one", th.Palette[0], true, true}, {"two", th.Palette[1], true, true},
		{"no third", th.Palette[2], false, false}} {
		left, right := count(tc.color, 0, half) > 100, count(tc.color, half, width) > 100
		if left != tc.left || right != tc.right {
			t.Errorf("%s: left %v, right %v, want %v, %v", tc.name, left, right, tc.left, tc.right)
		}
	}
}

// A name of layers with one color has it in the legend, a name of layers with several is gray
// there.
func TestLegendOfSeveralColors(t *testing.T) {
	red, blue := color.NRGBA{R: 0xff, A: 0xff}, color.NRGBA{B: 0xff, A: 0xff}
	for _, tc := range []struct {
		name  string
		right color.Color
		want  string
	}{{"the same color", red, "red"}, {"the color of the name", nil, "red"}, {"another", blue, "gray"}} {
		f := figure.New(small(), 1, 2)
		f.X, f.Y = figure.Axis{Label: "x"}, figure.Axis{Label: "y"}
		for k, c := range []color.Color{red, tc.right} {
			f.Panel(0, k).Add(figure.Scatter{Name: "samples", Points: [][]float64{{0, 0}, {1, 1}}, Color: c})
		}
		img := decode(t, f)
		got := map[string]int{}
		for x := range img.Bounds().Dx() {
			for y := img.Bounds().Dy() * 7 / 8; y < img.Bounds().Dy(); y++ { // the legend
				switch r, g, b, _ := img.At(x, y).RGBA(); {
				case r > 0xf000 && g < 0x1000 && b < 0x1000:
					got["red"]++
				case r == 0x6868 && g == r && b == r:
					got["gray"]++
				case b > 0xf000 && r < 0x1000:
					got["blue"]++
				}
			}
		}
		for _, c := range []string{"red", "gray", "blue"} {
			if (got[c] > 10) != (c == tc.want) {
				t.Errorf("%s: %d %s pixels in the legend, want it %s", tc.name, got[c], c, tc.want)
			}
		}
	}
}

// A horizontal line of a style has the color and the dashes of a curve of that style.
func TestLinesOfAReferenceAreAlike(t *testing.T) {
	pixels := func(layer figure.Layer) (n int) {
		f := figure.New(small(), 1, 1)
		f.X, f.Y = figure.Axis{Label: "x", Range: [2]float64{0, 1}}, figure.Axis{Label: "y", Range: [2]float64{0, 1}}
		f.Panel(0, 0).Add(layer)
		img := decode(t, f)
		for x := range img.Bounds().Dx() {
			for y := range img.Bounds().Dy() * 3 / 4 { // without the legend
				if r, g, b, _ := img.At(x, y).RGBA(); r == 0x8c8c && g == r && b == r {
					n++
				}
			}
		}
		return n
	}
	curve := pixels(figure.Line{Style: "floor", X: []float64{0, 1}, Y: []float64{0.8, 0.8}})
	for _, label := range []string{"", "another label"} {
		line := pixels(figure.HLine{Y: 0.8, Style: "floor", Label: label})
		if curve < 50 || line < curve*3/5 || line > curve*11/10 { // its label hides a part of it
			t.Errorf("label %q: %d pixels of the color of the floor, a curve has %d", label, line, curve)
		}
	}
	if n := pixels(figure.HLine{Y: 0.8, Label: "no style"}); n > curve/10 {
		t.Errorf("a line without a style has %d pixels of the color of the floor", n)
	}
}

// A pale line is 45 % of its color and 55 % white, opaque.
func TestPaleLine(t *testing.T) {
	for _, isPale := range []bool{false, true} {
		f := figure.New(small(), 1, 1)
		f.X, f.Y = figure.Axis{Label: "x", Range: [2]float64{0, 1}}, figure.Axis{Label: "y", Range: [2]float64{0, 1}}
		line := figure.Line{Name: "a", X: []float64{0, 1}, Y: []float64{0.45, 0.45}, Color: color.NRGBA{G: 0xff, A: 0xff}, Pale: isPale}
		f.Panel(0, 0).Add(line)
		img := decode(t, f)
		got := map[color.RGBA]int{}
		for x := range img.Bounds().Dx() {
			for y := range img.Bounds().Dy() * 3 / 4 { // without the legend
				got[color.RGBAModel.Convert(img.At(x, y)).(color.RGBA)]++
			}
		}
		full, pale := got[color.RGBA{G: 0xff, A: 0xff}], got[color.RGBA{0x8c, 0xff, 0x8c, 0xff}]
		if isPale && (pale < 50 || full > 0) || !isPale && (full < 50 || pale > 0) {
			t.Errorf("pale %v: %d pixels of the color, %d of its pale shade", isPale, full, pale)
		}
	}
}

// Rows that are added are the images of a grid that is given whole.
func TestAddRow(t *testing.T) {
	pixels := rings(6, 8)
	want := figure.Images{Pixels: pixels, N: 6, H: 8, W: 8, C: 1, Cols: 3, RowLabels: []string{"a", "b"}}
	got := figure.Images{H: 8, W: 8, C: 1, Cols: 3}
	got.AddRow("a", pixels[:64], pixels[64:3*64])
	got.AddRow("b", pixels[3*64:])
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%d images with labels %q, want %d with %q", got.N, got.RowLabels, want.N, want.RowLabels)
	}
	got.AddRow("c", pixels[:64]) // two images are missing
	f := figure.New(small(), 1, 1)
	f.Panel(0, 0).Add(got)
	if _, err := f.PNG(); err != nil {
		t.Errorf("a last row that is not full: %v", err)
	}
}

// The pixels of an image are sharp squares of the right color.
func TestImagesAreSharp(t *testing.T) {
	const n, h, w = 4, 5, 7
	pixels := make([]float32, n*h*w*3)
	rng := newRand(7)
	for i := range pixels {
		pixels[i] = float32(rng.IntN(2)*2 - 1) // black or white in each channel: eight colors
	}
	th := small()
	f := figure.New(th, 1, 1)
	f.Panel(0, 0).Add(figure.Images{Pixels: pixels, N: n, H: h, W: w, C: 3, Cols: 2})
	img := decode(t, f)
	blended, seen := 0, make(map[color.RGBA]int)
	for x := range img.Bounds().Dx() {
		for y := range img.Bounds().Dy() {
			c := color.RGBAModel.Convert(img.At(x, y)).(color.RGBA)
			seen[c]++
			if c.R%255+c.G%255+c.B%255 != 0 {
				blended++
			}
		}
	}
	// An image is 0.9 inches wide, so that a pixel covers 14 x 14 pixels of the file. The outlines
	// and at most one column in 14 and one row in 14 are blends.
	size := int(0.9 * float64(th.DPI))
	if most := n * size * size * 20 / 100; blended > most {
		t.Errorf("%d blended pixels, want at most %d", blended, most)
	}
	for _, c := range []color.RGBA{{R: 255, A: 255}, {G: 255, A: 255}, {B: 255, A: 255}, {A: 255}} {
		if seen[c] < 14*14 {
			t.Errorf("%d pixels of %v, want whole squares", seen[c], c)
		}
	}
}

func BenchmarkFigure(b *testing.B) {
	for name, build := range golden {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, err := build(figure.Notebook()).PNG(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func ExampleFigure() {
	f := figure.New(figure.Notebook(), 1, 2)
	f.Title = "One-step posterior samples"
	f.ShareX, f.ShareY = true, true
	f.X, f.Y = figure.Axis{Label: "x₁"}, figure.Axis{Label: "x₂"}
	for col, t := range []float64{0.4, 0.8} {
		p := f.Panel(0, col)
		p.Title = fmt.Sprintf("t = %g", t)
		p.Equal = true
		p.Add(
			figure.Density{Name: "exact p(x₁ | xₜ)", F: density(t)},
			figure.Scatter{Name: "X₀₁(ε; t, xₜ)", Points: samples(newRand(1), t, 500)},
		)
	}
	file, err := f.PNG() // or f.Save("posterior.svg"), or f.Show() in a notebook
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(http.DetectContentType(file))
	// Output: image/png
}

func ExampleImages() {
	f := figure.New(figure.Paper(), 1, 1)
	f.Panel(0, 0).Add(figure.Images{
		Pixels: rings(12, 14), N: 12, H: 14, W: 14, C: 1,
		Cols: 6, Gaps: []int{0},
		RowLabels: []string{"t = 0.2", "t = 0.8"},
		ColTitles: []string{"xₜ", "posterior samples"}, // one for each group of columns
	})
	file, err := f.PNG()
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(http.DetectContentType(file))
	// Output: image/png
}

func ExampleFigure_Save() {
	f := figure.New(figure.Paper(), 1, 1)
	f.Panel(0, 0).Add(figure.Line{Name: "semigroup", X: []float64{0, 1}, Y: []float64{0.2, 0.1}})
	fmt.Println(f.Save("loss.svg"))
	// Output: figure: panel at row 0, column 0: the X axis has no label: set Panel.X.Label, or Figure.X for all panels
}

func ExampleMeanSE() {
	t := []float64{0.2, 0.8}
	seeds := [][]float64{{0.30, 0.11}, {0.34, 0.10}, {0.32, 0.12}}
	l, err := figure.MeanSE("semigroup", t, seeds)
	fmt.Printf("%.3f ± %.3f %v\n", l.Y, l.Band, err)
	// Output: [0.320 0.110] ± [0.012 0.006] <nil>
}

// mixture holds the means of the mixture of the paper, with equal weights and covariance 0.5 I.
var mixture = [][]float64{{-3, -3}, {0, 0}, {3, 3}}

// density returns the density of I_t for data of the mixture, up to its normalization.
func density(t float64) func(x, y float64) float64 {
	v := (1-t)*(1-t) + 0.5*t*t
	return func(x, y float64) float64 {
		sum := 0.0
		for _, m := range mixture {
			dx, dy := x-t*m[0], y-t*m[1]
			sum += math.Exp(-(dx*dx + dy*dy) / (2 * v))
		}
		return sum / v
	}
}

// samples returns n samples of the same distribution.
func samples(rng *rand.Rand, t float64, n int) [][]float64 {
	sd := math.Sqrt((1-t)*(1-t) + 0.5*t*t)
	out := make([][]float64, n)
	for i := range out {
		m := mixture[rng.IntN(len(mixture))]
		out[i] = []float64{t*m[0] + sd*rng.NormFloat64(), t*m[1] + sd*rng.NormFloat64()}
	}
	return out
}

func newRand(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 1)) }
