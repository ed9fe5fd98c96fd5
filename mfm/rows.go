package mfm

import (
	"fmt"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/gomlx/core/tensors"
)

// Flat returns the elements of a result of a [Sampler], one sample after the other. It returns err if
// that is not nil, so that it can wrap a call.
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

// Points returns rows, [points][dim], as states of a [Sampler], float32 [points, dim]. It panics if there
// are none or if they differ in length.
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
