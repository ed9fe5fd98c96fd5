package require_test

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm/internal/backendtest"
	"github.com/gomfm/gomfm/mfm/internal/require"
	"github.com/gomfm/gomfm/mfm/nn/layer"
)

// Weights that building a graph would invent are an error and leave no trace; fixed tensors and
// those of an excepted scope are not.
func TestWeights(t *testing.T) {
	b := backendtest.New(t)
	shape := shapes.Make(dtypes.Float32)
	for name, c := range map[string]struct {
		build  func(store *model.Store, g *Graph) *Node
		lacks  string // part of the error; empty for none
		leaves []string
	}{
		"known": {func(s *model.Store, g *Graph) *Node {
			return layer.Variable(s.Scope("/weights"), "known", shape, 1).NodeValue(g)
		}, "", nil},
		"initialized": {func(s *model.Store, g *Graph) *Node {
			return layer.Variable(s.Scope("/elsewhere"), "w", shape, 1).NodeValue(g)
		}, "1 weights, the first is /elsewhere/w", nil},
		"without value": {func(s *model.Store, g *Graph) *Node {
			return s.Scope("/weights").VariableWithShape("w", shape).NodeValue(g)
		}, "/weights/w", nil},
		"reset": {func(s *model.Store, g *Graph) *Node {
			return layer.Variable(s.Scope("/weights"), "reset", shape, 1).NodeValue(g)
		}, "/weights/reset", nil},
		"build panics": {func(s *model.Store, g *Graph) *Node {
			layer.Variable(s.Scope("/elsewhere"), "w", shape, 1).NodeValue(g)
			panic(errors.New("a later error"))
		}, "a later error", nil},
		"fixed": {func(s *model.Store, g *Graph) *Node {
			return s.Scope("/data").VariableWithValue("fixed", float32(1)).SetTrainable(false).NodeValue(g)
		}, "", []string{"/data/fixed"}},
		"excepted": {func(s *model.Store, g *Graph) *Node {
			return s.Scope("/reward").VariableWithValue("w", float32(1)).NodeValue(g)
		}, "", []string{"/reward/w"}},
		"beside the excepted": {func(s *model.Store, g *Graph) *Node {
			return s.Scope("/rewards").VariableWithValue("w", float32(1)).NodeValue(g)
		}, "/rewards/w", nil},
	} {
		store := model.NewStore()
		store.Scope("/weights").VariableWithValue("known", float32(2))
		if name == "reset" {
			if err := store.Scope("/weights").VariableWithValue("reset", float32(2)).Reset(); err != nil {
				t.Fatal(err)
			}
		}
		exec, err := model.NewExec(b, store, func(_ *model.Scope, x *Node) *Node {
			g := x.Graph()
			return Add(x, require.Weights(store, g, func() *Node { return c.build(store, g) }, "/reward"))
		})
		if err != nil {
			t.Fatal(err)
		}
		for range 2 { // a second try fails as the first one does
			_, err = exec.Call1(float32(1))
			if (c.lacks == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), c.lacks) {
				t.Errorf("%s: error %v, want %q", name, err, c.lacks)
			}
		}
		got := make(map[string]bool)
		for v := range store.IterVariables() {
			got[v.Path()] = true
		}
		want := append([]string{"/weights/known"}, c.leaves...)
		slices.Sort(want)
		if paths := slices.Sorted(maps.Keys(got)); !slices.Equal(paths, want) {
			t.Errorf("%s: the store has %v, want %v", name, paths, want)
		}
		exec.Finalize()
	}
}
