// Package require reports graphs that use weights which their store lacks. Networks initialize
// their weights at random where a graph is built, as training needs: a sampler of a scope without
// weights would draw plausible samples of a random network.
package require

import (
	"slices"
	"strings"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"
	. "github.com/gomlx/gomlx/support/exceptions"
)

// Weights returns the result of build, which builds a part of a graph g. It panics if that needs
// weights without a value in the store. Whether or not build itself panics, weights that it adds
// are removed from the store again. Fixed tensors, variables that are not trainable, may be added,
// and so may variables below the scopes in except.
func Weights[T any](store *model.Store, g *Graph, build func() T, except ...string) T {
	before := make(map[*model.Variable]bool) // whether they have a value
	for v := range store.IterVariables() {
		before[v] = v.HasValue()
	}
	rng := model.JoinPath(model.RootScopePath, model.RNGStateVariableName)
	seeded := store.GetVariable(rng) != nil
	lacking := func(v *model.Variable) bool {
		valued, there := before[v]
		switch {
		case valued || below(v.Path(), except):
			return false
		case !there && v.Trainable:
			return true
		}
		return v.InUseByGraph(g) && (there || !v.HasValue())
	}
	var missing []string
	remove := func() {
		for v := range store.IterVariables() {
			if lacking(v) {
				missing = append(missing, v.Path())
			}
		}
		paths := slices.Clone(missing)
		if len(missing) > 0 && !seeded { // to initialize them
			paths = append(paths, rng)
		}
		for _, path := range paths {
			if err := store.DeleteVariable(path); err != nil {
				panic(err)
			}
		}
	}
	built := false
	defer func() {
		if !built {
			remove()
		}
	}()
	out := build()
	built = true
	if remove(); len(missing) > 0 {
		Panicf("the store has no value for %d weights, the first is %s: train or load them, and pass their scope",
			len(missing), missing[0])
	}
	return out
}

// below reports whether a path is in one of the scopes or below it.
func below(path string, scopes []string) bool {
	return slices.ContainsFunc(scopes, func(scope string) bool {
		return strings.HasPrefix(path, strings.TrimSuffix(scope, model.ScopeSeparator)+model.ScopeSeparator)
	})
}
