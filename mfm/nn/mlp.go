package nn

import (
	"fmt"
	"math"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/layers/activation"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm/nn/layer"
)

// MLPConfig describes an MLP. Start from [DefaultMLP].
type MLPConfig struct {
	Width      int     `json:"width"`       // units of a hidden layer
	Depth      int     `json:"depth"`       // hidden layers
	Activation string  `json:"activation"`  // GoMLX's name: "silu", "gelu", "tanh", "relu", ...
	Classes    int     `json:"classes"`     // classes to condition on; 0: none
	OutputGain float64 `json:"output_gain"` // gain of the last layer (see Dense); 0: F = 0 at first
}

// DefaultMLP returns the network of the paper's mixture experiment: four hidden layers of 256 units
// with SiLU, zero at the start.
func DefaultMLP() MLPConfig {
	return MLPConfig{Width: 256, Depth: 4, Activation: "silu"}
}

// Larger values are taken for mistakes: a layer of maxWidth units already has 2^28 weights.
const maxWidth, maxDepth = 1 << 14, 1000

// Kind returns "mlp".
func (c MLPConfig) Kind() string { return "mlp" }

// Backbone returns MLP(c).
func (c MLPConfig) Backbone() Backbone { return MLP(c) }

// ClassCount returns Classes.
func (c MLPConfig) ClassCount() int { return c.Classes }

// Validate returns an error that names the first invalid field.
func (c MLPConfig) Validate() error {
	switch {
	case c.Width < 1 || c.Width > maxWidth:
		return fmt.Errorf("MLP: width must be positive and at most %d, got %d", maxWidth, c.Width)
	case c.Depth < 1 || c.Depth > maxDepth:
		return fmt.Errorf("MLP: depth must be positive and at most %d, got %d", maxDepth, c.Depth)
	case c.Classes < 0:
		return fmt.Errorf("MLP: classes must not be negative, got %d", c.Classes)
	case math.IsNaN(c.OutputGain) || math.IsInf(c.OutputGain, 0):
		return fmt.Errorf("MLP: output gain must be finite, got %g", c.OutputGain)
	}
	kind, err := activation.TypeString(c.Activation)
	if err != nil {
		return fmt.Errorf("MLP: unknown activation %q: use one of %v", c.Activation, activation.TypeValues())
	}
	if kind == activation.TypeSwiGLU && c.Width%2 != 0 {
		return fmt.Errorf("MLP: width %d with activation %q: must be even", c.Width, c.Activation)
	}
	return nil
}

// timeOctaves is the number of octaves of π/2 in the MLP's features of a time in [0, 1].
const timeOctaves = 4

// MLP returns a fully connected backbone for states [batch, ...], which it flattens. Its inputs are
// x̄, x and, for each time τ of s, u and t, τ itself and the sine and cosine of π/2 (1, 2, 4, 8) τ.
// If present, Fused is a further state and FusedT a further time. A class adds a learned vector to
// the first hidden layer. The backbone panics with Validate's error.
func MLP(cfg MLPConfig) Backbone {
	return func(scope *model.Scope, in Inputs) *Node {
		must(cfg.Validate())
		in.check(cfg.Classes)
		activate := layer.SiLU
		if kind := activation.FromName(cfg.Activation); kind != activation.TypeSilu && kind != activation.TypeSwish {
			activate = func(x *Node) *Node { return activation.Apply(kind, x) }
		}
		batch := in.Xbar.Shape().Dimensions[0]
		times := Stack(in.times(), 1)
		octaves := Reshape(layer.Octaves(times, math.Pi/2, timeOctaves), times.Shape().Dim(0), -1)
		times = ConvertDType(Concatenate([]*Node{times, octaves}, 1), in.Xbar.DType())
		var states []*Node
		for _, x := range in.states() {
			states = append(states, Reshape(x, batch, -1))
		}
		h := layer.DenseOfParts(scope.In("hidden_0"), times, Concatenate(states, 1), cfg.Width)
		if cfg.Classes > 0 {
			h = Add(h, ConvertDType(layer.ClassEmbedding(scope.In("class"), in.Class, cfg.Classes, cfg.Width, in.T),
				h.DType()))
		}
		h = activate(h)
		for i := 1; i < cfg.Depth; i++ {
			h = activate(layer.Dense(scope.In("hidden_%d", i), h, cfg.Width, 1))
		}
		size := in.Xbar.Shape().Size() / batch
		return Reshape(layer.Dense(scope.In("output"), h, size, cfg.OutputGain), in.Xbar.Shape().Dimensions...)
	}
}
