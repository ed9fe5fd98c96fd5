package text_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm/checkpoint"
	"github.com/gomfm/gomfm/mfm/internal/backendtest"
	"github.com/gomfm/gomfm/mfm/nn/blip"
	"github.com/gomfm/gomfm/mfm/nn/clip"
	"github.com/gomfm/gomfm/mfm/reward"
	"github.com/gomfm/gomfm/mfm/reward/text"
)

// vocabulary is the vocabulary of the networks in testdata.
var vocabulary = filepath.Join("..", "..", "nn", "clip", "bpe", "testdata", "tiny_vocabulary.txt")

// words is the vocabulary of the ImageReward in testdata, and small its configuration.
var words = filepath.Join("..", "..", "nn", "blip", "wordpiece", "testdata", "vocabulary.txt")

func small() blip.Config {
	return blip.Config{
		Image: clip.Image{Transformer: clip.Transformer{Width: 12, Depth: 2, Heads: 3, Hidden: 48}, Size: 16, Patch: 8},
		Text: clip.Text{
			Transformer: clip.Transformer{Width: 8, Depth: 2, Heads: 2, Hidden: 16}, Vocabulary: 257, Tokens: 40,
		},
		Checkpoint: true,
	}
}

// parser knows the rewards of this package.
func parser(t *testing.T) reward.Parser {
	t.Helper()
	kinds := reward.Kinds()
	maps.Copy(kinds, text.Loader{Backend: backendtest.New(t), Vocabulary: vocabulary}.Kinds())
	return reward.Parser{Kinds: kinds}
}

// specs returns rewards in JSON by the names of their values in references.safetensors.
func specs(t *testing.T, prompts, templates []string) map[string]string {
	t.Helper()
	object := func(values map[string]any) string {
		raw, err := json.Marshal(values)
		if err != nil {
			t.Fatal(err)
		}
		return string(raw)
	}
	hf, openCLIP := filepath.Join("testdata", "transformers"), filepath.Join("testdata", "openclip")
	return map[string]string{
		"clip_relevance": object(map[string]any{"kind": "clip_relevance", "prompt": prompts[0], "weights": hf}),
		"clip_relevance_openclip": object(map[string]any{
			"kind": "clip_relevance", "prompt": prompts[0], "weights": openCLIP, "checkpoint": false,
		}),
		"text_match": object(map[string]any{
			"kind": "text_match", "prompt": prompts[0], "others": prompts[1:], "weights": hf,
		}),
		"clip_relevance_templates": object(map[string]any{
			"kind": "clip_relevance", "prompt": prompts[0], "templates": templates, "weights": openCLIP,
		}),
		"text_match_templates": object(map[string]any{
			"kind": "text_match", "prompt": prompts[0], "others": prompts[1:], "templates": templates, "weights": openCLIP,
		}),
		"pickscore": object(map[string]any{"kind": "pickscore", "prompt": prompts[0], "weights": hf}),
		"hps":       object(map[string]any{"kind": "hps", "version": "2.1", "prompt": prompts[0], "weights": openCLIP}),
		"aesthetic": object(map[string]any{
			"kind": "aesthetic", "weights": openCLIP, "head": filepath.Join("testdata", "head.pth"),
		}),
	}
}

// references returns the stored tensors of the originals, and the prompts and templates that they
// were made with.
func references(t *testing.T) (all checkpoint.Tensors, prompts, templates []string) {
	t.Helper()
	all, metadata, err := checkpoint.ReadFile(filepath.Join("testdata", "references.safetensors"))
	if err == nil {
		err = json.Unmarshal([]byte(metadata["prompts"]), &prompts)
	}
	if err == nil {
		err = json.Unmarshal([]byte(metadata["templates"]), &templates)
	}
	if err != nil {
		t.Fatal(err)
	}
	return all, prompts, templates
}

// Each reward and its gradient: the reward is that of the original networks on a picture that is
// prepared without rounding, and its derivative along a direction that of finite differences.
func TestRewards(t *testing.T) {
	all, prompts, templates := references(t)
	p := parser(t)
	rewards := make(map[string]reward.Reward)
	var err error
	for name, spec := range specs(t, prompts, templates) {
		if rewards[name], err = p.Parse([]byte(spec)); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	weights := filepath.Join("testdata", "image_reward.pt")
	if rewards["image_reward"], err = text.OpenImageReward(weights, words, small(), prompts[0]); err != nil {
		t.Fatal(err)
	}
	const step = 3e-3
	for name, r := range rewards {
		t.Run(name, func(t *testing.T) {
			exec, err := model.NewExec(backendtest.New(t), model.NewStore(), func(_ *model.Scope, x *Node) []*Node {
				values := reward.Values(r, x, reward.Condition{})
				return []*Node{values, Gradient(ReduceAllSum(values), x)[0]}
			})
			if err != nil {
				t.Fatal(err)
			}
			defer exec.Finalize()
			const picture = "wide"
			levels := all[picture+".pixels"]
			x := tensors.MustCopyFlatData[float32](levels)
			n := len(x)
			// The picture, and this picture with less contrast, so that no color is clipped, moved
			// forth and back along a direction.
			batch, direction := make([]float32, 3*n), make([]float64, n)
			for i, v := range x {
				direction[i] = math.Sin(float64(i * i % 1009))
				plain := v/127.5 - 1
				batch[i] = plain
				batch[n+i] = 0.3*plain + float32(step*direction[i])
				batch[2*n+i] = 0.3*plain - float32(step*direction[i])
			}
			shape := append([]int{3}, levels.Shape().Dimensions...)
			out, err := exec.Call(tensors.FromFlatDataAndDimensions(batch, shape...))
			if err != nil {
				t.Fatal(err)
			}
			got := tensors.MustCopyFlatData[float32](out[0])
			want := float64(tensors.MustCopyFlatData[float32](all[picture+"."+name])[0])
			e := math.Abs(float64(got[0])-want) / math.Abs(want)
			if !(e <= 1e-4) {
				t.Errorf("%g, the original has %g", got[0], want)
			}
			gradient := tensors.MustCopyFlatData[float32](out[1])
			derivative := 0.
			for i, d := range direction {
				derivative += d * float64(gradient[n+i]+gradient[2*n+i]) / 2
			}
			difference := float64(got[1]-got[2]) / (2 * step)
			if !(math.Abs(derivative-difference) <= 5e-3*math.Abs(difference)+1e-4) || derivative == 0 {
				t.Errorf("derivative %g, by finite differences %g", derivative, difference)
			}
			t.Logf("relative error %.2g, derivative %.4g, by finite differences %.4g", e, derivative, difference)
		})
	}
}

func TestErrors(t *testing.T) {
	p := parser(t)
	for _, c := range [][2]string{ // a reward in JSON, part of the error
		{`{"kind": "clip_relevance", "weights": "F"}`, `no prompt`},
		{`{"kind": "clip_relevance", "prompt": "a"}`, `no weights`},
		{`{"kind": "clip_relevance", "prompt": "a", "weights": "F"}`, `F: no such file`},
		{`{"kind": "clip_relevance", "prompt": "a", "weights": "testdata"}`, `neither open_clip_config.json nor config`},
		{`{"kind": "clip_relevance", "prompt": "a", "weights": "F", "promt": 1}`, `promt`},
		{`{"kind": "clip_relevance", "prompt": "a", "weights": "F", "compute": "x"}`, `compute = "x"`},
		{`{"kind": "clip_relevance", "prompt": "a", "weights": "F", "vocabulary": "V"}`, `V: no such file`},
		{`{"kind": "clip_relevance", "prompt": "a", "weights": "F", "vocabulary": "testdata/head.pth"}`, `has no bpe_simple`},
		{`{"kind": "text_match", "prompt": "a", "weights": "F"}`, `no other prompts`},
		{`{"kind": "hps", "version": "2.1", "prompt": "a", "weights": "F", "templates": ["{}", "a photo"]}`, `templates[1] = "a photo"`},
		{`{"kind": "pickscore", "prompt": "a", "weights": "F", "templates": ["{} {}"]}`, `must have {} once`},
		{`{"kind": "image_reward", "prompt": "a", "weights": "F", "templates": ["{}"]}`, `templates`},
		{`{"kind": "hps", "prompt": "a", "weights": "F"}`, `version = "" is unknown`},
		{`{"kind": "hps", "version": "2.0", "prompt": "a", "weights": "x/HPS_v2.1_compressed.pt"}`, `those of version 2.1`},
		{`{"kind": "aesthetic", "weights": "F"}`, `no head`},
		{`{"kind": "aesthetic", "weights": "testdata/openclip", "head": "testdata/image_reward.pt"}`, `layers.0.weight`},
	} {
		spec, message := c[0], c[1]
		r, err := p.Parse([]byte(spec))
		if err == nil || r != nil || !strings.Contains(err.Error(), message) {
			t.Errorf("%s: reward %v, error %v, want %q", spec, r, err, message)
		}
	}
	for message, vocabulary := range map[string]string{"no vocabulary": "", "257 tokens": words} {
		raw := fmt.Appendf(nil, `{"kind": "image_reward", "prompt": "a", "weights": "F", "vocabulary": %q}`, vocabulary)
		if _, err := p.Parse(raw); err == nil || !strings.Contains(err.Error(), message) {
			t.Errorf("%s: error %v, want %q", raw, err, message)
		}
	}
	if _, err := text.OpenImageReward("testdata/head.pth", words, small(), "a"); err == nil ||
		!strings.Contains(err.Error(), "not the weights of ImageReward") {
		t.Errorf("other weights: %v", err)
	}
	if _, err := (reward.Parser{Kinds: text.Loader{}.Kinds()}).Parse(
		[]byte(`{"kind": "pickscore", "prompt": "a", "weights": "F"}`)); err == nil || !strings.Contains(err.Error(), "clip-vocabulary") {
		t.Errorf("without a vocabulary: %v", err)
	}
}

// HPS takes the file of its version in a folder, whatever other weights are there, and no other.
func TestHPSVersion(t *testing.T) {
	p, dir := parser(t), t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(filepath.Join("testdata", "openclip"))); err != nil {
		t.Fatal(err)
	}
	parse := func(version string) error {
		_, err := p.Parse(fmt.Appendf(nil, `{"kind": "hps", "version": %q, "prompt": "a", "weights": %q}`, version, dir))
		return err
	}
	if err := parse("2.0"); err == nil || !strings.Contains(err.Error(), "none of the weights [HPS_v2_compressed.pt]") {
		t.Errorf("version 2.0 in a folder with version 2.1: %v", err)
	}
	for _, name := range []string{"HPS_v2_compressed.pt", "open_clip_model.safetensors"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("damaged"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := parse("2.1"); err != nil {
		t.Errorf("version 2.1 in a folder with other weights: %v", err)
	}
	if err := parse("2.0"); err == nil || !strings.Contains(err.Error(), "HPS_v2_compressed.pt: unknown format") {
		t.Errorf("version 2.0 in a folder with both: %v", err)
	}
	if err := os.Remove(filepath.Join(dir, "open_clip_config.json")); err != nil {
		t.Fatal(err)
	}
	if err := parse("2.1"); err == nil || !strings.Contains(err.Error(), "want [1280") {
		t.Errorf("a folder without a configuration, of a small network: %v", err)
	}
}

// Two rewards do not share a scope, and samples must be images.
func TestBuildPanics(t *testing.T) {
	p := parser(t)
	parse := func(weights string) reward.Reward {
		r, err := p.Parse(fmt.Appendf(nil, `{"kind": "clip_relevance", "prompt": "a", "weights": %q}`, weights))
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	hf, openCLIP := parse("testdata/transformers"), parse("testdata/openclip")
	backend, store := backendtest.New(t), model.NewStore()
	for _, c := range []struct {
		message string
		r       reward.Reward
		store   *model.Store
		dims    []int
	}{
		{"", hf, store, []int{1, 16, 16, 3}},
		{"another reward", openCLIP, store, []int{1, 16, 16, 3}},
		{"want images", hf, model.NewStore(), []int{1, 16, 16, 4}},
		{"want images", hf, model.NewStore(), []int{1, 48}},
	} {
		exec, err := model.NewExec(backend, c.store, func(_ *model.Scope, x *Node) *Node {
			return reward.Values(c.r, x, reward.Condition{})
		})
		if err == nil {
			n := 1
			for _, d := range c.dims {
				n *= d
			}
			_, err = exec.Call1(tensors.FromFlatDataAndDimensions(make([]float32, n), c.dims...))
		}
		if (err == nil) != (c.message == "") || err != nil && !strings.Contains(err.Error(), c.message) {
			t.Errorf("samples %v: error %v, want %q", c.dims, err, c.message)
		}
	}
}
