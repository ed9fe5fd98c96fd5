package text

import (
	"errors"
	"fmt"
	"image"
	"maps"
	"strings"

	"github.com/gomlx/compute/dtypes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm/checkpoint"
	"github.com/gomfm/gomfm/mfm/nn/blip"
	"github.com/gomfm/gomfm/mfm/nn/blip/wordpiece"
	"github.com/gomfm/gomfm/mfm/nn/preprocess"
	"github.com/gomfm/gomfm/mfm/pretrained"
	"github.com/gomfm/gomfm/mfm/reward"
)

// Constants of ImageReward v1.0: the number of tokens of a prompt, and the mean and standard
// deviation of the scores of its head, by which they are normalized.
const (
	imageRewardTokens = 35
	imageRewardMean   = 0.16717362830052426
	imageRewardStd    = 1.0333394966054072
)

// imageReward is the reward of ImageReward.
type imageReward struct {
	config  blip.Config
	weights checkpoint.Tensors
	tokens  []int32
	widths  []int // of the layers of the head
}

func (l Loader) imageReward(_ reward.Parser, raw []byte) (reward.Reward, error) {
	v := defaults()
	if err := decode(raw, &v, &v.Prompt); err != nil {
		return nil, err
	}
	if err := v.check(); err != nil {
		return nil, err
	}
	file := v.Vocabulary
	if file == "" {
		file = l.BERT
	}
	if file == "" {
		return nil, errors.New(`no vocabulary: name BERT's, vocab.txt of bert-base-uncased, under "vocabulary"`)
	}
	c := blip.Large()
	c.Checkpoint, c.Compute = v.Checkpoint, v.Compute
	r, err := openImageReward(v.Weights, file, c, *v.Prompt)
	if err != nil {
		return nil, err
	}
	return r, nil
}

// openImageReward reads the network of a configuration, and the tokens of a prompt.
func openImageReward(weights, vocabulary string, c blip.Config, prompt string) (*imageReward, error) {
	t, err := wordpiece.Open(vocabulary, "[DEC]", "[ENC]") // as BLIP extends it
	if err != nil {
		return nil, err
	}
	if t.Size() != c.Text.Vocabulary {
		return nil, fmt.Errorf("the vocabulary has %d tokens, the network %d", t.Size(), c.Text.Vocabulary)
	}
	r := &imageReward{config: c}
	if r.tokens, err = t.Tokens(prompt, imageRewardTokens); err != nil {
		return nil, err
	}
	from, _, err := pretrained.Open(weights)
	if err != nil {
		return nil, err
	}
	if r.weights, r.widths, err = importImageReward(from, c); err != nil {
		return nil, fmt.Errorf("%s: %w", weights, err)
	}
	for _, t := range from {
		if err := t.FinalizeAll(); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// Build implements [reward.Reward]. It creates the weights in scope, panics as [reward.SetWeights]
// does, and unless samples are images.
func (r *imageReward) Build(scope *model.Scope, x *Node, _ reward.Condition) *Node {
	images := preprocess.ShortestRounded.Apply(ConvertDType(x, dtypes.Float32), r.Side())
	return ConvertDType(r.BuildPrepared(scope, images), x.DType())
}

// Side implements [reward.Original].
func (r *imageReward) Side() int { return r.config.Image.Size }

// Prepare implements [reward.Original].
func (r *imageReward) Prepare(picture *image.RGBA) []float32 {
	return preprocess.Pixels(preprocess.ShortestRounded.Picture(picture, r.Side()))
}

// BuildPrepared implements [reward.Original].
func (r *imageReward) BuildPrepared(scope *model.Scope, prepared *Node) *Node {
	reward.SetWeights(scope, r.weights)
	score := head(scope, r.config.Embed(scope, prepared, Const(prepared.Graph(), r.tokens)), r.widths)
	return DivScalar(AddScalar(score, -imageRewardMean), imageRewardStd)
}

// importImageReward returns the weights in the names of ImageReward.pt, and the widths of the
// layers of the head. The projections of BLIP's contrastive loss are left out.
func importImageReward(from checkpoint.Tensors, c blip.Config) (checkpoint.Tensors, []int, error) {
	const images, texts = "blip.visual_encoder.", "blip.text_encoder."
	rest := checkpoint.Tensors{}
	for name, t := range from {
		known := strings.HasPrefix(name, images) || strings.HasPrefix(name, texts)
		if known && !strings.HasSuffix(name, ".position_ids") {
			rest[name] = t
		}
	}
	if len(rest) == 0 {
		return nil, nil, fmt.Errorf("no tensor %s...: not the weights of ImageReward", images)
	}
	weights, err := pretrained.Import(rest, append(imageWeights(images, c), textWeights(texts, c)...))
	if err != nil {
		return nil, nil, err
	}
	last, widths, err := importHead(pretrained.Below(from, "mlp."), c.Text.Width)
	maps.Copy(weights, last)
	return weights, widths, err
}

// weightList is a list of weights under construction.
type weightList []pretrained.Weight

func (l *weightList) add(file, path string, layout pretrained.Layout, shape ...int) {
	*l = append(*l, pretrained.Weight{File: file, Path: path, Layout: layout, Shape: shape})
}

func (l *weightList) linear(file, path string, in, out int) {
	l.add(file+".weight", path+"/weights", pretrained.Linear, out, in)
	l.add(file+".bias", path+"/biases", pretrained.Same, out)
}

func (l *weightList) norm(file, path string, width int) {
	l.add(file+".weight", path+"/weights", pretrained.Same, width)
	l.add(file+".bias", path+"/biases", pretrained.Same, width)
}

// imageWeights returns the weights of the vision transformer.
func imageWeights(prefix string, c blip.Config) []pretrained.Weight {
	var l weightList
	w := c.Image.Width
	l.add(prefix+"cls_token", "image/class", pretrained.Same, 1, 1, w)
	l.add(prefix+"pos_embed", "image/positions", pretrained.Same, 1, c.Image.Positions(), w)
	l.add(prefix+"patch_embed.proj.weight", "image/patches/weights", pretrained.PatchEmbedding, w, 3, c.Image.Patch,
		c.Image.Patch)
	l.add(prefix+"patch_embed.proj.bias", "image/patches/biases", pretrained.Same, w)
	l.norm(prefix+"norm", "image/output_norm", w)
	for i := range c.Image.Depth {
		file, path := fmt.Sprintf("%sblocks.%d.", prefix, i), fmt.Sprintf("image/block_%d/", i)
		l.norm(file+"norm1", path+"attention_norm", w)
		l.linear(file+"attn.qkv", path+"attention/qkv", w, 3*w)
		l.linear(file+"attn.proj", path+"attention/out", w, w)
		l.norm(file+"norm2", path+"hidden_norm", w)
		l.linear(file+"mlp.fc1", path+"hidden", w, c.Image.Hidden)
		l.linear(file+"mlp.fc2", path+"output", c.Image.Hidden, w)
	}
	return l
}

// textWeights returns the weights of the BERT.
func textWeights(prefix string, c blip.Config) []pretrained.Weight {
	var l weightList
	w := c.Text.Width
	l.add(prefix+"embeddings.word_embeddings.weight", "text/tokens/weights", pretrained.Same, c.Text.Vocabulary, w)
	l.add(prefix+"embeddings.position_embeddings.weight", "text/positions", pretrained.Same, c.Text.Tokens, w)
	l.norm(prefix+"embeddings.LayerNorm", "text/input_norm", w)
	for i := range c.Text.Depth {
		file, path := fmt.Sprintf("%sencoder.layer.%d.", prefix, i), fmt.Sprintf("text/block_%d/", i)
		for _, part := range []struct {
			file, path string
			context    int
		}{{"attention", "attention", w}, {"crossattention", "image", c.Image.Width}} {
			l.linear(file+part.file+".self.query", path+part.path+"/query", w, w)
			l.linear(file+part.file+".self.key", path+part.path+"/key", part.context, w)
			l.linear(file+part.file+".self.value", path+part.path+"/value", part.context, w)
			l.linear(file+part.file+".output.dense", path+part.path+"/out", w, w)
			l.norm(file+part.file+".output.LayerNorm", path+part.path+"_norm", w)
		}
		l.linear(file+"intermediate.dense", path+"hidden", w, c.Text.Hidden)
		l.linear(file+"output.dense", path+"output", c.Text.Hidden, w)
		l.norm(file+"output.LayerNorm", path+"hidden_norm", w)
	}
	return l
}
