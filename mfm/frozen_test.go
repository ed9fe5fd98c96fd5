package mfm_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/internal/backendtest"
	"github.com/gomfm/gomfm/mfm/internal/mfmtest"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/train"
)

// A flow trained by its diagonal alone is the teacher of a map. Its weights do not change while
// both trainings continue.
func TestFrozenTeacher(t *testing.T) {
	b := backendtest.New(t)
	config := mfmtest.SmallConfig()
	config.Loss.Consistency = mfm.DiagonalOnly
	flow := mfmtest.NewSmallTrainer(t, config)
	steps := func(trainer *train.Trainer, n int) {
		t.Helper()
		for range n {
			if _, err := trainer.Step(); err != nil {
				t.Fatal(err)
			}
		}
	}
	steps(flow, 3)
	weights, err := flow.Weights(train.WeightsScope)
	if err != nil {
		t.Fatal(err)
	}
	teacher, err := mfm.Frozen(mfmtest.SmallMap(), "flow", weights)
	if err != nil {
		t.Fatal(err)
	}
	drift := func(store *model.Store, b0 interpolant.Drift) string {
		t.Helper()
		exec, err := model.NewExec(b, store, func(_ *model.Scope, t, x *Node) *Node { return b0(t, x, nil) })
		if err != nil {
			t.Fatal(err)
		}
		out, err := exec.Call1([]float32{0.3, 0.7}, [][]float32{{1, -1}, {0.5, 2}})
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprint(tensors.MustCopyFlatData[float32](out))
	}
	want := drift(flow.Store(), mfmtest.SmallMap().DriftIn(flow.Store().Scope(train.WeightsScope)))
	steps(flow, 2) // donates the buffers of the weights

	config = mfmtest.SmallConfig()
	config.Loss.Distillation, config.Seed = mfm.Teacher, 6
	student, err := mfm.NewTrainer(b, mfmtest.SmallMap(), mfmtest.NormalSource, teacher, config)
	if err != nil {
		t.Fatal(err)
	}
	steps(student, 3)
	if got := drift(student.Store(), teacher); got != want {
		t.Errorf("frozen drift %s, want that of the flow, %s", got, want)
	}
	state, err := student.State()
	if err != nil {
		t.Fatal(err)
	}
	for path := range state {
		if path[:len(train.DataScope)] == train.DataScope {
			t.Errorf("the teacher's %s belongs to the training state", path)
		}
	}
	if weights, err = flow.Weights(train.WeightsScope); err != nil { // the first ones were donated
		t.Fatal(err)
	}
	other, err := mfm.Frozen(mfmtest.SmallMap(), "flow", weights)
	if err != nil {
		t.Fatal(err)
	}
	exec, err := model.NewExec(b, student.Store(), func(_ *model.Scope, t, x *Node) *Node { return other(t, x, nil) })
	if err != nil {
		t.Fatal(err)
	}
	if _, err := exec.Call1([]float32{0.3}, [][]float32{{1, -1}}); err == nil {
		t.Error("no error for a second frozen map of the same name")
	}
	delete(weights, slices.Max(slices.Collect(maps.Keys(weights))))
	lacking, err := mfm.Frozen(mfmtest.SmallMap(), "lacking", weights)
	if err != nil {
		t.Fatal(err)
	}
	exec, err = model.NewExec(b, student.Store(), func(_ *model.Scope, t, x *Node) *Node { return lacking(t, x, nil) })
	if err != nil {
		t.Fatal(err)
	}
	if _, err := exec.Call1([]float32{0.3}, [][]float32{{1, -1}}); err == nil ||
		!strings.Contains(err.Error(), "lack") {
		t.Errorf("error %v for a frozen map that lacks a weight, want one that says so", err)
	}
	for name, weights := range map[string]map[string]*tensors.Tensor{"none": nil, "../weights": weights, "": weights} {
		if _, err := mfm.Frozen(mfmtest.SmallMap(), name, weights); err == nil {
			t.Errorf("no error for a frozen map %q with %d weights", name, len(weights))
		}
	}
}
