package wordpiece_test

import (
	"compress/gzip"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gomfm/gomfm/internal/fuzztest"
	"github.com/gomfm/gomfm/mfm/nn/blip/wordpiece"
)

var vocabulary = filepath.Join("testdata", "vocabulary.txt")

// length is the number of tokens of a text of ImageReward.
const length = 35

// The tokens of each string are those of transformers' BertTokenizer.
func TestTokens(t *testing.T) {
	tokenizer, err := wordpiece.Open(vocabulary, "[DEC]", "[ENC]")
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(filepath.Join("testdata", "tokens.json.gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	text, err := gzip.NewReader(f)
	var cases []struct {
		Text string
		IDs  []int32
	}
	if err == nil {
		err = json.NewDecoder(text).Decode(&cases)
	}
	if err != nil || len(cases) < 300 {
		t.Fatalf("%d strings: %v", len(cases), err)
	}
	for _, c := range cases {
		if got, err := tokenizer.Tokens(c.Text, length); err != nil || !slices.Equal(got, c.IDs) {
			t.Errorf("%q: error %v, tokens\n%v, want\n%v", c.Text, err, got, c.IDs)
		}
	}
	t.Logf("%d strings, %d tokens", len(cases), tokenizer.Size())
}

func TestErrors(t *testing.T) {
	for text, message := range map[string]string{
		"":                          "no token",
		"[UNK]\n[CLS]":              "no token [SEP]",
		"[UNK]\n[CLS]\n[SEP]\na\na": `line 5: the token "a" is repeated`,
	} {
		if _, err := wordpiece.Read([]byte(text)); err == nil || !strings.Contains(err.Error(), message) {
			t.Errorf("%q: error %v, want %q", text, err, message)
		}
	}
	if _, err := wordpiece.Open(filepath.Join(t.TempDir(), "missing")); err == nil {
		t.Error("a missing file is read")
	}
	tokenizer, err := wordpiece.Open(vocabulary)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tokenizer.Tokens("a", 1); err == nil {
		t.Error("a length of 1 is accepted")
	}
	long := strings.Repeat("a ", 1<<15)
	if _, err := tokenizer.Tokens(long+"a", length); err == nil || !strings.Contains(err.Error(), "65537 bytes") {
		t.Errorf("a text of 65,537 bytes: error %v", err)
	}
	if tokens, err := tokenizer.Tokens(long, length); err != nil || len(tokens) != length {
		t.Errorf("%d tokens of a text of many (%v)", len(tokens), err)
	}
}

// FuzzRead checks that any file gives an error or a vocabulary, and that with it, any text has
// tokens of this vocabulary.
func FuzzRead(f *testing.F) {
	raw, err := os.ReadFile(vocabulary)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw, "a photo of 京 [SEP] x̂ \xff")
	f.Add([]byte("[UNK]\n[CLS]\n[SEP]\na\n##b"), "ab abab")
	f.Fuzz(func(t *testing.T, raw []byte, text string) {
		var tokenizer *wordpiece.Tokenizer
		err := fuzztest.Read(t, len(raw), 1<<10, func() (err error) {
			tokenizer, err = wordpiece.Read(raw, "[DEC]")
			return err
		})
		if err != nil || len(text) > 64<<10 {
			return
		}
		tokens, err := tokenizer.Tokens(text, length)
		if err != nil || len(tokens) < 2 || len(tokens) > length {
			t.Fatalf("%d tokens: %v", len(tokens), err)
		}
		for _, token := range tokens {
			if token < 0 || int(token) >= tokenizer.Size() {
				t.Fatalf("token %d of %d", token, tokenizer.Size())
			}
		}
	})
}
