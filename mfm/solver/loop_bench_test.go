package solver_test

import (
	"testing"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm/internal/backendtest"
	"github.com/gomfm/gomfm/mfm/nn"
	"github.com/gomfm/gomfm/mfm/solver"
)

// BenchmarkLoop measures the gradient of a UNet for digits at 32 states: as a separate call, and as
// a step of a compiled loop of eight. XLA's CPU compiler has fast convolutions in a loop only in
// the form of [ad.Canonical]; without it a step of the loop takes several times as long.
func BenchmarkLoop(b *testing.B) {
	step := func(weights *model.Scope, x *Node) *Node {
		x = Identity(x)
		times := Zeros(x.Graph(), shapes.Make(x.DType(), x.Shape().Dim(0)))
		in := nn.Inputs{S: times, U: OnesLike(times), T: times, Xbar: x, X: x}
		y := nn.UNet(nn.DefaultUNet())(weights.ResetVisited(), in)
		return Gradient(ReduceAllSum(Square(y)), x)[0]
	}
	const steps = 8
	for _, c := range []struct {
		name  string
		steps int
	}{{"alone", 1}, {"in a loop", steps}} {
		b.Run(c.name, func(b *testing.B) {
			store := model.NewStore()
			exec := model.MustNewExec(backendtest.New(b), store, func(root *model.Scope, x *Node) *Node {
				weights := root.In("network")
				return solver.Loop(c.steps, []*Node{x}, func(_ *Node, state []*Node) []*Node {
					return []*Node{step(weights, state[0])}
				})[0]
			})
			defer exec.Finalize()
			x := tensors.FromShape(shapes.Make(dtypes.Float32, 32, 28, 28, 1))
			exec.MustCall(x)
			for b.Loop() {
				exec.MustCall(x)
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/1000/float64(b.N*c.steps), "ms/step")
		})
	}
}
