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

// A state is taken whole or not at all: what it lacked would start anew, unnoticed.
func TestRestoreRefusesPartsOfAState(t *testing.T) {
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
	for _, path := range []string{"/weights/w1", "/moments/first/w2", "/moments/second/b1", "/average/0/w1", "/average/1/w2", "/state/rng", "/state/step"} {
		part := maps.Clone(state)
		if part[path] == nil {
			t.Fatalf("the state has no %s, but %v", path, slices.Sorted(maps.Keys(state)))
		}
		delete(part, path)
		for name, trainer := range map[string]*train.Trainer{"fresh": fresh, "trained": trained} {
			if err := trainer.Restore(part); err == nil || !strings.Contains(err.Error(), path) {
				t.Errorf("a %s trainer restores a state without %s: error %v, want one with its name", name, path, err)
			}
		}
	}
	weights := map[string]*tensors.Tensor{"/state/rng": state["/state/rng"], "/state/step": state["/state/step"]}
	if err := fresh.Restore(weights); err == nil || !strings.Contains(err.Error(), "no weights") {
		t.Errorf("a fresh trainer restores step 1 without weights: error %v", err)
	}
	if err := trained.Restore(before); err == nil || !strings.Contains(err.Error(), "/weights/") && !strings.Contains(err.Error(), "/average/") {
		t.Errorf("a trained trainer restores a state without weights: error %v", err)
	}
	if fresh.Done() != 0 {
		t.Errorf("a refused state has left a trainer at step %d", fresh.Done())
	}
	compareBits(t, bits(t, trained), want)
	if err := fresh.Restore(state); err != nil {
		t.Error(err)
	}
}

// What is kept beside a checkpoint is kept before it, whose step has been observed by then.
func TestFitSavesBesideItsCheckpoints(t *testing.T) {
	dir, full := t.TempDir(), errors.New("disk is full")
	var observed int64
	var saved []int64
	exists := func(step string) bool {
		_, err := os.Stat(filepath.Join(dir, "step-"+step+".json"))
		return err == nil
	}
	options := train.Options{Dir: dir, Every: 5, Keep: 3, Observe: func(m train.Metrics) error { observed = m.Step; return nil }}
	options.Saving = func() error {
		saved = append(saved, observed)
		if observed == 5 && exists("000000005") {
			t.Error("the checkpoint of step 5 was there before what goes with it")
		}
		if observed == 10 {
			return full
		}
		return nil
	}
	if err := train.Run(context.Background(), mfmtest.NewSmallTrainer(t, mfmtest.SmallConfig()), options); !errors.Is(err, full) {
		t.Errorf("error %v, want that of saving", err)
	} else if n := strings.Count(err.Error(), full.Error()); n != 1 {
		t.Errorf("one failure is told %d times: %v", n, err)
	}
	if !slices.Equal(slices.Compact(saved), []int64{5, 10}) || !exists("000000005") {
		t.Errorf("saved at %v, want 5 and 10", saved)
	}
	if exists("000000010") {
		t.Error("there is a checkpoint of step 10 without what goes with it")
	}
}
