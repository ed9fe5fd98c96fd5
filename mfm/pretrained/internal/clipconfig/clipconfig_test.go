package clipconfig_test

import (
	"strings"
	"testing"

	"github.com/gomfm/gomfm/internal/fuzztest"
	"github.com/gomfm/gomfm/mfm/nn/clip"
	"github.com/gomfm/gomfm/mfm/pretrained/internal/clipconfig"
)

// The published configurations of OpenCLIP's ViT-H/14, of PickScore and of OpenAI's ViT-L/14,
// without the keys that do not matter.
const (
	openCLIPH14 = `{"model_cfg": {"embed_dim": 1024,
		"vision_cfg": {"image_size": 224, "layers": 32, "width": 1280, "head_width": 80, "patch_size": 14},
		"text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 1024, "heads": 16, "layers": 24}},
		"preprocess_cfg": {"mean": [0.48145466, 0.4578275, 0.40821073], "std": [0.26862954, 0.26130258, 0.27577711],
			"size": [224, 224], "mode": "RGB", "interpolation": "bicubic", "resize_mode": "shortest", "fill_color": 0}}`
	pickScore = `{"model_type": "clip", "projection_dim": 1024,
		"text_config": {"hidden_act": "gelu", "hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24,
			"num_attention_heads": 16, "eos_token_id": 2, "bos_token_id": 0},
		"vision_config": {"hidden_act": "gelu", "hidden_size": 1280, "intermediate_size": 5120, "num_hidden_layers": 32,
			"num_attention_heads": 16, "patch_size": 14}}`
	openAIL14 = `{"model_type": "clip", "projection_dim": 768,
		"text_config": {"hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12, "eos_token_id": 49407},
		"vision_config": {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24,
			"num_attention_heads": 16, "patch_size": 14}}`
	openAIB32 = `{"model_type": "clip"}`
)

func TestPublished(t *testing.T) {
	for raw, c := range map[string]struct {
		read func([]byte) (clip.Config, error)
		want clip.Config
	}{
		openCLIPH14: {clipconfig.OpenCLIPFile, clip.ViTH14()}, pickScore: {clipconfig.TransformersFile, clip.ViTH14()},
		openAIL14: {clipconfig.TransformersFile, clip.ViTL14()}, openAIB32: {clipconfig.TransformersFile, clip.ViTB32()},
	} {
		if got, err := c.read([]byte(raw)); err != nil || got != c.want {
			t.Errorf("%s: %+v (%v), want %+v", raw, got, err, c.want)
		}
	}
}

func TestErrors(t *testing.T) {
	for raw, message := range map[string]string{
		`{"model_type": "bert"}`:                                              `model_type is "bert"`,
		`{"model_type": "clip", "text_config": {"eos_token_id": 7}}`:          "eos_token_id = 7",
		`{"model_type": "clip", "text_config": {"hidden_act": "relu"}}`:       "they must be equal",
		`{"model_type": "clip", "vision_config": {"num_channels": 4}}`:        "num_channels = 4",
		`{"model_type": "clip", "vision_config": {"layer_norm_eps": 1e-6}}`:   "layer_norm_eps = 1e-06",
		`{"model_type": "clip", "vision_config": {"patch_size": 0}}`:          "patch = 0",
		`{"model_type": "clip", "text_config": 7}`:                            "text",
		`{"model_cfg": {"embed_dim": 8, "vision_cfg": {"layers": [3, 4]}}}`:   "layers",
		`{"model_cfg": {"embed_dim": 8, "text_cfg": {"hf_model_name": "x"}}}`: "hf_model_name",
		`{"model_cfg": {"embed_dim": 8, "vision_cfg": {"head_width": 0}}}`:    "head_width = 0",
		`{"model_cfg": {"embed_dim": 8, "vision_cfg": {"mlp_ratio": 1e300}}}`: "image hidden",
		`{"embed_dim": 8}`: `no key "model_cfg"`,
		`{"model_cfg": {"embed_dim": 8}, "preprocess_cfg": {"mean": [0.5, 0.5, 0.5]}}`:                                "mean = [0.5 0.5 0.5] and std = [0.26863",
		`{"model_cfg": {"embed_dim": 8}, "preprocess_cfg": {"std": [0.26862954, 0.26130258]}}`:                        "std = [0.26863 0.261303] are not",
		`{"model_cfg": {"embed_dim": 8}, "preprocess_cfg": {"interpolation": "bilinear", "resize_mode": "shortest"}}`: `interpolation = "bilinear"`,
		`{"model_cfg": {"embed_dim": 8}, "preprocess_cfg": {"interpolation": "bicubic", "resize_mode": "squash"}}`:    `resize_mode = "squash"`,
		`{"model_cfg": {"embed_dim": 8}, "preprocess_cfg": {"mode": "L"}}`:                                            `mode = "L"`,
		`{"model_cfg": {"embed_dim": 8}, "preprocess_cfg": {"gamma": 2}}`:                                             "gamma",
	} {
		read := clipconfig.TransformersFile
		if !strings.Contains(raw, "model_type") {
			read = clipconfig.OpenCLIPFile
		}
		if _, err := read([]byte(raw)); err == nil || !strings.Contains(err.Error(), message) {
			t.Errorf("%s: error %v, want %q", raw, err, message)
		}
	}
}

// FuzzConfig checks that any text gives an error or a valid configuration.
func FuzzConfig(f *testing.F) {
	for _, raw := range []string{openCLIPH14, pickScore, openAIL14, openAIB32, ``, `[]`, `{"model_cfg": null}`} {
		f.Add([]byte(raw))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		for _, read := range []func([]byte) (clip.Config, error){clipconfig.OpenCLIPFile, clipconfig.TransformersFile} {
			var c clip.Config
			err := fuzztest.Read(t, len(raw), 1<<12, func() (err error) {
				c, err = read(raw)
				return err
			})
			if err == nil && c.Validate() != nil {
				t.Errorf("%s: %+v: %v", raw, c, c.Validate())
			}
		}
	})
}
