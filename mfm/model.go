package mfm

import (
	"fmt"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"

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
