package typeset

import (
	"strings"
	"testing"
	"unicode/utf8"

	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
)

// sans returns the style of the labels of a figure.
func sans() text.Style {
	return text.Style{Font: font.Font{Typeface: "Liberation", Variant: "Sans", Size: 9.5}, Handler: Handler{}}
}

func TestScripts(t *testing.T) {
	for _, tc := range []struct{ in, plain, levels string }{
		{"p(x₁ | xₜ)", "p(x1 | xt)", "...-....-."},
		{"10⁻³", "10−3", "..++"},
		{"snake_case ^{x}", "snake_case ^{x}", "..............."},
		{"", "", ""},
	} {
		var plain, levels strings.Builder
		for _, r := range tc.in {
			s := scriptOf(r)
			plain.WriteRune(s.r)
			levels.WriteByte("-.+"[s.level+1])
		}
		if plain.String() != tc.plain || levels.String() != tc.levels {
			t.Errorf("%q: %q %q, want %q %q", tc.in, plain.String(), levels.String(), tc.plain, tc.levels)
		}
	}
}

// Every sign of the formulas of the method has a glyph.
func TestGlyphs(t *testing.T) {
	const signs = "αβγδεζηθικλμνξοπρστυφχψω ΓΔΘΛΞΠΣΦΨΩ ϵϑϕ ∇∂∫∑∏√∞≈≤≥≠±×·−–—… ‖|⟨⟩∼→←↦⇒∈∉⊂∪∩∀∃ ℝ𝔼ℙ ∘⊙⊗⊕†′ x̄x̂x̃ẋ " +
		"₀₁₂₃₄₅₆₇₈₉₊₋ₛₜᵤₓᵢⱼ ⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ½¼"
	for _, r := range signs {
		if err := Check("sign", string(r)); err != nil {
			t.Error(err)
		}
	}
	for _, bad := range []string{"\U0001F40D", "a\x00b", "漢"} {
		if Check("label", bad) == nil {
			t.Errorf("no error for %q", bad)
		}
	}
}

func TestScriptsAreSmaller(t *testing.T) {
	style := sans()
	if sub, plain := style.Width("x₁"), style.Width("x1"); sub >= plain {
		t.Errorf("x₁ is %v wide, x1 %v", sub, plain)
	}
	if bar, plain := style.Width("x̄"), style.Width("x"); bar != plain {
		t.Errorf("x̄ is %v wide, x %v", bar, plain)
	}
}

func TestWrap(t *testing.T) {
	style := sans()
	const label = "one two three four five six seven eight nine"
	full := style.Width(label)
	for _, k := range []vg.Length{2, 1, 0.6, 0.4, 0.2} {
		got := Wrap(style, label, k*full)
		if strings.Join(strings.Fields(got), " ") != label {
			t.Errorf("wrap changed the words: %q", got)
		}
		for line := range strings.SplitSeq(got, "\n") {
			if style.Width(line) > k*full {
				t.Errorf("%q is wider than %v of the label", line, k)
			}
		}
	}
	if got := Wrap(style, label, full*0.9); got != "one two three four five\nsix seven eight nine" {
		t.Errorf("lines are not balanced: %q", got)
	}
	if got := Wrap(style, "unbreakable", 1); got != "unbreakable" {
		t.Errorf("%q", got)
	}
}

func FuzzLabel(f *testing.F) {
	for _, s := range []string{"x₁", "^{", "_", "a\nb", "₁₂", "\xff", "x̄", "̄", "\n"} {
		f.Add(s)
	}
	style := sans()
	f.Fuzz(func(t *testing.T, s string) {
		if len(s) > 200 || !utf8.ValidString(s) || Check("label", s) != nil {
			return
		}
		style.Width(Wrap(style, s, 100))
		for line := range strings.SplitSeq(s, "\n") {
			for _, r := range runs(line, style.Font) {
				outline(r.face, vg.Point{}, r.text)
			}
		}
	})
}
