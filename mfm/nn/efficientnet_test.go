package nn_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/gomlx/compute/dtypes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm/nn"
	"github.com/gomfm/gomfm/mfm/nn/internal/nntest"
)

// tinyEfficientNet has a block of each kind: with and without expansion, stride and skip.
func tinyEfficientNet() nn.EfficientNet {
	return nn.EfficientNet{EfficientNetConfig: nn.EfficientNetConfig{Stem: 4, Features: 5, Classes: 3,
		Stages: []nn.EfficientNetStage{
			{Blocks: 1, Kernel: 3, Stride: 1, Expand: 1, Channels: 3},
			{Blocks: 2, Kernel: 5, Stride: 2, Expand: 2, Channels: 4},
		}}}
}

func TestEfficientNetLite(t *testing.T) {
	blocks, channels := func(c nn.EfficientNetConfig) (blocks, channels []int) {
		for _, s := range c.Stages {
			blocks, channels = append(blocks, s.Blocks), append(channels, s.Channels)
		}
		return blocks, channels
	}, [][]int{ // of the original, efficientnet_lite_builder.py
		{16, 24, 40, 80, 112, 192, 320}, {16, 24, 40, 80, 112, 192, 320}, {16, 24, 48, 88, 120, 208, 352},
		{24, 32, 48, 96, 136, 232, 384}, {24, 32, 56, 112, 160, 272, 448},
	}
	for size, want := range channels {
		b, c := blocks(nn.EfficientNetLite(size))
		if !slices.Equal(c, want) || nn.EfficientNetLite(size).Validate() != nil {
			t.Errorf("Lite%d has the channels %v, want %v", size, c, want)
		}
		if want := [][]int{{1, 2, 2, 3, 3, 4, 1}, {1, 3, 3, 4, 4, 5, 1}, {1, 3, 3, 4, 4, 5, 1}, {1, 3, 3, 5, 5, 6, 1},
			{1, 4, 4, 6, 6, 8, 1}}[size]; !slices.Equal(b, want) {
			t.Errorf("Lite%d has %v blocks, want %v", size, b, want)
		}
	}
}

// Features and logits of each image do not depend on the others, and their gradients in the pixels
// are those of finite differences. Sides may be odd.
func TestEfficientNet(t *testing.T) {
	store := nntest.NewStore(t, 1)
	network := tinyEfficientNet()
	evaluate := func(scope *model.Scope, x []*Node) []*Node {
		features, logits := network.Evaluate(scope, MulScalar(x[0], 0.1))
		if g := Gradient(ReduceAllSum(logits), x[0]); len(x) > 1 {
			return []*Node{ReduceAllSum(logits), ReduceAllSum(Mul(g[0], x[1]))}
		}
		return []*Node{features, logits}
	}
	x := nntest.Wave(dtypes.Float64, 0, 3, 9, 7, 3)
	out := nntest.Run(t, store, evaluate, x)
	features, logits := nntest.Flat(t, out[0]), nntest.Flat(t, out[1])
	if len(features) != 15 || len(logits) != 9 || slices.Min(features) < 0 || slices.Max(features) > 6 {
		t.Errorf("features %v, logits %v", features, logits)
	}
	single := nntest.Flat(t, x)[2*9*7*3:]
	alone := nntest.Run(t, store, evaluate, nntest.TensorOf(dtypes.Float64, single, 1, 9, 7, 3))
	nntest.Near(t, "logits of one image", nntest.Flat(t, alone[1]), logits[6:], 1e-12)

	direction := nntest.Wave(dtypes.Float64, 2, 3, 9, 7, 3)
	sums := func(step float64) []float64 {
		moved := nntest.Flat(t, x)
		for i, d := range nntest.Flat(t, direction) {
			moved[i] += step * d
		}
		out := nntest.Run(t, store, evaluate, nntest.TensorOf(dtypes.Float64, moved, 3, 9, 7, 3), direction)
		return []float64{nntest.Flat(t, out[0])[0], nntest.Flat(t, out[1])[0]}
	}
	const step = 1e-6
	nntest.Near(t, "derivative", []float64{(sums(step)[0] - sums(-step)[0]) / (2 * step)}, sums(0)[1:], 1e-6)
}

func TestEfficientNetErrors(t *testing.T) {
	network := tinyEfficientNet()
	nntest.Fails(t, func(scope *model.Scope, g *Graph) *Node {
		_, logits := network.Evaluate(scope, nntest.WaveNode(g, dtypes.Float32, 0, 1, 4, 4, 1))
		return logits
	}, "nn.EfficientNet", "[batch, height, width, 3]")
	for want, change := range map[string]func(c *nn.EfficientNetConfig){
		"classes":    func(c *nn.EfficientNetConfig) { c.Classes = 0 },
		"at stage 1": func(c *nn.EfficientNetConfig) { c.Stages[1].Kernel = 0 },
	} {
		c := tinyEfficientNet().EfficientNetConfig
		if change(&c); c.Validate() == nil || !strings.Contains(c.Validate().Error(), want) {
			t.Errorf("error %v, want %q", c.Validate(), want)
		}
	}
}
