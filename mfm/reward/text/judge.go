package text

import (
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"
	. "github.com/gomlx/gomlx/support/exceptions"

	"github.com/gomfm/gomfm/mfm/checkpoint"
	"github.com/gomfm/gomfm/mfm/nn/clip"
	"github.com/gomfm/gomfm/mfm/nn/clip/bpe"
	"github.com/gomfm/gomfm/mfm/pretrained"
	"github.com/gomfm/gomfm/mfm/reward"
)

// judge is a reward by the embedding of an image.
type judge struct {
	config  clip.Config
	weights checkpoint.Tensors // of the network of images and of what follows, by their paths
	fit     fit
	prompts *tensors.Tensor // embeddings of length 1, [prompts, Embedding], or nil
	scale   float64         // the network's factor of logits
	score   score
}

// score returns the reward [n] of embeddings of images of length 1, [n, Embedding], by j.
type score func(j *judge, scope *model.Scope, images *Node) *Node

// open opens the networks, embeds the prompts, and frees the network of texts.
func (l Loader) open(n Network, c bpe.Convention, f fit, s score, prompts ...string) (reward.Reward, error) {
	j, err := l.judge(n, c, f, prompts)
	if err != nil {
		return nil, err
	}
	j.score = s
	return j, nil
}

func (l Loader) judge(n Network, convention bpe.Convention, f fit, prompts []string) (*judge, error) {
	if err := n.check(); err != nil {
		return nil, err
	}
	var vocabulary *bpe.Tokenizer
	if len(prompts) > 0 {
		file := n.Vocabulary
		if file == "" {
			file = l.Vocabulary
		}
		if file == "" {
			return nil, errors.New(`no vocabulary: name CLIP's under "vocabulary", from mfm weights get clip-vocabulary`)
		}
		if l.Backend == nil {
			return nil, errors.New("no backend to embed prompts: set that of the loader")
		}
		var err error
		if vocabulary, err = bpe.Open(file); err != nil {
			return nil, err
		}
	}
	c, weights, err := pretrained.OpenCLIP(n.Weights)
	if err != nil {
		return nil, err
	}
	j := &judge{config: c, weights: checkpoint.Tensors{}, fit: f}
	j.config.Checkpoint, j.config.Compute = n.Checkpoint, n.Compute
	j.scale = math.Exp(float64(tensors.ToScalar[float32](weights["logit_scale"])))
	if len(prompts) > 0 {
		if j.prompts, err = embed(l.Backend, c, weights, vocabulary, convention, prompts); err != nil {
			return nil, err
		}
	}
	for path, t := range weights {
		if strings.HasPrefix(path, clip.ImageScope+"/") {
			j.weights[path] = t
		} else if err := t.FinalizeAll(); err != nil {
			return nil, err
		}
	}
	return j, nil
}

// embed returns the embeddings of prompts, of length 1.
func embed(
	b compute.Backend, c clip.Config, weights checkpoint.Tensors, v *bpe.Tokenizer, convention bpe.Convention,
	prompts []string,
) (*tensors.Tensor, error) {
	if v.Size() != c.Text.Vocabulary {
		return nil, fmt.Errorf("the vocabulary has %d tokens, the network %d", v.Size(), c.Text.Vocabulary)
	}
	var all []int32
	for _, prompt := range prompts {
		tokens, err := v.Tokens(prompt, convention, c.Text.Tokens)
		if err != nil {
			return nil, err
		}
		all = append(all, tokens...)
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
	embeddings, err := exec.Call1(tensors.FromFlatDataAndDimensions(all, len(prompts), c.Text.Tokens))
	if err != nil {
		return nil, fmt.Errorf("embedding prompts: %w", err)
	}
	// A copy that depends on no backend.
	return embeddings.LocalClone()
}

// Build implements [reward.Reward]. It creates the weights in scope. It panics without a scope, if
// there are other weights in it, and unless samples are images.
func (j *judge) Build(scope *model.Scope, x *Node, _ reward.Condition) *Node {
	load(scope, j.weights)
	images := j.fit.apply(ConvertDType(x, dtypes.Float32), j.config.Image.Size)
	unit := clip.Unit(j.config.EmbedImages(scope, images))
	return ConvertDType(j.score(j, scope, unit), x.DType())
}

// load creates the variables in scope.
func load(scope *model.Scope, weights checkpoint.Tensors) {
	if scope == nil {
		Panicf("the weights of the reward need a store")
	}
	for path, value := range weights {
		v := scope.Store().VariableWithValue(model.JoinPath(scope.Scope(), path), value).SetTrainable(false)
		if there, err := v.Value(); err != nil || there != value && !there.Equal(value) {
			Panicf("the store has weights of another reward in %s: use another store", scope.Scope())
		}
	}
}

// cosines returns the cosines of the images and the prompts, [n, prompts].
func (j *judge) cosines(images *Node) *Node {
	return clip.Cosines(images, ConstTensor(images.Graph(), j.prompts))
}

// cosine is the cosine of the image and the prompt.
func cosine(j *judge, _ *model.Scope, images *Node) *Node { return Squeeze(j.cosines(images), 1) }

// scaledCosine is the logit of the match of the image and the prompt.
func scaledCosine(j *judge, scope *model.Scope, images *Node) *Node {
	return MulScalar(cosine(j, scope, images), j.scale)
}

// logProbability is the log-probability of the first prompt given one of the prompts.
func logProbability(j *judge, _ *model.Scope, images *Node) *Node {
	logits := MulScalar(j.cosines(images), j.scale)
	return Squeeze(SliceAxis(LogSoftmax(logits, 1), 1, AxisElem(0)), 1)
}
