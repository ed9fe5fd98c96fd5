package nn_test

import (
	"slices"
	"testing"

	"github.com/gomlx/compute/dtypes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm/internal/backendtest"
	"github.com/gomfm/gomfm/mfm/nn"
	"github.com/gomfm/gomfm/mfm/nn/internal/nntest"
)

func TestClassifier(t *testing.T) {
	cfg := nn.ClassifierConfig{Classes: 3, Patch: 2, Channels: []int{4, 8}, Blocks: 2, Groups: 2, Embedding: 6}
	for _, timed := range []bool{false, true} {
		store := nntest.NewStore(t, 1)
		exec, err := model.NewExec(backendtest.New(t), store, func(scope *model.Scope, x []*Node) []*Node {
			in := nntest.Inputs(x)
			first, second := in.S, in.U
			if !timed {
				first, second = nil, nil
			}
			classify := nn.Classifier(cfg)
			return []*Node{classify(scope, in.X, first), classify(scope.ResetVisited(), in.X, second)}
		})
		if err != nil {
			t.Fatal(err)
		}
		args := nntest.Waves(dtypes.Float32, 2, 8, 12, 1)
		nntest.Call(t, exec, args...)
		nntest.Excite(t, store)
		out := nntest.Call(t, exec, args...)
		if got := out[0].Shape().Dimensions; !slices.Equal(got, []int{2, 3}) {
			t.Fatalf("logits %v, want [2 3]", got)
		}
		if same := slices.Equal(nntest.Flat(t, out[0]), nntest.Flat(t, out[1])); same == timed {
			t.Errorf("timed: %t, logits at other times equal: %t", timed, same)
		}
	}
}
