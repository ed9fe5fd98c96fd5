package text

import (
	"cmp"
	"errors"
	"fmt"
	"image"
	"io/fs"
	"math"
	"slices"
	"strings"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm/checkpoint"
	"github.com/gomfm/gomfm/mfm/nn/clip"
	"github.com/gomfm/gomfm/mfm/nn/clip/bpe"
	"github.com/gomfm/gomfm/mfm/nn/preprocess"
	"github.com/gomfm/gomfm/mfm/reward"
)

// imageScore is a reward by the embedding of an image.
type imageScore struct {
	config  clip.Config
	weights checkpoint.Tensors // of the network of images and of what follows, by their paths
	fit     preprocess.Fit
	prompts *tensors.Tensor // embeddings of length 1, [prompts, Embedding], or nil
	scale   float64         // the network's factor of logits
	score   score
}

// score returns the reward [n] of embeddings of images of length 1, [n, Embedding], by r.
type score func(r *imageScore, scope *model.Scope, images *Node) *Node

// open opens the networks, embeds the prompts, and frees the network of texts.
func (l Loader) open(t templated, c bpe.Convention, f preprocess.Fit, s score, prompts ...string) (reward.Reward, error) {
	texts, err := t.texts(prompts...)
	if err != nil {
		return nil, err
	}
	r, err := l.imageScore(t.Network, c, f, texts)
	if err != nil {
		return nil, err
	}
	r.score = s
	return r, nil
}

// imageScore opens the networks and embeds prompts, each of which has several texts.
func (l Loader) imageScore(n Network, convention bpe.Convention, f preprocess.Fit, prompts [][]string) (*imageScore, error) {
	if err := n.check(); err != nil {
		return nil, err
	}
	var vocabulary *bpe.Tokenizer
	if len(prompts) > 0 {
		file := cmp.Or(n.Vocabulary, l.Vocabulary)
		const get = `name CLIP's under "vocabulary", from mfm weights get clip-vocabulary`
		if file == "" {
			return nil, errors.New("no vocabulary: " + get)
		}
		if l.Backend == nil {
			return nil, errors.New("no backend to embed prompts: set that of the loader")
		}
		var err error
		if vocabulary, err = bpe.Open(file); errors.Is(err, fs.ErrNotExist) {
			err = fmt.Errorf("%w: %s", err, get)
		}
		if err != nil {
			return nil, err
		}
	}
	c, weights, err := n.open()
	if err != nil {
		return nil, err
	}
	r := &imageScore{config: c, weights: checkpoint.Tensors{}, fit: f}
	r.config.Checkpoint, r.config.Compute = n.Checkpoint, n.Compute
	r.scale = math.Exp(float64(tensors.ToScalar[float32](weights["logit_scale"])))
	if len(prompts) > 0 {
		if r.prompts, err = embed(l.Backend, c, weights, vocabulary, convention, prompts); err != nil {
			return nil, err
		}
	}
	for path, t := range weights {
		if strings.HasPrefix(path, clip.ImageScope+"/") {
			r.weights[path] = t
		} else if err := t.FinalizeAll(); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// textsInCall is the largest number of texts that are embedded in a call of the graph.
const textsInCall = 256

// embed returns the embeddings of prompts, of length 1: those of the means of the embeddings of
// their texts, each of length 1. All prompts have as many texts.
func embed(
	b compute.Backend, c clip.Config, weights checkpoint.Tensors, v *bpe.Tokenizer, convention bpe.Convention,
	prompts [][]string,
) (*tensors.Tensor, error) {
	if v.Size() != c.Text.Vocabulary {
		return nil, fmt.Errorf("the vocabulary has %d tokens, the network %d", v.Size(), c.Text.Vocabulary)
	}
	store := model.NewStore()
	for path, t := range weights {
		if !strings.HasPrefix(path, clip.TextScope+"/") {
			continue
		}
		if _, err := store.CreateVariable("/"+path, t); err != nil {
			return nil, err
		}
	}
	exec, err := model.NewExec(b, store, func(scope *model.Scope, tokens *Node) *Node {
		return clip.Unit(c.EmbedTexts(scope, tokens))
	})
	if err != nil {
		return nil, fmt.Errorf("embedding prompts: %w", err)
	}
	defer exec.Finalize()
	var all []float32
	for texts := range slices.Chunk(slices.Concat(prompts...), textsInCall) {
		var tokens []int32
		for _, text := range texts {
			of, err := v.Tokens(text, convention, c.Text.Tokens)
			if err != nil {
				return nil, err
			}
			tokens = append(tokens, of...)
		}
		out, err := exec.Call1(tensors.FromFlatDataAndDimensions(tokens, len(texts), c.Text.Tokens))
		var embeddings []float32
		if err == nil {
			embeddings, err = tensors.CopyFlatData[float32](out)
		}
		if err != nil {
			return nil, fmt.Errorf("embedding prompts: %w", err)
		}
		all = append(all, embeddings...)
	}
	if each := len(prompts[0]); each > 1 {
		all = unitMeans(all, each, c.Embedding)
	}
	return tensors.FromFlatDataAndDimensions(all, len(prompts), c.Embedding), nil
}

// unitMeans returns the means of each number of rows of a width, divided by their lengths.
func unitMeans(rows []float32, each, width int) (means []float32) {
	for group := range slices.Chunk(rows, each*width) {
		mean, squares := make([]float64, width), 0.
		for i, v := range group {
			mean[i%width] += float64(v) / float64(each)
		}
		for _, v := range mean {
			squares += v * v
		}
		for _, v := range mean {
			means = append(means, float32(v/math.Sqrt(squares)))
		}
	}
	return means
}

// Build implements [reward.Reward]. It creates the weights in scope, panics as [reward.SetWeights]
// does, and unless samples are images.
func (r *imageScore) Build(scope *model.Scope, x *Node, _ reward.Condition) *Node {
	return ConvertDType(r.BuildPrepared(scope, r.fit.Apply(ConvertDType(x, dtypes.Float32), r.Side())), x.DType())
}

// Side implements [reward.Original].
func (r *imageScore) Side() int { return r.config.Image.Size }

// Prepare implements [reward.Original].
func (r *imageScore) Prepare(picture *image.RGBA) []float32 {
	return preprocess.Pixels(r.fit.Picture(picture, r.Side()))
}

// BuildPrepared implements [reward.Original].
func (r *imageScore) BuildPrepared(scope *model.Scope, prepared *Node) *Node {
	reward.SetWeights(scope, r.weights)
	return r.score(r, scope, clip.Unit(r.config.EmbedImages(scope, prepared)))
}

// cosines returns the cosines of the images and the prompts, [n, prompts].
func (r *imageScore) cosines(images *Node) *Node {
	return clip.Cosines(images, ConstTensor(images.Graph(), r.prompts))
}

// cosine is the cosine of the image and the prompt.
func cosine(r *imageScore, _ *model.Scope, images *Node) *Node { return Squeeze(r.cosines(images), 1) }

// scaledCosine is the logit of the match of the image and the prompt.
func scaledCosine(r *imageScore, scope *model.Scope, images *Node) *Node {
	return MulScalar(cosine(r, scope, images), r.scale)
}

// logProbability is the log-probability of the first prompt given one of the prompts.
func logProbability(r *imageScore, _ *model.Scope, images *Node) *Node {
	logits := MulScalar(r.cosines(images), r.scale)
	return Squeeze(SliceAxis(LogSoftmax(logits, 1), 1, AxisElem(0)), 1)
}
