package nn

import (
	"encoding/binary"
	"hash/fnv"
	"math"
	"math/rand/v2"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"
	. "github.com/gomlx/gomlx/support/exceptions"
)

// weights returns the variable "weights" of x's type, its last axis the outputs, all others the inputs that an output is a
// sum over. A new one is normal with standard deviation gain/√inputs, or zero where gain is.
func weights(scope *model.Scope, x *Node, gain float64, dims ...int) *Node {
	shape := shapes.Make(x.DType(), dims...)
	inputs := shape.Size() / dims[len(dims)-1]
	return variable(scope, "weights", shape, gain/math.Sqrt(float64(inputs))).NodeValue(x)
}

// addBias adds the variable "biases", zero at the start, to the last axis of y.
func addBias(scope *model.Scope, y *Node) *Node {
	dims := y.Shape().Dimensions
	b := variable(scope, "biases", shapes.Make(y.DType(), dims[len(dims)-1]), 0).NodeValue(y)
	return Add(y, ExpandLeftToRank(b, y.Rank()))
}

// variable returns the scope's variable of that name; a new one is given normal values of the standard deviation std.
//
// They are drawn here and not, as by GoMLX's initializers, in a graph: that graph takes as long to compile as half the
// network's, and its normal numbers, from log u with u in [0, 1), are infinite once in 2^24.
func variable(scope *model.Scope, name string, shape shapes.Shape, std float64) *model.Variable {
	if v := scope.GetVariable(name); v != nil && v.HasValue() {
		return scope.VariableWithShape(name, shape) // panics where the shape is another one
	}
	value := tensors.FromShape(shape)
	if std != 0 {
		fillNormal(value, stream(scope, name), std)
	}
	v := scope.VariableWithValue(name, value)
	if !v.HasValue() { // it was there, but had been reset
		must(v.SetValue(value))
	}
	return v
}

// stream returns random numbers keyed by the state of the store's generator, which Store.SetRNGStateFromSeed sets, and by
// the variable's path: neither the order in which variables are made nor the backend has an influence.
func stream(scope *model.Scope, name string) *rand.Rand {
	store := scope.Store()
	path := model.JoinPath(model.RootScopePath, model.RNGStateVariableName)
	if v := store.GetVariable(path); v == nil || !v.HasValue() {
		must(store.ResetRNGState())
	}
	state, err := store.GetVariable(path).Value()
	must(err)
	var key [32]byte
	for i, word := range tensors.MustCopyFlatData[uint64](state) {
		binary.LittleEndian.PutUint64(key[8*i:], word)
	}
	hash := fnv.New64a()
	hash.Write([]byte(model.JoinPath(scope.Scope(), name)))
	binary.LittleEndian.PutUint64(key[24:], hash.Sum64())
	return rand.New(rand.NewChaCha8(key))
}

func fillNormal(value *tensors.Tensor, r *rand.Rand, std float64) {
	switch value.DType() {
	case dtypes.Float32:
		tensors.MustMutableFlatData(value, func(flat []float32) {
			for i := range flat {
				flat[i] = float32(std * r.NormFloat64())
			}
		})
	case dtypes.Float64:
		tensors.MustMutableFlatData(value, func(flat []float64) {
			for i := range flat {
				flat[i] = std * r.NormFloat64()
			}
		})
	default:
		Panicf("nn: weights are float32 or float64, not %s", value.DType())
	}
}

// must panics with err, as graph-building code does.
func must(err error) {
	if err != nil {
		panic(err)
	}
}
