package clip

import (
	"math"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"
	. "github.com/gomlx/gomlx/support/exceptions"

	"github.com/gomfm/gomfm/mfm/nn/layer"
)

// Scopes of the variables of the two networks, below that of both.
const (
	ImageScope = "image"
	TextScope  = "text"
)

// Moments returns the means and standard deviations of the colors, in [0, 1], of the images that
// CLIP was trained on.
func Moments() (means, deviations []float64) {
	return []float64{0.48145466, 0.4578275, 0.40821073}, []float64{0.26862954, 0.26130258, 0.27577711}
}

// Normalize returns images [..., 3] in [-1, 1] in units of the standard deviations of the colors of
// CLIP's training images, about their means.
func Normalize(images *Node) *Node {
	means, deviations := Moments()
	return affine(images, func(i int) (scale, shift float64) {
		return 0.5 / deviations[i], (0.5 - means[i]) / deviations[i]
	})
}

// Denormalize inverts [Normalize].
func Denormalize(pixels *Node) *Node {
	means, deviations := Moments()
	return affine(pixels, func(i int) (scale, shift float64) { return 2 * deviations[i], 2*means[i] - 1 })
}

// affine scales and shifts each of three colors.
func affine(x *Node, color func(i int) (scale, shift float64)) *Node {
	if x.Rank() < 1 || x.Shape().Dim(-1) != 3 {
		Panicf("clip: want images [..., 3], got %s", x.Shape())
	}
	scales, shifts := make([]float64, 3), make([]float64, 3)
	for i := range scales {
		scales[i], shifts[i] = color(i)
	}
	perColor := func(values []float64) *Node {
		return ExpandLeftToRank(ConstAsDType(x.Graph(), x.DType(), values), x.Rank())
	}
	return Add(Mul(x, perColor(scales)), perColor(shifts))
}

// EmbedImages returns the embeddings [batch, Embedding] of images [batch, Size, Size, 3] in [-1,
// 1], which it normalizes. Their lengths have no meaning, see [Cosines]. It panics with Validate's
// error and for images of another shape.
func (c Config) EmbedImages(scope *model.Scope, images *Node) *Node {
	must(c.Validate())
	d := images.Shape().Dimensions
	if len(d) != 4 || d[1] != c.Image.Size || d[2] != c.Image.Size || d[3] != 3 {
		Panicf("clip: want images [batch, %d, %d, 3], got %s", c.Image.Size, c.Image.Size, images.Shape())
	}
	scope = scope.In(ImageScope)
	patches := layer.DepthFromSpace(c.in(Normalize(images)), c.Image.Patch)
	count, width := c.Image.Positions()-1, c.Image.Width
	patches = Reshape(patches, d[0]*count, -1)
	w := layer.Weights(scope.In("patches"), patches, 1, patches.Shape().Dim(1), width)
	tokens := Reshape(Dot(patches, w).Product(), d[0], count, width)
	class := BroadcastToDims(Reshape(parameter(scope, "class", tokens, width), 1, 1, width), d[0], 1, width)
	tokens = Concatenate([]*Node{class, tokens}, 1)
	tokens = Add(tokens, InsertAxes(parameter(scope, "positions", tokens, count+1, width), 0))
	tokens = layer.AffineLayerNorm(scope.In("input_norm"), tokens)
	tokens = c.blocks(scope, tokens, c.Image.Transformer, false)
	whole := Reshape(SliceAxis(tokens, 1, AxisElem(0)), d[0], width)
	return c.project(scope, ConvertDType(whole, images.DType()))
}

// EmbedTexts returns the embeddings [batch, Embedding], float32, of texts of tokens [batch, n], an
// integer type, n up to Tokens. A text ends at the first of its largest tokens, which is the token
// that ends texts in CLIP's vocabulary; what follows has no effect. EmbedTexts panics with
// Validate's error and for more tokens.
func (c Config) EmbedTexts(scope *model.Scope, tokens *Node) *Node {
	must(c.Validate())
	d := tokens.Shape().Dimensions
	if len(d) != 2 || d[1] < 1 || d[1] > c.Text.Tokens || !tokens.DType().IsInt() {
		Panicf("clip: want integer tokens [batch, 1 to %d], got %s", c.Text.Tokens, tokens.Shape())
	}
	scope = scope.In(TextScope)
	width := c.Text.Width
	like := Zeros(tokens.Graph(), shapes.Make(dtypes.Float32, 1))
	table := layer.Weights(scope.In("tokens"), like, 1, c.Text.Vocabulary, width)
	h := Gather(table, InsertAxes(tokens, -1))
	positions := SliceAxis(parameter(scope, "positions", like, c.Text.Tokens, width), 0, AxisRangeFromStart(d[1]))
	h = c.blocks(scope, c.in(Add(h, InsertAxes(positions, 0))), c.Text.Transformer, true)
	index := Iota(tokens.Graph(), tokens.Shape(), 1)
	largest := Equal(tokens, ReduceAndKeep(tokens, ReduceMax, 1))
	end := ReduceAndKeep(Where(largest, index, MulScalar(OnesLike(index), float64(d[1]))), ReduceMin, 1)
	last := ConvertDType(Equal(index, end), dtypes.Float32)
	return c.project(scope, ReduceSum(Mul(ConvertDType(h, dtypes.Float32), InsertAxes(last, -1)), 1))
}

// Scale returns the factor of cosines in the logits of a match, a scalar in x's type: the
// exponential of the variable "logit_scale".
func (c Config) Scale(scope *model.Scope, x *Node) *Node {
	shape := shapes.Make(layer.ParameterType(x))
	return ConvertDType(Exp(layer.Variable(scope, "logit_scale", shape, 0).NodeValue(x)), x.DType())
}

// Unit returns embeddings [..., Embedding] divided by their lengths.
func Unit(x *Node) *Node {
	return Div(x, Sqrt(ReduceAndKeep(Square(x), ReduceSum, -1)))
}

// Cosines returns the cosine of each of a, [n, Embedding], and each of b, [m, Embedding]: [n, m].
func Cosines(a, b *Node) *Node {
	return Einsum("ne,me->nm", Unit(a), Unit(b))
}

// in converts x to the type that blocks compute in.
func (c Config) in(x *Node) *Node {
	if c.Compute == "" {
		return x
	}
	dtype, err := c.Compute.DType()
	must(err)
	return ConvertDType(x, dtype)
}

// blocks applies the blocks of a transformer to tokens [batch, n, width].
func (c Config) blocks(scope *model.Scope, tokens *Node, t Transformer, causal bool) *Node {
	activation := layer.ExactGELU
	if c.Activation == QuickGELU {
		activation = layer.QuickGELU
	}
	// At the start each block adds little, so that the variance does not grow with the depth.
	gain := 1 / math.Sqrt(2*float64(t.Depth))
	for i := range t.Depth {
		if c.Checkpoint {
			tokens = tokens.Checkpoint()
		}
		block := scope.In("block_%d", i)
		h := layer.AffineLayerNorm(block.In("attention_norm"), tokens)
		options := layer.AttentionOptions{InGain: 1, OutGain: gain, Causal: causal}
		tokens = Add(tokens, layer.AttentionWith(block.In("attention"), h, t.Heads, options))
		h = layer.AffineLayerNorm(block.In("hidden_norm"), tokens)
		h = activation(layer.Dense(block.In("hidden"), h, t.Hidden, 1))
		tokens = Add(tokens, layer.Dense(block.In("output"), h, t.Width, gain))
	}
	if c.Checkpoint {
		tokens = tokens.StopCheckpoint()
	}
	return tokens
}

// project normalizes the token of a whole input, [batch, width], and maps it to the embedding.
func (c Config) project(scope *model.Scope, x *Node) *Node {
	x = layer.AffineLayerNorm(scope.In("output_norm"), x)
	return Dot(x, layer.Weights(scope.In("projection"), x, 1, x.Shape().Dim(1), c.Embedding)).Product()
}

// parameter returns a variable in x's type, initially normal with standard deviation 1/√width,
// width the last dimension.
func parameter(scope *model.Scope, name string, x *Node, dims ...int) *Node {
	shape := shapes.Make(layer.ParameterType(x), dims...)
	std := 1 / math.Sqrt(float64(dims[len(dims)-1]))
	return ConvertDType(layer.Variable(scope, name, shape, std).NodeValue(x), x.DType())
}

// must panics with err if it is not nil.
func must(err error) {
	if err != nil {
		panic(err)
	}
}
