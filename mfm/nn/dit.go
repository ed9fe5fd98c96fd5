package nn

import (
	"fmt"
	"math"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm/nn/layer"
)

// DiTConfig describes a [DiT]. Start from [DefaultDiT] or [DiTSizes].
type DiTConfig struct {
	Patch   int `json:"patch"`   // side of the square of pixels that makes a token
	Width   int `json:"width"`   // width of a token
	Depth   int `json:"depth"`   // number of blocks
	Encoder int `json:"encoder"` // number of blocks, from the first, with the encoder's conditioning
	Heads   int `json:"heads"`   // attention heads; must divide Width
	Classes int `json:"classes"` // classes to condition on; 0: none
	// Guidance and ContextGuidance are the scales of class guidance and of guidance by the context
	// that the network was trained with. The scale 1, no guidance, comes first without being listed.
	Guidance        []float64 `json:"guidance,omitempty"`
	ContextGuidance []float64 `json:"context_guidance,omitempty"`
	// QKNorm normalizes the queries and keys of each head (Henry et al., arXiv 2010.04245): by layer
	// norms with gains and biases, as timm does, or, with QKNormRMS, by root mean squares with gains,
	// as the paper's code does.
	QKNorm    bool `json:"qk_norm,omitempty"`
	QKNormRMS bool `json:"qk_norm_rms,omitempty"`
	// BlindAtZero multiplies the gate of the context by t, so that the context at t = 0, which is
	// pure noise, has no effect.
	BlindAtZero bool `json:"blind_at_zero"`
	// JointAttention lets the queries of each block also see keys and values of the context: of a
	// patch embedding of x_t of the block's own, with the positions. A gate from the conditioning,
	// zero at the start, multiplies the values. The paper's code has it as an option. That gates no
	// keys, so that the context has an effect at t = 0; with BlindAtZero the embedding is
	// multiplied by t, which is ours.
	JointAttention bool `json:"joint_attention,omitempty"`
	// Attention is how the blocks compute attention.
	Attention layer.AttentionKind `json:"attention,omitempty"`
	// Reversed says that the network's own time runs from data at 0 to noise at 1, as that of
	// Decoupled MeanFlow checkpoints: it sees 1-s and 1-u and returns minus the velocity.
	Reversed bool `json:"reversed,omitempty"`
	// Checkpoint recomputes each block in the backward pass instead of keeping its activations.
	Checkpoint bool `json:"checkpoint,omitempty"`
}

// DefaultDiT returns a small network for latents of 8x8 positions, 64 tokens. [DiTSizes] has the
// sizes of the field.
func DefaultDiT() DiTConfig {
	return DiTConfig{Patch: 1, Width: 192, Depth: 6, Encoder: 4, Heads: 3, BlindAtZero: true}
}

// DiTSizes returns the sizes of Peebles and Xie, arXiv 2212.09748, by their names: S, B, L and XL
// by patches of 2, 4 and 8, such as "XL/2". Encoder is the paper's 20 of 28 blocks for XL, and two
// thirds to three quarters of the blocks for the others.
func DiTSizes() map[string]DiTConfig {
	sizes := make(map[string]DiTConfig)
	for name, c := range map[string]DiTConfig{
		"S":  {Width: 384, Depth: 12, Encoder: 8, Heads: 6},
		"B":  {Width: 768, Depth: 12, Encoder: 8, Heads: 12},
		"L":  {Width: 1024, Depth: 24, Encoder: 18, Heads: 16},
		"XL": {Width: 1152, Depth: 28, Encoder: 20, Heads: 16},
	} {
		for _, c.Patch = range []int{2, 4, 8} {
			c.BlindAtZero = true
			sizes[fmt.Sprintf("%s/%d", name, c.Patch)] = c
		}
	}
	return sizes
}

// Kind returns "dit".
func (c DiTConfig) Kind() string { return "dit" }

// Backbone returns DiT(c).
func (c DiTConfig) Backbone() Backbone { return DiT(c) }

// ClassCount returns Classes.
func (c DiTConfig) ClassCount() int { return c.Classes }

// GuidanceScales returns Guidance.
func (c DiTConfig) GuidanceScales() []float64 { return c.Guidance }

// Validate returns an error that names the first invalid field.
func (c DiTConfig) Validate() error {
	for _, f := range []struct {
		name  string
		value int
	}{{"patch", c.Patch}, {"width", c.Width}, {"depth", c.Depth}, {"heads", c.Heads}} {
		if f.value < 1 {
			return fmt.Errorf("DiT: %s must be positive, got %d", f.name, f.value)
		}
	}
	switch {
	case c.Width > maxWidth || c.Depth > maxDepth:
		return fmt.Errorf("DiT: width and depth must be at most %d and %d, got %d and %d", maxWidth, maxDepth,
			c.Width, c.Depth)
	case c.Width%c.Heads != 0:
		return fmt.Errorf("DiT: %d heads do not divide a width of %d", c.Heads, c.Width)
	case c.Width%4 != 0:
		return fmt.Errorf("DiT: width must be a multiple of 4 for the sines and cosines of positions, got %d", c.Width)
	case c.Encoder < 0 || c.Encoder > c.Depth:
		return fmt.Errorf("DiT: encoder must be 0 to the depth of %d, got %d", c.Depth, c.Encoder)
	case c.Classes < 0:
		return fmt.Errorf("DiT: classes must not be negative, got %d", c.Classes)
	case c.Encoder == 0 && len(c.Guidance)+len(c.ContextGuidance) > 0:
		return fmt.Errorf("DiT: guidance scales condition the encoder: encoder must be positive, got 0")
	case c.QKNormRMS && !c.QKNorm:
		return fmt.Errorf("DiT: qk_norm_rms is the kind of qk_norm: set qk_norm to true as well")
	case c.Attention != layer.AutomaticAttention && c.Attention != layer.DecomposedAttention:
		return fmt.Errorf("DiT: attention %q is unknown: use %q, or %q for the automatic choice", c.Attention,
			layer.DecomposedAttention, layer.AutomaticAttention)
	}
	for name, scales := range map[string][]float64{"guidance": c.Guidance, "context_guidance": c.ContextGuidance} {
		seen := map[float64]bool{1: true}
		for _, w := range scales {
			if math.IsNaN(w) || math.IsInf(w, 0) || seen[w] {
				return fmt.Errorf("DiT: %s must be finite and distinct scales other than 1, got %v", name, scales)
			}
			seen[w] = true
		}
	}
	return nil
}

// CheckImage returns an error unless the network, which is valid, takes images of this size.
func (c DiTConfig) CheckImage(height, width int) error {
	return layer.SidesError("DiT", height, width, c.Patch, 1)
}

// DiT returns the transformer of the paper's ImageNet experiment for images or latents [batch,
// height, width, channels]: the diffusion transformer of Peebles and Xie (arXiv 2212.09748) with
// the split of times of Decoupled MeanFlow (arXiv 2510.24474) and an adapter for the context.
//
//	tokens = PatchEmbed(x̄) + AdaLN[PatchEmbed'(x) | t] + positions
//	c = Emb(s) + Emb(u) + Emb(t) + Emb(class) + Emb(guidance)
//
// Each block applies self-attention and a two-layer network, both gated and modulated by c (AdaLN
// Zero). The first Encoder blocks have embeddings of s and u of their own, and so have the others,
// whose c has no guidance. At the start the embedding of u in the encoder, that of s in the decoder
// and that of t are zero, and so are the outputs of all blocks, so F = 0. With BlindAtZero the gate
// of the context is zero as well, but PatchEmbed' is not: if both were, neither would ever receive
// a gradient.
//
// If present, Fused and FusedT enter as a further patch embedding and a further time. The backbone
// panics with Validate's error, and unless Patch divides height and width.
func DiT(cfg DiTConfig) Backbone {
	return func(scope *model.Scope, in Inputs) *Node {
		must(cfg.Validate())
		in.check(cfg.Classes)
		layer.CheckSides("DiT", in.Xbar, cfg.Patch, 1)
		if cfg.Reversed {
			in.S, in.U = OneMinus(in.S), OneMinus(in.U)
		}
		d := dit{DiTConfig: cfg, scope: scope}
		tokens, common := d.tokens(in)
		if cfg.JointAttention {
			d.positions, d.context = d.grid(in.Xbar), d.pixels(in.X)
			if cfg.BlindAtZero {
				d.context = Mul(d.context, ConvertDType(InsertAxes(in.T, -1, -1), d.context.DType()))
			}
		}
		encoder := sum(common, d.time("encoder_s", in.S, 1), d.time("encoder_u", in.U, 0), d.guidance(in))
		decoder := sum(common, d.time("decoder_s", in.S, 0), d.time("decoder_u", in.U, 1))
		encoder, decoder = ConvertDType(encoder, tokens.DType()), ConvertDType(decoder, tokens.DType())
		for i := range cfg.Depth {
			c := encoder
			if i >= cfg.Encoder {
				c = decoder
			}
			if cfg.Checkpoint {
				tokens = tokens.Checkpoint()
			}
			tokens = d.in(fmt.Sprintf("block_%d", i)).block(tokens, c)
		}
		if cfg.Checkpoint {
			tokens = tokens.StopCheckpoint()
		}
		v := d.output(tokens, decoder, in.Xbar.Shape().Dimensions)
		if cfg.Reversed {
			v = Neg(v)
		}
		return v
	}
}

// dit is the state of a DiT under construction.
type dit struct {
	DiTConfig
	scope *model.Scope
	// The positions and the patches of the context for the joint attention of each block, or nil.
	positions, context *Node
}

// tokens returns the tokens [batch, tokens, width] and the part of the conditioning that encoder
// and decoder share, [batch or 1, width] in the type of the times.
func (d dit) tokens(in Inputs) (tokens, common *Node) {
	common = d.time("context_time", in.T, 0)
	gate := d.linear("context_gate", layer.SiLU(common), 2*d.Width, 0)
	if d.BlindAtZero {
		gate = Mul(gate, InsertAxes(in.T, -1))
	}
	parts := Split(InsertAxes(ConvertDType(gate, in.Xbar.DType()), 1), -1, 2)
	shift, scale := parts[0], parts[1]
	if !d.BlindAtZero {
		scale = OnePlus(scale)
	}
	tokens = sum(d.patches("state", in.Xbar), Mul(d.patches("context", in.X), scale), shift)
	if in.Fused != nil {
		tokens = Add(tokens, d.patches("fused", in.Fused))
		common = Add(common, d.time("fused_time", in.FusedT, 1))
	}
	positions := d.grid(in.Xbar)
	if d.Classes > 0 {
		index := layer.ClassIndex(in.Class, d.Classes, in.T)
		common = Add(common, layer.Embedding(d.scope.In("class"), index, d.Classes+1, d.Width, 0.02, in.T))
	}
	return Add(tokens, positions), common
}

// grid returns the positions of the tokens of x, [1, tokens, width].
func (d dit) grid(x *Node) *Node {
	dims := x.Shape().Dimensions
	return ConstAsDType(x.Graph(), x.DType(),
		[][][]float64{layer.SinusoidalPositions(dims[1]/d.Patch, dims[2]/d.Patch, d.Width)})
}

// patches returns the linear embedding of the patches of x, [batch, tokens, width].
func (d dit) patches(name string, x *Node) *Node { return d.linear(name, d.pixels(x), d.Width, 1) }

// pixels returns the pixels of the patches of x, [batch, tokens, patch²·channels].
func (d dit) pixels(x *Node) *Node {
	patches := layer.DepthFromSpace(x, d.Patch)
	size := patches.Shape().Dimensions
	return Reshape(patches, size[0], size[1]*size[2], size[3])
}

// linear is Dense with Glorot's standard deviation √(2/(in+units)) times gain at the start.
func (d dit) linear(name string, x *Node, units int, gain float64) *Node {
	in := float64(x.Shape().Dim(-1))
	return layer.Dense(d.scope.In("%s", name), x, units, gain*math.Sqrt(2*in/(in+float64(units))))
}

// in returns d with a scope below its own.
func (d dit) in(name string) dit {
	d.scope = d.scope.In("%s", name)
	return d
}

// time embeds a time [batch or 1] by two layers on its sines and cosines; gain is that of the
// second.
func (d dit) time(name string, t *Node, gain float64) *Node {
	d = d.in(name)
	return d.linear("output", layer.SiLU(d.linear("hidden", layer.Sinusoids(t), d.Width, 1)), d.Width, gain)
}

// guidance returns the embedding of the pair of guidance scales, [batch or 1, width]. A scale that
// the network was not trained with counts as the nearest that it was. Each pair has an index of its
// own.
func (d dit) guidance(in Inputs) *Node {
	scales, contextScales := append([]float64{1}, d.Guidance...), append([]float64{1}, d.ContextGuidance...)
	index := Add(layer.Nearest(in.Guidance, scales, in.T),
		MulScalar(layer.Nearest(in.ContextGuidance, contextScales, in.T), float64(len(scales))))
	return layer.Embedding(d.scope.In("guidance"), index, len(scales)*len(contextScales), d.Width, 0, in.T)
}

// block applies self-attention and a network of two layers to tokens [batch, tokens, width], both
// modulated and gated by c [batch or 1, width].
func (d dit) block(x, c *Node) *Node {
	o, parts := layer.AttentionOptions{InGain: math.Sqrt(0.5), OutGain: 1, Kind: d.Attention}, 6
	switch {
	case d.QKNormRMS:
		o.Norm = layer.AffineRMSNorm
	case d.QKNorm:
		o.Norm = layer.AffineLayerNorm
	}
	if d.JointAttention {
		parts = 7
	}
	m := Split(InsertAxes(d.linear("modulation", layer.SiLU(c), parts*d.Width, 0), 1), -1, parts)
	if d.JointAttention {
		o.Context, o.Gate = Add(d.linear("context", d.context, d.Width, 0), d.positions), m[6]
	}
	h := modulate(layer.LayerNorm(x), m[0], m[1])
	x = Add(x, Mul(m[2], layer.AttentionWith(d.scope.In("attention"), h, d.Heads, o)))
	h = modulate(layer.LayerNorm(x), m[3], m[4])
	h = layer.GELU(d.linear("hidden", h, 4*d.Width, 1))
	return Add(x, Mul(m[5], d.linear("output", h, d.Width, 1)))
}

// output maps the tokens to an image of the given dimensions. It is zero at the start.
func (d dit) output(tokens, c *Node, dims []int) *Node {
	d = d.in("output")
	m := Split(InsertAxes(d.linear("modulation", layer.SiLU(c), 2*d.Width, 0), 1), -1, 2)
	h := d.linear("linear", modulate(layer.LayerNorm(tokens), m[0], m[1]), d.Patch*d.Patch*dims[3], 0)
	return layer.SpaceFromDepth(Reshape(h, dims[0], dims[1]/d.Patch, dims[2]/d.Patch, -1), d.Patch)
}

// modulate returns x (1 + scale) + shift.
func modulate(x, shift, scale *Node) *Node { return Add(Mul(x, OnePlus(scale)), shift) }

// sum returns the sum of nodes of broadcastable shapes.
func sum(first *Node, others ...*Node) *Node {
	for _, n := range others {
		first = Add(first, n)
	}
	return first
}
