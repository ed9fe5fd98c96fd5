package reward_test

import (
	"fmt"

	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"

	"github.com/gomfm/gomfm/mfm/backend"
	"github.com/gomfm/gomfm/mfm/reward"
)

// A custom reward is a graph function. This one prefers the unit circle, and [reward.Sum] adds a
// preference for the right half-plane.
func ExampleReward() {
	circle := reward.Func(func(x *graph.Node) *graph.Node {
		radius := graph.Sqrt(graph.ReduceSum(graph.Square(x), 1))
		return graph.MulScalar(graph.Square(graph.AddScalar(radius, -1)), -10)
	})
	r := reward.Sum(circle, reward.HalfPlane{A: []float64{1, 0}, Width: 0.1}.Reward())

	b, err := backend.New("go")
	if err != nil {
		fmt.Println(err)
		return
	}
	exec := graph.MustNewExec(b, func(x *graph.Node) *graph.Node { return reward.Values(r, x, reward.Condition{}) })
	out, err := exec.Call1([][]float32{{1, 0}, {-1, 0}})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%.3f\n", tensors.MustCopyFlatData[float32](out))
	// Output: [-0.000 -10.000]
}

// Parse reads a reward from JSON and validates it.
func ExampleParse() {
	_, err := reward.Parse([]byte(`{"kind": "half_plane", "a": [1, 0], "width": 0}`), nil)
	fmt.Println(err)
	// Output: reward half_plane: width = 0 must be positive and finite
}
