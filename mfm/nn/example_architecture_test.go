package nn_test

import (
	"encoding/json"
	"fmt"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm/nn"
	"github.com/gomfm/gomfm/mfm/nn/layer"
)

// Residual is an architecture of one's own.
type Residual struct {
	Width int `json:"width"`
}

// Kind identifies it in JSON.
func (Residual) Kind() string { return "residual" }

// ClassCount returns 0: it is not conditioned on classes.
func (Residual) ClassCount() int { return 0 }

// Validate returns an error unless the width is positive.
func (r Residual) Validate() error {
	if r.Width < 1 {
		return fmt.Errorf("residual: width = %d: must be positive", r.Width)
	}
	return nil
}

// Backbone returns the network, for states [batch, dim].
func (r Residual) Backbone() nn.Backbone {
	return func(scope *model.Scope, in nn.Inputs) *Node {
		in = in.PerRow()
		h := Concatenate([]*Node{in.Xbar, in.X, Stack([]*Node{in.S, in.U, in.T}, 1)}, 1)
		h = Tanh(layer.Dense(scope.In("hidden"), h, r.Width, 1))
		return Add(in.Xbar, layer.Dense(scope.In("output"), h, in.Xbar.Shape().Dim(1), 0))
	}
}

// A configuration names its network. One's own architecture is the present value that JSON is read
// over.
func ExampleArchitecture() {
	network := nn.NewNetwork(Residual{Width: 64})
	err := json.Unmarshal([]byte(`{"kind": "residual", "width": 32, "compute": "bfloat16"}`), &network)
	raw, _ := json.Marshal(network)
	fmt.Println(string(raw), err, network.Validate())
	// Output: {"kind":"residual","width":32,"compute":"bfloat16"} <nil> <nil>
}
