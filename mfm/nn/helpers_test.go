package nn_test

import (
	"math"
	"strings"
	"testing"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm/internal/backendtest"
	"github.com/gomfm/gomfm/mfm/nn"
)

// newStore returns a store whose weights derive from seed.
func newStore(t testing.TB, seed int64) *model.Store {
	t.Helper()
	store := model.NewStore()
	if err := store.SetRNGStateFromSeed(seed); err != nil {
		t.Fatal(err)
	}
	return store
}

// run builds f on the store's root scope and returns its results for args. The arguments are not
// constants, because XLA would fold a network of constants at compile time, which is slow.
func run(
	t testing.TB, store *model.Store, f func(scope *model.Scope, x []*Node) []*Node, args ...*tensors.Tensor,
) []*tensors.Tensor {
	t.Helper()
	return call(t, newExec(t, store, f), args...)
}

// newExec compiles f on the store's root scope.
func newExec(t testing.TB, store *model.Store, f func(scope *model.Scope, x []*Node) []*Node) *model.Exec {
	t.Helper()
	exec, err := model.NewExec(backendtest.New(t), store, f)
	if err != nil {
		t.Fatal(err)
	}
	return exec
}

func call(t testing.TB, exec *model.Exec, args ...*tensors.Tensor) []*tensors.Tensor {
	t.Helper()
	values := make([]any, len(args))
	for i, a := range args {
		values[i] = a
	}
	out, err := exec.Call(values...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// graphOf returns a graph with a store, for tests that only use shapes and variables.
func graphOf(t testing.TB, store *model.Store) *Graph {
	t.Helper()
	g := NewGraph(backendtest.New(t), t.Name())
	t.Cleanup(g.Finalize)
	model.SetStore(g, store)
	return g
}

// wave returns a tensor without zeros or other regularities that could hide an error.
func wave(dtype dtypes.DType, phase float64, dims ...int) *tensors.Tensor {
	values := make([]float64, shapes.Make(dtype, dims...).Size())
	for i := range values {
		values[i] = math.Sin(1.37*float64(i)+phase) + 0.5*math.Cos(0.61*float64(i))
	}
	return tensorOf(dtype, values, dims...)
}

func tensorOf(dtype dtypes.DType, values []float64, dims ...int) *tensors.Tensor {
	if dtype == dtypes.Float64 {
		return tensors.FromFlatDataAndDimensions(values, dims...)
	}
	narrow := make([]float32, len(values))
	for i, v := range values {
		narrow[i] = float32(v)
	}
	return tensors.FromFlatDataAndDimensions(narrow, dims...)
}

// waveNode returns wave as a constant of a graph.
func waveNode(g *Graph, dtype dtypes.DType, phase float64, dims ...int) *Node {
	return ConstTensor(g, wave(dtype, phase, dims...))
}

// waves returns inputs S, U, T, Xbar and X for states of the given shape, with all times different.
func waves(dtype dtypes.DType, dims ...int) []*tensors.Tensor {
	times := func(from, to float64) *tensors.Tensor {
		values := make([]float64, dims[0])
		for i := range values {
			values[i] = from + (to-from)*float64(i)/float64(dims[0])
		}
		return tensorOf(dtype, values, dims[0])
	}
	return []*tensors.Tensor{
		times(0.1, 0.4), times(0.5, 1), times(0.2, 0.9), wave(dtype, 0, dims...), wave(dtype, 1, dims...),
	}
}

// inputs returns the nodes of waves as inputs of a backbone.
func inputs(x []*Node) nn.Inputs { return nn.Inputs{S: x[0], U: x[1], T: x[2], Xbar: x[3], X: x[4]} }

// constantInputs returns waves as constants of a graph.
func constantInputs(g *Graph, dtype dtypes.DType, dims ...int) nn.Inputs {
	var nodes []*Node
	for _, x := range waves(dtype, dims...) {
		nodes = append(nodes, ConstTensor(g, x))
	}
	return inputs(nodes)
}

// labels returns the labels first, first+1, ..., [batch].
func labels(g *Graph, batch, first int) *Node {
	return AddScalar(Iota(g, shapes.Make(dtypes.Int32, batch), 0), first)
}

// excite sets all variables to non-zero values, so that no zero blocks a path through a network.
func excite(t testing.TB, store *model.Store) {
	t.Helper()
	phase := 0.
	for v := range store.IterVariables() {
		dims := v.Shape().Dimensions
		if !v.DType().IsFloat() {
			continue
		}
		phase++
		values := make([]float64, v.Shape().Size())
		size := 0.7 * math.Sqrt(float64(dims[len(dims)-1])/float64(len(values)))
		for i := range values {
			values[i] = size * math.Sin(1.37*float64(i*i)+phase)
		}
		if err := v.SetValue(tensorOf(v.DType(), values, dims...)); err != nil {
			t.Fatal(err)
		}
	}
}

func flat(t testing.TB, x *tensors.Tensor) []float64 {
	t.Helper()
	switch x.DType() {
	case dtypes.Float64:
		return tensors.MustCopyFlatData[float64](x)
	case dtypes.Float32:
		var y []float64
		for _, v := range tensors.MustCopyFlatData[float32](x) {
			y = append(y, float64(v))
		}
		return y
	}
	t.Fatalf("no flat data of %s", x.DType())
	return nil
}

// near fails the test unless got is within tolerance·max|want| of want.
func near(t *testing.T, name string, got, want []float64, tolerance float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d values, want %d", name, len(got), len(want))
	}
	top, worst := 0., 0.
	for i := range want {
		top = max(top, math.Abs(want[i]))
		worst = max(worst, math.Abs(got[i]-want[i]))
	}
	if !(worst <= tolerance*top) {
		t.Errorf("%s: largest error %.3g, largest value %.3g, tolerance %.1g", name, worst, top, tolerance)
	}
}

// fails checks that building f panics with a message that contains each of the words.
func fails(t *testing.T, f func(scope *model.Scope, g *Graph) *Node, words ...string) {
	t.Helper()
	exec, err := model.NewExec(backendtest.New(t), model.NewStore(), f)
	if err == nil {
		_, err = exec.Call()
	}
	if err == nil {
		t.Fatalf("no error, want one with %q", words)
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("error %q does not contain %q", err, word)
		}
	}
}
