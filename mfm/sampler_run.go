package mfm

import (
	"context"
	"fmt"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"
	. "github.com/gomlx/gomlx/support/exceptions"

	"github.com/gomfm/gomfm/mfm/internal/batch"
	"github.com/gomfm/gomfm/mfm/internal/devices"
	"github.com/gomfm/gomfm/mfm/internal/require"
	"github.com/gomfm/gomfm/mfm/solver"
)

// rowGraph builds the graph of a sampler. For times [rows] each, states [rows, shape] each and
// classes, int32 [rows] or nil, it returns a node of the states' shape.
type rowGraph func(rng *solver.RNG, times, states []*Node, class *Node) *Node

// request is a call of a rowGraph from the host.
type request struct {
	seed   int64
	times  []float64
	states []*tensors.Tensor // [rows, shape] each
	class  []int32           // [rows], or nil
	flat   [][]float32       // elements of the states, set by check
	repeat int               // number of rows of the graph per row here
}

// maxElements bounds the size of a result to 4 GiB.
const maxElements = 1 << 30

func (s *Sampler) evaluate(
	ctx context.Context, name string, build rowGraph, times []float64, states []*tensors.Tensor, class []int32,
) (*tensors.Tensor, error) {
	if err := checkTimes(times...); err != nil {
		return nil, fmt.Errorf("evaluating the %s: %w", name, err)
	}
	flat, err := s.run(ctx, name, build, request{times: times, states: states, class: class, repeat: 1})
	if err != nil {
		return nil, fmt.Errorf("evaluating the %s: %w", name, err)
	}
	return s.tensor(flat), nil
}

// run executes a request in chunks of rows and returns the rows of the result, [rows·repeat,
// shape]. The random state is passed from chunk to chunk.
func (s *Sampler) run(ctx context.Context, name string, build rowGraph, r request) ([]float32, error) {
	rows, err := s.check(&r)
	if err != nil {
		return nil, err
	}
	state, err := RNGStateFromSeed(r.seed)
	if err != nil {
		return nil, fmt.Errorf("seeding: %w", err)
	}
	total, elements := rows*r.repeat, s.elements()
	size := s.config.chunk(total, elements)
	exec, err := s.graph(name, build, size)
	if err != nil {
		return nil, err
	}
	flat := make([]float32, 0, total*elements)
	for from := 0; from < total; from += size {
		if ctx.Err() != nil {
			return nil, fmt.Errorf("stopped after %d of %d rows: %w", from, total, context.Cause(ctx))
		}
		var chunk []float32
		if chunk, state, err = s.call(exec, state, r, from, size); err != nil {
			return nil, err
		}
		flat = append(flat, chunk[:min(size, total-from)*elements]...)
	}
	return flat, nil
}

// check returns the number of rows of a request, or an error if it is invalid.
func (s *Sampler) check(r *request) (rows int, err error) {
	for i, x := range r.states {
		flat, err := s.states(x)
		if err != nil {
			return 0, err
		}
		if i > 0 && len(flat) != len(r.flat[0]) {
			return 0, fmt.Errorf("states of %d and %d samples: want as many", len(r.flat[0])/s.elements(),
				len(flat)/s.elements())
		}
		r.flat = append(r.flat, flat)
	}
	size := len(r.flat[0])
	rows = size / s.elements()
	if rows == 0 {
		return 0, fmt.Errorf("no states: want at least one of shape %v", s.shape)
	}
	if r.repeat < 1 || r.repeat > maxElements/size {
		return 0, fmt.Errorf("%d samples per context: must lie in [1, %d]", r.repeat, maxElements/size)
	}
	if r.class == nil {
		return rows, nil
	}
	if s.config.Classes == 0 {
		return 0, fmt.Errorf("classes are given to a sampler without classes: set classes in its configuration")
	}
	if len(r.class) != rows {
		return 0, fmt.Errorf("%d classes for %d rows: give one label per row", len(r.class), rows)
	}
	for i, c := range r.class {
		if c < 0 || int(c) > s.config.Classes {
			return 0, fmt.Errorf("class %d of row %d: must lie in [0, %d), or be %[3]d for no class",
				c, i, s.config.Classes)
		}
	}
	return rows, nil
}

func checkTimes(times ...float64) error {
	for _, t := range times {
		if !(t >= 0 && t <= 1) {
			return fmt.Errorf("time %g must lie in [0, 1]", t)
		}
	}
	return nil
}

// call runs the graph on rows from to from+size of the request and returns the result and the next
// random state. Rows beyond the last one repeat it.
func (s *Sampler) call(
	exec *devices.Program, state *tensors.Tensor, r request, from, size int,
) ([]float32, *tensors.Tensor, error) {
	elements := s.elements()
	last := len(r.flat[0])/elements*r.repeat - 1
	source := func(i int) int { return min(from+i, last) / r.repeat }
	args := []*tensors.Tensor{state, tensors.FromFlatDataAndDimensions(float32s(r.times), len(r.times))}
	if s.config.Classes > 0 {
		class := make([]int32, size)
		for i := range class {
			class[i] = int32(s.config.Classes)
			if r.class != nil {
				class[i] = r.class[source(i)]
			}
		}
		args = append(args, tensors.FromFlatDataAndDimensions(class, size))
	}
	for _, x := range r.flat {
		rows := make([]float32, 0, size*elements)
		for i := range size {
			k := source(i) * elements
			rows = append(rows, x[k:k+elements]...)
		}
		args = append(args, tensors.FromFlatDataAndDimensions(rows, append([]int{size}, s.shape...)...))
	}
	var out []*tensors.Tensor
	var flat []float32
	var err error
	if panicked := Try(func() { out, err = exec.Call(args...) }); panicked != nil {
		return nil, nil, fmt.Errorf("building the graph: %v", panicked)
	}
	if err != nil {
		return nil, nil, err
	}
	if flat, err = tensors.CopyFlatData[float32](out[0]); err != nil {
		return nil, nil, fmt.Errorf("reading the result: %w", err)
	}
	return flat, out[1], out[0].FinalizeAll()
}

// graph returns the executor of that name for calls with the given number of rows, which it
// compiles once. Its inputs are the random state, times [n], classes [rows] if the map has classes,
// and states; its outputs are the result and the next random state. The rows are split over the
// backend's devices if these can share them equally. So the random numbers do not depend on the
// devices.
func (s *Sampler) graph(name string, build rowGraph, rows int) (*devices.Program, error) {
	n := s.backend.NumDevices()
	if rows%n != 0 {
		name, n = name+" on one device", 1
	}
	if exec, ok := s.graphs[name]; ok {
		return exec, nil
	}
	exec, err := model.NewExec(s.backend, s.store, func(_ *model.Scope, inputs []*Node) []*Node {
		rng, times, states := &solver.RNG{State: inputs[0]}, batch.Scalars(inputs[1]), inputs[2:]
		var class *Node
		if s.config.Classes > 0 {
			class, states = states[0], states[1:]
		}
		for i, t := range times {
			times[i] = batch.Every(t, states[0])
		}
		out := require.Weights(s.store, inputs[0].Graph(), func() *Node { return build(rng, times, states, class) })
		if want := shapes.Make(dtypes.Float32, states[0].Shape().Dimensions...); !out.Shape().Equal(want) {
			Panicf("the map or teacher returns shape %s for states of shape %s", out.Shape(), want)
		}
		return []*Node{out, rng.State}
	})
	if err != nil {
		return nil, fmt.Errorf("preparing the graph: %w", err)
	}
	split, err := devices.NewProgram(exec.SetMaxCache(-1), n, []bool{false, false, true}, []bool{true, false})
	if err != nil {
		return nil, fmt.Errorf("preparing the graph: %w", err)
	}
	s.graphs[name] = split
	return split, nil
}

// elements returns the number of elements of a sample.
func (s *Sampler) elements() int { return batch.Size(s.shape) }

func float32s(values []float64) []float32 {
	out := make([]float32, len(values))
	for i, v := range values {
		out[i] = float32(v)
	}
	return out
}

// Flat returns the elements of a result of a [Sampler], one sample after the other. It returns err
// if that is not nil, so that it can wrap a call.
func Flat(t *tensors.Tensor, err error) ([]float32, error) {
	if err != nil {
		return nil, err
	}
	return tensors.CopyFlatData[float32](t)
}

// Rows splits flat samples of dim elements each into rows, [samples][dim], in float64.
func Rows(flat []float32, dim int) [][]float64 {
	rows := make([][]float64, len(flat)/dim)
	for i := range rows {
		rows[i] = make([]float64, dim)
		for j := range rows[i] {
			rows[i][j] = float64(flat[i*dim+j])
		}
	}
	return rows
}

// Points returns rows, [points][dim], as states of a [Sampler], float32 [points, dim]. It panics if
// there are none or if they differ in length.
func Points(rows [][]float64) *tensors.Tensor {
	dim := len(rows[0])
	flat := make([]float32, 0, len(rows)*dim)
	for i, row := range rows {
		if len(row) != dim {
			panic(fmt.Errorf("points: row %d has %d numbers, row 0 has %d", i, len(row), dim))
		}
		for _, v := range row {
			flat = append(flat, float32(v))
		}
	}
	return tensors.FromFlatDataAndDimensions(flat, len(rows), dim)
}

// states returns the elements of states, [rows, shape] or [shape].
func (s *Sampler) states(x *tensors.Tensor) ([]float32, error) {
	if x == nil {
		return nil, fmt.Errorf("no states: want a tensor of shape [rows, %v]", s.shape)
	}
	dims := x.Shape().Dimensions
	if from := len(dims) - len(s.shape); from != 0 && from != 1 || !equal(dims[from:], s.shape) {
		return nil, fmt.Errorf("states of shape %v: want [rows] and the shape %v of a sample", dims, s.shape)
	}
	switch x.DType() {
	case dtypes.Float32:
		return tensors.CopyFlatData[float32](x)
	case dtypes.Float64:
		wide, err := tensors.CopyFlatData[float64](x)
		return float32s(wide), err
	}
	return nil, fmt.Errorf("states of type %s: want Float32 or Float64", x.DType())
}

func equal(a, b []int) bool {
	for i, d := range a {
		if d != b[i] {
			return false
		}
	}
	return len(a) == len(b)
}

// tensor returns flat samples as a tensor [samples, shape], or with n as [samples/n, n, shape].
func (s *Sampler) tensor(flat []float32, n ...int) *tensors.Tensor {
	rows := len(flat) / s.elements()
	for _, k := range n {
		rows /= k
	}
	dims := append(append([]int{rows}, n...), s.shape...)
	return tensors.FromFlatDataAndDimensions(flat, dims...)
}
