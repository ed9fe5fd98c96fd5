// Package nntest has what the tests of networks and of their layers share.
package nntest

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

// NewStore returns a store whose weights derive from seed.
func NewStore(t testing.TB, seed int64) *model.Store {
	t.Helper()
	store := model.NewStore()
	if err := store.SetRNGStateFromSeed(seed); err != nil {
		t.Fatal(err)
	}
	return store
}

// Run builds f on the store's root scope and returns its results for args. The arguments are not
// constants, because XLA would fold a network of constants at compile time, which is slow.
func Run(
	t testing.TB, store *model.Store, f func(scope *model.Scope, x []*Node) []*Node, args ...*tensors.Tensor,
) []*tensors.Tensor {
	t.Helper()
	return Call(t, Compile(t, store, f), args...)
}

// Compile compiles f on the store's root scope.
func Compile(t testing.TB, store *model.Store, f func(scope *model.Scope, x []*Node) []*Node) *model.Exec {
	t.Helper()
	exec, err := model.NewExec(backendtest.New(t), store, f)
	if err != nil {
		t.Fatal(err)
	}
	return exec
}

// Call executes exec and returns its results.
func Call(t testing.TB, exec *model.Exec, args ...*tensors.Tensor) []*tensors.Tensor {
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

// GraphOf returns a graph with a store, for tests that only use shapes and variables.
func GraphOf(t testing.TB, store *model.Store) *Graph {
	t.Helper()
	g := NewGraph(backendtest.New(t), t.Name())
	t.Cleanup(g.Finalize)
	model.SetStore(g, store)
	return g
}

// Wave returns a tensor without zeros or other regularities that could hide an error.
func Wave(dtype dtypes.DType, phase float64, dims ...int) *tensors.Tensor {
	values := make([]float64, shapes.Make(dtype, dims...).Size())
	for i := range values {
		values[i] = math.Sin(1.37*float64(i)+phase) + 0.5*math.Cos(0.61*float64(i))
	}
	return TensorOf(dtype, values, dims...)
}

// TensorOf returns values in a type and a shape.
func TensorOf(dtype dtypes.DType, values []float64, dims ...int) *tensors.Tensor {
	if dtype == dtypes.Float64 {
		return tensors.FromFlatDataAndDimensions(values, dims...)
	}
	narrow := make([]float32, len(values))
	for i, v := range values {
		narrow[i] = float32(v)
	}
	return tensors.FromFlatDataAndDimensions(narrow, dims...)
}

// WaveNode returns [Wave] as a constant of a graph.
func WaveNode(g *Graph, dtype dtypes.DType, phase float64, dims ...int) *Node {
	return ConstTensor(g, Wave(dtype, phase, dims...))
}

// Waves returns inputs S, U, T, Xbar and X for states of the given shape, with all times different.
func Waves(dtype dtypes.DType, dims ...int) []*tensors.Tensor {
	times := func(from, to float64) *tensors.Tensor {
		values := make([]float64, dims[0])
		for i := range values {
			values[i] = from + (to-from)*float64(i)/float64(dims[0])
		}
		return TensorOf(dtype, values, dims[0])
	}
	return []*tensors.Tensor{
		times(0.1, 0.4), times(0.5, 1), times(0.2, 0.9), Wave(dtype, 0, dims...), Wave(dtype, 1, dims...),
	}
}

// Inputs returns the nodes of [Waves] as inputs of a backbone.
func Inputs(x []*Node) nn.Inputs { return nn.Inputs{S: x[0], U: x[1], T: x[2], Xbar: x[3], X: x[4]} }

// ConstantInputs returns [Waves] as constants of a graph.
func ConstantInputs(g *Graph, dtype dtypes.DType, dims ...int) nn.Inputs {
	var nodes []*Node
	for _, x := range Waves(dtype, dims...) {
		nodes = append(nodes, ConstTensor(g, x))
	}
	return Inputs(nodes)
}

// Labels returns the labels first, first+1, ..., [batch].
func Labels(g *Graph, batch, first int) *Node {
	return AddScalar(Iota(g, shapes.Make(dtypes.Int32, batch), 0), first)
}

// Excite sets all variables to non-zero values, so that no zero blocks a path through a network.
func Excite(t testing.TB, store *model.Store) {
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
		if err := v.SetValue(TensorOf(v.DType(), values, dims...)); err != nil {
			t.Fatal(err)
		}
	}
}

// Flat returns the elements of x, which is float64 or float32.
func Flat(t testing.TB, x *tensors.Tensor) []float64 {
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

// Near fails the test unless got is within tolerance·max|want| of want.
func Near(t *testing.T, name string, got, want []float64, tolerance float64) {
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

// Fails checks that building f panics with a message that contains each of the words.
func Fails(t *testing.T, f func(scope *model.Scope, g *Graph) *Node, words ...string) {
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
