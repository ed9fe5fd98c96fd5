package scripts

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// python returns the absolute path of the Python of scripts/setup, and skips the test if that has
// no ziamath or pillow.
func python(t *testing.T) string {
	t.Helper()
	path, err := filepath.Abs("../.venv/bin/python")
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(path, "-c", "import PIL, ziamath").CombinedOutput(); err != nil {
		t.Skipf("run scripts/setup first: %v, %s", err, out)
	}
	return path
}

// noise returns a PNG of random colors, in base64.
func noise(t *testing.T, width, height int) string {
	t.Helper()
	picture, state := image.NewRGBA(image.Rect(0, 0, width, height)), uint32(1)
	for i := range picture.Pix {
		state = state*1664525 + 1013904223
		picture.Pix[i] = byte(state>>24) | byte(i%4/3*255) // opaque
	}
	var b bytes.Buffer
	if err := png.Encode(&b, picture); err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(b.Bytes())
}

// A notebook is stored without times, paths and counts and with small PNGs. The check accepts it,
// and refuses what is stored otherwise.
func TestStoredNotebook(t *testing.T) {
	interpreter := python(t)
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write := func(name, source string, outputs ...any) {
		cell := map[string]any{
			"cell_type": "code", "id": "a", "metadata": map[string]any{"execution": map[string]any{"started": "12:00"}},
			"source": source, "execution_count": 3, "outputs": append([]any{}, outputs...),
		}
		text, err := json.Marshal(map[string]any{
			"nbformat": 4, "nbformat_minor": 5, "cells": []any{cell},
			"metadata": map[string]any{"kernelspec": map[string]any{"name": "gonb", "display_name": "Go"}},
		})
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), text, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	stream := func(text string) any {
		return map[string]any{"output_type": "stream", "name": "stdout", "text": text}
	}
	html := func(text string) any {
		return map[string]any{
			"output_type": "display_data", "metadata": map[string]any{}, "data": map[string]any{"text/html": text},
		}
	}
	figure := func(width, height int) any {
		return html(`<figure style="margin:0"><img src="data:image/png;base64,` + noise(t, width, height) +
			`" style="width:64px;max-width:100%" alt="a &lt; b"/><figcaption style="x">A <b>line</b>.</figcaption></figure>`)
	}

	changes := []struct{ change, want string }{
		{`cell.source += "1"`, "has outputs older than its code"},
		{`del nb.metadata["stored"]`, "has outputs older than its code"},
		{`cell.outputs = []`, "has no outputs"},
		{`cell.source = "// " + 117 * "x"; nb.metadata["stored"]["code"] = stored.digest(nb)`, "None"},
		{`cell.source = "// " + 118 * "x"; nb.metadata["stored"]["code"] = stored.digest(nb)`,
			"has a line of code of 121 columns, more than 120"},
		{`cell.execution_count = 1`, "has outputs with times, paths or counts"},
		{`cell.outputs[0].text += "done in 3s"`, "has outputs with times, paths or counts"},
		{`cell.outputs[0].text += "/home/somebody/x"`, "has the path /home/somebody/x in its outputs"},
		{`cell.outputs[0].text += "x" * stored.LIMIT`, "has "},
		{`del nb.metadata["stored"]; cell.outputs = []`, "None"},
		{`del nb.metadata["stored"]; cell.outputs = []; stored.REQUIRED = True`, "has no outputs"},
	}
	var code strings.Builder
	code.WriteString(`
import nbformat, stored
from pathlib import Path
stored.REQUIRED = False
a, b = Path("a.ipynb"), Path("b.ipynb")
print(stored.problem(a))
print(stored.store(a, nbformat.read("done.ipynb", 4), "quick"))
print(stored.problem(a))
`)
	for _, c := range changes {
		fmt.Fprintf(&code, `
nb = nbformat.read(a, 4)
cell = nb.cells[0]
%s
b.write_text(stored.serialized(nb))
print(stored.problem(b))
`, c.change)
	}
	// A figure that is too large is reduced to its size on the page; else the notebook is not stored.
	code.WriteString(`
large = nbformat.read("large.ipynb", 4)
stored.LIMIT = 3000
print(stored.store(a, large, "quick"))
b.write_text(a.read_text())
stored.LIMIT = 100_000
print(stored.store(b, large, "quick"))
`)
	write("a.ipynb", "print()")
	write("done.ipynb", "print()",
		stream("10/20\r\x1b[K20/20  loss 0.3  94.7 steps/s  done in 1m07s\nstep 3: loss 0.2, 11.5 s\n"+root+"/data in "+root+"\n"),
		html(`<div>400/400  100%  25.9 s/step  done in 7s</div>`), figure(128, 96))
	write("large.ipynb", "print()", figure(600, 450))
	cmd := exec.Command(interpreter, "-c", code.String())
	cmd.Env = append(os.Environ(), "PYTHONPATH="+filepath.Join(root, "scripts"))
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	lines := strings.Split(string(out), "\n")
	if err != nil || len(lines) != 3+len(changes)+3 {
		t.Fatalf("%v, %s", err, out)
	}
	if got := lines[:3]; !slices.Equal(got, []string{"None", "None", "None"}) {
		t.Errorf("problems before, in and after storing: %q", got)
	}
	for i, c := range changes {
		if got := lines[3+i]; !strings.HasPrefix(got, c.want) {
			t.Errorf("after %s: %s, want %s", c.change, got, c.want)
		}
	}
	if got := lines[3+len(changes):]; !strings.HasPrefix(got[0], "it would have ") || got[1] != "None" {
		t.Errorf("a figure over the limit, and one over it in full size: %q", got)
	}
	text, err := os.ReadFile(filepath.Join(dir, "a.ipynb"))
	if err != nil {
		t.Fatal(err)
	}
	var nb struct {
		Cells []struct {
			Metadata map[string]any
			Count    *int `json:"execution_count"`
			Outputs  []struct {
				Text []string
				Data struct {
					PNG   string   `json:"image/png"`
					HTML  []string `json:"text/html"`
					Plain []string `json:"text/plain"`
				}
				Metadata struct {
					PNG struct {
						Width int
						Alt   string
					} `json:"image/png"`
				}
			}
		}
	}
	if err := json.Unmarshal(text, &nb); err != nil {
		t.Fatal(err)
	}
	cell := nb.Cells[0]
	if cell.Count != nil || len(cell.Metadata) != 0 || len(cell.Outputs) != 4 {
		t.Fatalf("stored: %.1000s", text)
	}
	want := "20/20  loss 0.3  done\nstep 3: loss 0.2, … s\n../data in ..\n"
	if got := strings.Join(cell.Outputs[0].Text, ""); got != want {
		t.Errorf("text: %q, want %q", got, want)
	}
	if got := cell.Outputs[1].Data.HTML[0]; got != "<div>400/400  100%  done</div>" {
		t.Errorf("progress: %q", got)
	}
	picture := cell.Outputs[2]
	raw, err := base64.StdEncoding.DecodeString(picture.Data.PNG)
	if err != nil {
		t.Fatal(err)
	}
	config, err := png.DecodeConfig(bytes.NewReader(raw))
	palette, isPalette := config.ColorModel.(color.Palette)
	if err != nil || !isPalette || len(palette) > 256 || config.Width != 128 || config.Height != 96 ||
		picture.Metadata.PNG.Width != 64 || picture.Metadata.PNG.Alt != "a < b" || picture.Data.Plain[0] != "a < b" {
		t.Errorf("figure: %v, %v, %v, %v", err, config, picture.Metadata, picture.Data.Plain)
	}
	if got := cell.Outputs[3].Data.HTML[0]; !strings.Contains(got, "A <b>line</b>.") {
		t.Errorf("caption: %q", got)
	}
}

// The pages of the notebooks load nothing, show every formula, and link only to what exists.
func TestPages(t *testing.T) {
	interpreter := python(t)
	notebooks, err := filepath.Glob("../notebooks/*.ipynb")
	if err != nil || len(notebooks) < 2 {
		t.Fatal(notebooks, err)
	}
	// As if one were exported before the others.
	dir := filepath.Join(t.TempDir(), "figures")
	notebooks = notebooks[1:]
	out, err := exec.Command(interpreter, append([]string{"pages.py", dir}, notebooks...)...).CombinedOutput()
	if err != nil || len(out) > 0 {
		t.Fatalf("%v, %s", err, out)
	}
	loads := regexp.MustCompile(`(?i)<(script|link|img|iframe|source|object|embed)\b[^>]*\b(src|href|data)=("[^d#]|[^"d#])|` +
		`@import|url\("?(https?:)?//|\bimport\(`)
	links := regexp.MustCompile(`<a [^>]*href="([^"#:]+)["#]`)
	for _, notebook := range notebooks {
		path := filepath.Join(dir, strings.TrimSuffix(filepath.Base(notebook), ".ipynb")+".html")
		page, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if found := loads.Find(page); found != nil {
			t.Errorf("%s loads %s", path, found)
		}
		if found := regexp.MustCompile(`<code class="formula">[^<]*|\$\$`).Find(page); found != nil {
			t.Errorf("%s has a formula that is not shown: %s", path, found)
		}
		if bytes.Contains(page, []byte("</script")) == bytes.Contains(page, []byte("<svg ")) {
			t.Errorf("%s has no formulas, or a script", path)
		}
		for _, link := range links.FindAllSubmatch(page, -1) {
			if _, err := os.Stat(filepath.Join(dir, string(link[1]))); err != nil {
				t.Errorf("%s links to %s: %v", path, link[1], err)
			}
		}
	}
	chromium := chromium()
	if chromium == "" {
		t.Log("SKIPPED: no page is rendered, for lack of a Chromium")
		return
	}
	// A browser without network shows the first page: most of its pixels are white, some black.
	shot := filepath.Join(t.TempDir(), "page.png")
	page := filepath.Join(dir, strings.TrimSuffix(filepath.Base(notebooks[0]), ".ipynb")+".html")
	out, err = exec.Command(chromium, "--headless", "--no-sandbox", "--host-resolver-rules=MAP * ~NOTFOUND",
		"--window-size=900,900", "--screenshot="+shot, "file://"+page).CombinedOutput()
	if err != nil {
		t.Fatalf("%v, %s", err, out)
	}
	file, err := os.Open(shot)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	picture, err := png.Decode(file)
	if err != nil {
		t.Fatal(err)
	}
	black, white := 0, 0
	for y := range 900 {
		for x := range 900 {
			switch r, g, b, _ := picture.At(x, y).RGBA(); {
			case r < 0x6000 && g < 0x6000 && b < 0x6000:
				black++
			case r > 0xe000 && g > 0xe000 && b > 0xe000:
				white++
			}
		}
	}
	if black < 3000 || white < 500000 {
		t.Errorf("the page has %d black and %d white pixels of 810,000", black, white)
	}
}

// chromium returns the path of the browser that CHROMIUM names or of the first on PATH, or nothing.
func chromium() string {
	for _, name := range []string{os.Getenv("CHROMIUM"), "chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	return ""
}
