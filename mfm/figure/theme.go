package figure

import (
	"fmt"
	"image/color"

	xfont "golang.org/x/image/font"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"

	"github.com/gomfm/gomfm/mfm/figure/internal/typeset"
)

// Theme sets the sizes and colors of a figure. Start from [Notebook] or [Paper] and change fields.
type Theme struct {
	// Width is the width of the figure in inches, 1 to 100. The height follows from the panels.
	Width float64
	// DPI is the number of pixels per inch of a PNG, 36 to 1200. A notebook shows 96 per inch.
	DPI int
	// FontSize is the size of axis labels and of the legend in points, 2 to 72. Titles are larger
	// and tick labels are smaller.
	FontSize float64
	// LineWidth is the width of curves in points, 0.05 to 20.
	LineWidth float64
	// PointRadius is the radius of a sample of a scatter plot in points, 0.05 to 20.
	PointRadius float64
	// Aspect is the height of a panel divided by its width, 0.05 to 20.
	Aspect float64
	// Palette assigns colors to the names of a figure without a style, in order of appearance.
	// Further names start again with the first color, dashed.
	Palette []color.Color
	// Styles are what the Style of a layer may name.
	Styles []Style
	// Ink is the color of text, Muted of axes, tick labels and reference lines, Grid of grid lines.
	Ink, Muted, Grid, Background color.Color
}

// Notebook returns the theme for a notebook: 7.5 inches wide, with two pixels of a PNG for each
// pixel of the page, for displays of high resolution.
func Notebook() Theme {
	return Theme{
		Width: 7.5, DPI: 192, FontSize: 9.5, LineWidth: 1.6, PointRadius: 1.5, Aspect: 0.62,
		Palette: []color.Color{blue, vermillion, green, purple, orange, sky, black}, Styles: Styles(),
		Ink: color.Gray{Y: 0x22}, Muted: color.Gray{Y: 0x5c}, Grid: color.Gray{Y: 0xe6}, Background: color.White,
	}
}

// Paper returns the theme for one column of a paper with two columns: 3.35 inches wide, with 300
// pixels per inch. For both columns set Width to 6.9.
func Paper() Theme {
	th := Notebook()
	th.Width, th.DPI, th.FontSize, th.LineWidth, th.PointRadius = 3.35, 300, 7.5, 1.1, 0.9
	return th
}

// Sizes of text in units of Theme.FontSize.
const (
	sizeTitle = 1.25
	sizePanel = 1.08
	sizeLabel = 1.0
	sizeTick  = 0.88
)

func (th *Theme) check() error {
	for _, f := range []struct {
		name     string
		v        float64
		min, max float64
	}{
		{"Width", th.Width, 1, 100}, {"DPI", float64(th.DPI), 36, 1200}, {"FontSize", th.FontSize, 2, 72},
		{"LineWidth", th.LineWidth, 0.05, 20}, {"PointRadius", th.PointRadius, 0.05, 20},
		{"Aspect", th.Aspect, 0.05, 20},
	} {
		if !(f.v >= f.min && f.v <= f.max) {
			return fmt.Errorf("figure: Theme.%s = %v, want %v to %v; start from Notebook() or Paper()",
				f.name, f.v, f.min, f.max)
		}
	}
	if len(th.Palette) == 0 || th.Ink == nil || th.Muted == nil || th.Grid == nil || th.Background == nil {
		return fmt.Errorf("figure: Theme lacks a color; start from Notebook() or Paper()")
	}
	return nil
}

// em returns k times the font size.
func (th *Theme) em(k float64) vg.Length { return vg.Points(k * th.FontSize) }

// style returns a text style of k times the font size, in Liberation Sans.
func (th *Theme) style(k float64, bold bool, c color.Color) text.Style {
	f := font.Font{Typeface: "Liberation", Variant: "Sans", Size: th.em(k)}
	if bold {
		f.Weight = xfont.WeightBold
	}
	return text.Style{Color: c, Font: f, Handler: typeset.Handler{}}
}

// fade returns c at opacity alpha.
func fade(c color.Color, alpha float64) color.NRGBA {
	n := color.NRGBAModel.Convert(c).(color.NRGBA)
	n.A = uint8(float64(n.A)*alpha + 0.5)
	return n
}

// pale returns c mixed with white, opaque.
func pale(c color.Color) color.NRGBA {
	n := color.NRGBAModel.Convert(c).(color.NRGBA)
	for _, v := range []*uint8{&n.R, &n.G, &n.B} {
		*v = uint8(255 - 0.45*(255-float64(*v)))
	}
	return n
}

func inches(v float64) vg.Length { return vg.Length(v) * vg.Inch }
