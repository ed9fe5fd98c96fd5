package train_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gomfm/gomfm/mfm/internal/mfmtest"
	"github.com/gomfm/gomfm/mfm/train"
)

// recordingHook returns a hook that records its events in calls and fails at the event fail.
func recordingHook(name string, priority int, calls *[]string, fail string) train.Hook {
	event := func(event string) error {
		*calls = append(*calls, name+" "+event)
		if event == fail {
			return errors.New(name + " failed at " + event)
		}
		return nil
	}
	return train.Hook{
		Name: name, Priority: priority,
		Start: func(*train.Trainer) error { return event("start") },
		Step:  func(_ *train.Trainer, m train.Metrics) error { return event(fmt.Sprint("step ", m.Step)) },
		Save:  func(t *train.Trainer) error { return event(fmt.Sprint("save ", t.Done())) },
		End:   func(_ *train.Trainer, err error) { _ = event(fmt.Sprint("end ", err != nil)) },
	}
}

// shortTrainer trains for two steps.
func shortTrainer(t *testing.T) *train.Trainer {
	c := mfmtest.SmallConfig()
	c.Steps = 2
	return mfmtest.NewSmallTrainer(t, c)
}

// Hooks run in the order of their priorities, then of AddHook, at each event; Run without a folder
// has no Save. A hook without functions is allowed.
func TestHooksRunInOrder(t *testing.T) {
	for _, dir := range []string{"", t.TempDir()} {
		var calls []string
		trainer := shortTrainer(t)
		for _, h := range []train.Hook{
			recordingHook("monitor", train.PriorityMonitor, &calls, ""), recordingHook("user", 0, &calls, ""), {},
			recordingHook("second user", 0, &calls, ""), recordingHook("log", train.PriorityLog, &calls, ""),
		} {
			trainer.AddHook(h)
		}
		if err := train.Run(context.Background(), trainer, train.Options{Dir: dir, Every: 1}); err != nil {
			t.Fatal(err)
		}
		var want []string
		for _, event := range []string{"start", "step 1", "save 1", "step 2", "save 2", "end false"} {
			if dir == "" && strings.HasPrefix(event, "save") {
				continue
			}
			for _, name := range []string{"log", "user", "second user", "monitor"} {
				want = append(want, name+" "+event)
			}
		}
		if !slices.Equal(calls, want) {
			t.Errorf("with folder %q: calls %q, want %q", dir, calls, want)
		}
	}
}

// The error of a hook stops the training with the name of the hook, keeps later hooks from that
// event, and is passed to End. After an error of Start no step is made.
func TestHookErrors(t *testing.T) {
	for _, c := range []struct {
		fail, checkpoint string
		done             int64
		want             []string
	}{
		{"start", "", 0, []string{"a start", "a end true", "b end true"}},
		{"step 1", "step-000000001.json", 1, []string{
			"a start", "b start", "a step 1", "a save 1", "b save 1", "a end true", "b end true",
		}},
		{"save 1", "", 1, []string{
			"a start", "b start", "a step 1", "b step 1", "a save 1", "a save 1", "a end true", "b end true",
		}},
	} {
		var calls []string
		trainer, dir := shortTrainer(t), t.TempDir()
		trainer.AddHook(recordingHook("b", 1, &calls, ""))
		trainer.AddHook(recordingHook("a", 0, &calls, c.fail))
		err := train.Run(context.Background(), trainer, train.Options{Dir: dir, Every: 1})
		if err == nil || !strings.Contains(err.Error(), "a: a failed at "+c.fail) {
			t.Errorf("%s: error %v, want that of hook a", c.fail, err)
		}
		if trainer.Done() != c.done || !slices.Equal(calls, c.want) {
			t.Errorf("%s: %d steps and calls %q, want %d and %q", c.fail, trainer.Done(), calls, c.done, c.want)
		}
		saved, err := filepath.Glob(filepath.Join(dir, "step-*.json"))
		if err != nil || c.checkpoint == "" && len(saved) > 0 {
			t.Errorf("%s: checkpoints %v, %v; want none", c.fail, saved, err)
		}
		if c.checkpoint != "" {
			if _, err := os.Stat(filepath.Join(dir, c.checkpoint)); err != nil {
				t.Errorf("%s: %v", c.fail, err)
			}
		}
	}
}

// Start sees the restored state. If Run fails before Start, End is still called.
func TestHooksOfAResumedRun(t *testing.T) {
	dir := t.TempDir()
	if err := train.Run(context.Background(), shortTrainer(t), train.Options{Dir: dir}); err != nil {
		t.Fatal(err)
	}
	done, ended := int64(-1), error(nil)
	hook := train.Hook{
		Start: func(t *train.Trainer) error { done = t.Done(); return nil },
		End:   func(_ *train.Trainer, err error) { ended = err },
	}
	trainer := shortTrainer(t)
	trainer.AddHook(hook)
	if err := train.Run(context.Background(), trainer, train.Options{Dir: dir}); err != nil || done != 2 {
		t.Errorf("Start after %d steps, error %v; want 2 steps", done, err)
	}
	other, done := mfmtest.NewSmallTrainer(t, mfmtest.SmallConfig()), int64(-1)
	other.AddHook(hook)
	err := train.Run(context.Background(), other, train.Options{Dir: dir})
	if err == nil || ended != err || done != -1 {
		t.Errorf("another configuration: error %v, End with %v, Start after %d steps; want no Start", err, ended, done)
	}
}
