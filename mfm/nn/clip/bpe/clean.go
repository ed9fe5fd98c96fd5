package bpe

import (
	"html"
	"regexp"
	"strings"

	"golang.org/x/text/cases"
	"golang.org/x/text/language"
	"golang.org/x/text/unicode/norm"
)

// clean is what OpenCLIP's SimpleTokenizer does to a text: the repair of the Python package ftfy
// 6.3, apart from that of text in a wrong encoding, then HTML entities twice, spaces and lower
// case.
func clean(text string) string {
	text = html.UnescapeString(html.UnescapeString(repair(text)))
	return cases.Lower(language.Und).String(strings.Join(strings.Fields(text), " "))
}

// normalize is what transformers' CLIPTokenizer does to a text. Its lower case is that of each
// character for itself.
func normalize(text string) string {
	return strings.ToLower(strings.ReplaceAll(norm.NFC.String(text), "İ", "i̇"))
}

// passes is the limit for the repairs of a line, such as one of "&amp;amp;amp;", each of which
// takes the time of the line.
const passes = 100

// repair repairs each line until nothing changes. From the first line with a "<" on, the text may
// be HTML, where entities are meant.
func repair(text string) string {
	var all strings.Builder
	entities := true
	for line := range strings.SplitAfterSeq(text, "\n") {
		entities = entities && !strings.Contains(line, "<")
		for range passes {
			before := line
			if entities {
				line = entity.ReplaceAllStringFunc(line, unescape)
			}
			line = norm.NFC.String(simplify(line))
			if line == before {
				break
			}
		}
		all.WriteString(line)
	}
	return all.String()
}

var (
	entity = regexp.MustCompile(`&#?[0-9A-Za-z]{1,24};`)
	// escapes change the color of a terminal's text.
	escapes = regexp.MustCompile("\x1b\\[[0-9;]*[a-zA-Z]")
	breaks  = strings.NewReplacer("\r\n", "\n", "\r", "\n", "\u2028", "\n", "\u2029", "\n", "\u0085", "\n")
)

// unescape decodes an HTML entity if it is one as a whole. Names in capitals, such as &EACUTE;, are
// those of capital characters.
func unescape(name string) string {
	decoded := html.UnescapeString(name)
	if lower := strings.ToLower(name); decoded == name && strings.ToUpper(name) == name {
		if decoded = html.UnescapeString(lower); decoded == lower {
			return name
		}
		decoded = strings.ToUpper(decoded)
	}
	if strings.HasSuffix(decoded, ";") && name != "&semi;" {
		return name // the name of an entity and more
	}
	return decoded
}

// simplify replaces characters by those that were meant: ligatures of Latin letters, characters of
// another width, curly quotes and line breaks. It removes control characters.
func simplify(text string) string {
	var to strings.Builder
	for _, r := range text {
		switch {
		case r == 'ﬅ':
			to.WriteString("ſt")
		case r == '\u3000':
			to.WriteByte(' ')
		case r >= 0xff01 && r <= 0xffef, r >= 'ﬀ' && r <= 'ﬆ', r == 'Ĳ', r == 'ĳ', r == 'ŉ', r >= 'Ǆ' && r <= 'ǌ',
			r >= 'Ǳ' && r <= 'ǳ':
			to.WriteString(norm.NFKC.String(string(r)))
		case r == '\u02bc', r >= '\u2018' && r <= '\u201b':
			to.WriteByte('\'')
		case r >= '\u201c' && r <= '\u201f':
			to.WriteByte('"')
		default:
			to.WriteRune(r)
		}
	}
	return strings.Map(printable, escapes.ReplaceAllString(breaks.Replace(to.String()), ""))
}

// printable returns -1 for control characters that ftfy removes.
func printable(r rune) rune {
	switch {
	case r < ' ' && r != '\t' && r != '\n' && r != '\f' && r != '\r', r == 0x7f, r >= 0x206a && r <= 0x206f, r == 0xfeff,
		r >= 0xfff9 && r <= 0xfffc:
		return -1
	}
	return r
}
