package train

import (
	"fmt"

	"github.com/gomfm/gomfm/mfm/solver"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"
)

// Source draws training data inside the compiled step: n samples, [n, ...], and their classes, int32 [n], or nil.
type Source func(scope *model.Scope, g *Graph, rng *solver.RNG, n int) (data, class *Node)

// DataSet keeps samples, [size, ...], and their classes, int32 [size] or nil, on the device and draws from them uniformly with
// replacement, so that the generator's state is all there is to a position in the data.
func DataSet(samples, classes *tensors.Tensor) (Source, error) {
	size := samples.Shape().Dim(0)
	if samples.Shape().Rank() < 2 || size == 0 {
		return nil, fmt.Errorf("a data set of shape %s: want [size, ...] with size > 0", samples.Shape())
	}
	if classes != nil && (classes.Shape().Rank() != 1 || classes.Shape().Dim(0) != size) {
		return nil, fmt.Errorf("classes of shape %s do not go with samples of shape %s: give one label a sample", classes.Shape(), samples.Shape())
	}
	return func(scope *model.Scope, g *Graph, rng *solver.RNG, n int) (data, class *Node) {
		index := Reshape(rng.Below(size, n), n, 1)
		data = Gather(DeviceValue(scope, g, "samples", samples), index)
		if classes != nil {
			class = Gather(DeviceValue(scope, g, "classes", classes), index)
		}
		return data, class
	}, nil
}

// DeviceValue returns a fixed tensor as a node that is passed to the graph, not compiled into it: a data set, or frozen weights.
// It is kept in scope under name and is not trained.
func DeviceValue(scope *model.Scope, g *Graph, name string, value *tensors.Tensor) *Node {
	return scope.VariableWithValue(name, value).SetTrainable(false).NodeValue(g)
}
