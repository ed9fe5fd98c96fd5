package ad_test

import (
	"testing"

	"github.com/gomlx/compute/dtypes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm/ad"
	"github.com/gomfm/gomfm/mfm/internal/backendtest"
	"github.com/gomfm/gomfm/mfm/nn"
)

// benchmarked returns the backbones at the sizes of the experiments, for batches of 1,024 points
// and 32 digits.
func benchmarked() []network {
	return []network{
		{"MLP", nn.MLP(nn.DefaultMLP()), []int{1024, 2}, false},
		{"UNet", nn.UNet(nn.DefaultUNet()), []int{32, 28, 28, 1}, false},
	}
}

// BenchmarkJVP times a network in float32: alone, with its tangent in s and x̄ by JVP, and with the
// same tangent by double reverse mode.
func BenchmarkJVP(b *testing.B) {
	modes := []struct {
		name string
		f    func(outputs, inputs, tangents []*Node) []*Node
	}{
		{"forward", func(outputs, _, _ []*Node) []*Node { return outputs }},
		{"forward+JVP", func(ys, xs, ts []*Node) []*Node { return append(ys, ad.JVP(ys, xs, ts)...) }},
		{"double reverse", func(ys, xs, ts []*Node) []*Node { return append(ys, ad.DoubleReverse(ys, xs, ts)...) }},
	}
	for _, net := range benchmarked() {
		for _, mode := range modes {
			b.Run(net.name+"/"+mode.name, func(b *testing.B) {
				variables := net.states()
				k := len(variables)
				variables = append(variables, directions([]in{variables[0], variables[4]})...)
				graph := func(_ *model.Scope, x []*Node) []*Node {
					for i := range x {
						x[i] = ConvertDType(x[i], dtypes.Float32)
					}
					return mode.f(list(net.build(x[:k])), list(x[0], x[4]), x[k:])
				}
				exec := model.MustNewExec(backendtest.New(b), model.NewStore(), graph)
				defer exec.Finalize()
				args := draw(variables, newRand()).tensors(variables)
				exec.MustCall(args...)
				for b.Loop() {
					exec.MustCall(args...)
				}
			})
		}
	}
}
