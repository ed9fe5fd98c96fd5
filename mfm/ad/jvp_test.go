package ad_test

import (
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/support/exceptions"

	"github.com/gomfm/gomfm/mfm/ad"
	"github.com/gomfm/gomfm/mfm/internal/backendtest"
)

// jvp is ad.JVP of one output.
func jvp(y *Node, inputs, tangents []*Node) *Node { return ad.JVP([]*Node{y}, inputs, tangents)[0] }

func list(nodes ...*Node) []*Node { return nodes }

// TestValues checks cases with closed forms. f maps x and a tangent to a result.
func TestValues(t *testing.T) {
	x, v := []float64{-1, 0, 2}, []float64{1, 3, -2}
	tests := []struct {
		name string
		f    func(x, v *Node) *Node
		want []float64
	}{
		{"output is the input", func(x, v *Node) *Node { return jvp(x, list(x), list(v)) }, v},
		{"output is independent", func(x, v *Node) *Node { return jvp(Neg(v), list(x), list(v)) }, []float64{0, 0, 0}},
		{"tangent is nil", func(x, v *Node) *Node { return jvp(Neg(x), list(x), list(nil)) }, []float64{0, 0, 0}},
		{"integer output", func(x, v *Node) *Node {
			return ConvertDType(jvp(ConvertDType(x, dtypes.Int32), list(x), list(v)), x.DType())
		}, []float64{0, 0, 0}},
		{"intermediate node as input", func(x, v *Node) *Node {
			y := Exp(x)
			return jvp(Square(y), list(y), list(v))
		}, []float64{2 / math.E, 6, -4 * math.E * math.E}},
		{"inputs depend on each other", func(x, v *Node) *Node { // x and y count as independent
			y := MulScalar(x, 5)
			return jvp(Mul(x, y), list(x, y), list(v, nil))
		}, []float64{-5, 0, -20}},
		{"StopGradient", func(x, v *Node) *Node {
			return jvp(Mul(x, StopGradient(x)), list(x), list(v))
		}, []float64{-1, 0, -4}},
		{"custom gradient", func(x, v *Node) *Node {
			y := IdentityWithCustomGradient(x, func(x, w *Node) *Node { return Mul(MulScalar(x, 10), w) })
			return jvp(y, list(x), list(v))
		}, []float64{-10, 0, -40}},
		{"second derivative", func(x, v *Node) *Node { // of x³
			cube := Mul(x, Mul(x, x))
			return jvp(jvp(cube, list(x), list(v)), list(x), list(v))
		}, []float64{-6, 0, 48}},
		{"Hessian times vector", func(x, v *Node) *Node { // of Σ x³, the tangent of its gradient
			return jvp(Gradient(ReduceAllSum(Mul(x, Mul(x, x))), x)[0], list(x), list(v))
		}, []float64{-6, 0, -24}},
		{"kink of Abs", func(x, v *Node) *Node { return jvp(Abs(x), list(x), list(v)) }, []float64{-1, 3, -2}},
		{"kink of a ReLU", func(x, v *Node) *Node {
			return jvp(MaxScalar(x, 0), list(x), list(v))
		}, []float64{0, 3, -2}},
		{"kink of Min", func(x, v *Node) *Node { return jvp(MinScalar(x, 0), list(x), list(v)) }, []float64{1, 0, 0}},
		{"limits of Clamp", func(x, v *Node) *Node {
			return jvp(Clip(x, ConstAs(x, -1.0), ConstAs(x, 0.0)), list(x), list(v))
		}, []float64{1, 3, 0}},
		{"tie in ReduceMax", func(x, v *Node) *Node {
			y := Concatenate(list(x, x), 0)
			return jvp(BroadcastToDims(ReduceMax(Mul(y, OnesLike(y))), 3), list(x), list(v))
		}, []float64{-2, -2, -2}},
		{"square as a power", func(x, v *Node) *Node {
			return jvp(PowScalar(x, 2), list(x), list(v))
		}, []float64{-2, 0, -8}},
		{"power of zero", func(x, v *Node) *Node { return jvp(PowScalar(x, 0), list(x), list(v)) }, []float64{0, 0, 0}},
		{"zero to a power", func(x, v *Node) *Node {
			return jvp(Pow(ZerosLike(x), Square(x)), list(x), list(v))
		}, []float64{0, 0, 0}},
		{"remainder of integers on the path of a gradient", func(x, v *Node) *Node {
			i := Mod(ConvertDType(x, dtypes.Int32), Const(x.Graph(), int32(2)))
			return Gradient(ReduceAllSum(Mul(ConvertDType(i, x.DType()), jvp(Square(x), list(x), list(v)))), x)[0]
		}, []float64{-2, 0, 0}},
		{"product with a zero", func(x, v *Node) *Node {
			return jvp(BroadcastToDims(ReduceMultiply(x), 3), list(x), list(v))
		}, []float64{-6, -6, -6}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := tensors.MustCopyFlatData[float64](MustExecOnce(backendtest.New(t), test.f, x, v))
			if !slices.EqualFunc(got, test.want, func(a, b float64) bool { return near(a, b, 1e-14) }) {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}

// TestNoNeedlessNodes checks that nodes without a tangent add nothing to the graph.
func TestNoNeedlessNodes(t *testing.T) {
	g := NewGraph(backendtest.New(t), "test")
	defer g.Finalize()
	x, w := Parameter(g, "x", shapes.Make(dtypes.Float32, 4, 8)), Parameter(g, "w", shapes.Make(dtypes.Float32, 8, 8))
	side := Tanh(Exp(DotProduct(x, w))) // depends on the weights, but not on x's tangent
	y := Mul(StopGradient(side), DotProduct(x, w))
	before := len(g.Nodes())
	tangent := jvp(y, list(x, w), list(OnesLike(x), nil))
	var dots int
	for _, n := range g.Nodes()[before:] {
		if n.Type() == NodeTypeDotGeneral {
			dots++
		}
		if n.Type() == NodeTypeTanh || n.Type() == NodeTypeExp {
			t.Errorf("needless %s", n)
		}
	}
	if dots != 1 {
		t.Errorf("%d products, want 1", dots)
	}
	if !tangent.Shape().Equal(y.Shape()) {
		t.Errorf("tangent is %s, output %s", tangent.Shape(), y.Shape())
	}
}

// TestDTypes checks that tangents have the dtype of their outputs, also through a conversion.
func TestDTypes(t *testing.T) {
	for _, dtype := range []dtypes.DType{dtypes.BFloat16, dtypes.Float16, dtypes.Float32, dtypes.Float64} {
		g := NewGraph(backendtest.New(t), "test")
		x := Parameter(g, "x", shapes.Make(dtype, 4, 8))
		h := silu(rmsNorm(x))
		ys := list(Softmax(h), ConvertDType(Erf(h), dtypes.Float32))
		for i, tangent := range ad.JVP(ys, list(x), list(OnesLike(x))) {
			if !tangent.Shape().Equal(ys[i].Shape()) {
				t.Errorf("%s: tangent #%d is %s, output %s", dtype, i, tangent.Shape(), ys[i].Shape())
			}
		}
		g.Finalize()
	}
}

// TestCheckpoint checks that recomputing activations keeps the gradient of a loss of tangents.
func TestCheckpoint(t *testing.T) {
	loss := func(checkpoint bool) func(x, w *Node) *Node {
		return func(x, w *Node) *Node {
			h := x
			for range 2 {
				if checkpoint {
					h = h.Checkpoint()
				}
				h = Tanh(DotProduct(h, w))
			}
			if checkpoint {
				h = h.StopCheckpoint()
			}
			tangent := jvp(Sin(h), list(x), list(OnesLike(x)))
			return Gradient(ReduceAllSum(Square(tangent)), w)[0]
		}
	}
	x, w := [][]float64{{1, 2}, {-1, 0.5}}, [][]float64{{0.3, -0.2}, {0.7, 0.1}}
	b := backendtest.New(t)
	got, want := MustExecOnce(b, loss(true), x, w), MustExecOnce(b, loss(false), x, w)
	if !got.InDelta(want, 1e-14) {
		t.Errorf("with checkpoints %v, without %v", got, want)
	}
}

func TestPanics(t *testing.T) {
	b := backendtest.New(t)
	vector := func(g *Graph, dtype dtypes.DType) *Node { return Parameter(g, "", shapes.Make(dtype, 3)) }
	isFinite := func(x *Node) *Node { return IsFinite(ReduceAllSum(x)) }
	// within returns x as a node of the closure under construction.
	within := func(g *Graph, x *Node) *Node { return Where(Const(g, true), x, x) }
	tests := []struct {
		name    string
		loops   bool
		f       func(g *Graph, x *Node) *Node // the test takes its tangent along x
		message []string
	}{
		{"fewer tangents", false, func(g *Graph, x *Node) *Node {
			return jvp(x, list(x), nil)
		}, []string{"1 inputs and 0 tangents"}},
		{"output nil", false, func(g *Graph, x *Node) *Node { return nil }, []string{"output #0 is nil"}},
		{"input nil", false, func(g *Graph, x *Node) *Node {
			return jvp(x, list(nil), list(x))
		}, []string{"input #0 is nil"}},
		{"input twice", false, func(g *Graph, x *Node) *Node {
			return jvp(x, list(x, x), list(x, nil))
		}, []string{"input #1", "repeats an earlier input"}},
		{"two graphs", false, func(g *Graph, x *Node) *Node {
			other := vector(NewGraph(b, "other"), dtypes.Float32)
			return jvp(x, list(other), list(other))
		}, []string{`in graph "other"`}},
		{"shape", false, func(g *Graph, x *Node) *Node {
			return jvp(x, list(x), list(ReduceAllSum(x)))
		}, []string{"tangent #0 is (Float32), its input (Float32)[3]"}},
		{"dtype", false, func(g *Graph, x *Node) *Node {
			i := vector(g, dtypes.Int32)
			return jvp(x, list(i), list(i))
		}, []string{"input #0 is (Int32)[3]"}},
		{"Bitcast", false, func(g *Graph, x *Node) *Node {
			return Bitcast(x, dtypes.Float16)
		}, []string{"op Bitcast", "StopGradient"}},
		{"Sort", false, func(g *Graph, x *Node) *Node {
			return Sort(x, 0, true)
		}, []string{"op Sort", "write it with other ops"}},
		{"captured by If", false, func(g *Graph, x *Node) *Node {
			branch := func(g *Graph) []*Node { return list(within(g, Neg(x))) }
			return If(isFinite(StopGradient(x)), NewClosure(g, branch), NewClosure(g, branch))[0]
		}, []string{"op If", "call ad.JVP within the body"}},
		{"captured by While", true, func(g *Graph, x *Node) *Node {
			cond := NewClosure(g, func(g *Graph) []*Node { return list(isFinite(vector(g, x.DType()))) })
			body := NewClosure(g, func(g *Graph) []*Node { return list(Add(vector(g, x.DType()), within(g, x))) })
			return While(cond, body, StopGradient(x))[0]
		}, []string{"op While", "unroll it"}},
		{"Call", true, func(g *Graph, x *Node) *Node {
			return NewFunction(g, "f", func(g *Graph) []*Node { return list(Neg(vector(g, x.DType()))) }).Call(x)[0]
		}, []string{"op Call"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if test.loops {
				backendtest.NeedLoops(t, b)
			}
			g := NewGraph(b, "test")
			defer g.Finalize()
			err := exceptions.TryCatch[error](func() {
				x := vector(g, dtypes.Float32)
				jvp(test.f(g, x), list(x), list(x))
			})
			if err == nil {
				t.Fatal("no panic")
			}
			for _, want := range append(test.message, "ad.JVP") {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("message %q does not contain %q", err, want)
				}
			}
		})
	}
}

// TestFusedAlone checks that JVP refuses a fused op that was built without its unfused version, and
// that the message says what helps.
func TestFusedAlone(t *testing.T) {
	if !pureGo(t) {
		t.Skip("XLA on CPU has no fused ops")
	}
	g := NewGraph(backendtest.New(t), "test")
	defer g.Finalize()
	x := Parameter(g, "x", shapes.Make(dtypes.Float32, 3))
	err := exceptions.TryCatch[error](func() { jvp(BackendFusedSoftmax(x, 0), list(x), list(x)) })
	if err == nil || !strings.Contains(err.Error(), "FusedSoftmax") ||
		!strings.Contains(err.Error(), "GOMLX_FUSION=0") {
		t.Errorf("error %v, want one that names FusedSoftmax and GOMLX_FUSION=0", err)
	}
}

// TestWhile takes tangents, and gradients of losses of tangents, in the body of a loop that uses
// weights from outside, and compares them with the unrolled loop.
func TestWhile(t *testing.T) {
	b := backendtest.New(t)
	backendtest.NeedLoops(t, b)
	const steps = 4
	step := func(x, w *Node) *Node {
		net := func(x *Node) *Node { return Tanh(DotProduct(x, w)) }
		velocity := net(x)
		acceleration := jvp(velocity, list(x), list(velocity))
		slope := Gradient(ReduceAllSum(Square(acceleration)), x)[0]
		return Sub(Add(x, acceleration), slope)
	}
	unrolled := func(x, w *Node) *Node {
		for range steps {
			x = step(x, w)
		}
		return x
	}
	loop := func(x, w *Node) *Node {
		count := Const(x.Graph(), int32(0))
		cond := NewClosure(x.Graph(), func(g *Graph) []*Node {
			i := Parameter(g, "i", count.Shape())
			Parameter(g, "x", x.Shape())
			return list(LessThan(i, Const(g, int32(steps))))
		})
		body := NewClosure(x.Graph(), func(g *Graph) []*Node {
			i, x := Parameter(g, "i", count.Shape()), Parameter(g, "x", x.Shape())
			return list(Add(i, Const(g, int32(1))), step(x, w))
		})
		return While(cond, body, count, x)[1]
	}
	x, w := [][]float64{{1, 2}, {-1, 0.5}}, [][]float64{{0.3, -0.2}, {0.7, 0.1}}
	got, want := MustExecOnce(b, loop, x, w), MustExecOnce(b, unrolled, x, w)
	if !got.InDelta(want, 1e-13) {
		t.Errorf("loop %v, unrolled %v", got, want)
	}
}

func silu(x *Node) *Node { return Mul(x, Sigmoid(x)) }
