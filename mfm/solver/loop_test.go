package solver_test

import (
	"math"
	"testing"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm/internal/backendtest"
	"github.com/gomfm/gomfm/mfm/internal/mfmtest"
	"github.com/gomfm/gomfm/mfm/solver"
)

// Bodies may share constants with one another and with later nodes, be nested, and use the count.
func TestLoop(t *testing.T) {
	exec := MustNewExec(backendtest.New(t), func(x *Node) []*Node {
		triple := func(_ *Node, state []*Node) []*Node { return []*Node{MulScalar(state[0], 3)} }
		addCount := func(i *Node, state []*Node) []*Node { return []*Node{Add(state[0], ConvertDType(i, x.DType()))} }
		nested := func(_ *Node, state []*Node) []*Node { return solver.Loop(2, state, triple) }
		twice := solver.Loop(2, solver.Loop(3, []*Node{x}, triple), triple)
		return []*Node{
			solver.Loop(0, []*Node{x}, triple)[0],
			solver.Loop(1, []*Node{x}, triple)[0],
			MulScalar(twice[0], 3),
			solver.Loop(4, []*Node{x}, addCount)[0],
			solver.Loop(3, []*Node{x}, nested)[0],
		}
	})
	out, err := exec.Call(2.0)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []float64{2, 6, 2 * 729, 8, 2 * 729} {
		if got := out[i].Value(); got != want {
			t.Errorf("loop %d gives %v, want %v", i, got, want)
		}
	}
}

// A gradient passes through an unrolled loop.
func TestUnrolled(t *testing.T) {
	exec := MustNewExec(backendtest.New(t), func(x *Node) *Node {
		y := solver.Unrolled(x.Graph(), func() *Node {
			return solver.Loop(3, []*Node{x}, func(_ *Node, state []*Node) []*Node {
				return []*Node{Square(state[0])}
			})[0]
		})
		return Gradient(y, x)[0]
	})
	out, err := exec.Call1(1.1)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := out.Value().(float64), 8*math.Pow(1.1, 7); math.Abs(got-want) > 1e-12*want {
		t.Errorf("the gradient of x^8 is %v, want %v", got, want)
	}
}

// A body may use a variable that is new in it, take a gradient, and carry random numbers.
func TestLoopVariables(t *testing.T) {
	store := model.NewStore()
	exec := model.MustNewExec(backendtest.New(t), store, func(scope *model.Scope, x, rngState *Node) []*Node {
		rng := &solver.RNG{State: rngState}
		state := solver.Loop(3, []*Node{x, rng.State}, func(_ *Node, state []*Node) []*Node {
			w := scope.VariableWithValue("w", 0.25).NodeValue(x.Graph())
			rng := &solver.RNG{State: state[1]}
			noise := rng.Normal(shapes.Make(dtypes.Float64, 1000))
			slope := Gradient(Mul(w, Square(state[0])), state[0])[0] // 2 w x
			return []*Node{Add(Add(state[0], slope), MulScalar(ReduceAllMean(noise), 0)), rng.State}
		})
		return []*Node{state[0], state[1]}
	})
	seed, err := RNGStateFromSeed(1)
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Call(1.0, seed)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := out[0].Value(), 1.5*1.5*1.5; got != want {
		t.Errorf("got %v, want %v", got, want)
	}
	if out[1].Equal(seed) {
		t.Error("the random state did not change")
	}
}

// A body uses nodes from outside in every step as in the unrolled loop.
func TestLoopCaptures(t *testing.T) {
	x := [][]float64{{1, 2}, {3, 4}}
	table := make([][]float64, 50) // larger than the constants whose values GoMLX keeps
	for i := range table {
		table[i] = []float64{float64(i), float64(-i)}
	}
	for name, body := range map[string]func(state, outside *Node) *Node{
		"add":         func(s, x *Node) *Node { return Add(s, x) },
		"scaled":      func(s, x *Node) *Node { return Add(s, MulScalar(x, 3)) },
		"where":       func(s, x *Node) *Node { return Where(GreaterThan(s, x), s, AddScalar(x, 1)) },
		"product":     func(s, x *Node) *Node { return Dot(s, x).Product() },
		"concatenate": func(s, x *Node) *Node { return Slice(Concatenate([]*Node{x, s}, 0), AxisRange(1, 3)) },
		"unchanged":   func(s, x *Node) *Node { return x },
		"constant":    func(s, x *Node) *Node { return OnesLike(x) },
		"same state":  func(s, x *Node) *Node { return s },
		"sum":         func(s, x *Node) *Node { return Add(s, Add(ReduceAllSum(x), ReduceAndKeep(s, ReduceSum, -1))) },
		"softmax":     func(s, x *Node) *Node { return Add(Softmax(s), x) },
		"largest":     func(s, x *Node) *Node { return Add(s, ConvertDType(InsertAxes(ArgMax(s, 1), -1), x.DType())) },
		"gradient":    func(s, x *Node) *Node { return Gradient(ReduceAllSum(Mul(x, Square(s))), s)[0] },
		"iota":        func(s, x *Node) *Node { return Add(s, Iota(x.Graph(), x.Shape(), 1)) },
		"table":       func(s, x *Node) *Node { return Add(s, Slice(Const(x.Graph(), table), AxisRange(40, 42))) },
	} {
		got := mfmtest.EvaluateOn(t, backendtest.New(t), dtypes.Float64, func(in []*Node) []*Node {
			x := in[0]
			looped := solver.Loop(3, []*Node{x}, func(_ *Node, state []*Node) []*Node {
				return []*Node{body(state[0], x)}
			})
			return []*Node{looped[0], body(body(body(Identity(x), x), x), x)}
		}, mfmtest.Points(x))
		mfmtest.Near(t, name, got[0], got[1], 0)
	}
}

// Convolutions and their gradients have another form in a body, and the same values.
func TestLoopConvolution(t *testing.T) {
	got := mfmtest.EvaluateOn(t, backendtest.New(t), dtypes.Float64, func(in []*Node) []*Node {
		wave := func(dims ...int) *Node {
			return Sin(Square(IotaFull(in[0].Graph(), shapes.Make(dtypes.Float64, dims...))))
		}
		kernel, x := wave(3, 3, 2, 4), Add(wave(2, 6, 6, 2), in[0])
		body := func(_ *Node, state []*Node) []*Node {
			y := Convolve(state[0], kernel).PadSame().Strides(2).Done()
			return []*Node{Gradient(ReduceAllSum(Sin(y)), state[0])[0]}
		}
		looped := solver.Loop(3, []*Node{x}, body)
		unrolled := solver.Unrolled(x.Graph(), func() []*Node { return solver.Loop(3, []*Node{x}, body) })
		return []*Node{looped[0], unrolled[0]}
	}, tensors.FromValue(0.25))
	mfmtest.Near(t, "gradient of a strided convolution", got[0], got[1], 1e-12)
}
