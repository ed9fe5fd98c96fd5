package nn

import (
	"fmt"
	"math"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"
	. "github.com/gomlx/gomlx/support/exceptions"

	"github.com/gomfm/gomfm/mfm/nn/layer"
)

// EfficientNetConfig describes a classifier of images from the EfficientNet-Lite family: the
// EfficientNets of Tan and Le (arXiv 1905.11946) without squeeze-and-excitation and with ReLU6.
// Start from [EfficientNetLite].
type EfficientNetConfig struct {
	Stem     int                 `json:"stem"` // channels of the first convolution
	Stages   []EfficientNetStage `json:"stages"`
	Features int                 `json:"features"`
	Classes  int                 `json:"classes"`
}

// EfficientNetStage is a sequence of inverted residual blocks (Sandler et al., arXiv 1801.04381).
type EfficientNetStage struct {
	Blocks   int `json:"blocks"`
	Kernel   int `json:"kernel"`   // side of the depthwise kernels in pixels
	Stride   int `json:"stride"`   // of the first block; the others have stride 1
	Expand   int `json:"expand"`   // channels inside a block for each that enters it
	Channels int `json:"channels"` // channels that leave the stage
}

// EfficientNetLite returns the configuration of EfficientNet-Lite0 to Lite4 for the 1,000 classes
// of ImageNet. The networks were trained on images of 224, 240, 260, 280 and 300 pixels, in the
// order of size. It panics unless size is 0 to 4.
func EfficientNetLite(size int) EfficientNetConfig {
	if size < 0 || size > 4 {
		Panicf("nn.EfficientNetLite: size %d, want 0 to 4", size)
	}
	width := []float64{1, 1, 1.1, 1.2, 1.4}[size]
	depth := []float64{1, 1.1, 1.2, 1.4, 1.8}[size]
	c := EfficientNetConfig{Stem: 32, Features: 1280, Classes: 1000, Stages: []EfficientNetStage{
		{1, 3, 1, 1, 16}, {2, 3, 2, 6, 24}, {2, 5, 2, 6, 40}, {3, 3, 2, 6, 80}, {3, 5, 1, 6, 112}, {4, 5, 2, 6, 192},
		{1, 3, 1, 6, 320},
	}}
	for i := range c.Stages {
		s := &c.Stages[i]
		if i > 0 && i < len(c.Stages)-1 {
			s.Blocks = int(math.Ceil(depth * float64(s.Blocks)))
		}
		// Round to a multiple of 8, by at most a tenth downward.
		scaled := width * float64(s.Channels)
		s.Channels = int(scaled+4) / 8 * 8
		if float64(s.Channels) < 0.9*scaled {
			s.Channels += 8
		}
	}
	return c
}

// Validate returns an error that names the first invalid field.
func (c EfficientNetConfig) Validate() error {
	if c.Stem < 1 || c.Features < 1 || c.Classes < 1 {
		return fmt.Errorf("efficientnet: stem, features and classes must be positive, got %d, %d and %d",
			c.Stem, c.Features, c.Classes)
	}
	for i, s := range c.Stages {
		if min(s.Blocks, s.Kernel, s.Stride, s.Expand, s.Channels) < 1 {
			return fmt.Errorf("efficientnet: all values of a stage must be positive, got %+v at stage %d", s, i)
		}
	}
	return nil
}

// EfficientNet is a network of the EfficientNet-Lite family for evaluation: its batch norms use
// stored means and variances, not those of the batch.
type EfficientNet struct {
	EfficientNetConfig
	// Checkpoint recomputes the activations of each block in the backward pass.
	Checkpoint bool
}

// Evaluate returns the features [batch, Features] and the logits [batch, Classes] of images [batch,
// height, width, 3] in [-1, 1], of any size. The logits are a linear function of the features. For
// features alone call [EfficientNet.Embed]: the pure-Go backend cannot execute a graph with
// weights that its outputs do not need. Evaluate panics as Embed does.
func (e EfficientNet) Evaluate(scope *model.Scope, images *Node) (features, logits *Node) {
	features = e.Embed(scope, images)
	return features, layer.Dense(scope.In("output"), features, e.Classes, 1)
}

// Embed returns the features of [EfficientNet.Evaluate]: the mean over the positions of the last
// convolution's output. They are not negative and at most 6. It converts pixels to those of the
// original, (v - 127)/128 of levels v from 0 to 255, and pads convolutions as TensorFlow's "SAME".
// It panics with Validate's error and for other numbers of channels.
func (e EfficientNet) Embed(scope *model.Scope, images *Node) *Node {
	must(e.Validate())
	if images.Rank() != 4 || images.Shape().Dim(3) != 3 {
		Panicf("nn.EfficientNet: want images [batch, height, width, 3], got %s", images.Shape())
	}
	h := MulScalar(AddScalar(MulScalar(images, 127.5), 127.5-127), 1./128)
	k := layer.Weights(scope.In("stem"), h, 1, 3, 3, 3, e.Stem)
	h = Convolve(h, k).Strides(2).PaddingPerDim(layer.SamePaddings(h, k, 2)).Done()
	h = relu6(layer.BatchNorm(scope.In("stem_norm"), h))
	block := 0
	for _, stage := range e.Stages {
		for i := range stage.Blocks {
			stride := 1
			if i == 0 {
				stride = stage.Stride
			}
			if e.Checkpoint {
				h = h.Checkpoint()
			}
			h = stage.block(scope.In("block_%d", block), h, stride)
			block++
		}
	}
	if e.Checkpoint {
		h = h.Checkpoint()
	}
	h = relu6(layer.BatchNorm(scope.In("head_norm"), pointwise(scope.In("head"), h, e.Features)))
	h = ReduceMean(h, 1, 2)
	if e.Checkpoint {
		h = h.StopCheckpoint()
	}
	return h
}

// block expands the channels, convolves each, and projects them, and adds the input if that has the
// output's shape.
func (s EfficientNetStage) block(scope *model.Scope, x *Node, stride int) *Node {
	h := x
	if s.Expand > 1 {
		h = pointwise(scope.In("expand"), h, s.Expand*x.Shape().Dim(3))
		h = relu6(layer.BatchNorm(scope.In("expand_norm"), h))
	}
	k := layer.Weights(scope.In("depthwise"), h, 1, s.Kernel, s.Kernel, 1, h.Shape().Dim(3))
	h = relu6(layer.BatchNorm(scope.In("depthwise_norm"), layer.Depthwise(h, k, stride)))
	h = layer.BatchNorm(scope.In("project_norm"), pointwise(scope.In("project"), h, s.Channels))
	if stride == 1 && h.Shape().Dim(3) == x.Shape().Dim(3) {
		h = Add(h, x)
	}
	return h
}

// pointwise is a linear layer without biases on each pixel.
func pointwise(scope *model.Scope, x *Node, channels int) *Node {
	d := x.Shape().Dimensions
	y := Dot(Reshape(x, -1, d[3]), layer.Weights(scope, x, 1, d[3], channels)).Product()
	return Reshape(y, d[0], d[1], d[2], channels)
}

// relu6 returns x clipped to [0, 6].
func relu6(x *Node) *Node { return ClipScalar(x, 0, 6) }
