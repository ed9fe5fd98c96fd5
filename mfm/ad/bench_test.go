package ad_test

import (
	"testing"

	"github.com/gomlx/compute/dtypes"
	. "github.com/gomlx/gomlx/core/graph"

	"github.com/gomfm/gomfm/mfm/ad"
	"github.com/gomfm/gomfm/mfm/internal/backendtest"
)

// benchmarkNets in float32: an MLP of four hidden layers of 256 on a batch of 1,024, and a UNet with 32 channels at 16x16 on a batch
// of 32. Their first two inputs, x and t, have tangents, the weights none.
func benchmarkNets() []function {
	return []function{
		{
			name:   "MLP",
			inputs: []in{symmetric(1024, 2), uniform(0, 1, 1024), weight(34, 256), weight(256, 256), weight(256, 256), weight(256, 256), weight(256, 2)},
			f: func(x []*Node) []*Node {
				h := Concatenate(list(x[0], timeEmbedding(x[1], 16)), -1)
				for _, w := range x[2:6] {
					h = silu(DotProduct(h, w))
				}
				return list(DotProduct(h, x[6]))
			},
		},
		{
			name: "UNet",
			inputs: []in{symmetric(32, 16, 16, 4), uniform(0, 1, 32), weight(3, 3, 4, 32), weight(3, 3, 32, 32), weight(4, 32),
				weight(3, 3, 32, 32), weight(32, 96), weight(32, 32), weight(3, 3, 64, 4)},
			f: func(x []*Node) []*Node { return list(unet(x[0], x[1], x[2:])) },
		},
	}
}

func weight(dims ...int) in { return uniform(-0.1, 0.1, dims...) }

// BenchmarkJVP times a network alone, with its tangent by JVP, and with its tangent by double reverse mode.
func BenchmarkJVP(b *testing.B) {
	modes := []struct {
		name string
		f    func(outputs, inputs, tangents []*Node) []*Node
	}{
		{"forward", func(outputs, _, _ []*Node) []*Node { return outputs }},
		{"forward+JVP", func(ys, xs, ts []*Node) []*Node { return append(ys, ad.JVP(ys, xs, ts)...) }},
		{"double reverse", func(ys, xs, ts []*Node) []*Node { return append(ys, ad.DoubleReverse(ys, xs, ts)...) }},
	}
	for _, net := range benchmarkNets() {
		for _, mode := range modes {
			b.Run(net.name+"/"+mode.name, func(b *testing.B) {
				k := len(net.inputs)
				exec := MustNewExec(backendtest.New(b), func(x []*Node) []*Node {
					for i := range x {
						x[i] = ConvertDType(x[i], dtypes.Float32)
					}
					return mode.f(net.f(x[:k]), x[:2], x[k:])
				})
				defer exec.Finalize()
				variables := append(net.inputs, directions(net.inputs[:2])...)
				args := draw(variables, newRand()).tensors(variables)
				exec.MustCall(args...)
				for b.Loop() {
					exec.MustCall(args...)
				}
			})
		}
	}
}
