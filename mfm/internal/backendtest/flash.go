package backendtest

import (
	"maps"
	"math"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/shapes"
)

// Flash returns a backend with a fused attention and its gradient, as XLA has on CUDA, for queries,
// keys and values [batch, tokens, heads, channels] without options. It computes both on b by
// products and a softmax. The state between them is the matrix of weights.
func Flash(b compute.Backend) compute.Backend { return flashBackend{b} }

type flashBackend struct{ compute.Backend }

func (b flashBackend) Capabilities() compute.Capabilities {
	c := b.Backend.Capabilities()
	c.Operations = maps.Clone(c.Operations)
	c.Operations[compute.OpTypeFusedScaledDotProductAttention] = true
	c.Operations[compute.OpTypeFusedScaledDotProductAttentionVJP] = true
	return c
}

func (b flashBackend) Builder(name string) compute.Builder {
	return flashBuilder{b.Backend.Builder(name)}
}

type flashBuilder struct{ compute.Builder }

func (b flashBuilder) Main() compute.Function { return flashFunction{b.Builder.Main()} }

type flashFunction struct{ compute.Function }

func (f flashFunction) FusedScaledDotProductAttention(q, k, v compute.Value, _ compute.AttentionAxesLayout,
	_ *compute.ScaledDotProductAttentionConfig) (output compute.Value, states []compute.Value, err error) {
	c := calculation{f.Function}
	e := c.do(f.Exp(c.scaled(c.dot(q, []int{0, 2}, 3, k, []int{0, 2}, 3), q)))
	p := c.do(f.Div(e, c.sums(e)))
	output = c.swapped(c.dot(p, []int{0, 1}, 3, v, []int{0, 2}, 1))
	return output, []compute.Value{p}, nil
}

func (f flashFunction) FusedScaledDotProductAttentionVJP(q, k, v compute.Value, _ compute.AttentionAxesLayout,
	_ *compute.ScaledDotProductAttentionConfig, _ compute.Value, states []compute.Value, dOutput compute.Value) (
	dq, dk, dv compute.Value, err error) {
	c := calculation{f.Function}
	p := states[0]
	dp := c.dot(dOutput, []int{0, 2}, 3, v, []int{0, 2}, 3)
	centered := c.do(f.Sub(dp, c.sums(c.do(f.Mul(dp, p)))))
	logits := c.scaled(c.do(f.Mul(p, centered)), q)
	dq = c.swapped(c.dot(logits, []int{0, 1}, 3, k, []int{0, 2}, 1))
	dk = c.swapped(c.dot(logits, []int{0, 1}, 2, q, []int{0, 2}, 1))
	dv = c.swapped(c.dot(p, []int{0, 1}, 2, dOutput, []int{0, 2}, 1))
	return dq, dk, dv, nil
}

// calculation builds ops, and panics with their errors.
type calculation struct{ f compute.Function }

func (c calculation) do(v compute.Value, err error) compute.Value {
	if err != nil {
		panic(err)
	}
	return v
}

func (c calculation) shape(v compute.Value) shapes.Shape {
	s, err := c.f.Shape(v)
	c.do(v, err)
	return s
}

// dot sums over one axis of each operand.
func (c calculation) dot(a compute.Value, aBatch []int, aAxis int, b compute.Value, bBatch []int, bAxis int) compute.Value {
	return c.do(c.f.DotGeneral(a, []int{aAxis}, aBatch, b, []int{bAxis}, bBatch, compute.DotGeneralConfig{}))
}

// sums returns the sums over the last of four axes, repeated along it.
func (c calculation) sums(v compute.Value) compute.Value {
	return c.do(c.f.BroadcastInDim(c.do(c.f.ReduceSum(v, 3)), c.shape(v), []int{0, 1, 2}))
}

// scaled divides v by the root of the channels of q.
func (c calculation) scaled(v, q compute.Value) compute.Value {
	s := c.do(c.f.Constant([]float64{1 / math.Sqrt(float64(c.shape(q).Dim(3)))}))
	s = c.do(c.f.BroadcastInDim(c.do(c.f.ConvertDType(s, c.shape(v).DType)), c.shape(v), nil))
	return c.do(c.f.Mul(v, s))
}

// swapped swaps the second and the third axis.
func (c calculation) swapped(v compute.Value) compute.Value {
	return c.do(c.f.Transpose(v, 0, 2, 1, 3))
}
