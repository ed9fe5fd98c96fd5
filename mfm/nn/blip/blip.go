// Package blip has the network by which BLIP (Li et al., arXiv 2201.12086) and ImageReward (Xu et
// al., arXiv 2304.05977) score a pair of an image and a text: a vision transformer, and a BERT
// (Devlin et al., arXiv 1810.04805) whose layers attend to the tokens of the image as well. Package
// wordpiece, below this one, turns texts into tokens.
package blip

import (
	"fmt"
	"math"

	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"
	. "github.com/gomlx/gomlx/support/exceptions"

	"github.com/gomfm/gomfm/mfm/nn"
	"github.com/gomfm/gomfm/mfm/nn/clip"
	"github.com/gomfm/gomfm/mfm/nn/layer"
)

// Config describes the network. Start from [Large].
type Config struct {
	Image clip.Image // the vision transformer
	Text  clip.Text  // the BERT
	// Checkpoint recomputes each block in the backward pass instead of keeping its activations.
	Checkpoint bool
	// Compute is the type that the network computes in; "" means that of the images.
	Compute nn.ComputeType
}

// Large returns the configuration of ImageReward: BLIP with ViT-L/16 on images of 224 pixels and
// BERT-base.
func Large() Config {
	return Config{
		Image: clip.Image{
			Transformer: clip.Transformer{Width: 1024, Depth: 24, Heads: 16, Hidden: 4096}, Size: 224, Patch: 16,
		},
		Text: clip.Text{
			Transformer: clip.Transformer{Width: 768, Depth: 12, Heads: 12, Hidden: 3072}, Vocabulary: 30524, Tokens: 512,
		},
	}
}

// Validate returns an error that names the first invalid value.
func (c Config) Validate() error {
	both := clip.Config{Image: c.Image, Text: c.Text, Embedding: 1, Activation: clip.ExactGELU, Compute: c.Compute}
	if err := both.Validate(); err != nil {
		return fmt.Errorf("blip, as %w", err)
	}
	return nil
}

// Constants that the layer norms of the two parts add to variances.
const (
	imageEpsilon = 1e-6
	textEpsilon  = 1e-12
)

// Embed returns the feature of the first token of a text, [n, width of the text], that attends to
// images [n, Size, Size, 3] in [-1, 1], which it normalizes as CLIP does ([clip.Normalize]). The
// text has tokens [k], an integer type, k up to Tokens, without padding. Embed panics with
// Validate's error, and for inputs of another shape.
func (c Config) Embed(scope *model.Scope, images, tokens *Node) *Node {
	if err := c.Validate(); err != nil {
		panic(err)
	}
	d := images.Shape().Dimensions
	if len(d) != 4 || d[1] != c.Image.Size || d[2] != c.Image.Size || d[3] != 3 {
		Panicf("blip: want images [n, %d, %d, 3], got %s", c.Image.Size, c.Image.Size, images.Shape())
	}
	if tokens.Rank() != 1 || tokens.Shape().Dim(0) > c.Text.Tokens || !tokens.DType().IsInt() {
		Panicf("blip: want integer tokens [1 to %d], got %s", c.Text.Tokens, tokens.Shape())
	}
	x := clip.Normalize(images)
	if c.Compute != "" {
		dtype, _ := c.Compute.DType() // valid
		x = ConvertDType(x, dtype)
	}
	h := c.encodeText(scope.In("text"), c.encodeImage(scope.In("image"), x), tokens)
	first := Reshape(SliceAxis(h, 1, AxisElem(0)), d[0], c.Text.Width)
	return ConvertDType(first, images.DType())
}

// encodeImage returns the tokens [n, positions, width] of normalized images: blocks of attention
// and an MLP, each after a layer norm.
func (c Config) encodeImage(scope *model.Scope, images *Node) *Node {
	n, width := images.Shape().Dim(0), c.Image.Width
	patches := layer.DepthFromSpace(images, c.Image.Patch)
	tokens := layer.Dense(scope.In("patches"), Reshape(patches, n, c.Image.Positions()-1, -1), width, 1)
	class := BroadcastToDims(parameter(scope, "class", tokens, 1, 1, width), n, 1, width)
	tokens = Concatenate([]*Node{class, tokens}, 1)
	tokens = Add(tokens, parameter(scope, "positions", tokens, 1, c.Image.Positions(), width))
	for i := range c.Image.Depth {
		tokens = c.checkpoint(tokens)
		block := scope.In("block_%d", i)
		h := layer.AffineLayerNormWith(block.In("attention_norm"), tokens, imageEpsilon)
		tokens = Add(tokens, layer.Attention(block.In("attention"), h, c.Image.Heads, 1))
		h = layer.AffineLayerNormWith(block.In("hidden_norm"), tokens, imageEpsilon)
		tokens = Add(tokens, mlp(block, h, c.Image.Transformer))
	}
	return layer.AffineLayerNormWith(scope.In("output_norm"), c.stop(tokens), imageEpsilon)
}

// encodeText returns the tokens [n, k, width] of a text that attends to the tokens of images.
func (c Config) encodeText(scope *model.Scope, images, tokens *Node) *Node {
	n, k, width := images.Shape().Dim(0), tokens.Shape().Dim(0), c.Text.Width
	table := layer.Weights(scope.In("tokens"), images, 1, c.Text.Vocabulary, width)
	positions := parameter(scope, "positions", images, c.Text.Tokens, width)
	h := Add(Gather(table, InsertAxes(tokens, -1)), SliceAxis(positions, 0, AxisRangeFromStart(k)))
	h = layer.AffineLayerNormWith(scope.In("input_norm"), BroadcastToDims(InsertAxes(h, 0), n, k, width), textEpsilon)
	for i := range c.Text.Depth {
		h = c.checkpoint(h)
		block := scope.In("block_%d", i)
		add := func(name string, change *Node) {
			h = layer.AffineLayerNormWith(block.In("%s", name), Add(h, change), textEpsilon)
		}
		add("attention_norm", attention(block.In("attention"), h, h, c.Text.Heads))
		add("image_norm", attention(block.In("image"), h, images, c.Text.Heads))
		add("hidden_norm", mlp(block, h, c.Text.Transformer))
	}
	return c.stop(h)
}

// attention is the attention of tokens to those of a context.
func attention(scope *model.Scope, x, context *Node, heads int) *Node {
	d := x.Shape().Dimensions
	part := func(name string, of *Node) *Node {
		return Reshape(layer.Dense(scope.In("%s", name), of, d[2], 1), d[0], -1, heads, d[2]/heads)
	}
	mixed := layer.Attend(part("query", x), part("key", context), part("value", context))
	return layer.Dense(scope.In("out"), Reshape(mixed, d...), d[2], 1)
}

// mlp is a hidden layer, the exact GELU and a linear layer.
func mlp(scope *model.Scope, x *Node, t clip.Transformer) *Node {
	return layer.Dense(scope.In("output"), layer.ExactGELU(layer.Dense(scope.In("hidden"), x, t.Hidden, 1)), t.Width, 1)
}

func (c Config) checkpoint(x *Node) *Node {
	if !c.Checkpoint {
		return x
	}
	return x.Checkpoint()
}

func (c Config) stop(x *Node) *Node {
	if !c.Checkpoint {
		return x
	}
	return x.StopCheckpoint()
}

// parameter returns a variable in x's type, initially normal with standard deviation 1/√width,
// width the last dimension.
func parameter(scope *model.Scope, name string, x *Node, dims ...int) *Node {
	shape := shapes.Make(layer.ParameterType(x), dims...)
	std := 1 / math.Sqrt(float64(dims[len(dims)-1]))
	return ConvertDType(layer.Variable(scope, name, shape, std).NodeValue(x), x.DType())
}
