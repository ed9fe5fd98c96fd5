package mfm

import (
	"fmt"
	"path"
	"strings"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"
	. "github.com/gomlx/gomlx/support/exceptions"

	"github.com/gomfm/gomfm/mfm/internal/batch"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/train"
)

// Model is a map with its weights and the shape of its samples: what samplers, steering,
// fine-tuning and diagnosis need to know of it.
type Model struct {
	Map *Map
	// Weights is the scope of the map's weights in their store: [train.WeightsScope] or that of a
	// moving average ([train.AverageScope]).
	Weights *model.Scope
	// Shape is that of one sample, such as [2] or [28, 28, 1].
	Shape []int
	// Classes is the number of classes that the map is conditioned on, 0 for none.
	Classes int
	// Scales are the scales of guidance other than 1 that the network was trained with, see
	// [Guidance].
	Scales []float64
	// ClassScale is the scale of guidance that all rows with a class were trained with, see
	// [Model.GuidedOnly]; 0 means that they were trained without guidance, too.
	ClassScale float64
}

// Store returns the store of the weights.
func (m Model) Store() *model.Store { return m.Weights.Store() }

// Drift returns the map's drift with its weights.
func (m Model) Drift() interpolant.Drift { return m.Map.DriftIn(m.Weights) }

// Shapes returns the shapes of the map's weights by their paths below their scope; see
// [train.Shapes]. It does not use m.Weights.
func (m Model) Shapes() (map[string]shapes.Shape, error) {
	return train.Shapes(func(weights *model.Scope, g *Graph) {
		t := Zeros(g, shapes.Make(dtypes.Float32, 1))
		x := Zeros(g, shapes.Make(dtypes.Float32, append([]int{1}, m.Shape...)...))
		var class *Node
		if m.Classes > 0 {
			class = Zeros(g, shapes.Make(dtypes.Int32, 1))
		}
		m.Map.Drift(weights, t, x, class)
	})
}

// Elements returns the number of elements of one sample.
func (m Model) Elements() int { return batch.Size(m.Shape) }

// Validate returns an error if map, weights or shape are missing, if an axis is below 1, or if
// Classes is negative.
func (m Model) Validate() error {
	switch {
	case m.Map == nil:
		return fmt.Errorf("model has no map")
	case m.Weights == nil:
		return fmt.Errorf("model has no weights: set their scope in a store")
	case m.Classes < 0:
		return fmt.Errorf("model has %d classes: must not be negative", m.Classes)
	}
	return validateShape(m.Shape)
}

func validateShape(shape []int) error {
	if len(shape) == 0 {
		return fmt.Errorf("samples have no shape: give that of one sample, such as [2]")
	}
	for _, d := range shape {
		if d < 1 {
			return fmt.Errorf("samples of shape %v: every axis must have a length of at least 1", shape)
		}
	}
	return nil
}

// Frozen returns the drift of the map m with fixed weights, as [train.Trainer.Weights] and
// [train.FinalWeights] return them. Use it as the teacher of another map or in [NewTeacherSampler].
// The weights are copied, so training may continue. In a store they are kept below
// [train.DataScope] under name, which distinguishes several frozen maps; they are not trained and
// not part of the training state. Frozen returns an error if there are no weights or name is not a
// single path element. The drift panics if a weight is missing or the store has another frozen map
// of that name.
func Frozen(m *Map, name string, weights map[string]*tensors.Tensor) (interpolant.Drift, error) {
	if len(weights) == 0 {
		return nil, fmt.Errorf("frozen map %q has no weights: pass those of a trained map", name)
	}
	if name == "" || name == "." || name == ".." || strings.Contains(name, "/") {
		return nil, fmt.Errorf("frozen map %q: its name must be one path element, without a slash", name)
	}
	copies := make(map[string]*tensors.Tensor, len(weights))
	for p, value := range weights {
		c, err := value.LocalClone()
		if err != nil {
			return nil, fmt.Errorf("frozen map %q: copying %s: %w", name, p, err)
		}
		copies[path.Join(train.DataScope, name, p)] = c
	}
	return func(t, x, class *Node) *Node {
		store := model.GetStore(t)
		scope := store.Scope(path.Join(train.DataScope, name))
		for p, value := range copies {
			v := store.VariableWithValue(p, value).SetTrainable(false)
			if there, err := v.Value(); err != nil || there != value {
				Panicf("frozen map %q: the store has another one of that name: give each its own", name)
			}
		}
		drift := m.Drift(scope, t, x, class)
		for v := range scope.IterVariables() {
			if copies[v.Path()] == nil {
				Panicf("frozen map %q: its weights lack %s", name, v.Path())
			}
		}
		return drift
	}, nil
}
