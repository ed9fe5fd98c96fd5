package mfm

import (
	"fmt"
	"path"
	"strings"

	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/train"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"
	. "github.com/gomlx/gomlx/support/exceptions"
)

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
