package nn_test

import (
	"fmt"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm/backend"
	"github.com/gomfm/gomfm/mfm/nn"
)

// evaluate evaluates a backbone, with weights from seed 1, on a batch of zeros of the given shape.
func evaluate(b nn.Backbone, dims ...int) (*model.Store, error) {
	compute, err := backend.New("")
	if err != nil {
		return nil, err
	}
	store := model.NewStore()
	if err := store.SetRNGStateFromSeed(1); err != nil {
		return nil, err
	}
	exec, err := model.NewExec(compute, store, func(scope *model.Scope, g *Graph) *Node {
		state, times := Zeros(g, shapes.Make(dtypes.Float32, dims...)), Zeros(g, shapes.Make(dtypes.Float32, dims[0]))
		return b(scope.In("net"), nn.Inputs{S: times, U: times, T: times, Xbar: state, X: state})
	})
	if err != nil {
		return nil, err
	}
	_, err = exec.Call()
	return store, err
}

// A fully connected network for points in the plane.
func ExampleMLP() {
	cfg := nn.DefaultMLP()
	cfg.Width = 64
	store, err := evaluate(nn.MLP(cfg), 10, 2)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(store.Scope("/net").NumParameters(), "parameters")
	// Output: 14658 parameters
}

// A narrow UNet for digits, conditioned on their labels.
func ExampleUNet() {
	cfg := nn.DefaultUNet()
	cfg.Channels = []int{16, 32}
	cfg.Classes = 10
	store, err := evaluate(nn.UNet(cfg), 2, 28, 28, 1)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(store.Scope("/net").NumParameters(), "parameters")
	// Output: 171940 parameters
}

// A backbone is a function. This one has no weights: it returns the direction from x̄ to x.
func ExampleBackbone() {
	var line nn.Backbone = func(_ *model.Scope, in nn.Inputs) *Node { return Sub(in.X, in.Xbar) }
	store, err := evaluate(line, 10, 2)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(store.Scope("/net").NumParameters(), "parameters")
	// Output: 0 parameters
}

// Validate describes the first invalid field.
func ExampleUNetConfig_Validate() {
	cfg := nn.DefaultUNet()
	cfg.Heads = 6
	fmt.Println(cfg.Validate())
	// Output: UNet: 6 heads do not divide 64 channels at level 1
}
