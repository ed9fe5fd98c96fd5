package mfm_test

import (
	"fmt"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/backend"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/nn"
)

// scaled is the parametrization v = scale F, for data whose standard deviation is scale.
type scaled float64

func (c scaled) Velocity(_ interpolant.Schedule, f mfm.Network, in nn.Inputs) *Node {
	in.X = DivScalar(in.X, float64(c)) // the network sees a context of unit size
	return MulScalar(f(in), float64(c))
}

func (c scaled) Whiten(_ interpolant.Schedule, _, _, err *Node) *Node {
	return DivScalar(err, float64(c))
}

// A parametrization of one's own for data of size 100. The network here returns its context.
func ExampleParametrization() {
	m := &mfm.Map{
		Interpolant:     interpolant.Linear{},
		Backbone:        func(_ *model.Scope, in nn.Inputs) *Node { return in.X },
		Parametrization: scaled(100),
	}
	build := func(scope *model.Scope, eps, t, x *Node) []*Node {
		sample := m.Posterior(scope, eps, t, x, nil)
		return []*Node{sample, m.Parametrization.Whiten(m.Interpolant, t, t, Sub(sample, x))}
	}
	exec := must(model.NewExec(must(backend.New("go")), model.NewStore(), build))
	out := must(exec.Call([][]float32{{1}}, []float32{0.9}, [][]float32{{200}}))
	for _, y := range out {
		fmt.Println(tensors.MustCopyFlatData[float32](y)[0])
	}
	// Output:
	// 201
	// 0.01
}
