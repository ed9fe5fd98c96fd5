package train

import (
	"fmt"

	"github.com/gomfm/gomfm/mfm/solver"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"
)

// Source draws training data inside the compiled step: n samples, [n, ...], and their classes,
// int32 [n], or nil. scope is for fixed tensors ([DeviceValue]).
type Source func(scope *model.Scope, g *Graph, rng *solver.RNG, n int) (data, class *Node)

// DataSet returns a source that keeps samples, [size, ...], and their classes, int32 [size] or nil,
// on the device and draws from them uniformly with replacement. So the position in the data is the
// state of the generator. It returns an error if the shapes do not fit.
func DataSet(samples, classes *tensors.Tensor) (Source, error) {
	size := samples.Shape().Dim(0)
	if samples.Shape().Rank() < 2 || size == 0 {
		return nil, fmt.Errorf("a data set of shape %s: want [size, ...] with size > 0", samples.Shape())
	}
	if classes != nil && (classes.Shape().Rank() != 1 || classes.Shape().Dim(0) != size) {
		return nil, fmt.Errorf("classes of shape %s for samples of shape %s: give one label per sample",
			classes.Shape(), samples.Shape())
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

// DeviceValue returns a fixed tensor, such as a data set or frozen weights, as a node that is
// passed to the graph and not compiled into it. It is stored in scope under name and is not
// trained.
func DeviceValue(scope *model.Scope, g *Graph, name string, value *tensors.Tensor) *Node {
	return scope.VariableWithValue(name, value).SetTrainable(false).NodeValue(g)
}
