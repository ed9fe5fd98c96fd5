package mfm

import (
	"fmt"
	"path"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"
)

// Frozen returns the drift of the map m with fixed weights, as [Trainer.Weights] and [StateWeights] return them: a trained flow, or a copy of a map at one of its
// checkpoints, as the teacher of another map or for [NewTeacherSampler]. The weights are copied, so training may go on. In a store they lie below the scope of its data, under
// name, which tells several frozen maps in one store apart; they are not trained and are no part of a training's state.
func Frozen(m *Map, name string, weights map[string]*tensors.Tensor) (Drift, error) {
	if len(weights) == 0 {
		return nil, fmt.Errorf("frozen map %q has no weights", name)
	}
	copies := make(map[string]*tensors.Tensor, len(weights))
	for p, value := range weights {
		c, err := value.LocalClone()
		if err != nil {
			return nil, fmt.Errorf("frozen map %q: copying %s: %w", name, p, err)
		}
		copies[path.Join(DataScope, name, p)] = c
	}
	return func(t, x, class *Node) *Node {
		store := model.GetStore(t)
		for p, value := range copies {
			store.VariableWithValue(p, value).SetTrainable(false)
		}
		return m.Drift(store.Scope(path.Join(DataScope, name)), t, x, class)
	}, nil
}
