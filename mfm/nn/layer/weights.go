package layer

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

// Weights returns the variable "weights" in x's type. Its last axis has the outputs, each a sum
// over all other axes. The initial values are normal with standard deviation gain/√inputs.
func Weights(scope *model.Scope, x *Node, gain float64, dims ...int) *Node {
	shape := shapes.Make(ParameterType(x), dims...)
	inputs := shape.Size() / dims[len(dims)-1]
	w := Variable(scope, "weights", shape, gain/math.Sqrt(float64(inputs))).NodeValue(x)
	return ConvertDType(w, x.DType())
}

// AddBias adds the variable "biases", initially zero, to the last axis of y.
func AddBias(scope *model.Scope, y *Node) *Node {
	dims := y.Shape().Dimensions
	b := Variable(scope, "biases", shapes.Make(ParameterType(y), dims[len(dims)-1]), 0).NodeValue(y)
	return Add(y, ExpandLeftToRank(ConvertDType(b, y.DType()), y.Rank()))
}

// Gains returns the variable "weights" [width], initially one, in x's type.
func Gains(scope *model.Scope, x *Node, width int) *Node {
	shape := shapes.Make(ParameterType(x), width)
	w := Initialized(scope, "weights", shape, func(value *tensors.Tensor) { Fill(value, func() float64 { return 1 }) })
	return ConvertDType(w.NodeValue(x), x.DType())
}

// ParameterType returns the type of the parameters of a layer that computes in x's type: float32
// for types of 16 bits, otherwise the same.
func ParameterType(x *Node) dtypes.DType {
	if x.DType().IsFloat16() {
		return dtypes.Float32
	}
	return x.DType()
}

// Variable returns the scope's variable of that name, initially normal with standard deviation std.
//
// The host samples the values, not a graph, as GoMLX's initializers do: that graph takes half as
// long to compile as the network's, and its normal numbers, from log u with u in [0, 1), are
// infinite once in 2^24.
func Variable(scope *model.Scope, name string, shape shapes.Shape, std float64) *model.Variable {
	return Initialized(scope, name, shape, func(value *tensors.Tensor) {
		if std != 0 {
			r := stream(scope, name)
			Fill(value, func() float64 { return std * r.NormFloat64() })
		}
	})
}

// Initialized returns the scope's variable of that name. If it has no value yet, initialize fills
// one, which is zero before.
func Initialized(scope *model.Scope, name string, shape shapes.Shape, initialize func(*tensors.Tensor)) *model.Variable {
	if v := scope.GetVariable(name); v != nil && v.HasValue() {
		return scope.VariableWithShape(name, shape) // panics if the shape differs
	}
	value := tensors.FromShape(shape)
	initialize(value)
	v := scope.VariableWithValue(name, value)
	if !v.HasValue() { // it existed, but was reset
		must(v.SetValue(value))
	}
	return v
}

// stream returns random numbers keyed by the state of the store's generator, which
// Store.SetRNGStateFromSeed sets, and by the variable's path. They depend neither on the order in
// which variables are created nor on the backend.
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

// Fill sets the elements of value, in order, to the results of next.
func Fill(value *tensors.Tensor, next func() float64) {
	switch value.DType() {
	case dtypes.Float32:
		tensors.MustMutableFlatData(value, func(flat []float32) {
			for i := range flat {
				flat[i] = float32(next())
			}
		})
	case dtypes.Float64:
		tensors.MustMutableFlatData(value, func(flat []float64) {
			for i := range flat {
				flat[i] = next()
			}
		})
	default:
		Panicf("layer: weights must be Float32 or Float64, got %s", value.DType())
	}
}

// must panics with err if it is not nil.
func must(err error) {
	if err != nil {
		panic(err)
	}
}
