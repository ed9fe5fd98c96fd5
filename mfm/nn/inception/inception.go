// Package inception has the Inception network whose features define the Fréchet inception distance
// (FID): Inception v3 (Szegedy et al., arXiv 1512.00567) with the differences of TensorFlow's graph
// of 2015 that the Python package pytorch-fid has. Its average pools do not count the padding, and
// its last block has a maximum pool instead.
package inception

import (
	"fmt"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"
	. "github.com/gomlx/gomlx/support/exceptions"

	"github.com/gomfm/gomfm/mfm/nn/layer"
)

// Side is the height and width in pixels to which images are resized.
const Side = 299

// features is the number of channels of the last block.
const features = 2048

// Network is the Inception network for evaluation: its batch norms use stored means and variances.
type Network struct {
	// Divisor divides all numbers of channels but those of images: 1 for the published network, 2, 4,
	// 8 or 16 for a small one in tests.
	Divisor int `json:"divisor"`
}

// Validate returns an error unless Divisor is 1, 2, 4, 8 or 16.
func (n Network) Validate() error {
	if d := n.Divisor; d < 1 || d > 16 || d&(d-1) != 0 {
		return fmt.Errorf("inception: divisor = %d: use 1, 2, 4, 8 or 16", d)
	}
	return nil
}

// Features returns the number of features of an image, 2048/Divisor.
func (n Network) Features() int { return features / n.Divisor }

// Embed returns the features, [batch, Features], of images [batch, height, width, 3] in [-1, 1], of
// any size: the mean over the positions of the last block's output ("pool3"). It resizes the images
// to 299x299 pixels by [layer.ResizeBilinear] without antialiasing, as pytorch-fid does. It panics
// with Validate's error and for other numbers of channels.
func (n Network) Embed(scope *model.Scope, images *Node) *Node {
	if err := n.Validate(); err != nil {
		panic(err)
	}
	if images.Rank() != 4 || images.Shape().Dim(3) != 3 {
		Panicf("inception.Network: want images [batch, height, width, 3], got %s", images.Shape())
	}
	x := layer.ResizeBilinear(images, Side, Side)
	for _, b := range blocks() {
		x = n.block(scope, b, x)
	}
	return ReduceMean(x, 1, 2)
}

// block returns the outputs of all branches of a block, one after another.
func (n Network) block(scope *model.Scope, b block, x *Node) *Node {
	if b.name != "" {
		scope = scope.In("%s", b.name)
	}
	var parts []*Node
	for _, branch := range b.branches {
		h := pooled(x, branch.pool)
		for _, c := range branch.path {
			h = n.unit(scope, c, h)
		}
		if branch.fork == nil {
			parts = append(parts, h)
		}
		for _, c := range branch.fork {
			parts = append(parts, n.unit(scope, c, h))
		}
	}
	if len(parts) == 1 {
		return parts[0]
	}
	return Concatenate(parts, 3)
}

// unit returns x after a convolution without biases, a batch norm and a ReLU.
func (n Network) unit(scope *model.Scope, c convolution, x *Node) *Node {
	scope = scope.In("%s", c.name)
	k := layer.Weights(scope, x, 1, c.height, c.width, x.Shape().Dim(3), c.channels/n.Divisor)
	convolve := Convolve(x, k).Strides(c.stride)
	if c.padded {
		convolve = convolve.PaddingPerDim(layer.SamePaddings(x, k, 1))
	}
	y := layer.BatchNorm(scope.In("norm"), convolve.Done())
	return Max(y, ZerosLike(y))
}

// pooled returns the pool of x that begins a branch.
func pooled(x *Node, p pool) *Node {
	padding := [][2]int{{1, 1}, {1, 1}}
	switch p {
	case average:
		return MeanPool(x).Window(3).Strides(1).PaddingPerDim(padding).Done()
	case maximum:
		return MaxPool(x).Window(3).Strides(1).PaddingPerDim(padding).Done()
	case halving:
		return MaxPool(x).Window(3).Strides(2).NoPadding().Done()
	}
	return x
}
