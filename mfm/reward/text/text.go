// Package text has rewards of images by networks that were trained to score them, most by a text
// that the image is to match: the relevance of an image to a prompt by CLIP, the probability of the
// prompt among others, PickScore (Kirstain et al., arXiv 2305.01569), HPSv2 (Wu et al., arXiv
// 2306.09341), ImageReward (Xu et al., arXiv 2304.05977) and LAION's aesthetic score. Each equals
// its original, up to float32, on an image that the original does not round, and is differentiable
// in the image.
//
// [Loader.Kinds] extends the kinds of [reward.Parser]. Images are [n, height, width, 3] in [-1, 1];
// they are clipped to this range. Each reward prepares them in its graph as its original does: it
// resizes them by PIL's bicubic filter, crops or pads them to a square, and normalizes the colors.
// Unlike the originals it does not round to 256 levels, neither the image nor, as PIL does, after
// the resizing of each axis. On pictures of noise the latter changes the prepared colors by at most
// 1.03 levels, and by 0.34 in the root mean square.
//
// For pictures that are only scored, each reward is also a [reward.Original]: [reward.NewScorer]
// and the kind "original" of package alignment round as the originals do.
package text

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/gomlx/compute"

	"github.com/gomfm/gomfm/mfm/checkpoint"
	"github.com/gomfm/gomfm/mfm/nn"
	"github.com/gomfm/gomfm/mfm/nn/clip"
	"github.com/gomfm/gomfm/mfm/nn/clip/bpe"
	"github.com/gomfm/gomfm/mfm/nn/preprocess"
	"github.com/gomfm/gomfm/mfm/pretrained"
	"github.com/gomfm/gomfm/mfm/reward"
)

// Loader opens the networks of rewards.
type Loader struct {
	// Backend computes the embeddings of prompts, once for each reward.
	Backend compute.Backend
	// Vocabulary is the file of CLIP's vocabulary, see [bpe.Open], for rewards that name none. `mfm
	// weights get clip-vocabulary` downloads it.
	Vocabulary string
	// BERT is the file of BERT's vocabulary, vocab.txt of bert-base-uncased, for an image_reward
	// that names none.
	BERT string
}

// Network are the keys that all rewards of this package have in JSON.
type Network struct {
	// Weights is the folder or file of CLIP's networks, see [pretrained.OpenCLIP], or of
	// ImageReward.
	Weights string `json:"weights"`
	// Vocabulary is the file of the network's vocabulary; "" means that of the [Loader].
	Vocabulary string `json:"vocabulary"`
	// Compute is the type that the network of images computes in; "" means float32.
	Compute nn.ComputeType `json:"compute"`
	// Checkpoint recomputes each block of the network in the backward pass, which saves memory. It
	// is true if absent.
	Checkpoint bool `json:"checkpoint"`

	file string // of the weights in a folder; "" means the first that is there
}

// Kinds returns the kinds of this package by name. In JSON each has the keys of [Network], and
//
//   - clip_relevance: "prompt", whose cosine with the image, times the network's factor of logits,
//     is the reward;
//   - text_match: "prompt" and the list "others", of which the reward is the log-probability of the
//     prompt by CLIP;
//   - pickscore: "prompt". The weights are those of PickScore v1 in the form of transformers;
//   - hps: "prompt" and "version", "2.0" or "2.1", which are weights of one network: the file
//     HPS_v2_compressed.pt or HPS_v2.1_compressed.pt, which a folder must have under this name. The
//     reward is the cosine, about 0.2 to 0.3;
//   - image_reward: "prompt". The weights are the file ImageReward.pt of ImageReward v1.0;
//   - aesthetic: "head", the file of the layers on the embedding of CLIP ViT-L/14, such as
//     sac+logos+ava1-l14-linearMSE.pth. The reward is about 1 to 10. It has no prompt.
//
// The first four may have "templates", texts with {} in the place of the prompt and of the others,
// such as "a photo of a {}.", for names of classes: the embedding of a name is then the mean of
// those of the texts, each of length 1, as in the zero-shot classifiers of CLIP.
//
// A prompt is that of all images, of whatever classes ([reward.Condition]): there is no place for
// the name of an image's class in it. To steer or tune several classes, each to its own prompt, run
// them one by one, each with its class.
func (l Loader) Kinds() map[string]reward.Kind {
	return map[string]reward.Kind{
		"clip_relevance": {
			Example: `{"kind": "clip_relevance", "prompt": "a tabby cat", "weights": "FOLDER"}`, Parse: l.relevance,
		},
		"text_match": {
			Example: `{"kind": "text_match", "prompt": "tabby cat", "others": ["dog", "car"], ` +
				`"templates": ["a photo of a {}."], "weights": "FOLDER"}`,
			Parse: l.match,
		},
		"pickscore": {
			Example: `{"kind": "pickscore", "prompt": "a tabby cat", "weights": "FOLDER"}`, Parse: l.pickScore,
		},
		"hps": {
			Example: `{"kind": "hps", "version": "2.1", "prompt": "a tabby cat", "weights": "HPS_v2.1_compressed.pt"}`,
			Parse:   l.hps,
		},
		"image_reward": {
			Example: `{"kind": "image_reward", "prompt": "a tabby cat", "weights": "ImageReward.pt", "vocabulary": "vocab.txt"}`,
			Parse:   l.imageReward,
		},
		"aesthetic": {
			Example: `{"kind": "aesthetic", "weights": "FOLDER", "head": "sac+logos+ava1-l14-linearMSE.pth"}`,
			Parse:   l.aesthetic,
		},
	}
}

// prompted are the keys of a reward with a prompt.
type prompted struct {
	Network
	Prompt *string `json:"prompt"`
}

// templated are the keys of a reward with a prompt that templates may have.
type templated struct {
	prompted
	// Templates are texts with {} in the place of the prompt, such as "a photo of a {}.". The
	// embedding of the prompt is then the mean of those of the texts, of length 1, as in the zero-shot
	// classifiers of CLIP. None means the prompt itself.
	Templates []string `json:"templates"`
}

// texts returns the texts of each of several prompts.
func (t templated) texts(prompts ...string) (all [][]string, err error) {
	for i, template := range t.Templates {
		if strings.Count(template, blank) != 1 {
			return nil, fmt.Errorf("templates[%d] = %.60q: must have %s once", i, template, blank)
		}
	}
	for _, prompt := range prompts {
		texts := []string{prompt}
		if len(t.Templates) > 0 {
			texts = nil
		}
		for _, template := range t.Templates {
			texts = append(texts, strings.Replace(template, blank, prompt, 1))
		}
		all = append(all, texts)
	}
	return all, nil
}

// blank is where a template has the prompt.
const blank = "{}"

// defaults are the keys that are absent.
func defaults() prompted { return prompted{Network: Network{Checkpoint: true}} }

func (l Loader) relevance(_ reward.Parser, raw []byte) (reward.Reward, error) {
	v := templated{prompted: defaults()}
	if err := decode(raw, &v, &v.Prompt); err != nil {
		return nil, err
	}
	convention, fit := conventions(v.Weights)
	return l.open(v, convention, fit, scaledCosine, *v.Prompt)
}

func (l Loader) match(_ reward.Parser, raw []byte) (reward.Reward, error) {
	v := struct {
		templated
		Others []string `json:"others"`
	}{templated: templated{prompted: defaults()}}
	if err := decode(raw, &v, &v.Prompt); err != nil {
		return nil, err
	}
	if len(v.Others) == 0 {
		return nil, errors.New(`no other prompts: give a list of them under "others"`)
	}
	convention, fit := conventions(v.Weights)
	return l.open(v.templated, convention, fit, logProbability, append([]string{*v.Prompt}, v.Others...)...)
}

func (l Loader) pickScore(_ reward.Parser, raw []byte) (reward.Reward, error) {
	v := templated{prompted: defaults()}
	if err := decode(raw, &v, &v.Prompt); err != nil {
		return nil, err
	}
	return l.open(v, bpe.Transformers, preprocess.Shortest, scaledCosine, *v.Prompt)
}

// hpsFiles returns the published weights of the versions of HPSv2. They do not state their version.
func hpsFiles() map[string]string {
	return map[string]string{"2.0": "HPS_v2_compressed.pt", "2.1": "HPS_v2.1_compressed.pt"}
}

func (l Loader) hps(_ reward.Parser, raw []byte) (reward.Reward, error) {
	v := struct {
		templated
		Version string `json:"version"`
	}{templated: templated{prompted: defaults()}}
	if err := decode(raw, &v, &v.Prompt); err != nil {
		return nil, err
	}
	if hpsFiles()[v.Version] == "" {
		return nil, fmt.Errorf(`version = %.40q is unknown: use "2.0" or "2.1"`, v.Version)
	}
	if info, err := os.Stat(v.Weights); err == nil && info.IsDir() {
		v.file = hpsFiles()[v.Version]
	}
	for version, file := range hpsFiles() {
		if version != v.Version && filepath.Base(v.Weights) == file {
			return nil, fmt.Errorf("version = %q, but the weights %s are those of version %s", v.Version, v.Weights, version)
		}
	}
	return l.open(v.templated, bpe.OpenCLIP, preprocess.Longest, cosine, *v.Prompt)
}

// conventions returns those of the project in whose form the weights are.
func conventions(weights string) (bpe.Convention, preprocess.Fit) {
	if pretrained.TransformersCLIP(weights) {
		return bpe.Transformers, preprocess.Shortest
	}
	return bpe.OpenCLIP, preprocess.ShortestRounded
}

// decode decodes the keys of a reward with a prompt.
func decode(raw []byte, v any, prompt **string) error {
	if err := reward.Decode(raw, v); err != nil {
		return err
	}
	if *prompt == nil {
		return errors.New(`no prompt: give a text under "prompt"`)
	}
	return nil
}

// open reads the networks of CLIP.
func (n Network) open() (clip.Config, checkpoint.Tensors, error) {
	if n.file != "" {
		return pretrained.OpenCLIPFile(n.Weights, n.file)
	}
	return pretrained.OpenCLIP(n.Weights)
}

// check returns an error unless the keys of the network are complete.
func (n Network) check() error {
	if strings.TrimSpace(n.Weights) == "" {
		return errors.New(`no weights: name their folder or file under "weights"`)
	}
	_, err := n.Compute.DType()
	return err
}
