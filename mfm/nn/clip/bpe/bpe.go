// Package bpe turns texts into the tokens of CLIP's text networks: byte pair encoding (Sennrich et
// al., arXiv 1508.07909) over the bytes of lower-case words, with the vocabulary
// bpe_simple_vocab_16e6.txt of OpenAI's CLIP, which [Open] reads. A text becomes the same numbers
// as by OpenCLIP's SimpleTokenizer or by transformers' CLIPTokenizer: see [Convention].
package bpe

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Convention is how a project cleans a text before it splits it into words, and how it fills up
// tokens.
type Convention int

const (
	// OpenCLIP is that of OpenAI's CLIP, of OpenCLIP and of HPSv2. It repairs a text as the Python
	// package ftfy does, without the repair of text in a wrong encoding ("Ã©" stays). It decodes
	// HTML entities. It fills up with zeros.
	OpenCLIP Convention = iota
	// Transformers is that of transformers' CLIPTokenizer, which PickScore uses. It composes
	// accents (NFC) and fills up with the token that ends a text.
	Transformers
)

// letters is the number of tokens of single bytes. As many follow for single bytes that end a word.
const letters = 256

// maxText is the limit for a text in bytes.
const maxText = 64 << 10

// Tokenizer is a vocabulary. It is safe for concurrent use.
type Tokenizer struct {
	byteToken [letters]int32     // of each byte, within a word
	merges    map[[2]int32]int32 // pairs of tokens to the token that replaces them
	start     int32              // the token that starts a text; the next one ends it
}

// Size returns the number of tokens of the vocabulary.
func (t *Tokenizer) Size() int { return int(t.start) + 2 }

// Encode returns the tokens of a text without those that start and end it.
func (t *Tokenizer) Encode(text string, c Convention) []int32 { return t.first(text, c, math.MaxInt) }

// first is Encode, which it ends when there are at least most tokens.
func (t *Tokenizer) first(text string, c Convention, most int) (tokens []int32) {
	text = strings.ToValidUTF8(text, "\ufffd")
	own := func(i int) []int32 { return []int32{t.start + int32(i)} }
	if c == OpenCLIP {
		return t.split(nil, clean(text), [2]string{"<start_of_text>", "<end_of_text>"}, own, most)
	}
	specials := [2]string{"<|startoftext|>", "<|endoftext|>"}
	// In another case the special tokens are words of these three.
	three := func(i int) []int32 {
		name := strings.Trim(specials[i], "<|>")
		return slices.Concat(t.encode("<|"), t.encode(name), t.encode("|>"))
	}
	for text != "" && len(tokens) < most {
		end := len(text)
		for _, s := range specials {
			if i := strings.Index(text, s); i >= 0 {
				end = min(end, i)
			}
		}
		tokens = t.split(tokens, normalize(text[:end]), specials, three, most)
		text = text[end:]
		if i := special(text, specials); i >= 0 {
			tokens, text = append(tokens, own(i)...), text[len(specials[i]):]
		}
	}
	return tokens
}

// split appends the tokens of the words of a text, and those that replace gives for a special token
// by its index, until there are at least most tokens.
func (t *Tokenizer) split(
	tokens []int32, text string, specials [2]string, replace func(int) []int32, most int,
) []int32 {
	for text != "" && len(tokens) < most {
		if i := special(text, specials); i >= 0 {
			tokens, text = append(tokens, replace(i)...), text[len(specials[i]):]
			continue
		}
		n, isWord := word(text)
		if isWord {
			tokens = append(tokens, t.encode(text[:n])...)
		}
		text = text[n:]
	}
	return tokens
}

// Tokens returns the tokens of a text between those that start and end it, length numbers: a longer
// text is cut off, but ends. It returns an error for a length below 2, and for a text of more than
// 64 KiB.
func (t *Tokenizer) Tokens(text string, c Convention, length int) ([]int32, error) {
	if length < 2 {
		return nil, fmt.Errorf("length = %d: must be at least 2, for the tokens that start and end a text", length)
	}
	if len(text) > maxText {
		return nil, fmt.Errorf("a text of %d bytes: give at most %d", len(text), maxText)
	}
	tokens := t.first(text, c, length-2)
	tokens = append(append([]int32{t.start}, tokens[:min(len(tokens), length-2)]...), t.start+1)
	fill := int32(0)
	if c == Transformers {
		fill = t.start + 1
	}
	return append(tokens, slices.Repeat([]int32{fill}, length-len(tokens))...), nil
}

// special returns the index of the special token with which the text begins, or -1.
func special(text string, specials [2]string) int {
	return slices.IndexFunc(specials[:], func(s string) bool { return strings.HasPrefix(text, s) })
}

// word returns the length of what a text begins with, and whether it is a word: one of the
// contractions, letters, a digit, or other characters up to a space. Other characters may contain
// the name of a special token, as in the originals.
func word(text string) (length int, isWord bool) {
	for _, s := range []string{"'s", "'t", "'re", "'ve", "'m", "'ll", "'d"} {
		if strings.HasPrefix(text, s) {
			return len(s), true
		}
	}
	first, n := utf8.DecodeRuneInString(text)
	kind := kindOf(first)
	if kind == space || kind == digit {
		return n, kind == digit
	}
	for n < len(text) {
		r, size := utf8.DecodeRuneInString(text[n:])
		if kindOf(r) != kind {
			break
		}
		n += size
	}
	return n, true
}

// The kinds of characters.
const (
	other = iota
	space
	letter
	digit
)

func kindOf(r rune) int {
	switch {
	case unicode.IsSpace(r):
		return space
	case unicode.Is(unicode.L, r):
		return letter
	case unicode.Is(unicode.N, r):
		return digit
	}
	return other
}

// encode returns the tokens of a word, which is not empty. It replaces the pair of neighbors that
// is first in the vocabulary, wherever it occurs, until there is none.
func (t *Tokenizer) encode(word string) []int32 {
	tokens := make([]int32, len(word))
	for i := range len(word) {
		tokens[i] = t.byteToken[word[i]]
	}
	tokens[len(tokens)-1] += letters
	for {
		best, found := int32(0), [2]int32{}
		for i := range len(tokens) - 1 {
			pair := [2]int32{tokens[i], tokens[i+1]}
			if merged, ok := t.merges[pair]; ok && (best == 0 || merged < best) {
				best, found = merged, pair
			}
		}
		if best == 0 {
			return tokens
		}
		kept := tokens[:0]
		for i := 0; i < len(tokens); i++ {
			if i+1 < len(tokens) && tokens[i] == found[0] && tokens[i+1] == found[1] {
				kept = append(kept, best)
				i++
			} else {
				kept = append(kept, tokens[i])
			}
		}
		tokens = kept
	}
}
