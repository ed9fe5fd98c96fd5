package nn_test

import (
	"slices"
	"testing"

	"github.com/gomlx/compute/dtypes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm/internal/backendtest"
	"github.com/gomfm/gomfm/mfm/nn"
)

func TestClassifier(t *testing.T) {
	cfg := nn.ClassifierConfig{Classes: 3, Patch: 2, Channels: []int{4, 8}, Blocks: 2, Groups: 2, Embedding: 6}
	for _, timed := range []bool{false, true} {
		store := newStore(t, 1)
		exec, err := model.NewExec(backendtest.New(t), store, func(scope *model.Scope, x []*Node) []*Node {
			in := inputs(x)
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
		args := waves(dtypes.Float32, 2, 8, 12, 1)
		call(t, exec, args...)
		excite(t, store)
		out := call(t, exec, args...)
		if got := out[0].Shape().Dimensions; !slices.Equal(got, []int{2, 3}) {
			t.Fatalf("logits %v, want [2 3]", got)
		}
		if same := slices.Equal(flat(t, out[0]), flat(t, out[1])); same == timed {
			t.Errorf("timed: %t, logits at other times equal: %t", timed, same)
		}
	}
}
