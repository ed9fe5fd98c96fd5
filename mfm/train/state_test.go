package train_test

import (
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gomlx/gomlx/core/tensors"

	"github.com/gomfm/gomfm/mfm/internal/mfmtest"
	"github.com/gomfm/gomfm/mfm/train"
)

// Restore accepts a complete state only: a missing variable would start anew, unnoticed.
func TestRestoreNeedsACompleteState(t *testing.T) {
	trained := mfmtest.NewSmallTrainer(t, mfmtest.SmallConfig())
	before, err := trained.State()
	if err != nil {
		t.Fatal(err)
	}
	if paths := slices.Sorted(maps.Keys(before)); !slices.Equal(paths, []string{"/state/rng", "/state/step"}) {
		t.Errorf("the state before the first step has %v, want step and random state", paths)
	}
	if err := mfmtest.NewSmallTrainer(t, mfmtest.SmallConfig()).Restore(before); err != nil {
		t.Errorf("restoring the state before the first step: %v", err)
	}
	if _, err := trained.Step(); err != nil {
		t.Fatal(err)
	}
	state, err := trained.State()
	if err != nil {
		t.Fatal(err)
	}
	want := bits(t, trained)

	fresh := mfmtest.NewSmallTrainer(t, mfmtest.SmallConfig())
	for _, path := range []string{
		"/weights/w1", "/moments/first/w2", "/moments/second/b1", "/average/0/w1", "/average/1/w2",
		"/state/rng", "/state/step",
	} {
		part := maps.Clone(state)
		if part[path] == nil {
			t.Fatalf("the state has no %s, but %v", path, slices.Sorted(maps.Keys(state)))
		}
		delete(part, path)
		for name, trainer := range map[string]*train.Trainer{"fresh": fresh, "trained": trained} {
			if err := trainer.Restore(part); err == nil || !strings.Contains(err.Error(), path) {
				t.Errorf("restoring a state without %s into a %s trainer: error %v, want one that names it",
					path, name, err)
			}
		}
	}
	weights := map[string]*tensors.Tensor{"/state/rng": state["/state/rng"], "/state/step": state["/state/step"]}
	if err := fresh.Restore(weights); err == nil || !strings.Contains(err.Error(), "no weights") {
		t.Errorf("restoring step 1 without weights into a fresh trainer: error %v", err)
	}
	err = trained.Restore(before)
	if err == nil || !strings.Contains(err.Error(), "/weights/") && !strings.Contains(err.Error(), "/average/") {
		t.Errorf("restoring a state without weights into a trained trainer: error %v", err)
	}
	if fresh.Done() != 0 {
		t.Errorf("after failed restores a trainer is at step %d, want 0", fresh.Done())
	}
	compareBits(t, bits(t, trained), want)
	if err := fresh.Restore(state); err != nil {
		t.Error(err)
	}
}

// Save hooks run before the checkpoint is written and after the Step hooks of its step.
func TestSaveHooks(t *testing.T) {
	dir, full := t.TempDir(), errors.New("disk is full")
	var last int64
	var saved []int64
	exists := func(step string) bool {
		_, err := os.Stat(filepath.Join(dir, "step-"+step+".json"))
		return err == nil
	}
	trainer := mfmtest.NewSmallTrainer(t, mfmtest.SmallConfig())
	trainer.AddHook(afterStep(func(m train.Metrics) error { last = m.Step; return nil }))
	trainer.AddHook(train.Hook{Save: func(*train.Trainer) error {
		saved = append(saved, last)
		if last == 5 && exists("000000005") {
			t.Error("the checkpoint of step 5 was written before its Save hook was called")
		}
		if last == 10 {
			return full
		}
		return nil
	}})
	err := train.Run(context.Background(), trainer, train.Options{Dir: dir, Every: 5, Keep: 3})
	if !errors.Is(err, full) {
		t.Errorf("error %v, want that of the Save hook", err)
	} else if n := strings.Count(err.Error(), full.Error()); n != 1 {
		t.Errorf("one failure is reported %d times: %v", n, err)
	}
	if !slices.Equal(slices.Compact(saved), []int64{5, 10}) || !exists("000000005") {
		t.Errorf("saved at %v, want 5 and 10", saved)
	}
	if exists("000000010") {
		t.Error("the checkpoint of step 10 was written although its Save hook failed")
	}
}
