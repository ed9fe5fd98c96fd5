package experimenttest

import (
	"strings"
	"testing"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm/checkpoint"
	"github.com/gomfm/gomfm/mfm/internal/backendtest"
	"github.com/gomfm/gomfm/mfm/nn"
)

// RandomWeights returns the variables, in float32, of a network that build uses, by their paths.
func RandomWeights(t *testing.T, seed int64, build func(scope *model.Scope, g *Graph) *Node) checkpoint.Tensors {
	t.Helper()
	store := model.NewStore()
	if err := store.SetRNGStateFromSeed(seed); err != nil {
		t.Fatal(err)
	}
	exec := model.MustNewExec(backendtest.New(t), store, build)
	defer exec.Finalize()
	exec.MustCall1()
	weights := make(checkpoint.Tensors)
	for v := range store.IterVariables() {
		if v.DType() == dtypes.Float32 {
			weights[strings.TrimPrefix(v.Path(), "/")] = v.MustValue()
		}
	}
	return weights
}

// EfficientNet returns a small network of pictures of any size with random weights: two classes,
// six features.
func EfficientNet(t *testing.T) (nn.EfficientNet, checkpoint.Tensors) {
	t.Helper()
	network := nn.EfficientNet{EfficientNetConfig: nn.EfficientNetConfig{
		Stem: 4, Features: 6, Classes: 2,
		Stages: []nn.EfficientNetStage{{Blocks: 1, Kernel: 3, Stride: 2, Expand: 2, Channels: 4}},
	}}
	return network, RandomWeights(t, 1, func(scope *model.Scope, g *Graph) *Node {
		_, logits := network.Evaluate(scope, Zeros(g, shapes.Make(dtypes.Float32, 1, 4, 4, 3)))
		return logits
	})
}
