package reward

import (
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"
	. "github.com/gomlx/gomlx/support/exceptions"
)

// SetWeights creates the variables of a fixed network in the scope of a reward, unless they exist.
// Keys are paths below the scope. It panics with a nil scope, which is that of a graph without a
// store, and if the store has other weights there.
func SetWeights(scope *model.Scope, weights map[string]*tensors.Tensor) {
	if scope == nil {
		Panicf("the weights of a reward need a graph with a store: use model.NewExec")
	}
	for path, value := range weights {
		full := model.JoinPath(scope.Scope(), path)
		v := scope.Store().GetVariable(full)
		if v == nil {
			scope.Store().VariableWithValue(full, value).SetTrainable(false)
			continue
		}
		there, err := v.Value()
		if err != nil || there != value && (!there.Shape().Equal(value.Shape()) || !there.Equal(value)) {
			Panicf("the store has the weights of another reward at %s: use a store for each", full)
		}
	}
}
