package nn

import (
	"fmt"
	"math"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/layers/activation"
	"github.com/gomlx/gomlx/ml/model"
)

// MLPConfig describes an MLP. Start from DefaultMLP.
type MLPConfig struct {
	Width      int     `json:"width"`       // units of a hidden layer
	Depth      int     `json:"depth"`       // hidden layers
	Activation string  `json:"activation"`  // GoMLX's name of it: "silu", "gelu", "tanh", "relu", ...
	Classes    int     `json:"classes"`     // of class conditioning; 0: none
	OutputGain float64 `json:"output_gain"` // of the last layer, see Dense; 0 starts the network at F = 0
}

// DefaultMLP is the network of the paper's mixture experiment, four hidden layers of 256 units with SiLU, starting at zero.
func DefaultMLP() MLPConfig {
	return MLPConfig{Width: 256, Depth: 4, Activation: "silu"}
}

// Limits of what is taken for a network and not for a slip: wider layers have more than 2^28 weights each.
const mostWidth, mostDepth = 1 << 14, 1000

// Validate returns an error that names the field which no MLP can have.
func (c MLPConfig) Validate() error {
	switch {
	case c.Width < 1 || c.Width > mostWidth:
		return fmt.Errorf("MLP: width must be positive and at most %d, not %d", mostWidth, c.Width)
	case c.Depth < 1 || c.Depth > mostDepth:
		return fmt.Errorf("MLP: depth must be positive and at most %d, not %d", mostDepth, c.Depth)
	case c.Classes < 0:
		return fmt.Errorf("MLP: classes must not be negative, but %d", c.Classes)
	case math.IsNaN(c.OutputGain) || math.IsInf(c.OutputGain, 0):
		return fmt.Errorf("MLP: output gain must be finite, not %g", c.OutputGain)
	}
	if _, err := activation.TypeString(c.Activation); err != nil {
		return fmt.Errorf("MLP: no activation %q; there are %v", c.Activation, activation.TypeValues())
	}
	return nil
}

// timeOctaves is the number of octaves of π/2 in which the MLP sees a time in [0, 1].
const timeOctaves = 4

// MLP returns a fully connected backbone for states [batch, ...], which it flattens. Its input is x̄, x and, of each time
// τ in s, u and t, τ itself and sin and cos of π/2 (1, 2, 4, 8) τ; Fused is one more state and FusedT one more time where they are
// given; a class adds a learned vector to the first hidden layer.
// The backbone panics with Validate's error.
func MLP(cfg MLPConfig) Backbone {
	return func(scope *model.Scope, in Inputs) *Node {
		must(cfg.Validate())
		in.check(cfg.Classes)
		activate := silu
		if kind := activation.FromName(cfg.Activation); kind != activation.TypeSilu && kind != activation.TypeSwish {
			activate = func(x *Node) *Node { return activation.Apply(kind, x) }
		}
		batch := in.Xbar.Shape().Dimensions[0]
		times := Stack(in.times(), 1)
		times = Concatenate([]*Node{times, Reshape(Octaves(times, math.Pi/2, timeOctaves), times.Shape().Dim(0), -1)}, 1)
		var states []*Node
		for _, x := range in.states() {
			states = append(states, Reshape(x, batch, -1))
		}
		h := denseOfParts(scope.In("hidden_0"), times, Concatenate(states, 1), cfg.Width)
		if cfg.Classes > 0 {
			h = Add(h, ClassEmbedding(scope.In("class"), in.Class, cfg.Classes, cfg.Width, in.T))
		}
		h = activate(h)
		for i := 1; i < cfg.Depth; i++ {
			h = activate(Dense(scope.In("hidden_%d", i), h, cfg.Width, 1))
		}
		size := in.Xbar.Shape().Size() / batch
		return Reshape(Dense(scope.In("output"), h, size, cfg.OutputGain), in.Xbar.Shape().Dimensions...)
	}
}
