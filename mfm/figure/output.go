package figure

import (
	"encoding/base64"
	"fmt"
	"html"
	"os"
	"path/filepath"
	"strings"

	"github.com/janpfeifer/gonb/gonbui"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

const mostPixels = 1 << 26 // of a figure: 256 MiB of memory

// Render returns the figure as a file of a format, "png", "svg" or "pdf".
func (f *Figure) Render(format string) (file []byte, err error) {
	// gonum/plot panics on what it cannot draw; what we check beforehand should leave nothing, but a figure is never
	// worth the program that draws it.
	defer func() {
		if r := recover(); r != nil {
			file, err = nil, fmt.Errorf("figure: cannot draw %q: %v", f.Title, r)
		}
	}()
	contents, entries, err := f.build(format)
	if err != nil {
		return nil, err
	}
	var l *legend
	if !f.NoLegend {
		l = newLegend(&f.Theme, entries, inches(f.Theme.Width))
	}
	g, err := f.lay(contents, l.height())
	if err != nil {
		return nil, err
	}
	if pixels := g.width.Dots(float64(f.Theme.DPI)) * g.height.Dots(float64(f.Theme.DPI)); pixels > mostPixels {
		return nil, fmt.Errorf("figure: %.3g x %.3g inches at %d pixels per inch are %.3g pixels, more than %.3g; lower Theme.Width, Theme.DPI or the panels' Aspect",
			g.width/vg.Inch, g.height/vg.Inch, f.Theme.DPI, pixels, float64(mostPixels))
	}
	c, err := newCanvas(format, g.width, g.height, f.Theme.DPI, f.Theme.Background)
	if err != nil {
		return nil, err
	}
	f.draw(draw.NewCanvas(c, g.width, g.height), g, contents, l)
	return c.bytes(f.alt())
}

// PNG returns the figure as a PNG of Theme.DPI pixels per inch.
func (f *Figure) PNG() ([]byte, error) { return f.Render("png") }

// Save writes the figure to a file, as PNG, SVG or PDF by the extension of its name: to a temporary file beside it
// first, which then takes its name, so that there is never half a figure under it.
func (f *Figure) Save(path string) error {
	format := strings.ToLower(strings.TrimPrefix(filepath.Ext(path), "."))
	switch format {
	case "png", "svg", "pdf":
	default:
		return fmt.Errorf("figure: save %q: unknown extension %q, want .png, .svg or .pdf", path, filepath.Ext(path))
	}
	file, err := f.Render(format)
	if err != nil {
		return err
	}
	return writeFile(path, file)
}

// writeFile writes a file under a temporary name and renames it.
func writeFile(path string, data []byte) (err error) {
	tmp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*.part")
	if err != nil {
		return fmt.Errorf("figure: save %q: %w", path, err)
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("figure: save %q: %w", path, err)
			_ = os.Remove(tmp.Name())
		}
	}()
	_, err = tmp.Write(data)
	if err == nil {
		err = tmp.Chmod(0o644)
	}
	if closeErr := tmp.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	return err
}

// Show displays the figure below the cell of a GoNB notebook, with its caption, and its description as alternative
// text. Outside a notebook it displays nothing, but still draws the figure and returns what is wrong with it, so that
// the same code serves in a program or a test.
func (f *Figure) Show() error {
	png, err := f.PNG()
	if err != nil {
		return err
	}
	gonbui.DisplayHTML(picture(png, f.Theme.Width, f.alt(), f.Caption))
	return displayError()
}

// picture returns the HTML of a PNG at a width in inches, whatever its number of pixels.
func picture(png []byte, width float64, alt, caption string) string {
	var b strings.Builder
	fmt.Fprintf(&b, `<figure style="margin:0"><img src="data:image/png;base64,%s" style="width:%.0fpx;max-width:100%%" alt="%s"/>`,
		base64.StdEncoding.EncodeToString(png), width*96, html.EscapeString(alt))
	if caption != "" {
		fmt.Fprintf(&b, `<figcaption style="max-width:%.0fpx;font-size:90%%">%s</figcaption>`, width*96, htmlText(caption))
	}
	b.WriteString("</figure>")
	return b.String()
}

// displayError returns the error of the connection to the notebook, if there is one.
func displayError() error {
	if err := gonbui.Error(); err != nil {
		return fmt.Errorf("figure: notebook: %w", err)
	}
	return nil
}
