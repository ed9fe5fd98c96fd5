// Package wordpiece turns texts into the tokens of BERT's uncased vocabulary, as transformers'
// BertTokenizer does: lower-case words without accents, and each punctuation mark alone, are cut
// into the longest pieces that the vocabulary has (Schuster and Nakajima, 2012).
package wordpiece

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

const (
	maxVocabulary = 8 << 20  // bytes
	maxText       = 64 << 10 // bytes
	maxWord       = 100      // characters; a longer word is unknown
)

// Tokenizer is a vocabulary. It is safe for concurrent use.
type Tokenizer struct {
	tokens              map[string]int32
	longest             int      // bytes of the longest token
	specials            []string // tokens that texts name as they are
	start, end, unknown int32
}

// Open reads a vocabulary from a file for [Read], such as vocab.txt of bert-base-uncased. Errors
// name the file.
func Open(name string, added ...string) (*Tokenizer, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("vocabulary: %w", err)
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, maxVocabulary+1))
	var t *Tokenizer
	if err == nil {
		t, err = Read(raw, added...)
	}
	if err != nil {
		return nil, fmt.Errorf("vocabulary %s: %w", name, err)
	}
	return t, nil
}

// Read reads a vocabulary: a token in each line, of which that of a piece within a word begins with
// "##". added are special tokens that follow. It is an error if a token is repeated, or if [UNK],
// [CLS] or [SEP] is missing.
func Read(text []byte, added ...string) (*Tokenizer, error) {
	if len(text) > maxVocabulary {
		return nil, fmt.Errorf("the text has more than %d bytes", maxVocabulary)
	}
	lines := strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
	t := &Tokenizer{tokens: make(map[string]int32, len(lines))}
	for i, token := range append(lines, added...) {
		token = strings.TrimSuffix(token, "\r")
		if _, ok := t.tokens[token]; ok {
			return nil, fmt.Errorf("line %d: the token %.60q is repeated", i+1, token)
		}
		t.tokens[token] = int32(i)
		t.longest = max(t.longest, len(token))
	}
	for _, name := range append([]string{"[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]"}, added...) {
		if _, ok := t.tokens[name]; ok {
			t.specials = append(t.specials, name)
		}
	}
	for name, token := range map[string]*int32{"[UNK]": &t.unknown, "[CLS]": &t.start, "[SEP]": &t.end} {
		id, ok := t.tokens[name]
		if !ok {
			return nil, errors.New("no token " + name + ": not a vocabulary of BERT")
		}
		*token = id
	}
	return t, nil
}

// Size returns the number of tokens of the vocabulary.
func (t *Tokenizer) Size() int { return len(t.tokens) }

// Tokens returns the tokens of a text between those that start and end it, at most length numbers:
// a longer text is cut off, but ends. There is no padding. It returns an error for a length below
// 2, and for a text of more than 64 KiB.
func (t *Tokenizer) Tokens(text string, length int) ([]int32, error) {
	if length < 2 {
		return nil, fmt.Errorf("length = %d: must be at least 2, for the tokens that start and end a text", length)
	}
	if len(text) > maxText {
		return nil, fmt.Errorf("a text of %d bytes: give at most %d", len(text), maxText)
	}
	tokens := []int32{t.start}
	for text = strings.ToValidUTF8(text, "\ufffd"); text != "" && len(tokens) < length; {
		at, found := len(text), ""
		for _, s := range t.specials {
			if i := strings.Index(text, s); i >= 0 && i < at {
				at, found = i, s
			}
		}
		for _, word := range words(text[:at]) {
			if len(tokens) >= length {
				break
			}
			tokens = t.pieces(tokens, word)
		}
		if text = text[at:]; found != "" {
			tokens, text = append(tokens, t.tokens[found]), text[len(found):]
		}
	}
	return append(tokens[:min(len(tokens), length-1)], t.end), nil
}

// words returns the words and the punctuation marks of a text.
func words(text string) []string {
	var spaced strings.Builder
	for _, r := range text {
		switch {
		case r == 0, r == utf8.RuneError, control(r):
		case unicode.IsSpace(r):
			spaced.WriteByte(' ')
		case ideograph(r):
			spaced.WriteString(" " + string(r) + " ")
		default:
			spaced.WriteRune(r)
		}
	}
	var all []string
	for word := range strings.FieldsSeq(plain(spaced.String())) {
		begin := 0
		for i, r := range word {
			if !punctuation(r) {
				continue
			}
			if i > begin {
				all = append(all, word[begin:i])
			}
			begin = i + utf8.RuneLen(r)
			all = append(all, word[i:begin])
		}
		if begin < len(word) {
			all = append(all, word[begin:])
		}
	}
	return all
}

// plain returns a text in lower case and without accents.
func plain(text string) string {
	return strings.ToLower(strings.Map(func(r rune) rune {
		if unicode.Is(unicode.Mn, r) {
			return -1
		}
		return r
	}, norm.NFD.String(text)))
}

// control reports whether a character is left out.
func control(r rune) bool {
	return r != '\t' && r != '\n' && r != '\r' && unicode.In(r, unicode.C)
}

// ideograph reports whether a character is a word of Chinese.
func ideograph(r rune) bool {
	for _, block := range [][2]rune{
		{0x4e00, 0x9fff}, {0x3400, 0x4dbf}, {0x20000, 0x2a6df}, {0x2a700, 0x2b73f}, {0x2b740, 0x2b81f}, {0x2b820, 0x2ceaf},
		{0xf900, 0xfaff}, {0x2f800, 0x2fa1f},
	} {
		if r >= block[0] && r <= block[1] {
			return true
		}
	}
	return false
}

// punctuation reports whether a character is a mark; all of ASCII but letters and digits are.
func punctuation(r rune) bool {
	return r < utf8.RuneSelf && r > ' ' && !unicode.IsLetter(r) && !unicode.IsDigit(r) || unicode.IsPunct(r)
}

// pieces appends the tokens of a word: the longest piece that the vocabulary has, and so on, or
// [UNK] if a rest has none.
func (t *Tokenizer) pieces(tokens []int32, word string) []int32 {
	if utf8.RuneCountInString(word) > maxWord {
		return append(tokens, t.unknown)
	}
	count := len(tokens)
	for prefix := ""; word != ""; prefix = "##" {
		end := min(len(word), t.longest)
		for ; end > 0; end-- {
			if token, ok := t.tokens[prefix+word[:end]]; ok && utf8.ValidString(word[:end]) {
				tokens = append(tokens, token)
				break
			}
		}
		if end == 0 {
			return append(tokens[:count], t.unknown)
		}
		word = word[end:]
	}
	return tokens
}
