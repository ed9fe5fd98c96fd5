package train

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"
)

// State returns the training state by path: weights, averages, moments, step and random state. The
// tensors belong to the trainer: use them before the next step. Before the first step, which
// creates the weights, the state is the step and the random state alone.
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

// Restore replaces the trainer's state by one that [Trainer.State] returned for a trainer with the
// same configuration. Training then continues as if it had never stopped, to the bit. If the state
// lacks a tensor, Restore returns an error and leaves the trainer unchanged.
func (t *Trainer) Restore(state map[string]*tensors.Tensor) error {
	for path := range state {
		if !isState(path) {
			return fmt.Errorf("restoring: %q does not belong to a training state", path)
		}
	}
	if missing := t.missing(state); missing != "" {
		return fmt.Errorf("restoring: the state lacks %q: pass a complete state of Trainer.State", missing)
	}
	step := state[StateScope+"/step"]
	if step.Shape().Size() != 1 {
		return fmt.Errorf("restoring: the step has shape %s, want one number", step.Shape())
	}
	done, err := tensors.CopyFlatData[float32](step)
	if err != nil {
		return fmt.Errorf("restoring the step: %w", err)
	}
	if done[0] > 0 && len(below(state, WeightsScope)) == 0 {
		return fmt.Errorf("restoring: the state of step %g has no weights", done[0])
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

// missing returns the first required path that the state lacks, or "". A missing variable would
// start anew, unnoticed. A trainer that has made a step knows its variables; otherwise each weight,
// moment or average in the state requires the others of its name.
func (t *Trainer) missing(state map[string]*tensors.Tensor) string {
	var required []string
	for v := range t.store.IterVariables() {
		if isState(v.Path()) {
			required = append(required, v.Path())
		}
	}
	scopes := []string{WeightsScope, momentsScope + "/first", momentsScope + "/second"}
	for i := range t.config.EMA {
		scopes = append(scopes, AverageScope(i))
	}
	for _, scope := range scopes[1:] { // an untrained weight has no moments or averages
		for name := range below(state, scope) {
			for _, other := range scopes {
				required = append(required, other+name)
			}
		}
	}
	slices.Sort(required)
	for _, path := range required {
		if state[path] == nil {
			return path
		}
	}
	return ""
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
	return slices.ContainsFunc([]string{WeightsScope, averageScope, momentsScope, StateScope}, func(scope string) bool {
		return strings.HasPrefix(path, scope+"/")
	})
}
