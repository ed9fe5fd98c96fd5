package figure

import (
	"fmt"
	"image/color"

	xfont "golang.org/x/image/font"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
)

// Theme is the look of a figure. Start from [Notebook] or [Paper] and change fields.
type Theme struct {
	Width       float64 // of the whole figure, in inches; its height follows from the panels
	DPI         int     // pixels per inch of a PNG; a notebook shows 96 of them to the inch
	FontSize    float64 // of axis labels and the legend, in points; titles are larger, tick labels smaller
	LineWidth   float64 // of curves, in points
	PointRadius float64 // of a sample in a scatter plot, in points
	Aspect      float64 // height of a panel over its width, where the panel does not say

	// Letters puts (a), (b), ... before the titles of the panels.
	Letters bool

	// Palette gives the names of a figure their colours, in order of appearance. Names beyond it start again, dashed.
	Palette []color.Color
	// Colors fixes the colours of some names, so that they agree between figures. May be nil.
	Colors map[string]color.Color

	Ink        color.Color // text
	Muted      color.Color // axes, tick labels, reference lines
	Grid       color.Color // grid lines
	Background color.Color
}

// Notebook returns the theme for a notebook: 7.5 inches wide, as the text of a cell, and two pixels of PNG to one of
// the page, so that it is sharp on a retina display.
func Notebook() Theme {
	return Theme{
		Width: 7.5, DPI: 192, FontSize: 9.5, LineWidth: 1.6, PointRadius: 1.5, Aspect: 0.62,
		Palette: OkabeIto(),
		Ink:     color.Gray{Y: 0x22}, Muted: color.Gray{Y: 0x5c}, Grid: color.Gray{Y: 0xe6}, Background: color.White,
	}
}

// Paper returns the theme for one column of a two-column paper, 3.35 inches wide at 300 pixels per inch. For a figure
// across both columns set Width to 6.9.
func Paper() Theme {
	th := Notebook()
	th.Width, th.DPI, th.FontSize, th.LineWidth, th.PointRadius = 3.35, 300, 7.5, 1.1, 0.9
	return th
}

// OkabeIto returns seven colours that remain distinct under the common forms of colour blindness (Okabe and Ito,
// "Color Universal Design", 2008), strongest first; their yellow is left out, since it does not show on white.
func OkabeIto() []color.Color {
	return []color.Color{
		color.NRGBA{R: 0x00, G: 0x72, B: 0xB2, A: 0xff}, // blue
		color.NRGBA{R: 0xD5, G: 0x5E, B: 0x00, A: 0xff}, // vermillion
		color.NRGBA{R: 0x00, G: 0x9E, B: 0x73, A: 0xff}, // bluish green
		color.NRGBA{R: 0xCC, G: 0x79, B: 0xA7, A: 0xff}, // reddish purple
		color.NRGBA{R: 0xE6, G: 0x9F, B: 0x00, A: 0xff}, // orange
		color.NRGBA{R: 0x56, G: 0xB4, B: 0xE9, A: 0xff}, // sky blue
		color.NRGBA{R: 0x22, G: 0x22, B: 0x22, A: 0xff}, // black
	}
}

// Sizes of text, in units of Theme.FontSize.
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
		{"LineWidth", th.LineWidth, 0.05, 20}, {"PointRadius", th.PointRadius, 0.05, 20}, {"Aspect", th.Aspect, 0.05, 20},
	} {
		if !(f.v >= f.min && f.v <= f.max) {
			return fmt.Errorf("figure: Theme.%s = %v, want %v to %v; start from Notebook() or Paper()", f.name, f.v, f.min, f.max)
		}
	}
	if len(th.Palette) == 0 || th.Ink == nil || th.Muted == nil || th.Grid == nil || th.Background == nil {
		return fmt.Errorf("figure: Theme lacks a colour; start from Notebook() or Paper()")
	}
	return nil
}

// em returns k times the theme's font size.
func (th *Theme) em(k float64) vg.Length { return vg.Points(k * th.FontSize) }

// style returns a text style of k times the theme's font size, in Liberation Sans.
func (th *Theme) style(k float64, bold bool, c color.Color) text.Style {
	f := font.Font{Typeface: "Liberation", Variant: "Sans", Size: th.em(k)}
	if bold {
		f.Weight = xfont.WeightBold
	}
	return text.Style{Color: c, Font: f, Handler: newHandler()}
}

// fade returns c at opacity alpha.
func fade(c color.Color, alpha float64) color.NRGBA {
	n := color.NRGBAModel.Convert(c).(color.NRGBA)
	n.A = uint8(float64(n.A)*alpha + 0.5)
	return n
}

// tint returns c mixed with white: 0 is c, 1 is white.
func tint(c color.Color, w float64) color.NRGBA {
	n := color.NRGBAModel.Convert(c).(color.NRGBA)
	mix := func(v uint8) uint8 { return uint8(float64(v)*(1-w) + 255*w + 0.5) }
	return color.NRGBA{R: mix(n.R), G: mix(n.G), B: mix(n.B), A: n.A}
}

func inches(v float64) vg.Length { return vg.Length(v) * vg.Inch }
