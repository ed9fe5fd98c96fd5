package figure

import (
	"image"
	"image/color"
	"testing"

	"gonum.org/v1/plot/vg"
)

// recorder keeps what reaches a canvas of gonum's.
type recorder struct {
	vg.CanvasWriterTo
	color color.Color
	image image.Image
}

func (r *recorder) SetColor(c color.Color)                    { r.color = c }
func (r *recorder) DrawImage(_ vg.Rectangle, img image.Image) { r.image = img }

// vgpdf draws images upside down, with the opacity of the last colour, and wants colours that are not multiplied by
// alpha; the other canvases do as vg.Canvas says.
func TestCanvasSetsVgpdfRight(t *testing.T) {
	src := image.NewRGBA64(image.Rect(3, 5, 4, 7)) // one pixel above another, not at the origin
	src.Set(3, 5, color.NRGBA{R: 0xff, A: 0xff})
	src.Set(3, 6, color.NRGBA{B: 0xff, A: 0x80})
	for _, tc := range []struct {
		format string
		top    color.Color
		red    uint32
	}{
		{"png", color.NRGBA{R: 0xff, A: 0xff}, 0x8080},
		{"svg", color.NRGBA{R: 0xff, A: 0xff}, 0x8080},
		{"pdf", color.NRGBA{B: 0xff, A: 0x80}, 0xffff},
	} {
		var r recorder
		c := &canvas{&r, tc.format}
		c.SetColor(color.NRGBA{R: 0xff, A: 0x80})
		if red, _, _, a := r.color.RGBA(); red != tc.red || a != 0x8080 {
			t.Errorf("%s: red %#x, alpha %#x, want %#x, 0x8080", tc.format, red, a, tc.red)
		}
		c.DrawImage(vg.Rectangle{}, src)
		if got := r.image.At(0, 0); got != tc.top || r.image.Bounds().Dy() != 2 {
			t.Errorf("%s: the upper pixel is %v, want %v", tc.format, got, tc.top)
		}
		if _, _, _, a := r.color.RGBA(); tc.format == "pdf" && a != 0xffff {
			t.Errorf("pdf: image drawn with alpha %#x", a)
		}
	}
}
