package nn

import (
	"fmt"
	"slices"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm/nn/layer"
)

// UNetConfig describes a UNet. Start from [DefaultUNet].
type UNetConfig struct {
	Patch     int   `json:"patch"`     // side of the pixel squares folded into channels; 1: none
	Channels  []int `json:"channels"`  // channels per level, finest first; sides halve per level
	Blocks    int   `json:"blocks"`    // residual blocks per level, both down and up
	Attention []int `json:"attention"` // levels, from 0, with attention after each block down
	Heads     int   `json:"heads"`     // attention heads; must divide the channels of those levels
	Groups    int   `json:"groups"`    // groups of the group norms; must divide all channels
	Embedding int   `json:"embedding"` // width of the embedding of times and class
	Classes   int   `json:"classes"`   // classes to condition on; 0: none
}

// DefaultUNet returns a small network for digits of 28x28 pixels: patches of 2x2, 32 channels at
// 14x14, 64 channels at 7x7 with attention of four heads, 0.49 million weights.
func DefaultUNet() UNetConfig {
	return UNetConfig{
		Patch: 2, Channels: []int{32, 64}, Blocks: 1, Attention: []int{1}, Heads: 4, Groups: 8, Embedding: 128,
	}
}

// Kind returns "unet".
func (c UNetConfig) Kind() string { return "unet" }

// Backbone returns UNet(c).
func (c UNetConfig) Backbone() Backbone { return UNet(c) }

// ClassCount returns Classes.
func (c UNetConfig) ClassCount() int { return c.Classes }

// Validate returns an error that names the first invalid field.
func (c UNetConfig) Validate() error {
	for _, f := range []struct {
		name  string
		value int
	}{
		{"patch", c.Patch}, {"number of levels", len(c.Channels)}, {"blocks", c.Blocks}, {"heads", c.Heads},
		{"groups", c.Groups}, {"embedding", c.Embedding},
	} {
		if f.value < 1 {
			return fmt.Errorf("UNet: %s must be positive, got %d", f.name, f.value)
		}
	}
	if c.Classes < 0 {
		return fmt.Errorf("UNet: classes must not be negative, got %d", c.Classes)
	}
	for level, channels := range c.Channels {
		if channels < 1 || channels%c.Groups != 0 {
			return fmt.Errorf("UNet: %d groups do not divide %d channels at level %d", c.Groups, channels, level)
		}
	}
	for _, level := range c.Attention {
		if level < 0 || level >= len(c.Channels) {
			return fmt.Errorf("UNet: attention at level %d, want 0 to %d", level, len(c.Channels)-1)
		}
		if c.Channels[level]%c.Heads != 0 {
			return fmt.Errorf("UNet: %d heads do not divide %d channels at level %d", c.Heads, c.Channels[level], level)
		}
	}
	return nil
}

// CheckImage returns an error unless the network, which is valid, takes images of this size.
func (c UNetConfig) CheckImage(height, width int) error {
	return layer.SidesError("UNet", height, width, c.Patch, len(c.Channels))
}

// UNet returns a convolutional backbone for images [batch, height, width, channels] (Ronneberger et
// al., arXiv 1505.04597), with residual blocks and attention of Dhariwal and Nichol, 2105.05233.
//
// The input is x̄, x and, if present, Fused, concatenated along the channels. On the way down each
// level has residual blocks, each with attention if configured; a convolution of stride 2 leads to
// the next level. The bottom has one more block. On the way up each level has as many blocks, each
// with the output of its counterpart on the way down as further input; nearest-neighbor
// up-sampling leads to the next level. The times, including FusedT if present, and a class modulate
// the second group norm of every block. The last convolutions of blocks, of attention and of the
// network are zero at the start, so F = 0. The backbone panics with Validate's error, and unless
// Patch·2^(levels-1) divides height and width.
func UNet(cfg UNetConfig) Backbone {
	return func(scope *model.Scope, in Inputs) *Node {
		must(cfg.Validate())
		in.check(cfg.Classes)
		layer.CheckSides("UNet", in.Xbar, cfg.Patch, len(cfg.Channels))
		u := unet{UNetConfig: cfg, scope: scope, condition: cfg.condition(scope, in)}
		var patches []*Node
		for _, x := range in.states() {
			patches = append(patches, layer.DepthFromSpace(x, cfg.Patch))
		}
		h := layer.Conv(scope.In("input"), Concatenate(patches, 3), cfg.Channels[0], 3, 1, 1)
		h, skips := u.down(h)
		h = u.block("middle", h, len(cfg.Channels)-1, true)
		h = layer.SiLU(layer.GroupNorm(u.up(h, skips), cfg.Groups, nil, nil))
		pixel := in.Xbar.Shape().Dimensions[3] * cfg.Patch * cfg.Patch
		return layer.SpaceFromDepth(layer.Conv(scope.In("output"), h, pixel, 3, 1, 0), cfg.Patch)
	}
}

// condition returns the embedding of the times and the class, [batch, Embedding].
func (c UNetConfig) condition(scope *model.Scope, in Inputs) *Node {
	h := layer.TimeEmbedding(scope.In("times"), c.Embedding, in.times()...)
	if c.Classes > 0 {
		h = Add(h, layer.ClassEmbedding(scope.In("class"), in.Class, c.Classes, c.Embedding, in.T))
	}
	return layer.SiLU(layer.Dense(scope.In("condition"), layer.SiLU(ConvertDType(h, in.Xbar.DType())), c.Embedding, 1))
}

// unet is the state of a UNet under construction.
type unet struct {
	UNetConfig
	scope     *model.Scope
	condition *Node
}

// block applies a residual block with a level's channels and, if attend is set, its attention.
func (u unet) block(name string, x *Node, level int, attend bool) *Node {
	scope := u.scope.In("%s", name)
	h := layer.Residual(scope, x, u.condition, u.Channels[level], u.Groups)
	if attend && slices.Contains(u.Attention, level) {
		h = layer.ImageAttention(scope.In("attention"), h, u.Heads, u.Groups)
	}
	return h
}

// down returns the coarsest features and the outputs of all blocks.
func (u unet) down(h *Node) (*Node, []*Node) {
	var skips []*Node
	for level, channels := range u.Channels {
		if level > 0 {
			h = layer.Conv(u.scope.In("down_%d", level), h, channels, 3, 2, 1)
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
			h = layer.Upsampled(h)
		}
	}
	return h
}
