package solver

import (
	"math"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"

	"github.com/gomfm/gomfm/mfm/backend"
	"github.com/gomfm/gomfm/mfm/internal/devices"
)

// RNG draws random numbers inside a graph. State is the state of the counter-based generator
// (graph.RNGStateFromSeed). Each method advances it; to continue from there, keep the last State.
// On several devices each has the numbers of its rows, the first axis, of the same arrays.
type RNG struct{ State *Node }

// Uniform returns numbers in [0, 1).
func (r *RNG) Uniform(shape shapes.Shape) *Node { return devices.Rows(r.uniform(shape)) }

func (r *RNG) uniform(shape shapes.Shape) (values *Node) {
	r.State, values = RandomUniform(r.State, shape)
	return values
}

// Normal returns standard normal numbers by the Box-Muller method. It differs from
// graph.RandomNormal in two ways: it uses both numbers of a pair, and it takes the logarithm of
// 1-u, which is never zero. There one number in 2^24 is infinite or 14 standard deviations away.
func (r *RNG) Normal(shape shapes.Shape) *Node {
	n := shape.Size()
	half := (n + 1) / 2
	u := r.uniform(shapes.Make(shape.DType, 2, half))
	radius := Sqrt(MulScalar(Log1P(Neg(Slice(u, AxisElem(0)))), -2))
	angle := MulScalar(Slice(u, AxisElem(1)), 2*math.Pi)
	values := Concatenate([]*Node{Mul(radius, Cos(angle)), Mul(radius, Sin(angle))}, 1)
	if 2*half != n {
		values = Slice(values, AxisRange(), AxisRange(0, n))
	}
	return devices.Rows(Reshape(values, shape.Dimensions...))
}

// Below returns int32 integers in [0, n), of shape dims.
func (r *RNG) Below(n int, dims ...int) (values *Node) {
	r.State, values = RandomIntN(r.State, n, shapes.Make(dtypes.Int32, dims...))
	return devices.Rows(values)
}

// Saved returns the state to write to disk. The pure-Go backend uses two of its three words and
// leaves the third undefined, which would make equal trainings differ in it. Saved sets it to zero.
func (r *RNG) Saved() *Node {
	if backend.Loops(r.State.Graph().Backend()) {
		return r.State
	}
	used := Slice(r.State, AxisRange(0, 2))
	return Concatenate([]*Node{used, Zeros(used.Graph(), shapes.Make(used.DType(), 1))}, 0)
}
