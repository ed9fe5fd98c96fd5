package picture_test

import (
	"encoding/json"
	"math"
	"path/filepath"
	"strings"
	"testing"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm/checkpoint"
	"github.com/gomfm/gomfm/mfm/experiment/internal/experimenttest"
	"github.com/gomfm/gomfm/mfm/experiment/latent/picture"
	"github.com/gomfm/gomfm/mfm/internal/backendtest"
	"github.com/gomfm/gomfm/mfm/nn/clip"
	"github.com/gomfm/gomfm/mfm/nn/clip/bpe"
	"github.com/gomfm/gomfm/mfm/pretrained"
)

// The features of CLIP are the embeddings of pictures as it prepares them: with the embedding of a
// text they have the logit of the original networks.
func TestCLIPEvaluator(t *testing.T) {
	mfm := filepath.Join("..", "..", "..")
	testdata := filepath.Join(mfm, "reward", "text", "testdata")
	all, metadata, err := checkpoint.ReadFile(filepath.Join(testdata, "references.safetensors"))
	var prompts []string
	if err == nil {
		err = json.Unmarshal([]byte(metadata["prompts"]), &prompts)
	}
	if err != nil {
		t.Fatal(err)
	}
	vocabulary, err := bpe.Open(filepath.Join(mfm, "nn", "clip", "bpe", "testdata", "tiny_vocabulary.txt"))
	if err != nil {
		t.Fatal(err)
	}
	b := backendtest.New(t)
	for form, of := range map[string]struct {
		convention      bpe.Convention
		prepared, logit string
	}{
		"transformers": {bpe.Transformers, "shortest", "clip_relevance"},
		"openclip":     {bpe.OpenCLIP, "shortest_rounded", "clip_relevance_openclip"},
	} {
		path := filepath.Join(testdata, form)
		e, err := picture.OpenEvaluator(b, path)
		if err != nil {
			t.Fatal(err)
		}
		defer e.Finalize()
		c, weights, err := pretrained.OpenCLIP(path)
		if err != nil {
			t.Fatal(err)
		}
		if e.Features != c.Embedding || !strings.HasPrefix(e.Network, "clip ") || !strings.HasSuffix(e.Network, " embedding") {
			t.Errorf("%s: %d features of %q", form, e.Features, e.Network)
		}
		tokens, err := vocabulary.Tokens(prompts[0], of.convention, c.Text.Tokens)
		if err != nil {
			t.Fatal(err)
		}
		store := model.NewStore()
		if err := pretrained.Load(store, model.RootScopePath, weights); err != nil {
			t.Fatal(err)
		}
		exec, err := model.NewExec(b, store, func(scope *model.Scope, x []*Node) []*Node {
			text := clip.Unit(c.EmbedTexts(scope, x[0]))
			image := c.EmbedImages(scope, clip.Denormalize(TransposeAllAxes(x[1], 0, 2, 3, 1)))
			return []*Node{Mul(text, c.Scale(scope, text)), image}
		})
		if err != nil {
			t.Fatal(err)
		}
		defer exec.Finalize()
		for _, name := range []string{"wide", "small"} {
			levels := all[name+".pixels"]
			pixels := tensors.MustCopyFlatData[float32](levels)
			for i, v := range pixels {
				pixels[i] = v/127.5 - 1
			}
			got, err := e.FeaturesOf(t.Context(), pixels, levels.Shape().Dim(0), levels.Shape().Dim(1))
			if err != nil || len(got) != 1 || len(got[0]) != c.Embedding {
				t.Fatalf("%s %s: %v, %v", form, name, got, err)
			}
			out, err := exec.Call(tensors.FromFlatDataAndDimensions(tokens, 1, len(tokens)), all[name+"."+of.prepared+".prepared"])
			if err != nil {
				t.Fatal(err)
			}
			text, image := tensors.MustCopyFlatData[float32](out[0]), tensors.MustCopyFlatData[float32](out[1])
			product, squares := 0., 0.
			for i, v := range got[0] {
				product += v * float64(text[i])
				squares += v * v
				if math.Abs(v-float64(image[i])) > 1e-5*(1+math.Abs(v)) {
					t.Errorf("%s %s: feature %d is %g, want %g", form, name, i, v, image[i])
				}
			}
			want := float64(tensors.MustCopyFlatData[float32](all[name+"."+of.logit])[0])
			if d := math.Abs(product/math.Sqrt(squares) - want); d > 1e-4*math.Abs(want) {
				t.Errorf("%s %s: the logit is %g, the original's %g", form, name, product/math.Sqrt(squares), want)
			}
		}
	}
	// A file alone is that of ViT-H/14, which this one is not.
	_, err = picture.OpenEvaluator(b, filepath.Join(testdata, "openclip", "HPS_v2.1_compressed.pt"))
	if err == nil || !strings.Contains(err.Error(), "want [1280") {
		t.Errorf("a file of another CLIP: %v", err)
	}
	_, err = picture.OpenEvaluator(b, testdata)
	experimenttest.WantError(t, "a folder without a network", err, "neither open_clip_config.json nor config.json")
}
