package layer_test

import (
	"math"
	"slices"
	"testing"

	"github.com/gomlx/compute/dtypes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm/nn/internal/nntest"
	"github.com/gomfm/gomfm/mfm/nn/layer"
)

func TestTimeFeatures(t *testing.T) {
	times := []float64{0, 0.13, 0.5, 0.77, 1}
	for _, c := range []struct {
		dtype     dtypes.DType
		tolerance float64
	}{{dtypes.Float64, 1e-13}, {dtypes.Float32, 4e-6}} {
		out := nntest.Run(t, nntest.NewStore(t, 1), func(_ *model.Scope, x []*Node) []*Node {
			return []*Node{layer.Fourier(x[0], []float64{1, 2.5}), layer.Octaves(x[0], math.Pi/2, 4)}
		}, nntest.TensorOf(c.dtype, times, len(times)))
		var fourier, octaves []float64
		for _, x := range times {
			fourier = append(fourier, math.Sin(x), math.Sin(2.5*x), math.Cos(x), math.Cos(2.5*x))
			for _, f := range []float64{1, 2, 4, 8} {
				octaves = append(octaves, math.Sin(f*math.Pi/2*x), math.Cos(f*math.Pi/2*x))
			}
		}
		nntest.Near(t, "Fourier", nntest.Flat(t, out[0]), fourier, c.tolerance)
		nntest.Near(t, "Octaves", nntest.Flat(t, out[1]), octaves, c.tolerance)
	}
}

func TestClassEmbedding(t *testing.T) {
	const classes, width = 3, 4
	store := nntest.NewStore(t, 1)
	out := nntest.Run(t, store, func(scope *model.Scope, x []*Node) []*Node {
		embed := func(class *Node) *Node { return layer.ClassEmbedding(scope, class, classes, width, x[0]) }
		return []*Node{embed(x[1]), embed(nil)}
	}, nntest.Wave(dtypes.Float64, 0, 5), tensors.FromFlatDataAndDimensions([]int32{2, 0, 3, 4, -1}, 5))
	table := nntest.Flat(t, store.GetVariable("/weights").MustValue())
	row := func(i int) []float64 { return table[i*width:][:width] }
	want := slices.Concat(row(2), row(0), row(classes), make([]float64, 2*width))
	nntest.Near(t, "rows of the table", nntest.Flat(t, out[0]), want, 1e-15)
	nntest.Near(t, "no class", nntest.Flat(t, out[1]), slices.Repeat(row(classes), 5), 1e-15)
}

func TestTimeEmbedding(t *testing.T) {
	// Every time has its own weights, so exchanging times changes the embedding.
	store := nntest.NewStore(t, 1)
	out := nntest.Run(t, store, func(scope *model.Scope, x []*Node) []*Node {
		in := nntest.Inputs(x)
		embed := func(times ...*Node) *Node { return layer.TimeEmbedding(scope, 6, times...) }
		return []*Node{embed(in.S, in.U), embed(in.U, in.S), embed(in.S, in.T), embed(in.T, in.U)}
	}, nntest.Waves(dtypes.Float64, 3, 1)...)
	first := nntest.Flat(t, out[0])
	if len(first) != 3*6 {
		t.Fatalf("%d values, want 18", len(first))
	}
	for i, other := range out[1:] {
		if slices.Equal(first, nntest.Flat(t, other)) {
			t.Errorf("case %d: different times have the same embedding", i)
		}
	}
	if got, want := store.GetVariable("/weights").Shape().Dimensions, []int{128, 6}; !slices.Equal(got, want) {
		t.Errorf("weights %v, want %v", got, want)
	}
}
