package nn

import (
	"fmt"
	"slices"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"
)

// UNetConfig describes a UNet. Start from DefaultUNet.
type UNetConfig struct {
	Patch     int   `json:"patch"`     // side of the squares of pixels that become one pixel with more channels first; 1: none
	Channels  []int `json:"channels"`  // of each level, the finest first; the side halves from one to the next
	Blocks    int   `json:"blocks"`    // residual blocks of a level on the way down, and as many on the way up
	Attention []int `json:"attention"` // levels, from 0, whose blocks on the way down are followed by self-attention
	Heads     int   `json:"heads"`     // of the attention; they divide the channels there
	Groups    int   `json:"groups"`    // of the group norms; they divide all channels
	Embedding int   `json:"embedding"` // width of the vector that carries the times and the class
	Classes   int   `json:"classes"`   // of class conditioning; 0: none
}

// DefaultUNet is a small network for digits of 28x28 pixels: on patches of 2x2, 32 channels at 14x14, 64 at 7x7 with
// attention of four heads, 0.49 million weights.
func DefaultUNet() UNetConfig {
	return UNetConfig{Patch: 2, Channels: []int{32, 64}, Blocks: 1, Attention: []int{1}, Heads: 4, Groups: 8, Embedding: 128}
}

// Validate returns an error that names the field which no UNet can have.
func (c UNetConfig) Validate() error {
	for _, f := range []struct {
		name  string
		value int
	}{{"patch", c.Patch}, {"number of levels", len(c.Channels)}, {"blocks", c.Blocks}, {"heads", c.Heads}, {"groups", c.Groups}, {"embedding", c.Embedding}} {
		if f.value < 1 {
			return fmt.Errorf("UNet: %s must be positive, not %d", f.name, f.value)
		}
	}
	if c.Classes < 0 {
		return fmt.Errorf("UNet: classes must not be negative, but %d", c.Classes)
	}
	for level, channels := range c.Channels {
		if channels < 1 || channels%c.Groups != 0 {
			return fmt.Errorf("UNet: %d channels at level %d can't be split into %d groups", channels, level, c.Groups)
		}
	}
	for _, level := range c.Attention {
		if level < 0 || level >= len(c.Channels) {
			return fmt.Errorf("UNet: attention at level %d, but the levels are 0 to %d", level, len(c.Channels)-1)
		}
		if c.Channels[level]%c.Heads != 0 {
			return fmt.Errorf("UNet: %d channels at level %d can't be split into %d heads", c.Channels[level], level, c.Heads)
		}
	}
	return nil
}

// UNet returns a convolutional backbone for images [batch, height, width, channels] (Ronneberger et al., arXiv 1505.04597,
// with the residual blocks and the attention of Dhariwal and Nichol, arXiv 2105.05233).
//
// x̄ and x, and Fused where it is given, go in side by side. Down a level: its residual blocks, each with attention where
// that is asked for, then a convolution of stride 2. At the bottom one more block. Up a level: nearest-neighbour
// up-sampling, then as many blocks, each given what its partner on the way down returned. The times, FusedT among them
// where it is given, and a class modulate the second group norm of every block. The last convolutions of blocks, of
// attention and of the network start at zero, so F = 0 at the start.
//
// The backbone panics with Validate's error, and where height and width are not multiples of Patch·2^(levels-1).
func UNet(cfg UNetConfig) Backbone {
	return func(scope *model.Scope, in Inputs) *Node {
		must(cfg.Validate())
		in.check(cfg.Classes)
		checkSides("UNet", in.Xbar, cfg.Patch, len(cfg.Channels))
		u := unet{UNetConfig: cfg, scope: scope, condition: cfg.condition(scope, in)}
		var patches []*Node
		for _, x := range in.states() {
			patches = append(patches, depthFromSpace(x, cfg.Patch))
		}
		h := Conv(scope.In("input"), Concatenate(patches, 3), cfg.Channels[0], 3, 1, 1)
		h, skips := u.down(h)
		h = u.block("middle", h, len(cfg.Channels)-1, true)
		h = silu(GroupNorm(u.up(h, skips), cfg.Groups, nil, nil))
		pixel := in.Xbar.Shape().Dimensions[3] * cfg.Patch * cfg.Patch
		return spaceFromDepth(Conv(scope.In("output"), h, pixel, 3, 1, 0), cfg.Patch)
	}
}

// condition returns the vector [batch, Embedding] that carries the times and the class.
func (c UNetConfig) condition(scope *model.Scope, in Inputs) *Node {
	h := TimeEmbedding(scope.In("times"), c.Embedding, in.times()...)
	if c.Classes > 0 {
		h = Add(h, ClassEmbedding(scope.In("class"), in.Class, c.Classes, c.Embedding, in.T))
	}
	return silu(Dense(scope.In("condition"), silu(h), c.Embedding, 1))
}

// unet is a UNet while its graph is built.
type unet struct {
	UNetConfig
	scope     *model.Scope
	condition *Node
}

// block is a residual block with the channels of a level and, where attend is true and the level has it, attention.
func (u unet) block(name string, x *Node, level int, attend bool) *Node {
	scope := u.scope.In("%s", name)
	h := residual(scope, x, u.condition, u.Channels[level], u.Groups)
	if attend && slices.Contains(u.Attention, level) {
		h = imageAttention(scope.In("attention"), h, u.Heads, u.Groups)
	}
	return h
}

// down returns the coarsest features and what every block returned.
func (u unet) down(h *Node) (*Node, []*Node) {
	var skips []*Node
	for level, channels := range u.Channels {
		if level > 0 {
			h = Conv(u.scope.In("down_%d", level), h, channels, 3, 2, 1)
		}
		for i := range u.Blocks {
			h = u.block(fmt.Sprintf("down_%d_%d", level, i), h, level, true)
			skips = append(skips, h)
		}
	}
	return h, skips
}

func (u unet) up(h *Node, skips []*Node) *Node {
	for level := len(u.Channels) - 1; level >= 0; level-- {
		for i := range u.Blocks {
			last := len(skips) - 1
			h = u.block(fmt.Sprintf("up_%d_%d", level, i), Concatenate([]*Node{h, skips[last]}, 3), level, false)
			skips = skips[:last]
		}
		if level > 0 {
			h = upsampled(h)
		}
	}
	return h
}
