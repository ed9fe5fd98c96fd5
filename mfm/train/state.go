package train

import (
	"fmt"
	"slices"
	"strings"

	"github.com/gomlx/gomlx/core/tensors"
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
// same configuration. Training then continues as if it had never stopped, to the bit. Unless the
// state has exactly the tensors of the training, all finite, Restore returns a [*FitError] and
// leaves the trainer unchanged: a missing tensor would start anew, unnoticed.
func (t *Trainer) Restore(state map[string]*tensors.Tensor) error {
	done := []float32{0}
	if step := state[StateScope+"/step"]; step != nil && step.Shape().IsScalar() {
		var err error
		if done, err = tensors.CopyFlatData[float32](step); err != nil {
			return fmt.Errorf("restoring the step: %w", err)
		}
	}
	if done[0] > 0 && len(below(state, WeightsScope)) == 0 {
		return fmt.Errorf("restoring: the state of step %g has no weights", done[0])
	}
	// Before the first step a trainer has less than after it.
	if done[0] > 0 || Fit(state, shapesOf(t.store, isState, 0)) != nil {
		want, err := t.shapes(state)
		if err == nil {
			err = Fit(state, want)
		}
		if err != nil {
			return fmt.Errorf("restoring the training state: %w", err)
		}
	}
	if err := t.set(state); err != nil {
		return fmt.Errorf("restoring the training state: %w", err)
	}
	t.done = int64(done[0])
	return nil
}

func isState(path string) bool {
	return slices.ContainsFunc([]string{WeightsScope, averageScope, momentsScope, StateScope}, func(scope string) bool {
		return strings.HasPrefix(path, scope+"/")
	})
}
