package text

import (
	"errors"
	"fmt"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm/checkpoint"
	"github.com/gomfm/gomfm/mfm/nn/clip/bpe"
	"github.com/gomfm/gomfm/mfm/nn/layer"
	"github.com/gomfm/gomfm/mfm/nn/preprocess"
	"github.com/gomfm/gomfm/mfm/pretrained"
	"github.com/gomfm/gomfm/mfm/reward"
)

// headLayers are the places of the linear layers in the head of LAION's aesthetic predictor,
// layers.N; the others are dropouts. There are no nonlinearities.
var headLayers = [...]int{0, 2, 4, 6, 7}

func (l Loader) aesthetic(_ reward.Parser, raw []byte) (reward.Reward, error) {
	v := struct {
		Network
		Head string `json:"head"`
	}{Network: Network{Checkpoint: true}}
	if err := reward.Decode(raw, &v); err != nil {
		return nil, err
	}
	if v.Head == "" {
		return nil, errors.New(`no head: name the file of its layers under "head"`)
	}
	from, _, err := pretrained.Open(v.Head)
	if err != nil {
		return nil, err
	}
	r, err := l.imageScore(v.Network, bpe.OpenCLIP, preprocess.ShortestRounded, nil)
	if err != nil {
		return nil, err
	}
	weights, widths, err := importHead(from, r.config.Embedding)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", v.Head, err)
	}
	for path, t := range weights {
		r.weights[path] = t
	}
	r.score = func(_ *imageScore, scope *model.Scope, images *Node) *Node { return head(scope, images, widths) }
	return r, nil
}

// importHead returns the weights of a head for inputs of the given width, and the widths of its
// layers, which end in 1.
func importHead(from checkpoint.Tensors, width int) (checkpoint.Tensors, []int, error) {
	var list weightList
	var widths []int
	for i, place := range headLayers {
		name := fmt.Sprintf("layers.%d", place)
		t := from[name+".weight"]
		if t == nil || t.Rank() != 2 {
			return nil, nil, fmt.Errorf("no matrix %q: not the head of LAION's aesthetic predictor", name+".weight")
		}
		out := t.Shape().Dim(0)
		if i == len(headLayers)-1 {
			out = 1
		}
		list.linear(name, fmt.Sprintf("head/layer_%d", i), width, out)
		widths, width = append(widths, out), out
	}
	weights, err := pretrained.Import(from, list)
	return weights, widths, err
}

// head applies the linear layers of the given widths, the last of which is 1, [n, ...] -> [n].
func head(scope *model.Scope, x *Node, widths []int) *Node {
	scope = scope.In("head")
	for i, width := range widths {
		x = layer.Dense(scope.In("layer_%d", i), x, width, 1)
	}
	return Squeeze(x, 1)
}
