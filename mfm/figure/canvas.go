package figure

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"image"
	"image/color"
	imgdraw "image/draw"
	"unicode"

	"golang.org/x/image/font/sfnt"
	"golang.org/x/image/math/fixed"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/vgimg"
	"gonum.org/v1/plot/vg/vgpdf"
	"gonum.org/v1/plot/vg/vgsvg"
)

// canvas is one of gonum's canvases with what all of ours have in common: text is drawn as the outlines of its glyphs.
// That is the same in every format, needs no font where the file is read, and has Greek letters in PDF too, where
// vgpdf knows only those of code page 1252.
type canvas struct {
	vg.CanvasWriterTo
	format string
}

// newCanvas returns a canvas for a format, "png", "svg" or "pdf".
func newCanvas(format string, w, h vg.Length, dpi int, background color.Color) (*canvas, error) {
	switch format {
	case "png":
		c := vgimg.NewWith(vgimg.UseWH(w, h), vgimg.UseDPI(dpi), vgimg.UseBackgroundColor(background))
		return &canvas{vgimg.PngCanvas{Canvas: c}, format}, nil
	case "svg":
		return &canvas{vgsvg.New(w, h), format}, nil
	case "pdf":
		return &canvas{vgpdf.New(w, h), format}, nil
	}
	return nil, fmt.Errorf("figure: unknown format %q, want png, svg or pdf", format)
}

// SetColor implements [vg.Canvas].
func (c *canvas) SetColor(clr color.Color) {
	if clr == nil {
		clr = color.Black
	}
	if c.format == "pdf" {
		clr = straight{color.NRGBAModel.Convert(clr).(color.NRGBA)}
	}
	c.CanvasWriterTo.SetColor(clr)
}

// straight is a colour whose components are not multiplied by alpha: vgpdf hands them to the file as they are, next to
// alpha, which would otherwise count twice.
type straight struct{ color.NRGBA }

// RGBA implements [color.Color], but for the multiplication.
func (s straight) RGBA() (r, g, b, a uint32) {
	const k = 0x101
	return uint32(s.R) * k, uint32(s.G) * k, uint32(s.B) * k, uint32(s.A) * k
}

// DrawImage implements [vg.Canvas]. The image is brought to 8 bits a channel, the only depth that vgpdf writes rightly;
// vgpdf also turns it upside down and gives it the opacity of the last colour.
func (c *canvas) DrawImage(rect vg.Rectangle, img image.Image) {
	b := img.Bounds()
	flat := image.NewNRGBA(image.Rect(0, 0, b.Dx(), b.Dy()))
	imgdraw.Draw(flat, flat.Bounds(), img, b.Min, imgdraw.Src)
	if c.format == "pdf" {
		c.SetColor(color.Black)
		for i, j := 0, b.Dy()-1; i < j; i, j = i+1, j-1 {
			upper, lower := flat.Pix[i*flat.Stride:(i+1)*flat.Stride], flat.Pix[j*flat.Stride:(j+1)*flat.Stride]
			for k := range upper {
				upper[k], lower[k] = lower[k], upper[k]
			}
		}
	}
	c.CanvasWriterTo.DrawImage(rect, flat)
}

// FillString implements [vg.Canvas].
func (c *canvas) FillString(f font.Face, pt vg.Point, txt string) {
	if path := outline(f, pt, txt); len(path) > 0 {
		c.Fill(path)
	}
}

// outline returns the outlines of the glyphs of txt, the first at pt.
func outline(f font.Face, pt vg.Point, txt string) vg.Path {
	var (
		path vg.Path
		buf  sfnt.Buffer
		prev sfnt.GlyphIndex
	)
	upem := fixed.Int26_6(f.Face.UnitsPerEm())
	scale := f.Font.Size / vg.Length(upem)
	for _, r := range txt {
		idx, err := f.Face.GlyphIndex(&buf, r)
		if err != nil {
			continue
		}
		if unicode.Is(unicode.Mn, r) {
			path = append(path, glyph(f, &buf, pt.Add(onto(f, &buf, prev, idx)), idx)...)
			continue
		}
		if kern, err := f.Face.Kern(&buf, prev, idx, upem, 0); prev != 0 && err == nil {
			pt.X += scale * vg.Length(kern)
		}
		path = append(path, glyph(f, &buf, pt, idx)...)
		if adv, err := f.Face.GlyphAdvance(&buf, idx, upem, 0); err == nil {
			pt.X += scale * vg.Length(adv)
		}
		prev = idx
	}
	return path
}

// glyph returns the outline of one glyph at pt.
func glyph(f font.Face, buf *sfnt.Buffer, pt vg.Point, idx sfnt.GlyphIndex) vg.Path {
	var path vg.Path
	upem := fixed.Int26_6(f.Face.UnitsPerEm())
	scale := f.Font.Size / vg.Length(upem)
	at := func(p fixed.Point26_6) vg.Point { // y points down in a font
		return vg.Point{X: pt.X + scale*vg.Length(p.X), Y: pt.Y - scale*vg.Length(p.Y)}
	}
	segments, err := f.Face.LoadGlyph(buf, idx, upem, nil)
	if err != nil || len(segments) == 0 {
		return nil
	}
	for i, s := range segments {
		switch s.Op {
		case sfnt.SegmentOpMoveTo:
			if i > 0 {
				path.Close()
			}
			path.Move(at(s.Args[0]))
		case sfnt.SegmentOpLineTo:
			path.Line(at(s.Args[0]))
		case sfnt.SegmentOpQuadTo:
			path.QuadTo(at(s.Args[0]), at(s.Args[1]))
		case sfnt.SegmentOpCubeTo:
			path.CubeTo(at(s.Args[0]), at(s.Args[1]), at(s.Args[2]))
		}
	}
	path.Close()
	return path
}

// onto returns where a combining mark belongs, from the pen after its base: over the base's middle, as in x̄, and
// above the base where that is a capital.
func onto(f font.Face, buf *sfnt.Buffer, base, mark sfnt.GlyphIndex) vg.Point {
	upem := fixed.Int26_6(f.Face.UnitsPerEm())
	b, advance, err := f.Face.GlyphBounds(buf, base, upem, 0)
	if err != nil {
		return vg.Point{}
	}
	m, _, err := f.Face.GlyphBounds(buf, mark, upem, 0)
	if err != nil {
		return vg.Point{}
	}
	dx := (b.Min.X+b.Max.X)/2 - advance - (m.Min.X+m.Max.X)/2
	var up fixed.Int26_6
	if gap := upem / 16; m.Max.Y < 0 && m.Max.Y > b.Min.Y-gap { // y points down
		up = m.Max.Y - (b.Min.Y - gap)
	}
	scale := f.Font.Size / vg.Length(upem)
	return vg.Point{X: scale * vg.Length(dx), Y: scale * vg.Length(up)}
}

// bytes returns the file. An SVG gets alt as its <title>, which screen readers read.
func (c *canvas) bytes(alt string) ([]byte, error) {
	var buf bytes.Buffer
	if _, err := c.WriteTo(&buf); err != nil {
		return nil, fmt.Errorf("figure: %w", err)
	}
	if c.format != "svg" {
		return buf.Bytes(), nil
	}
	// vgsvg names its PNG images JPEG, which not every reader forgives.
	out := bytes.ReplaceAll(buf.Bytes(), []byte("data:image/jpg;"), []byte("data:image/png;"))
	head := bytes.Index(out, []byte("<svg"))
	end := head + bytes.IndexByte(out[head:], '>') + 1
	var title bytes.Buffer
	title.WriteString("\n<title>")
	if err := xml.EscapeText(&title, []byte(alt)); err != nil {
		return nil, fmt.Errorf("figure: %w", err)
	}
	title.WriteString("</title>")
	return bytes.Join([][]byte{out[:end], out[end:]}, title.Bytes()), nil
}
