package picture

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/gomlx/compute"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/checkpoint"
	"github.com/gomfm/gomfm/mfm/nn"
	"github.com/gomfm/gomfm/mfm/nn/clip"
	"github.com/gomfm/gomfm/mfm/nn/layer"
	"github.com/gomfm/gomfm/mfm/nn/preprocess"
	"github.com/gomfm/gomfm/mfm/pretrained"
	"github.com/gomfm/gomfm/mfm/train"
)

// evaluatorSide is the side in pixels at which an [Evaluator] sees pictures. Of 200 pictures of
// ImageNet at 64 pixels, EfficientNet-Lite0 names 37.5 % right at 128 pixels and 45.5 % at 224, for
// which it was trained, in three times the time.
const evaluatorSide = 128

// chunk is the number of pictures of a call of the graph; the last call is padded.
const chunk = 16

// Evaluator is a network, independent of autoencoders and maps, whose features compare pictures. It
// must not be used by several goroutines at once.
type Evaluator struct {
	Network  string // its name and that of its layer, such as "efficientnet-lite pool"
	Features int    // of a picture
	exec     *model.Exec
}

// OpenEvaluator opens the network in a file: an Inception network of pytorch-fid, see
// [pretrained.OpenInception], an EfficientNet-Lite, see [pretrained.OpenEfficientNet], or CLIP's
// network of images, also in a folder, see [pretrained.OpenCLIP]. The features of the last are its
// embeddings, not divided by their lengths, of pictures that [preprocess.Fit] prepares without
// rounding; a distance in them is no FID.
func OpenEvaluator(b compute.Backend, path string) (*Evaluator, error) {
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return openCLIP(b, path)
	}
	tensors, _, err := pretrained.Open(path)
	if err != nil {
		return nil, err
	}
	switch {
	case tensors[pretrained.InceptionAnchor] != nil:
		network, weights, err := pretrained.OpenInception(path)
		if err != nil {
			return nil, err
		}
		return newEvaluator(b, InceptionName, network.Features(), weights, network.Embed)
	case pretrained.HasCLIP(tensors):
		for _, t := range tensors {
			if err := t.FinalizeAll(); err != nil {
				return nil, err
			}
		}
		return openCLIP(b, path)
	case tensors[pretrained.EfficientNetAnchor] == nil:
		return nil, fmt.Errorf("%s: neither an Inception network of pytorch-fid, with a tensor %q, nor an EfficientNet-Lite, "+
			"with %q, nor CLIP's network of images", path, pretrained.InceptionAnchor, pretrained.EfficientNetAnchor)
	}
	network, weights, err := pretrained.OpenEfficientNet(path)
	if err != nil {
		return nil, err
	}
	return NewEvaluator(b, network, weights)
}

// openCLIP returns the evaluator of CLIP's network of images. Its name has the activation, which
// the weights do not tell.
func openCLIP(b compute.Backend, path string) (*Evaluator, error) {
	c, all, err := pretrained.OpenCLIP(path)
	if err != nil {
		return nil, err
	}
	fit, weights := preprocess.ShortestRounded, make(checkpoint.Tensors)
	if pretrained.TransformersCLIP(path) {
		fit = preprocess.Shortest
	}
	for name, t := range all {
		if strings.HasPrefix(name, clip.ImageScope+"/") {
			weights[name] = t
		} else if err := t.FinalizeAll(); err != nil {
			return nil, err
		}
	}
	name := fmt.Sprintf("clip %s embedding", c.Activation)
	return newEvaluator(b, name, c.Embedding, weights, func(scope *model.Scope, x *Node) *Node {
		return c.EmbedImages(scope, fit.Apply(x, c.Image.Size))
	})
}

// InceptionName is the name of the network and the layer whose features define the FID.
const InceptionName = "inception-2015-12-05 pool3"

// NewEvaluator returns the evaluator of an EfficientNet with its weights, by their paths below the
// network's scope. It resizes pictures to 128x128 pixels by [layer.Resize] and clips the result to
// [-1, 1].
func NewEvaluator(b compute.Backend, network nn.EfficientNet, weights checkpoint.Tensors) (*Evaluator, error) {
	if err := network.Validate(); err != nil {
		return nil, err
	}
	return newEvaluator(b, "efficientnet-lite pool", network.Features, weights, func(scope *model.Scope, x *Node) *Node {
		return network.Embed(scope, ClipScalar(layer.Resize(x, evaluatorSide, evaluatorSide), -1, 1))
	})
}

func newEvaluator(b compute.Backend, name string, features int, weights checkpoint.Tensors,
	embed func(scope *model.Scope, x *Node) *Node) (*Evaluator, error) {
	store := model.NewStore()
	if err := pretrained.Load(store, train.WeightsScope, weights); err != nil {
		return nil, err
	}
	exec, err := model.NewExec(b, store, func(root *model.Scope, x *Node) *Node {
		return embed(root.Store().Scope(train.WeightsScope), x)
	})
	if err != nil {
		return nil, fmt.Errorf("preparing the evaluator: %w", err)
	}
	return &Evaluator{name, features, exec}, nil
}

// Finalize frees the compiled graphs.
func (e *Evaluator) Finalize() { e.exec.Finalize() }

// FeaturesOf returns the features, [n][Features], of flat pictures [n, height, width, 3] in [-1,
// 1]. It returns an error if the pixels are not a whole number of pictures, or, between two calls
// of the compiled graph, if ctx has ended.
func (e *Evaluator) FeaturesOf(ctx context.Context, pixels []float32, height, width int) ([][]float64, error) {
	size := height * width * 3
	if height < 1 || width < 1 || len(pixels)%size != 0 {
		return nil, fmt.Errorf("evaluating pictures: %d values are not a whole number of pictures of shape [%d, %d, 3]",
			len(pixels), height, width)
	}
	var features [][]float64
	for from := 0; from < len(pixels); from += chunk * size {
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("evaluating pictures: %w", context.Cause(ctx))
		}
		batch := make([]float32, chunk*size)
		n := copy(batch, pixels[from:]) / size
		flat, err := mfm.Flat(e.exec.Call1(tensors.FromFlatDataAndDimensions(batch, chunk, height, width, 3)))
		if err != nil {
			return nil, fmt.Errorf("evaluating pictures: %w", err)
		}
		features = append(features, mfm.Rows(flat[:n*e.Features], e.Features)...)
	}
	return features, nil
}
