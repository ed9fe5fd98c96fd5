package alignment

import (
	"cmp"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gomfm/gomfm/mfm/experiment/internal/experimenttest"
	"github.com/gomfm/gomfm/mfm/internal/backendtest"
	"github.com/gomfm/gomfm/mfm/pretrained"
)

// The examples of rewards by text lack nothing but their weights once the vocabulary is downloaded,
// and say which file is missing before.
func TestTextRewardVocabulary(t *testing.T) {
	b, cache := backendtest.New(t), t.TempDir()
	t.Setenv("XDG_CACHE_HOME", cache)
	text := filepath.Join("..", "..", "..", "reward", "text", "testdata", "transformers")
	example := strings.Replace(Kinds(b)["clip_relevance"].Example, "FOLDER", text, 1)
	_, err := ParseReward(b, []byte(example))
	experimenttest.WantError(t, "no vocabulary", err, "open_clip_torch-")
	experimenttest.WantError(t, "no vocabulary", err, "mfm weights get clip-vocabulary")
	file, err := pretrained.FindRelease("clip-vocabulary")
	if err != nil {
		t.Fatal(err)
	}
	vocabulary, err := os.ReadFile(filepath.Join("..", "..", "..", "nn", "clip", "bpe", "testdata", "tiny_vocabulary.txt"))
	dir := filepath.Join(cache, "gomfm", "weights", "clip-vocabulary")
	if err = cmp.Or(err, os.MkdirAll(dir, 0o755)); err == nil {
		err = os.WriteFile(filepath.Join(dir, file.File), vocabulary, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ParseReward(b, []byte(example)); err != nil {
		t.Error(err)
	}
	_, err = ParseReward(b, []byte(Kinds(b)["image_reward"].Example))
	experimenttest.WantError(t, "no vocabulary of BERT", err, "vocab.txt")
}
