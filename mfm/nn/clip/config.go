// Package clip has the two networks of CLIP (Radford et al., arXiv 2103.00020), which embed images
// and texts in one space, where the cosine of an image and a text says how well they match. A
// [Config] describes both. Package pretrained reads published weights. Package bpe, below this one,
// turns texts into tokens.
package clip

import (
	"fmt"

	"github.com/gomfm/gomfm/mfm/nn"
)

// Activation is the nonlinearity in the blocks of both networks.
type Activation string

// The activations.
const (
	ExactGELU Activation = "gelu"       // of OpenCLIP's own networks, see [layer.ExactGELU]
	QuickGELU Activation = "quick_gelu" // of OpenAI's networks, see [layer.QuickGELU]
)

// Config describes the networks. Start from [ViTB32], [ViTB16], [ViTL14] or [ViTH14].
type Config struct {
	Image      Image
	Text       Text
	Embedding  int // size of an embedding
	Activation Activation
	// Checkpoint recomputes each block in the backward pass instead of keeping its activations.
	Checkpoint bool
	// Compute is the type that the blocks compute in; "" means that of the inputs, for texts
	// float32. Embeddings keep the type of the inputs, whatever it is.
	Compute nn.ComputeType
}

// Image describes the network of images, a vision transformer (arXiv 2010.11929).
type Image struct {
	Transformer
	Size  int // side of the images in pixels
	Patch int // side of a patch, divides Size
}

// Text describes the network of texts.
type Text struct {
	Transformer
	Vocabulary int // number of tokens that exist; the last one ends a text
	Tokens     int // largest number of tokens in a text
}

// Transformer is a sequence of blocks of self-attention and an MLP, each after a layer norm.
type Transformer struct {
	Width  int
	Depth  int // blocks
	Heads  int // divides Width
	Hidden int // width of the hidden layer in a block
}

// ViTB32 returns the configuration of OpenAI's CLIP ViT-B/32: images of 224 pixels, embeddings of
// 512 numbers.
func ViTB32() Config { return base(32) }

// ViTB16 returns the configuration of OpenAI's CLIP ViT-B/16.
func ViTB16() Config { return base(16) }

func base(patch int) Config { return standard(patch, 768, 12, 12, 512, 12, 8, 512, QuickGELU) }

// ViTL14 returns the configuration of OpenAI's CLIP ViT-L/14, with embeddings of 768 numbers.
func ViTL14() Config { return standard(14, 1024, 24, 16, 768, 12, 12, 768, QuickGELU) }

// ViTH14 returns the configuration of OpenCLIP's ViT-H/14 (arXiv 2212.07143), with embeddings of
// 1,024 numbers, on which PickScore and HPSv2 rest.
func ViTH14() Config { return standard(14, 1280, 32, 16, 1024, 24, 16, 1024, ExactGELU) }

// standard returns a configuration whose hidden layers are four times as wide as its tokens.
func standard(patch, width, depth, heads, textWidth, textDepth, textHeads, embedding int, a Activation) Config {
	return Config{
		Image: Image{Transformer{width, depth, heads, 4 * width}, 224, patch},
		Text:  Text{Transformer{textWidth, textDepth, textHeads, 4 * textWidth}, 49408, 77}, Embedding: embedding,
		Activation: a,
	}
}

// Bounds of the values of a configuration: of numbers of blocks, for each of which a reader of
// weights needs memory, and of all others, so that their products do not overflow.
const (
	mostBlocks = 1 << 10
	most       = 1 << 20
)

// Validate returns an error that names the first invalid value.
func (c Config) Validate() error {
	for _, f := range []struct {
		name        string
		value, most int
	}{
		{"image width", c.Image.Width, most}, {"image depth", c.Image.Depth, mostBlocks},
		{"image heads", c.Image.Heads, most}, {"image hidden", c.Image.Hidden, most}, {"image size", c.Image.Size, most},
		{"patch", c.Image.Patch, most}, {"text width", c.Text.Width, most}, {"text depth", c.Text.Depth, mostBlocks},
		{"text heads", c.Text.Heads, most}, {"text hidden", c.Text.Hidden, most},
		{"vocabulary", c.Text.Vocabulary, most}, {"tokens", c.Text.Tokens, most}, {"embedding", c.Embedding, most},
	} {
		if f.value < 1 || f.value > f.most {
			return fmt.Errorf("clip: %s = %d: must lie in [1, %d]", f.name, f.value, f.most)
		}
	}
	switch {
	case c.Image.Size%c.Image.Patch != 0:
		return fmt.Errorf("clip: a patch of %d pixels does not divide images of %d", c.Image.Patch, c.Image.Size)
	case c.Image.Width%c.Image.Heads != 0, c.Text.Width%c.Text.Heads != 0:
		return fmt.Errorf("clip: heads must divide widths: %d and %d for images, %d and %d for texts",
			c.Image.Heads, c.Image.Width, c.Text.Heads, c.Text.Width)
	case c.Activation != ExactGELU && c.Activation != QuickGELU:
		return fmt.Errorf("clip: activation %.40q is unknown: use %q or %q", c.Activation, ExactGELU, QuickGELU)
	}
	_, err := c.Compute.DType()
	return err
}

// Positions returns the number of tokens of an image: its patches and one for the whole.
func (i Image) Positions() int { return i.Size/i.Patch*(i.Size/i.Patch) + 1 }
