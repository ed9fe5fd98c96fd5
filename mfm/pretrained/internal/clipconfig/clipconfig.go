// Package clipconfig reads the configuration of a network of CLIP from the JSON of its publishers.
package clipconfig

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/gomfm/gomfm/mfm/internal/strictjson"
	"github.com/gomfm/gomfm/mfm/nn/clip"
)

// legacyEnd is the id by which transformers marks a configuration whose texts end at the largest
// token, whatever that is.
const legacyEnd = 2

// layerNormEpsilon is that of the layer norms of package clip.
const layerNormEpsilon = 1e-5

// tower has the keys of transformers' CLIPTextConfig and CLIPVisionConfig that change the network.
type tower struct {
	width, hidden, depth, heads int
	activation                  string
	epsilon                     float64
}

func (t *tower) read(raw []byte, other map[string]any) (clip.Transformer, error) {
	keys := map[string]any{
		"hidden_size": &t.width, "intermediate_size": &t.hidden, "num_hidden_layers": &t.depth,
		"num_attention_heads": &t.heads, "hidden_act": &t.activation, "layer_norm_eps": &t.epsilon,
	}
	for key, value := range other {
		keys[key] = value
	}
	for key, value := range keys {
		if _, err := strictjson.Lookup(raw, key, value); err != nil {
			return clip.Transformer{}, err
		}
	}
	if t.epsilon != layerNormEpsilon {
		return clip.Transformer{}, fmt.Errorf("layer_norm_eps = %g is not supported, only %g", t.epsilon, layerNormEpsilon)
	}
	return clip.Transformer{Width: t.width, Depth: t.depth, Heads: t.heads, Hidden: t.hidden}, nil
}

// Transformers returns the configuration of text and vision, objects in the form of transformers'
// CLIPTextConfig and CLIPVisionConfig, and the size of embeddings. Absent keys have the defaults of
// these classes. Keys that do not change the network are not checked.
func Transformers(text, vision []byte, embedding int) (clip.Config, error) {
	c := clip.ViTB32()
	c.Embedding = embedding
	t := tower{c.Text.Width, c.Text.Hidden, c.Text.Depth, c.Text.Heads, string(c.Activation), layerNormEpsilon}
	end := -1
	var err error
	c.Text.Transformer, err = t.read(text, map[string]any{
		"vocab_size": &c.Text.Vocabulary, "max_position_embeddings": &c.Text.Tokens, "eos_token_id": &end,
	})
	if err != nil {
		return c, fmt.Errorf("text: %w", err)
	}
	if end >= 0 && end != legacyEnd && end != c.Text.Vocabulary-1 {
		return c, fmt.Errorf("text: eos_token_id = %d of %d tokens is not supported, only the last token", end,
			c.Text.Vocabulary)
	}
	v := tower{c.Image.Width, c.Image.Hidden, c.Image.Depth, c.Image.Heads, string(c.Activation), layerNormEpsilon}
	channels := 3
	c.Image.Transformer, err = v.read(vision, map[string]any{
		"image_size": &c.Image.Size, "patch_size": &c.Image.Patch, "num_channels": &channels,
	})
	switch {
	case err != nil:
		return c, fmt.Errorf("vision: %w", err)
	case channels != 3:
		return c, fmt.Errorf("vision: num_channels = %d, want 3", channels)
	case t.activation != v.activation:
		return c, fmt.Errorf("hidden_act is %q for texts and %q for images: they must be equal", t.activation, v.activation)
	}
	c.Activation = clip.Activation(v.activation)
	return c, c.Validate()
}

// TransformersFile returns the configuration in a file config.json of transformers' CLIPModel.
func TransformersFile(raw []byte) (clip.Config, error) {
	kind, embedding := "", 512
	text, vision := object("{}"), object("{}")
	for key, value := range map[string]any{
		"model_type": &kind, "projection_dim": &embedding, "text_config": &text, "vision_config": &vision,
	} {
		if _, err := strictjson.Lookup(raw, key, value); err != nil {
			return clip.Config{}, err
		}
	}
	if kind != "clip" {
		return clip.Config{}, fmt.Errorf("model_type is %.40q, want clip", kind)
	}
	return Transformers(text, vision, embedding)
}

// object is the text of an object, or of another value, within JSON.
type object []byte

// UnmarshalJSON implements [json.Unmarshaler].
func (o *object) UnmarshalJSON(raw []byte) error {
	*o = append((*o)[:0:0], raw...)
	return nil
}

// openCLIP has all keys of OpenCLIP's model configuration that are supported.
type openCLIP struct {
	Embedding int  `json:"embed_dim"`
	Quick     bool `json:"quick_gelu"`
	Vision    struct {
		Size      int     `json:"image_size"`
		Depth     int     `json:"layers"`
		Width     int     `json:"width"`
		HeadWidth int     `json:"head_width"`
		Ratio     float64 `json:"mlp_ratio"`
		Patch     int     `json:"patch_size"`
	} `json:"vision_cfg"`
	Text struct {
		Tokens     int     `json:"context_length"`
		Vocabulary int     `json:"vocab_size"`
		Width      int     `json:"width"`
		Heads      int     `json:"heads"`
		Depth      int     `json:"layers"`
		Ratio      float64 `json:"mlp_ratio"`
	} `json:"text_cfg"`
}

// OpenCLIP returns the configuration of an object in the form of OpenCLIP's model configurations.
// Absent keys have OpenCLIP's defaults. Unknown keys are errors, since they may change the network.
func OpenCLIP(raw []byte) (clip.Config, error) {
	var o openCLIP
	o.Vision.Size, o.Vision.Depth, o.Vision.Width, o.Vision.HeadWidth, o.Vision.Patch = 224, 12, 768, 64, 16
	o.Text.Tokens, o.Text.Vocabulary, o.Text.Width, o.Text.Heads, o.Text.Depth = 77, 49408, 512, 8, 12
	o.Vision.Ratio, o.Text.Ratio = 4, 4
	if err := strictjson.DecodeStored(raw, &o); err != nil {
		return clip.Config{}, fmt.Errorf("the configuration is not that of a supported network: %w", err)
	}
	if o.Vision.HeadWidth < 1 || o.Vision.Width%o.Vision.HeadWidth != 0 {
		return clip.Config{}, fmt.Errorf("vision_cfg: head_width = %d does not divide width = %d", o.Vision.HeadWidth,
			o.Vision.Width)
	}
	c := clip.Config{Embedding: o.Embedding, Activation: clip.ExactGELU}
	if o.Quick {
		c.Activation = clip.QuickGELU
	}
	c.Image = clip.Image{Size: o.Vision.Size, Patch: o.Vision.Patch, Transformer: clip.Transformer{
		Width: o.Vision.Width, Depth: o.Vision.Depth, Heads: o.Vision.Width / o.Vision.HeadWidth,
		Hidden: int(float64(o.Vision.Width) * o.Vision.Ratio),
	}}
	c.Text = clip.Text{Vocabulary: o.Text.Vocabulary, Tokens: o.Text.Tokens, Transformer: clip.Transformer{
		Width: o.Text.Width, Depth: o.Text.Depth, Heads: o.Text.Heads, Hidden: int(float64(o.Text.Width) * o.Text.Ratio),
	}}
	return c, c.Validate()
}

// OpenCLIPFile returns the configuration in a file open_clip_config.json. It returns an error
// unless images are prepared as for CLIP, see checkPreparation.
func OpenCLIPFile(raw []byte) (clip.Config, error) {
	var model, preparation object
	found, err := strictjson.Lookup(raw, "model_cfg", &model)
	if err == nil && !found {
		err = errors.New(`no key "model_cfg"`)
	}
	if err == nil {
		found, err = strictjson.Lookup(raw, "preprocess_cfg", &preparation)
	}
	if err != nil {
		return clip.Config{}, err
	}
	c, err := OpenCLIP(model)
	if err == nil && found {
		err = checkPreparation(preparation)
	}
	return c, err
}

// checkPreparation returns an error unless OpenCLIP's preprocess_cfg, whose absent keys have
// OpenCLIP's defaults, is the preparation of CLIP: the shorter side is resized by a bicubic filter,
// and colors are normalized by [clip.Moments]. The size has no effect there, since it is that of
// the network, nor does the color that fills a padded image.
func checkPreparation(raw []byte) error {
	means, deviations := clip.Moments()
	p := struct {
		Size          object    `json:"size"`
		Mode          string    `json:"mode"`
		Mean          []float64 `json:"mean"`
		Std           []float64 `json:"std"`
		Interpolation string    `json:"interpolation"`
		Resize        string    `json:"resize_mode"`
		Fill          object    `json:"fill_color"`
	}{Mode: "RGB", Mean: means, Std: deviations, Interpolation: "bicubic", Resize: "shortest"}
	if err := strictjson.DecodeStored(raw, &p); err != nil {
		return fmt.Errorf("preprocess_cfg: %w", err)
	}
	near := func(a, b []float64) bool {
		return slices.EqualFunc(a, b, func(a, b float64) bool { return math.Abs(a-b) < 1e-6 })
	}
	switch {
	case p.Mode != "RGB":
		return fmt.Errorf("preprocess_cfg: mode = %.40q is not supported, only RGB", p.Mode)
	case p.Interpolation != "bicubic":
		return fmt.Errorf("preprocess_cfg: interpolation = %.40q is not supported, only bicubic", p.Interpolation)
	case p.Resize != "shortest":
		return fmt.Errorf("preprocess_cfg: resize_mode = %.40q is not supported, only shortest", p.Resize)
	case !near(p.Mean, means) || !near(p.Std, deviations):
		return fmt.Errorf("preprocess_cfg: mean = %.6g and std = %.6g are not supported, only those of CLIP, %.6g and %.6g", p.Mean,
			p.Std, means, deviations)
	}
	return nil
}
