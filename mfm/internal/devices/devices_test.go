package devices_test

import (
	"testing"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm/internal/backendtest"
	"github.com/gomfm/gomfm/mfm/internal/devices"
	"github.com/gomfm/gomfm/mfm/solver"
)

// What is computed from random numbers is split over the devices, also inside a loop. (Without a
// specification XLA returns results as it computes them.) Everything else is on each of them, and
// so are rows that the devices cannot share equally.
func TestDevicesHaveTheirRowsAlone(t *testing.T) {
	b := backendtest.Devices(t, 4)
	store := model.NewStore()
	seed, err := RNGStateFromSeed(1)
	if err != nil {
		t.Fatal(err)
	}
	state := store.RootScope().VariableWithValue("rng", seed)
	exec, err := model.NewExec(b, store, func(root *model.Scope, g *Graph) []*Node {
		devices.Begin(store, g, "/rows")
		rng := &solver.RNG{State: state.NodeValue(g)}
		float := func(dims ...int) shapes.Shape { return shapes.Make(dtypes.Float32, dims...) }
		w := root.WithInitializer(Ones).VariableWithShape("w", float(3, 5)).NodeValue(g)
		layer := func(x *Node) *Node { return Tanh(Dot(x, w).Product()) }
		looped := solver.Loop(3, []*Node{rng.State, Zeros(g, float(8, 5))}, func(_ *Node, state []*Node) []*Node {
			rng := &solver.RNG{State: state[0]}
			x := rng.Normal(float(8, 3))
			return []*Node{rng.State, Add(state[1], layer(x))}
		})
		rng.State = looped[0]
		return []*Node{
			layer(rng.Normal(float(8, 3))), rng.Uniform(float(12)), rng.Below(9, 4, 2), looped[1],
			rng.Normal(float(7, 3)), MulScalar(w, 2), rng.State,
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	defer exec.Finalize()
	if err := devices.Use(exec, 4); err != nil {
		t.Fatal(err)
	}
	exec.WithOutputShardingSpecs()
	out, err := exec.Call()
	if err != nil {
		t.Fatal(err)
	}
	want := []int{2, 3, 1, 2, 7, 3, 3} // rows of a device
	if len(out) != 4*len(want) {
		t.Fatalf("%d results, want %d on each of four devices", len(out), len(want))
	}
	for i, x := range out {
		if rows := x.Shape().Dim(0); rows != want[i%len(want)] {
			t.Errorf("result %d on device %d has shape %s, want %d rows", i%len(want), i/len(want), x.Shape(),
				want[i%len(want)])
		}
	}
}
