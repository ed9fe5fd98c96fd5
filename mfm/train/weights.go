package train

import (
	"fmt"
	"strings"

	"github.com/gomlx/compute"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm/internal/reclaim"
)

// Weights returns the trained variables in a scope of the trainer's store, [WeightsScope] or that
// of an average, by their path below it. The tensors belong to the trainer: use them before the
// next step. It returns an error if the scope is empty.
func (t *Trainer) Weights(scope string) (map[string]*tensors.Tensor, error) {
	state, err := t.State()
	if err != nil {
		return nil, err
	}
	weights := below(state, scope)
	if len(weights) == 0 {
		return nil, fmt.Errorf("no weights in scope %s: train at least one step, or use %s", scope, WeightsScope)
	}
	return weights, nil
}

// FinalWeights returns the weights to use after training: the last moving average, or the weights
// themselves without averages. The tensors belong to the trainer: use them before the next step.
func (t *Trainer) FinalWeights() (map[string]*tensors.Tensor, error) {
	state, err := t.State()
	if err != nil {
		return nil, err
	}
	return FinalWeights(state)
}

// FinalWeights returns the weights to use of a training state ([Trainer.State]): the last moving
// average, or the weights themselves without averages.
func FinalWeights(state map[string]*tensors.Tensor) (map[string]*tensors.Tensor, error) {
	scope := WeightsScope
	for i := 0; len(below(state, AverageScope(i))) > 0; i++ {
		scope = AverageScope(i)
	}
	weights := below(state, scope)
	if len(weights) == 0 {
		return nil, fmt.Errorf("a training state of %d tensors has no weights", len(state))
	}
	return weights, nil
}

// SetWeights stores weights, by their path below it, in [WeightsScope] of a store.
func SetWeights(store *model.Store, weights map[string]*tensors.Tensor) error {
	for path, value := range weights {
		if _, err := store.CreateVariable(WeightsScope+path, value); err != nil {
			return fmt.Errorf("weights %q: %w", path, err)
		}
	}
	return nil
}

// ToDevice moves the weights in [WeightsScope] of a store to the device of a backend, so that the
// host's memory has no second copy of them once a graph has used them. Of several devices each
// needs its own copy: then it does nothing. The weights cannot be used after the backend's end.
func ToDevice(store *model.Store, b compute.Backend) error {
	if b.NumDevices() > 1 {
		return nil
	}
	var memory reclaim.Memory
	for v := range store.Scope(WeightsScope).IterVariables() {
		value, err := v.Value()
		if err == nil {
			err = value.ToDevice(b, 0)
		}
		if err != nil {
			return fmt.Errorf("weights %q: %w", v.Path(), err)
		}
		memory.Add(value.Shape().ByteSize())
	}
	return nil
}

func below(state map[string]*tensors.Tensor, scope string) map[string]*tensors.Tensor {
	found := make(map[string]*tensors.Tensor)
	for path, value := range state {
		if rest, ok := strings.CutPrefix(path, scope); ok && strings.HasPrefix(rest, "/") {
			found[rest] = value
		}
	}
	return found
}
