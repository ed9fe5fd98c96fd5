package mfm

import (
	"math"
	"testing"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"

	"github.com/gomfm/gomfm/mfm/internal/backendtest"
)

// The distance of equal samples has the gradient 0, and that of close ones a finite gradient.
func TestDistancePowerAtZero(t *testing.T) {
	exec, err := NewExec(backendtest.New(t), func(d *Node) []*Node {
		v := distancePower(ReduceMean(Square(d), 1), 1)
		return []*Node{v, Gradient(ReduceAllSum(v), d)[0]}
	})
	if err != nil {
		t.Fatal(err)
	}
	defer exec.Finalize()
	out, err := exec.Call([][]float32{{0, 0}, {2, 2}, {1e-12, 0}, {1e-30, 0}})
	if err != nil {
		t.Fatal(err)
	}
	values, gradient := tensors.MustCopyFlatData[float32](out[0]), tensors.MustCopyFlatData[float32](out[1])
	if values[0] != 0 || values[1] != 2 || gradient[0] != 0 || gradient[2] != 0.5 {
		t.Errorf("distances %v with gradients %v", values, gradient)
	}
	for _, v := range gradient {
		if !(math.Abs(float64(v)) <= 1) {
			t.Errorf("gradients %v", gradient)
		}
	}
}
