package mfm

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"
)

// State returns all that training depends on, by path: weights, averages, moments, step and random state. The tensors are those of the
// trainer: use them before the next step. It is empty before the first step has made the weights.
func (t *Trainer) State() (map[string]*tensors.Tensor, error) {
	state := make(map[string]*tensors.Tensor)
	for v := range t.store.IterVariables() {
		if !isState(v.Path()) {
			continue
		}
		value, err := v.Value()
		if err != nil {
			return nil, fmt.Errorf("state %q: %w", v.Path(), err)
		}
		state[v.Path()] = value
	}
	return state, nil
}

// Restore replaces the trainer's state by one that [Trainer.State] returned, of a trainer with the same configuration. Training then goes on
// as if it had never stopped, to the bit.
func (t *Trainer) Restore(state map[string]*tensors.Tensor) error {
	for path := range state {
		if !isState(path) {
			return fmt.Errorf("restoring: %q does not belong to a training state", path)
		}
	}
	step, ok := state[stateScope+"/step"]
	if !ok || step.Shape().Size() != 1 || state[stateScope+"/rng"] == nil {
		return fmt.Errorf("restoring: the state has no step or no random state")
	}
	done, err := tensors.CopyFlatData[float32](step)
	if err != nil {
		return fmt.Errorf("restoring the step: %w", err)
	}
	for _, path := range slices.Sorted(maps.Keys(state)) {
		v := t.store.GetVariable(path)
		if v == nil {
			if _, err = t.store.CreateVariable(path, state[path]); err != nil {
				return fmt.Errorf("restoring %q: %w", path, err)
			}
			continue
		}
		if err := setVariable(v, state[path]); err != nil {
			return err
		}
	}
	t.done = int64(done[0])
	return nil
}

func setVariable(v *model.Variable, value *tensors.Tensor) error {
	if !v.Shape().Equal(value.Shape()) {
		return fmt.Errorf("restoring %q: shape %s does not fit the model's %s", v.Path(), value.Shape(), v.Shape())
	}
	if err := v.SetValue(value); err != nil {
		return fmt.Errorf("restoring %q: %w", v.Path(), err)
	}
	return nil
}

func isState(path string) bool {
	return slices.ContainsFunc([]string{WeightsScope, averageScope, momentsScope, stateScope}, func(scope string) bool { return strings.HasPrefix(path, scope+"/") })
}
