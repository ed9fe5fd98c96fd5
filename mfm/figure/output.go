package figure

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"html"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/janpfeifer/gonb/gonbui"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"
	"gonum.org/v1/plot/vg/vgsvg"
)

const maxPixels = 1 << 26 // of a figure: 256 MiB of memory

// Render returns the figure as a file in a format, "png" or "svg". A PNG has Theme.DPI pixels per
// inch and holds the caption as its description; see [ReadCaption]. Render returns an error if the
// figure cannot be drawn. It does not panic.
func (f *Figure) Render(format string) (file []byte, err error) {
	if format != "png" && format != "svg" {
		return nil, fmt.Errorf("figure: unknown format %q, want png or svg", format)
	}
	// gonum/plot panics on input that it cannot draw, and functions of layers may panic.
	defer func() {
		if r := recover(); r != nil {
			file, err = nil, fmt.Errorf("figure: cannot draw %q: %v", f.Title, r)
		}
	}()
	contents, entries, bar, err := f.build(format)
	if err != nil {
		return nil, err
	}
	th := &f.Theme
	l := newLegend(th, entries, inches(th.Width))
	g, err := f.lay(contents, l, bar)
	if err != nil {
		return nil, err
	}
	if pixels := g.width.Dots(float64(th.DPI)) * g.height.Dots(float64(th.DPI)); pixels > maxPixels {
		return nil, fmt.Errorf("figure: %.3g x %.3g inches at %d pixels per inch are %.3g pixels, more than %.3g; "+
			"reduce Theme.Width, Theme.DPI or Theme.Aspect",
			g.width/vg.Inch, g.height/vg.Inch, th.DPI, pixels, float64(maxPixels))
	}
	var c vg.CanvasWriterTo = vgsvg.New(g.width, g.height)
	if format == "png" {
		c = vgimg.PngCanvas{Canvas: vgimg.NewWith(vgimg.UseWH(g.width, g.height), vgimg.UseDPI(th.DPI),
			vgimg.UseBackgroundColor(th.Background))}
	}
	f.draw(draw.NewCanvas(c, g.width, g.height), g, contents, l, bar)
	var buf bytes.Buffer
	if _, err := c.WriteTo(&buf); err != nil {
		return nil, fmt.Errorf("figure: %w", err)
	}
	if format == "svg" {
		return describe(buf.Bytes(), f.alt()), nil
	}
	return withText(buf.Bytes(), descriptionKey, f.Caption), nil
}

const (
	signature      = "\x89PNG\r\n\x1a\n"
	descriptionKey = "Description" // a keyword of the PNG specification
)

// withText adds an international text chunk to a PNG, after its header. Empty text adds nothing.
func withText(file []byte, key, text string) []byte {
	if text == "" {
		return file
	}
	body := "iTXt" + key + "\x00\x00\x00\x00\x00" + text // not compressed, no language
	chunk := binary.BigEndian.AppendUint32(nil, uint32(len(body)-4))
	chunk = append(chunk, body...)
	chunk = binary.BigEndian.AppendUint32(chunk, crc32.ChecksumIEEE([]byte(body)))
	const header = len(signature) + 25
	return slices.Insert(file, header, chunk...)
}

// ReadCaption returns the caption that a PNG of this package holds, empty if it holds none. It
// returns an error if the file is not a PNG.
func ReadCaption(file []byte) (string, error) {
	rest, ok := bytes.CutPrefix(file, []byte(signature))
	if !ok {
		return "", fmt.Errorf("figure: not a PNG")
	}
	for len(rest) >= 12 {
		n := int64(binary.BigEndian.Uint32(rest))
		if n > int64(len(rest)-12) {
			return "", fmt.Errorf("figure: a PNG with a chunk of %d bytes where %d are left", n, len(rest)-12)
		}
		text, ok := bytes.CutPrefix(rest[4:8+n], []byte("iTXt"+descriptionKey+"\x00\x00\x00\x00\x00"))
		if ok && utf8.Valid(text) {
			return string(text), nil
		}
		rest = rest[12+n:]
	}
	return "", nil
}

// describe adds a <title> to an SVG, for screen readers. It also corrects the type of the images,
// which vgsvg calls JPEG but writes as PNG.
func describe(svg []byte, title string) []byte {
	svg = bytes.ReplaceAll(svg, []byte("data:image/jpg;"), []byte("data:image/png;"))
	at := bytes.Index(svg, []byte("<svg"))
	at += bytes.IndexByte(svg[at:], '>') + 1
	return slices.Insert(svg, at, []byte("\n<title>"+html.EscapeString(title)+"</title>")...)
}

// PNG returns the figure as a PNG. See [Figure.Render].
func (f *Figure) PNG() ([]byte, error) { return f.Render("png") }

// Save writes the figure to a file, as PNG or SVG by the extension of its name. It writes a
// temporary file in the same directory and renames it, so that the file is never incomplete.
func (f *Figure) Save(path string) error {
	format := strings.ToLower(strings.TrimPrefix(filepath.Ext(path), "."))
	if format != "png" && format != "svg" {
		return fmt.Errorf("figure: save %q: unknown extension %q, want .png or .svg", path, filepath.Ext(path))
	}
	file, err := f.Render(format)
	if err != nil {
		return err
	}
	part := fmt.Sprintf("%s.%d.part", path, os.Getpid())
	err = os.WriteFile(part, file, 0o644)
	if err == nil {
		err = os.Rename(part, path)
	}
	if err != nil {
		_ = os.Remove(part)
		return fmt.Errorf("figure: save %q: %w", path, err)
	}
	return nil
}

// Show displays the figure and its caption below the cell of a GoNB notebook. Outside a notebook it
// displays nothing, but it still draws the figure and returns the same errors.
func (f *Figure) Show() error {
	png, err := f.PNG()
	if err != nil {
		return err
	}
	gonbui.DisplayHTML(imageHTML(png, f.Theme.Width, f.alt(), f.Caption))
	return displayError()
}

// imageHTML returns the HTML of a PNG with a width in inches.
func imageHTML(png []byte, width float64, alt, caption string) string {
	s := fmt.Sprintf(`<figure style="margin:0"><img src="data:image/png;base64,%s" `+
		`style="width:%.0fpx;max-width:100%%" alt="%s"/>`,
		base64.StdEncoding.EncodeToString(png), width*96, html.EscapeString(alt))
	if caption != "" {
		s += fmt.Sprintf(`<figcaption style="max-width:%.0fpx;font-size:90%%">%s</figcaption>`,
			width*96, html.EscapeString(caption))
	}
	return s + "</figure>"
}

// displayError returns the error of the connection to the notebook, if any.
func displayError() error {
	if err := gonbui.Error(); err != nil {
		return fmt.Errorf("figure: notebook: %w", err)
	}
	return nil
}
