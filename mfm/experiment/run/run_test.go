package run_test

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gomfm/gomfm/mfm/backend"
	"github.com/gomfm/gomfm/mfm/checkpoint"
	"github.com/gomfm/gomfm/mfm/experiment/image"
	"github.com/gomfm/gomfm/mfm/experiment/internal/experimenttest"
	"github.com/gomfm/gomfm/mfm/experiment/mixture"
	"github.com/gomfm/gomfm/mfm/experiment/run"
	"github.com/gomfm/gomfm/mfm/internal/backendtest"
	"github.com/gomfm/gomfm/mfm/train"
)

// stopAfter returns hooks that stop a training after a step with err.
func stopAfter(step int64, err error) []train.Hook {
	return []train.Hook{{Step: func(_ *train.Trainer, m train.Metrics) error {
		if m.Step == step {
			return err
		}
		return nil
	}}}
}

func tiny(t *testing.T) *mixture.Experiment {
	t.Helper()
	return experimenttest.NewMixture(t, experimenttest.TinyConfig())
}

// sum returns the hash of a file.
func sum(t *testing.T, dir, name string) [32]byte {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return sha256.Sum256(raw)
}

// A run that is stopped between two checkpoints and then resumed ends with the same files as an
// uninterrupted run.
func TestRunResumes(t *testing.T) {
	b, e, broken := backendtest.New(t), tiny(t), errors.New("stop here")
	whole, parts := t.TempDir(), t.TempDir()
	if _, err := e.Train(t.Context(), b, run.Options{Dir: whole, Every: 5, Command: "a"}); err != nil {
		t.Fatal(err)
	}
	_, err := e.Train(t.Context(), b, run.Options{Dir: parts, Every: 5, Command: "a", Hooks: stopAfter(7, broken)})
	if !errors.Is(err, broken) {
		t.Fatalf("stopped with error %v", err)
	}
	log, err := run.ReadLog(parts)
	if err != nil {
		t.Fatal(err)
	}
	if last := log[len(log)-1].Step; last != 7 {
		t.Errorf("stopped after step 7: the log ends with step %d", last)
	}
	if _, _, err := mixture.Open(parts); err != nil {
		t.Errorf("opening an interrupted run: %v", err)
	}
	if steps, err := run.Steps(parts, 12); err != nil || steps != 7 {
		t.Errorf("stopped after step 7: %d steps of training (%v)", steps, err)
	}
	if _, err := e.Train(t.Context(), b, run.Options{Dir: parts, Every: 5, Command: "a"}); err != nil {
		t.Fatal(err)
	}
	if steps, err := run.Steps(parts, 12); err != nil || steps != 12 {
		t.Errorf("%d steps of training (%v)", steps, err)
	}
	files := []string{"weights.safetensors", "config.json"}
	// The pure-Go backend leaves a word of the random state unset that it does not use.
	if backend.Loops(b) {
		files = append(files, "step-000000012.safetensors")
	}
	for _, name := range files {
		if sum(t, whole, name) != sum(t, parts, name) {
			t.Errorf("%s differs from the file of an uninterrupted run", name)
		}
	}
	compareLogs(t, parts, whole, 12)
}

// A run that is restarted and stopped has the weights of the new training, not those before.
func TestRestartReplacesWeights(t *testing.T) {
	b, e, dir, broken := backendtest.New(t), tiny(t), t.TempDir(), errors.New("stop here")
	o := run.Options{Dir: dir, Every: 5, Command: "a"}
	if _, err := e.Train(t.Context(), b, o); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "step-*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("checkpoints %v, error %v", files, err)
	}
	for _, file := range files {
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
	}
	o.Restart, o.Hooks = true, stopAfter(7, broken)
	if _, err := e.Train(t.Context(), b, o); !errors.Is(err, broken) {
		t.Fatalf("stopped with error %v", err)
	}
	if ended, err := run.Exported(dir); ended || err != nil {
		t.Errorf("the stopped run has ended: %v, error %v", ended, err)
	}
	if steps, err := run.Steps(dir, 12); err != nil || steps != 7 {
		t.Errorf("%d steps of training, want 7 (%v)", steps, err)
	}
}

// compareLogs compares two logs of n entries, except for their seconds.
func compareLogs(t *testing.T, dir, wantDir string, n int) {
	t.Helper()
	got, err := run.ReadLog(dir)
	if err != nil {
		t.Fatal(err)
	}
	want, err := run.ReadLog(wantDir)
	if err != nil {
		t.Fatal(err)
	}
	same := func(a, b run.LogEntry) bool { a.Seconds, b.Seconds = 0, 0; return reflect.DeepEqual(a, b) }
	if len(want) != n || !slices.EqualFunc(got, want, same) {
		t.Errorf("logs differ: %v\nand %v", got, want)
	}
	if !slices.IsSortedFunc(got, func(a, b run.LogEntry) int { return cmp.Compare(a.Seconds, b.Seconds) }) {
		t.Errorf("seconds decrease in %v", got)
	}
}

// An entry of the log is a mean over ten steps here. A run that is stopped between two entries, and
// whose next checkpoint fails after its log was written, as by a kill, ends with the log of an
// uninterrupted run.
func TestRunResumesInsideAWindow(t *testing.T) {
	c := experimenttest.TinyConfig()
	c.Train.Steps = 5000
	b, e, broken := backendtest.New(t), experimenttest.NewMixture(t, c), errors.New("stop here")
	whole, parts := t.TempDir(), t.TempDir()
	var logs []run.LogSink // of the first start alone
	resume := func(dir string, last int64) (first int64, err error) {
		hook := train.Hook{Step: func(_ *train.Trainer, m train.Metrics) error {
			if first == 0 {
				first = m.Step
			}
			return stopAfter(last, broken)[0].Step(nil, m)
		}}
		_, err = e.Train(t.Context(), b, run.Options{Dir: dir, Every: 15, Hooks: []train.Hook{hook}, Logs: logs})
		if !errors.Is(err, broken) {
			t.Fatalf("stopped with error %v", err)
		}
		return first, err
	}
	resume(whole, 40)
	if _, err := os.Stat(filepath.Join(whole, "events.out.tfevents.mfm")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a run without the sink has an event file (%v)", err)
	}
	logs = []run.LogSink{run.EventLog{}}
	resume(parts, 13)
	logs = nil
	sinksAgree(t, parts, 1)
	// A folder blocks the path of the checkpoint's manifest until the run is resumed.
	blocked := filepath.Join(parts, "step-000000027.json")
	if err := os.MkdirAll(filepath.Join(blocked, "full"), 0o755); err != nil {
		t.Fatal(err)
	}
	if first, err := resume(parts, 27); first != 14 || !strings.Contains(err.Error(), "step 27") {
		t.Errorf("resumed at step %d with error %v; want step 14, and the error of the checkpoint of step 27", first,
			err)
	}
	sinksAgree(t, parts, 2) // as a kill leaves them, with an entry that the checkpoint does not have
	if err := os.RemoveAll(blocked); err != nil {
		t.Fatal(err)
	}
	if first, _ := resume(parts, 40); first != 16 {
		t.Errorf("resumed at step %d, want 16", first)
	}
	compareLogs(t, parts, whole, 4)
	sinksAgree(t, parts, 4)
}

// sinksAgree checks that the forms of a run's log have the n entries of log.json.
func sinksAgree(t *testing.T, dir string, n int) {
	t.Helper()
	log, err := run.ReadLog(dir)
	if err != nil || len(log) != n {
		t.Fatalf("%d entries of the log, want %d (%v)", len(log), n, err)
	}
	for name, sink := range map[string]run.LogSink{"log.csv": run.CSVLog{}, "events.out.tfevents.mfm": run.EventLog{}} {
		path := filepath.Join(dir, name)
		got, err := os.ReadFile(path)
		if err = errors.Join(err, os.Remove(path), sink.WriteLog(dir, log)); err != nil {
			t.Fatal(err)
		}
		if want, err := os.ReadFile(path); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s has other entries than log.json: %q, want %q (%v)", name, got, want, err)
		}
	}
}

// A canceled training returns the cause of its context.
func TestRunEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("enough")
	cancel(cause)
	_, err := tiny(t).Train(ctx, backendtest.New(t), run.Options{Dir: t.TempDir()})
	if !errors.Is(err, cause) {
		t.Errorf("error %v, want the context's cause", err)
	}
}

// A folder refuses another run, even one that would train in the same way, such as one on another
// mixture.
func TestRunRefusesAnotherConfiguration(t *testing.T) {
	b, dir, stop := backendtest.New(t), t.TempDir(), errors.New("stop here")
	options := run.Options{Dir: dir, Command: "first", Hooks: stopAfter(1, stop)}
	if _, err := tiny(t).Train(t.Context(), b, options); !errors.Is(err, stop) {
		t.Fatal(err)
	}
	before := sum(t, dir, "config.json")
	interpolant := experimenttest.TinyConfig()
	interpolant.Interpolant = "vp"
	seed := experimenttest.TinyConfig()
	seed.Train.Seed++
	for name, c := range map[string]mixture.Config{"interpolant": interpolant, "seed": seed} {
		_, err := experimenttest.NewMixture(t, c).Train(t.Context(), b, run.Options{Dir: dir, Command: "second"})
		if !errors.Is(err, run.ErrOtherRun) {
			t.Errorf("other %s: error %v, want %v", name, err, run.ErrOtherRun)
		}
		experimenttest.WantError(t, "other "+name, err, "`first`")
	}
	unnamed := run.Options{Dir: t.TempDir()}
	if err := unnamed.Claim("a", 1); err != nil {
		t.Fatal(err)
	}
	if err := unnamed.Claim("a", 2); err == nil || strings.Contains(err.Error(), "`") {
		t.Errorf("a run without a command: error %v, want one without a command", err)
	}
	_, err := tiny(t).Train(t.Context(), b, run.Options{Dir: dir, Data: "elsewhere"})
	if !errors.Is(err, run.ErrOtherRun) {
		t.Errorf("other data: error %v, want %v", err, run.ErrOtherRun)
	}
	if sum(t, dir, "config.json") != before {
		t.Error("a refused run has changed the manifest")
	}
}

// A run waits for a folder in use for as long as a killed process needs to end, and reads the log
// after that.
func TestRunWaitsForItsFolder(t *testing.T) {
	b, dir, stop := backendtest.New(t), t.TempDir(), errors.New("stop here")
	holder, err := checkpoint.Open(dir, 1)
	if err != nil {
		t.Fatal(err)
	}
	var waits int
	wait := func(context.Context, time.Duration) error { waits++; return nil }
	_, err = tiny(t).Train(t.Context(), b, run.Options{Dir: dir, Sleep: wait})
	if !errors.Is(err, checkpoint.ErrLocked) || waits != 49 {
		t.Errorf("a folder that stays in use: error %v after %d waits, want %v after 49",
			err, waits, checkpoint.ErrLocked)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := tiny(t).Train(ctx, b, run.Options{Dir: dir}); !errors.Is(err, checkpoint.ErrLocked) {
		t.Errorf("a folder in use when the context has ended: error %v, want %v", err, checkpoint.ErrLocked)
	}
	if err := holder.Close(); err != nil {
		t.Fatal(err)
	}
	train := func(last int64, sleep func(context.Context, time.Duration) error) {
		o := run.Options{Dir: dir, Hooks: stopAfter(last, stop), Sleep: sleep}
		if _, err := tiny(t).Train(t.Context(), b, o); !errors.Is(err, stop) {
			t.Errorf("a folder that is or becomes free: error %v, want %v", err, stop)
		}
	}
	train(3, nil)
	// The process that holds the folder writes the log of these steps just before it ends.
	path := filepath.Join(dir, "log.json")
	log, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if holder, err = checkpoint.Open(dir, 1); err == nil {
		err = os.Remove(path)
	}
	if err != nil {
		t.Fatal(err)
	}
	waits = 0
	train(5, func(context.Context, time.Duration) error {
		if waits++; waits < 3 {
			return nil
		}
		return errors.Join(os.WriteFile(path, log, 0o644), holder.Close())
	})
	if waits != 3 {
		t.Errorf("waited %d times for a folder that became free after 3", waits)
	}
	entries, err := run.ReadLog(dir)
	if err != nil || len(entries) != 5 {
		t.Errorf("the log has entries %v (error %v), want those of five steps", entries, err)
	}
}

// Folders without a run and damaged runs are errors of one line that name the fault.
func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	_, _, err := mixture.Open(filepath.Join(dir, "none"))
	experimenttest.WantError(t, "no folder", err, "no such file")
	_, _, err = image.OfRun(dir)
	experimenttest.WantError(t, "no manifest", err, "no such file")
	for _, tc := range []struct{ name, manifest, message string }{
		{"torn", `{"kind": "gm`, "config.json"},
		{"unknown key", `{"kind": "gmm", "color": "red"}`, "color"},
		{"kind", `{"kind": "digits", "config": {}}`, `of kind "digits", want "gmm"`},
		{"no mixture", `{"kind": "gmm", "config": {}}`, "mixture is missing"},
		{"no weights", string(manifest(t)), "has no weights.safetensors yet, and no checkpoint"},
	} {
		if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(tc.manifest), 0o644); err != nil {
			t.Fatal(err)
		}
		_, _, err := mixture.Open(dir)
		experimenttest.WantError(t, tc.name, err, tc.message)
	}
	if err := os.WriteFile(filepath.Join(dir, "weights.safetensors"), []byte("no weights"), 0o644); err != nil {
		t.Fatal(err)
	}
	_, _, err = mixture.Open(dir)
	experimenttest.WantError(t, "torn weights", err, "weights.safetensors")
}

// manifest returns the manifest of a run that was stopped before its first step.
func manifest(t *testing.T) []byte {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	dir := t.TempDir()
	if _, err := tiny(t).Train(ctx, backendtest.New(t), run.Options{Dir: dir}); err == nil {
		t.Fatal("a canceled training returned no error")
	}
	raw, err := os.ReadFile(filepath.Join(dir, "config.json"))
	if err != nil {
		t.Fatal(err)
	}
	return raw
}
