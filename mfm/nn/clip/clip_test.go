package clip_test

import (
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/gomlx/compute/dtypes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm/internal/backendtest"
	"github.com/gomfm/gomfm/mfm/nn"
	"github.com/gomfm/gomfm/mfm/nn/clip"
	"github.com/gomfm/gomfm/mfm/nn/internal/nntest"
)

func small() clip.Config {
	block := clip.Transformer{Width: 8, Depth: 1, Heads: 2, Hidden: 12}
	return clip.Config{
		Image:     clip.Image{Transformer: block, Size: 8, Patch: 4},
		Text:      clip.Text{Transformer: block, Vocabulary: 20, Tokens: 6},
		Embedding: 5, Activation: clip.QuickGELU,
	}
}

// The numbers of parameters are those of the released networks.
func TestSizes(t *testing.T) {
	for name, c := range map[string]clip.Config{
		"ViT-B/32": clip.ViTB32(), "ViT-B/16": clip.ViTB16(), "ViT-L/14": clip.ViTL14(), "ViT-H/14": clip.ViTH14(),
	} {
		if err := c.Validate(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		transformer := func(t clip.Transformer) int {
			attention, hidden := 4*t.Width*(t.Width+1), t.Width*t.Hidden+t.Hidden+t.Hidden*t.Width+t.Width
			return t.Depth * (attention + hidden + 4*t.Width)
		}
		w, v := c.Image.Width, c.Text.Width
		got := 1 + transformer(c.Image.Transformer) + transformer(c.Text.Transformer)
		got += w + w*c.Image.Positions() + 3*c.Image.Patch*c.Image.Patch*w + 4*w + w*c.Embedding
		got += v*c.Text.Vocabulary + v*c.Text.Tokens + 2*v + v*c.Embedding
		want := map[string]int{"ViT-B/32": 151277313, "ViT-B/16": 149620737, "ViT-L/14": 427616513, "ViT-H/14": 986109441}
		if got != want[name] {
			t.Errorf("%s has %d parameters, want %d", name, got, want[name])
		}
	}
}

func TestValidate(t *testing.T) {
	for message, change := range map[string]func(*clip.Config){
		"text depth = 0":         func(c *clip.Config) { c.Text.Depth = 0 },
		"image depth = 1048576":  func(c *clip.Config) { c.Image.Depth = 1 << 20 },
		"text depth = 1025":      func(c *clip.Config) { c.Text.Depth = 1025 },
		"does not divide images": func(c *clip.Config) { c.Image.Patch = 3 },
		"heads must divide":      func(c *clip.Config) { c.Text.Heads = 3 },
		`activation "relu"`:      func(c *clip.Config) { c.Activation = "relu" },
		`compute = "int8"`:       func(c *clip.Config) { c.Compute = "int8" },
		"image width = 2097152":  func(c *clip.Config) { c.Image.Width = 1 << 21 },
	} {
		c := small()
		change(&c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), message) {
			t.Errorf("error %v, want %q", err, message)
		}
	}
}

// Checkpoints change neither embeddings nor gradients; numbers of 16 bits change them by their
// rounding. What follows the end of a text has no effect, and other tokens have.
func TestEmbeddings(t *testing.T) {
	const batch = 2
	store := nntest.NewStore(t, 1)
	images := nntest.Wave(dtypes.Float32, 0, batch, 8, 8, 3)
	texts := [][]int32{{3, 7, 19, 0, 0, 0}, {3, 7, 19, 19, 4, 1}, {3, 8, 19, 0, 0, 0}}
	run := func(c clip.Config) [][]float64 {
		exec, err := model.NewExec(backendtest.New(t), store, func(scope *model.Scope, x, tokens *Node) []*Node {
			e := c.EmbedImages(scope, x)
			gradient := Gradient(ReduceAllSum(Square(e)), x)[0]
			return []*Node{e, gradient, c.EmbedTexts(scope, tokens), c.Scale(scope, x)}
		})
		if err != nil {
			t.Fatal(err)
		}
		out, err := exec.Call(images, texts)
		if err != nil {
			t.Fatal(err)
		}
		var flat [][]float64
		for _, o := range out {
			flat = append(flat, nntest.Flat(t, o))
		}
		return flat
	}
	plain := run(small())
	if scale := plain[3][0]; scale != 1 {
		t.Errorf("scale %g at the start, want 1", scale)
	}
	checkpointed, rounded := small(), small()
	checkpointed.Checkpoint = true
	rounded.Compute = nn.BFloat16
	for name, c := range map[string]struct {
		config    clip.Config
		tolerance float64
	}{"checkpointed": {checkpointed, 1e-5}, "bfloat16": {rounded, 0.05}} {
		for i, got := range run(c.config) {
			if e := distance(got, plain[i]) / distance(plain[i], make([]float64, len(got))); !(e <= c.tolerance) {
				t.Errorf("%s: output %d: relative error %.3g", name, i, e)
			}
		}
	}
	rows := slices.Collect(slices.Chunk(plain[2], 5))
	if d := distance(rows[0], rows[1]); d > 1e-6 {
		t.Errorf("tokens behind the end change the embedding by %g", d)
	}
	if d := distance(rows[0], rows[2]); d < 1e-2 {
		t.Errorf("another token changes the embedding by %g alone", d)
	}
}

func distance(a, b []float64) float64 {
	square := 0.
	for i := range a {
		square += (a[i] - b[i]) * (a[i] - b[i])
	}
	return math.Sqrt(square)
}
