package alignment

import (
	"cmp"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
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

// A black-box reward that prepares pictures as the network's original is near to the reward of the
// graph, whose term it is, and has no gradient.
func TestOriginal(t *testing.T) {
	b, m := backendtest.New(t), gaussianModel(t)
	testdata := filepath.Join("..", "..", "..", "reward", "text", "testdata")
	aesthetic := fmt.Sprintf(`{"kind": "aesthetic", "weights": %q, "head": %q}`, filepath.Join(testdata, "openclip"),
		filepath.Join(testdata, "head.pth"))
	original := []byte(`{"kind": "original", "of": ` + aesthetic + `}`)
	s, err := m.To(b, []byte(aesthetic), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Finalize()
	black, err := m.To(b, original, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer black.Finalize()
	if black.Host == nil || s.Host != nil || !IsHost(original) || IsHost([]byte(aesthetic)) {
		t.Error("only one of the two rewards is a black box")
	}
	pixels := make([]float32, 40*4*6*3)
	for i := range pixels {
		pixels[i] = float32(0.8 * math.Sin(float64(i*i%997)))
	}
	graph, err := s.pictures.values(t.Context(), pixels, make([]int32, 40))
	if err != nil {
		t.Fatal(err)
	}
	got, err := black.pictures.values(t.Context(), pixels, make([]int32, 40))
	if err != nil || len(got) != 40 {
		t.Fatalf("%d rewards, %v", len(got), err)
	}
	for i, v := range got {
		if d := math.Abs(v - graph[i]); d > 0.05*(1+math.Abs(v)) {
			t.Errorf("picture %d has the reward %g, by the graph %g", i, v, graph[i])
		}
	}
	if slices.Equal(got, graph) {
		t.Error("both forms have the same rewards: pictures are not rounded")
	}
	experimenttest.WantError(t, "a gradient", black.Check(settings(black, "mfm-g", 1, 1)), "needs the gradient")
	_, err = m.To(b, []byte(aesthetic), original)
	experimenttest.WantError(t, "the reward itself", err, "it is the reward itself")
	for want, raw := range map[string]string{
		"prepares no pictures": `{"kind": "original", "of": {"kind": "brightness", "weight": 1}}`,
		`under "of"`:           `{"kind": "original"}`,
		"factor":               `{"kind": "original", "factor": 2, "of": ` + aesthetic + `}`,
		"no head":              `{"kind": "original", "of": {"kind": "aesthetic", "weights": "F"}}`,
	} {
		_, err := openOriginal(b, []byte(raw))
		experimenttest.WantError(t, raw, err, want)
	}
	_, err = openOriginal(b, []byte(OriginalExample))
	experimenttest.WantError(t, "the example", err, "linearMSE")
}
