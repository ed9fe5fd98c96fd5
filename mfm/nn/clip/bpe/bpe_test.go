package bpe_test

import (
	"archive/zip"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gomfm/gomfm/data"
	"github.com/gomfm/gomfm/internal/fuzztest"
	"github.com/gomfm/gomfm/mfm/nn/clip/bpe"
)

// contextLength is the number of tokens of a text of CLIP.
const contextLength = 77

// clipVocabulary returns the path of CLIP's vocabulary: $GOMFM_CLIP_VOCABULARY, or that in the
// folder shared beside the repository, or in the user's cache. It skips the test without it.
func clipVocabulary(t *testing.T) string {
	t.Helper()
	cache, err := data.DefaultDir()
	if err != nil {
		t.Fatal(err)
	}
	paths := []string{
		os.Getenv("GOMFM_CLIP_VOCABULARY"),
		filepath.Join("..", "..", "..", "..", "..", "shared", "weights", bpe.VocabularyFile),
		filepath.Join(cache, "weights", "clip-vocabulary", "open_clip_torch-*.whl"),
	}
	for _, path := range paths {
		if found, _ := filepath.Glob(path); len(found) > 0 {
			return found[0]
		}
	}
	t.Skipf("NOT TESTED: no vocabulary of CLIP at any of %q: set GOMFM_CLIP_VOCABULARY to %s or to the wheel of "+
		"open-clip-torch", paths, bpe.VocabularyFile)
	return ""
}

// The tokens of each string are those of OpenCLIP's and of transformers' tokenizers.
func TestTokens(t *testing.T) {
	t.Run("tiny", func(t *testing.T) {
		checkTokens(t, filepath.Join("testdata", "tiny_vocabulary.txt"), "tiny_tokens.json.gz", 600, 200)
	})
	t.Run("CLIP", func(t *testing.T) { checkTokens(t, clipVocabulary(t), "clip_tokens.json.gz", 49408, 1000) })
}

func checkTokens(t *testing.T, vocabulary, file string, size, atLeast int) {
	t.Helper()
	tokenizer, err := bpe.Open(vocabulary)
	if err != nil {
		t.Fatal(err)
	}
	if tokenizer.Size() != size {
		t.Errorf("%d tokens, want %d", tokenizer.Size(), size)
	}
	f, err := os.Open(filepath.Join("testdata", file))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	text, err := gzip.NewReader(f)
	var cases []struct {
		Text                   string
		OpenCLIP, Transformers []int32
	}
	if err == nil {
		err = json.NewDecoder(text).Decode(&cases)
	}
	if err != nil || len(cases) < atLeast {
		t.Fatalf("%d strings, want %d: %v", len(cases), atLeast, err)
	}
	wrong := 0
	for _, c := range cases {
		for convention, want := range map[bpe.Convention][]int32{
			bpe.OpenCLIP:     append(c.OpenCLIP, make([]int32, contextLength-len(c.OpenCLIP))...),
			bpe.Transformers: c.Transformers,
		} {
			got, err := tokenizer.Tokens(c.Text, convention, contextLength)
			if err != nil || !slices.Equal(got, want) {
				if wrong++; wrong <= 20 {
					t.Errorf("convention %d, %q: error %v, tokens\n%v, want\n%v", convention, c.Text, err, got, want)
				}
			}
		}
	}
	t.Logf("%d strings, %d with other tokens", len(cases), wrong)
}

// The forms in which a vocabulary is stored give the same tokens.
func TestOpen(t *testing.T) {
	dir := t.TempDir()
	plain, err := os.ReadFile(filepath.Join("testdata", "tiny_vocabulary.txt"))
	if err != nil {
		t.Fatal(err)
	}
	var compressed, wheel bytes.Buffer
	gz := gzip.NewWriter(&compressed)
	gz.Write(plain)
	gz.Close()
	archive := zip.NewWriter(&wheel)
	for _, name := range []string{"open_clip/model.py", "open_clip/" + bpe.VocabularyFile} {
		entry, err := archive.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		entry.Write(compressed.Bytes())
	}
	archive.Close()
	want, err := bpe.Read(plain)
	if err != nil {
		t.Fatal(err)
	}
	const text = "the cat in “the” hat 😀"
	for name, content := range map[string][]byte{"a.txt": plain, "a.gz": compressed.Bytes(), "a.whl": wheel.Bytes()} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, content, 0o666); err != nil {
			t.Fatal(err)
		}
		got, err := bpe.Open(path)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if a, b := got.Encode(text, bpe.OpenCLIP), want.Encode(text, bpe.OpenCLIP); !slices.Equal(a, b) {
			t.Errorf("%s: tokens %v, want %v", name, a, b)
		}
	}
	if _, err := bpe.Open(filepath.Join(dir, "missing")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
}

func TestErrors(t *testing.T) {
	for text, message := range map[string]string{
		"":                        "no pairs",
		"#version\n":              "no pairs",
		"#\na":                    `line 2 is "a", want two tokens`,
		"#\na b c":                "want two tokens",
		"#\na b\nab zz":           `line 3: the token "zz" is not known there`,
		"#\na b\nab c\nb c\na bc": `the token "abc" is there already`,
	} {
		if _, err := bpe.Read([]byte(text)); err == nil || !strings.Contains(err.Error(), message) {
			t.Errorf("%q: error %v, want %q", text, err, message)
		}
	}
	tokenizer, err := bpe.Read([]byte("#\na b"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tokenizer.Tokens("a", bpe.OpenCLIP, 1); err == nil {
		t.Error("a length of 1 is accepted")
	}
	if _, err := tokenizer.Tokens(strings.Repeat("a ", 1<<15)+"a", bpe.OpenCLIP, 9); err == nil ||
		!strings.Contains(err.Error(), "65537 bytes") {
		t.Errorf("a text of 65,537 bytes: error %v", err)
	}
	// Entities of entities are decoded up to a limit, without which a text of them takes minutes.
	if got := tokenizer.Encode("&"+strings.Repeat("amp;", 1000), bpe.OpenCLIP); len(got) < 1000 {
		t.Errorf("%d tokens of 1,000 entities of entities", len(got))
	}
	if got := tokenizer.Encode("&"+strings.Repeat("amp;", 50), bpe.OpenCLIP); !slices.Equal(got, []int32{256 + 5}) {
		t.Errorf("50 entities of entities are %v, want that of &", got)
	}
	// The last letter of a word is another token than within it.
	want := []int32{64, 256 + 65, 512, 256 + 66}
	if got := tokenizer.Encode("ab abc", bpe.OpenCLIP); !slices.Equal(got, want) {
		t.Errorf("tokens %v, want %v", got, want)
	}
}

// Words after those that fit are not encoded.
func TestTokensStop(t *testing.T) {
	tokenizer, err := bpe.Open(filepath.Join("testdata", "tiny_vocabulary.txt"))
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Repeat("cat ", 1<<14)
	for _, convention := range []bpe.Convention{bpe.OpenCLIP, bpe.Transformers} {
		count := testing.AllocsPerRun(1, func() {
			if _, err := tokenizer.Tokens(text, convention, contextLength); err != nil {
				t.Fatal(err)
			}
		})
		if count > 1<<10 {
			t.Errorf("convention %d: %g allocations for a text of %d words", convention, count, 1<<14)
		}
	}
}

// FuzzRead checks that any file gives an error or a vocabulary, and that with it, any text has
// tokens of this vocabulary.
func FuzzRead(f *testing.F) {
	tiny, err := os.ReadFile(filepath.Join("testdata", "tiny_vocabulary.txt"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(tiny, "the cat's 3 & &amp; 😀")
	f.Add([]byte("#\na b"), "\xff\x1b[31m<|endoftext|><end_of_text>")
	f.Fuzz(func(t *testing.T, raw []byte, text string) {
		var tokenizer *bpe.Tokenizer
		err := fuzztest.Read(t, len(raw)+len(text), 1<<10, func() (err error) {
			tokenizer, err = bpe.Read(raw)
			return err
		})
		if err != nil || len(text) > 64<<10 {
			return
		}
		for _, convention := range []bpe.Convention{bpe.OpenCLIP, bpe.Transformers} {
			tokens, err := tokenizer.Tokens(text, convention, contextLength)
			if err != nil || len(tokens) != contextLength {
				t.Fatalf("%d tokens: %v", len(tokens), err)
			}
			for _, token := range tokens {
				if token < 0 || int(token) >= tokenizer.Size() {
					t.Fatalf("token %d of %d", token, tokenizer.Size())
				}
			}
		}
	})
}
