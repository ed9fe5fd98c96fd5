package figure

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

// fallback is the face for signs that Liberation lacks, among them ∇ ∈ ∼ ⟨ ⟩ ℝ 𝔼.
var fallback = font.Font{Typeface: "DejaVu", Variant: "Sans"}

// fonts returns Liberation and the fallback.
var fonts = sync.OnceValue(func() *font.Cache {
	cache := font.NewCache(liberation.Collection())
	if face, err := opentype.Parse(dejavusans.TTF); err == nil {
		cache.Add(font.Collection{{Font: fallback, Face: face}})
	}
	return cache
})

// handler is a [text.Handler] for plain text with subscripts and superscripts.
type handler struct{ cache *font.Cache }

func newHandler() text.Handler { return handler{fonts()} }

// A run is a piece of a line in one face.
type run struct {
	text string
	face font.Face
	rise vg.Length // of its baseline above the line's
}

// Size and rise of a script, in units of the font size.
const (
	scriptSize = 0.68
	superRise  = 0.36
	subDrop    = 0.16
)

const (
	superscripts = "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁼⁽⁾ⁿⁱ"
	superPlain   = "0123456789+−=()ni"
	subscripts   = "₀₁₂₃₄₅₆₇₈₉₊₋₌₍₎ₐₑₕᵢⱼₖₗₘₙₒₚᵣₛₜᵤᵥₓᵦᵧᵨᵩᵪ"
	subPlain     = "0123456789+−=()aehijklmnoprstuvxβγρφχ"
)

var scripts = sync.OnceValue(func() map[rune]scripted {
	m := make(map[rune]scripted)
	for _, s := range []struct {
		from, to string
		level    int
	}{{superscripts, superPlain, 1}, {subscripts, subPlain, -1}} {
		to := []rune(s.to)
		for i, r := range []rune(s.from) {
			m[r] = scripted{to[i], s.level}
		}
	}
	return m
})

// scripted is a rune and its level: 1 for a superscript, -1 for a subscript, 0 for neither.
type scripted struct {
	r     rune
	level int
}

// parse resolves the scripts of one line.
func parse(line string) []scripted {
	var out []scripted
	level := 0
	runes := []rune(line)
	for i := 0; i < len(runes); i++ {
		r := runes[i]
		switch {
		case level == 0 && (r == '_' || r == '^') && i+1 < len(runes) && runes[i+1] == '{':
			level = map[rune]int{'_': -1, '^': 1}[r]
			i++
		case level != 0 && r == '}':
			level = 0
		default:
			if s, ok := scripts()[r]; ok {
				out = append(out, s)
			} else {
				out = append(out, scripted{r, level})
			}
		}
	}
	return out
}

// runs splits a line by face and level.
func (h handler) runs(line string, f font.Font) []run {
	var (
		out  []run
		buf  sfnt.Buffer
		main = h.cache.Lookup(f, f.Size)
		prev struct {
			level int
			main  bool
		}
	)
	for _, s := range parse(line) {
		key := prev
		key.level = s.level
		key.main = hasGlyph(main, s.r, &buf)
		if len(out) == 0 || key != prev {
			use := f
			if !key.main {
				use = fallback
			}
			size, rise := f.Size, vg.Length(0)
			switch s.level {
			case 1:
				size, rise = scriptSize*f.Size, superRise*f.Size
			case -1:
				size, rise = scriptSize*f.Size, -subDrop*f.Size
			}
			out = append(out, run{face: h.cache.Lookup(use, size), rise: rise})
		}
		prev = key
		out[len(out)-1].text += string(s.r)
	}
	return out
}

func hasGlyph(f font.Face, r rune, buf *sfnt.Buffer) bool {
	i, err := f.Face.GlyphIndex(buf, r)
	return err == nil && i != 0
}

// checkText returns an error where a label holds a sign that no face can draw.
func checkText(what, label string) error {
	var buf sfnt.Buffer
	main := fonts().Lookup(font.Font{Typeface: "Liberation", Variant: "Sans"}, 10)
	other := fonts().Lookup(fallback, 10)
	for line := range strings.SplitSeq(label, "\n") {
		for _, s := range parse(line) {
			if !hasGlyph(main, s.r, &buf) && !hasGlyph(other, s.r, &buf) {
				return fmt.Errorf("figure: %s %q: no glyph for %q (%U); write it another way", what, label, s.r, s.r)
			}
		}
	}
	return nil
}

// Cache implements [text.Handler].
func (h handler) Cache() *font.Cache { return h.cache }

// Extents implements [text.Handler].
func (h handler) Extents(f font.Font) font.Extents {
	face := h.cache.Lookup(f, f.Size)
	return face.Extents()
}

// Lines implements [text.Handler].
func (h handler) Lines(txt string) []string { return strings.Split(strings.TrimRight(txt, "\n"), "\n") }

// Box implements [text.Handler]. Scripts do not change the height, so that all lines of a size have the same.
func (h handler) Box(line string, f font.Font) (width, height, depth vg.Length) {
	for _, r := range h.runs(line, f) {
		width += r.face.Width(r.text)
	}
	e := h.Extents(f)
	return width, e.Ascent, e.Descent
}

// Draw implements [text.Handler]. The baseline of the last line lies at pt.Y + sty.YAlign times the text's height,
// which is what gonum's axes reckon with.
func (h handler) Draw(c vg.Canvas, txt string, sty text.Style, pt vg.Point) {
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
		for _, r := range h.runs(line, sty.Font) {
			c.FillString(r.face, vg.Point{X: at.X, Y: at.Y + r.rise}, r.text)
			at.X += r.face.Width(r.text)
		}
	}
}

// plainText returns a label without the braces of its scripts, for readers that do not typeset.
func plainText(label string) string {
	return strings.NewReplacer("_{", "_", "^{", "^", "}", "", "\n", " ").Replace(label)
}

// wrap breaks a label between words into as few lines no wider than width as it can, and those about as long.
func wrap(style text.Style, label string, width vg.Length) string {
	lines := fill(style, label, width)
	n := strings.Count(lines, "\n")
	for range 20 { // down to half of the width: two balanced lines are no shorter
		width *= 0.96
		narrower := fill(style, label, width)
		if n == 0 || strings.Count(narrower, "\n") > n || style.Width(narrower) > width {
			break
		}
		lines = narrower
	}
	return lines
}

// fill breaks a label into lines as full as possible.
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
