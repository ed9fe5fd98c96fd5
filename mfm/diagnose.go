package mfm

import (
	"fmt"

	"github.com/gomlx/compute/dtypes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"
)

// NonFiniteError reports a training step whose loss or gradient was not finite. The step was not taken: weights, moments, averages
// and random state are those of the step before.
type NonFiniteError struct {
	Step   int64  // the step that failed
	Tensor string // the first value that is not finite, in order of computation
}

// Error names the step and the tensor.
func (e *NonFiniteError) Error() string {
	return fmt.Sprintf("step %d: %s is not finite; the state of step %d is kept: lower the learning rate, or clip the gradient", e.Step, e.Tensor, e.Step-1)
}

// diagnose repeats the step that failed, from the state that it left untouched, to name the first value that is not finite.
func (t *Trainer) diagnose() error {
	var names []string
	exec, err := model.NewExec(t.backend, t.store, func(root *model.Scope, g *Graph) *Node {
		names = nil
		var finite []*Node
		check := func(name string, x *Node) {
			names = append(names, name)
			finite = append(finite, ReduceAllMin(ConvertDType(IsFinite(x), dtypes.Float32)))
		}
		rng := &RNG{State: t.store.GetVariable(stateScope + "/rng").NodeValue(g)}
		terms, grads, weights := t.gradients(g, rng, OnePlus(t.store.GetVariable(stateScope+"/step").NodeValue(g)))
		for _, w := range weights {
			check("weight "+w.Path(), w.NodeValue(g))
		}
		check("diagonal loss", terms.Diagonal)
		check("consistency loss", terms.Consistency)
		check("loss", terms.Total)
		for i, w := range weights {
			check("gradient of "+w.Path(), grads[i])
		}
		check("global norm of the gradient", globalNorm(grads))
		return Stack(finite, 0)
	})
	if err != nil {
		return fmt.Errorf("diagnosing step %d: %w", t.done+1, err)
	}
	defer exec.Finalize()
	out, err := exec.Call1()
	if err != nil {
		return fmt.Errorf("diagnosing step %d: %w", t.done+1, err)
	}
	flags, err := tensors.CopyFlatData[float32](out)
	if err != nil {
		return fmt.Errorf("diagnosing step %d: %w", t.done+1, err)
	}
	for i, f := range flags {
		if f == 0 {
			return &NonFiniteError{Step: t.done + 1, Tensor: names[i]}
		}
	}
	return &NonFiniteError{Step: t.done + 1, Tensor: "a value that was finite when the step was repeated"}
}
