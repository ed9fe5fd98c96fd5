package picture

import (
	"context"
	"fmt"

	"github.com/gomlx/compute"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/checkpoint"
	"github.com/gomfm/gomfm/mfm/nn"
	"github.com/gomfm/gomfm/mfm/nn/layer"
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
// [pretrained.OpenInception], or else an EfficientNet-Lite, see [pretrained.OpenEfficientNet].
func OpenEvaluator(b compute.Backend, path string) (*Evaluator, error) {
	tensors, _, err := pretrained.Open(path)
	if err != nil {
		return nil, err
	}
	if tensors[pretrained.InceptionAnchor] != nil {
		network, weights, err := pretrained.OpenInception(path)
		if err != nil {
			return nil, err
		}
		return newEvaluator(b, InceptionName, network.Features(), weights, network.Embed)
	}
	if tensors[pretrained.EfficientNetAnchor] == nil {
		return nil, fmt.Errorf("%s: neither an Inception network of pytorch-fid, with a tensor %q, nor an EfficientNet-Lite, with %q",
			path, pretrained.InceptionAnchor, pretrained.EfficientNetAnchor)
	}
	network, weights, err := pretrained.OpenEfficientNet(path)
	if err != nil {
		return nil, err
	}
	return NewEvaluator(b, network, weights)
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
