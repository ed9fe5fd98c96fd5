// Package typeset draws Unicode labels as outlines of glyphs, with superscripts and subscripts, and
// breaks them into lines. It is the text handler of the figures.
package typeset

import (
	"fmt"
	"math"
	"strings"
	"sync"

	"codeberg.org/go-fonts/dejavu/dejavusans"
	"golang.org/x/image/font/opentype"
	"golang.org/x/image/font/sfnt"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/font/liberation"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
)

// fallback is the font for signs that Liberation Sans lacks, such as ∇ ∈ ∼ ⟨ ⟩ ℝ 𝔼.
var fallback = font.Font{Typeface: "DejaVu", Variant: "Sans"}

// fonts returns Liberation and the fallback.
var fonts = sync.OnceValue(func() *font.Cache {
	cache := font.NewCache(liberation.Collection())
	if face, err := opentype.Parse(dejavusans.TTF); err == nil {
		cache.Add(font.Collection{{Font: fallback, Face: face}})
	}
	return cache
})

// scripts maps Unicode superscripts and subscripts, which both fonts have only in part, to runes of
// normal size.
var scripts = sync.OnceValue(func() map[rune]script {
	m := make(map[rune]script)
	for _, s := range []struct {
		from, to string
		level    int
	}{
		{"⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁼⁽⁾ⁿⁱ", "0123456789+−=()ni", 1},
		{"₀₁₂₃₄₅₆₇₈₉₊₋₌₍₎ₐₑₕᵢⱼₖₗₘₙₒₚᵣₛₜᵤᵥₓᵦᵧᵨᵩᵪ", "0123456789+−=()aehijklmnoprstuvxβγρφχ", -1},
	} {
		to := []rune(s.to)
		for i, r := range []rune(s.from) {
			m[r] = script{to[i], s.level}
		}
	}
	return m
})

// script is a rune and its level: 1 for a superscript, -1 for a subscript, 0 otherwise.
type script struct {
	r     rune
	level int
}

func scriptOf(r rune) script {
	if s, ok := scripts()[r]; ok {
		return s
	}
	return script{r: r}
}

// Size and rise of superscripts and subscripts in units of the font size.
const (
	scriptSize = 0.68
	superRise  = 0.36
	subDrop    = 0.16
)

// run is a part of a line in one font at one level.
type run struct {
	text string
	face font.Face
	rise vg.Length // of its baseline above that of the line
}

// runs splits a line by font and level.
func runs(line string, f font.Font) []run {
	type key struct {
		level int
		main  bool
	}
	var (
		out  []run
		prev key
		main = fonts().Lookup(f, f.Size)
	)
	for _, r := range line {
		s := scriptOf(r)
		k := key{s.level, hasGlyph(main, s.r)}
		if len(out) == 0 || k != prev {
			use, size, rise := f, f.Size, vg.Length(0)
			if !k.main {
				use = fallback
			}
			switch s.level {
			case 1:
				size, rise = scriptSize*f.Size, superRise*f.Size
			case -1:
				size, rise = scriptSize*f.Size, -subDrop*f.Size
			}
			out = append(out, run{face: fonts().Lookup(use, size), rise: rise})
		}
		prev = k
		out[len(out)-1].text += string(s.r)
	}
	return out
}

func hasGlyph(f font.Face, r rune) bool {
	var buf sfnt.Buffer
	i, err := f.Face.GlyphIndex(&buf, r)
	return err == nil && i != 0
}

// Check returns an error if a label has a sign that no font can draw.
func Check(name string, labels ...string) error {
	main := fonts().Lookup(font.Font{Typeface: "Liberation", Variant: "Sans"}, 10)
	other := fonts().Lookup(fallback, 10)
	for _, label := range labels {
		for _, r := range label {
			if s := scriptOf(r).r; s != '\n' && !hasGlyph(main, s) && !hasGlyph(other, s) {
				return fmt.Errorf("figure: %s %q: no glyph for %q (%U); use another sign", name, label, s, s)
			}
		}
	}
	return nil
}

// Handler is a [text.Handler] for Unicode text. It draws text as the outlines of its glyphs, which
// looks the same in all formats and needs no font where an SVG is read.
type Handler struct{}

// Cache implements [text.Handler].
func (Handler) Cache() *font.Cache { return fonts() }

// Extents implements [text.Handler].
func (Handler) Extents(f font.Font) font.Extents {
	face := fonts().Lookup(f, f.Size)
	return face.Extents()
}

// Lines implements [text.Handler].
func (Handler) Lines(txt string) []string { return strings.Split(strings.TrimRight(txt, "\n"), "\n") }

// Box implements [text.Handler]. Subscripts and superscripts do not change the height, so that all
// lines of a size are equally high.
func (h Handler) Box(line string, f font.Font) (width, height, depth vg.Length) {
	for _, r := range runs(line, f) {
		width += r.face.Width(r.text)
	}
	e := h.Extents(f)
	return width, e.Ascent, e.Descent
}

// Draw implements [text.Handler]. The baseline of the last line is at pt.Y + sty.YAlign times the
// height of the text, as the axes of gonum expect.
func (h Handler) Draw(c vg.Canvas, txt string, sty text.Style, pt vg.Point) {
	if strings.TrimSpace(txt) == "" {
		return
	}
	c.SetColor(sty.Color)
	if sty.Rotation != 0 {
		c.Push()
		defer c.Pop()
		c.Rotate(sty.Rotation)
	}
	sin, cos := math.Sincos(sty.Rotation)
	pt = vg.Point{
		X: pt.X*vg.Length(cos) + pt.Y*vg.Length(sin),
		Y: pt.Y*vg.Length(cos) - pt.X*vg.Length(sin),
	}
	pt.Y += vg.Length(sty.YAlign) * sty.Height(txt)
	e := sty.FontExtents()
	lines := h.Lines(txt)
	for i, line := range lines {
		w, _, _ := h.Box(line, sty.Font)
		at := vg.Point{X: pt.X + vg.Length(sty.XAlign)*w, Y: pt.Y + vg.Length(len(lines)-1-i)*e.Height}
		for _, r := range runs(line, sty.Font) {
			if path := outline(r.face, vg.Point{X: at.X, Y: at.Y + r.rise}, r.text); len(path) > 0 {
				c.Fill(path)
			}
			at.X += r.face.Width(r.text)
		}
	}
}

// Wrap breaks a label between words into the fewest lines no wider than width, of similar lengths.
func Wrap(style text.Style, label string, width vg.Length) string {
	lines := fill(style, label, width)
	n := strings.Count(lines, "\n")
	for range 20 { // down to half of the width
		width *= 0.96
		narrower := fill(style, label, width)
		if n == 0 || strings.Count(narrower, "\n") > n || style.Width(narrower) > width {
			break
		}
		lines = narrower
	}
	return lines
}

// fill breaks a label into lines that are as full as possible.
func fill(style text.Style, label string, width vg.Length) string {
	var lines []string
	for paragraph := range strings.SplitSeq(label, "\n") {
		line := ""
		for _, word := range strings.Fields(paragraph) {
			if longer := line + " " + word; line != "" && style.Width(longer) > width {
				lines = append(lines, line)
				line = word
			} else {
				line = strings.TrimPrefix(longer, " ")
			}
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}
