package experiment_test

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/backend"
	"github.com/gomfm/gomfm/mfm/checkpoint"
	"github.com/gomfm/gomfm/mfm/experiment"
	"github.com/gomfm/gomfm/mfm/internal/backendtest"
	"github.com/gomfm/gomfm/mfm/train"
)

// tinyConfig is compiled and trained in a second.
func tinyConfig() experiment.GMMConfig {
	c := experiment.DefaultGMMConfig()
	c.SetLoss(mfm.DiagonalOnly, mfm.Self)
	c.Parametrization = "plain"
	c.Network.Width, c.Network.Depth = 8, 1
	c.Train.Steps, c.Train.Batch, c.Train.Seed = 12, 16, 3
	return c
}

// stopAfter observes a training and stops it after a step.
func stopAfter(step int64, err error) func(train.Metrics) error {
	return func(m train.Metrics) error {
		if m.Step == step {
			return err
		}
		return nil
	}
}

func sum(t *testing.T, dir, name string) [32]byte {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return sha256.Sum256(raw)
}

// A run that is stopped where no checkpoint was due, and goes on, ends with the files of one that never was.
func TestRunGoesOn(t *testing.T) {
	b, e, broken := backendtest.New(t), newGMM(t, tinyConfig()), errors.New("stop here")
	whole, parts := t.TempDir(), t.TempDir()
	if _, err := e.Train(t.Context(), b, experiment.RunOptions{Dir: whole, Every: 5, Command: "a"}); err != nil {
		t.Fatal(err)
	}
	_, err := e.Train(t.Context(), b, experiment.RunOptions{Dir: parts, Every: 5, Command: "a", Observe: stopAfter(7, broken)})
	if !errors.Is(err, broken) {
		t.Fatalf("stopped with error %v", err)
	}
	log, err := experiment.ReadLog(parts)
	if err != nil {
		t.Fatal(err)
	}
	if last := log[len(log)-1].Step; last != 7 {
		t.Errorf("stopped after step 7, the log ends with %d", last)
	}
	if _, _, err := experiment.OpenGMM(parts); err != nil {
		t.Errorf("opening a run that was stopped: %v", err)
	}
	if _, err := e.Train(t.Context(), b, experiment.RunOptions{Dir: parts, Every: 5, Command: "a"}); err != nil {
		t.Fatal(err)
	}
	files := []string{"weights.safetensors", "config.json"}
	if backend.Loops(b) { // the pure-Go backend leaves a word of the random state unset that it has no use for
		files = append(files, "step-000000012.safetensors")
	}
	for _, name := range files {
		if sum(t, whole, name) != sum(t, parts, name) {
			t.Errorf("%s differs from that of an uninterrupted run", name)
		}
	}
	compareLogs(t, parts, whole, 12)
}

// compareLogs compares two logs of the given number of entries, but for their seconds.
func compareLogs(t *testing.T, dir, wantDir string, n int) {
	t.Helper()
	got, err := experiment.ReadLog(dir)
	if err != nil {
		t.Fatal(err)
	}
	want, err := experiment.ReadLog(wantDir)
	if err != nil {
		t.Fatal(err)
	}
	same := func(a, b experiment.LogEntry) bool { a.Seconds, b.Seconds = 0, 0; return a == b }
	if len(want) != n || !slices.EqualFunc(got, want, same) {
		t.Errorf("logs differ: %v\nand %v", got, want)
	}
	if !slices.IsSortedFunc(got, func(a, b experiment.LogEntry) int { return cmp.Compare(a.Seconds, b.Seconds) }) {
		t.Errorf("seconds fall in %v", got)
	}
}

// An entry of the log is a mean over ten steps here. A run that is stopped between two of them, and whose next checkpoint fails after its log was written, as by a kill, ends with
// the log of one that never was.
func TestRunGoesOnInsideAnEntry(t *testing.T) {
	c := tinyConfig()
	c.Train.Steps = 5000
	b, e, broken := backendtest.New(t), newGMM(t, c), errors.New("stop here")
	whole, parts := t.TempDir(), t.TempDir()
	train := func(dir string, last int64) (first int64, err error) {
		_, err = e.Train(t.Context(), b, experiment.RunOptions{Dir: dir, Every: 15, Observe: func(m train.Metrics) error {
			if first == 0 {
				first = m.Step
			}
			return stopAfter(last, broken)(m)
		}})
		if !errors.Is(err, broken) {
			t.Fatalf("stopped with error %v", err)
		}
		return first, err
	}
	train(whole, 40)
	train(parts, 13)
	// Where its manifest should go there is a folder, until the run goes on.
	blocked := filepath.Join(parts, "step-000000027.json")
	if err := os.MkdirAll(filepath.Join(blocked, "full"), 0o755); err != nil {
		t.Fatal(err)
	}
	if first, err := train(parts, 27); first != 14 || !strings.Contains(err.Error(), "step 27") {
		t.Errorf("went on with step %d, and with error %v; want step 14, and one of the checkpoint of step 27", first, err)
	}
	if err := os.RemoveAll(blocked); err != nil {
		t.Fatal(err)
	}
	if first, _ := train(parts, 40); first != 16 {
		t.Errorf("went on with step %d, want 16", first)
	}
	compareLogs(t, parts, whole, 4)
}

func TestRunEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("enough")
	cancel(cause)
	_, err := newGMM(t, tinyConfig()).Train(ctx, backendtest.New(t), experiment.RunOptions{Dir: t.TempDir()})
	if !errors.Is(err, cause) {
		t.Errorf("error %v, want the context's cause", err)
	}
}

// A folder keeps the run that it has: another one is refused, also where it would train alike, on another mixture say.
func TestRunRefusesAnothersFolder(t *testing.T) {
	b, dir, stop := backendtest.New(t), t.TempDir(), errors.New("stop here")
	options := experiment.RunOptions{Dir: dir, Command: "first", Observe: stopAfter(1, stop)}
	if _, err := newGMM(t, tinyConfig()).Train(t.Context(), b, options); !errors.Is(err, stop) {
		t.Fatal(err)
	}
	before := sum(t, dir, "config.json")
	interpolant := tinyConfig()
	interpolant.Interpolant = "vp"
	seed := tinyConfig()
	seed.Train.Seed++
	for name, c := range map[string]experiment.GMMConfig{"interpolant": interpolant, "seed": seed} {
		_, err := newGMM(t, c).Train(t.Context(), b, experiment.RunOptions{Dir: dir, Command: "second"})
		if !errors.Is(err, experiment.ErrOtherRun) {
			t.Errorf("another %s: error %v, want %v", name, err, experiment.ErrOtherRun)
		}
		wantError(t, "another "+name, err, "`first`")
	}
	_, err := newGMM(t, tinyConfig()).Train(t.Context(), b, experiment.RunOptions{Dir: dir, Data: "elsewhere"})
	if !errors.Is(err, experiment.ErrOtherRun) {
		t.Errorf("other data: error %v, want %v", err, experiment.ErrOtherRun)
	}
	if sum(t, dir, "config.json") != before {
		t.Error("a refused run has changed the manifest")
	}
}

// A folder in use is waited for, as long as a killed process needs to end, and its log is read after that.
func TestRunWaitsForItsFolder(t *testing.T) {
	b, dir, stop := backendtest.New(t), t.TempDir(), errors.New("stop here")
	holder, err := checkpoint.Open(dir, 1)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := newGMM(t, tinyConfig()).Train(ctx, b, experiment.RunOptions{Dir: dir}); !errors.Is(err, checkpoint.ErrLocked) {
		t.Errorf("in a folder that stays in use: error %v", err)
	}
	if err := holder.Close(); err != nil {
		t.Fatal(err)
	}
	train := func(last int64) {
		if _, err := newGMM(t, tinyConfig()).Train(t.Context(), b, experiment.RunOptions{Dir: dir, Observe: stopAfter(last, stop)}); !errors.Is(err, stop) {
			t.Errorf("in a folder that is or becomes free: error %v", err)
		}
	}
	train(3)
	// Whoever has the folder writes the log of these steps only now, before it leaves.
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
	time.AfterFunc(200*time.Millisecond, func() {
		_ = os.WriteFile(path, log, 0o644)
		_ = holder.Close()
	})
	train(5)
	entries, err := experiment.ReadLog(dir)
	if err != nil || len(entries) != 5 {
		t.Errorf("the log has entries %v (error %v), want those of five steps", entries, err)
	}
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	_, _, err := experiment.OpenGMM(filepath.Join(dir, "none"))
	wantError(t, "no folder", err, "no such file")
	_, _, err = experiment.RunImages(dir)
	wantError(t, "no manifest", err, "no such file")
	for _, tc := range []struct{ name, manifest, message string }{
		{"torn", `{"kind": "gm`, "config.json"},
		{"unknown key", `{"kind": "gmm", "colour": "red"}`, "colour"},
		{"kind", `{"kind": "digits", "config": {}}`, `of kind "digits", want "gmm"`},
		{"no mixture", `{"kind": "gmm", "config": {}}`, "mixture is missing"},
		{"no weights", string(manifest(t)), "no checkpoint"},
	} {
		if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(tc.manifest), 0o644); err != nil {
			t.Fatal(err)
		}
		_, _, err := experiment.OpenGMM(dir)
		wantError(t, tc.name, err, tc.message)
	}
	if err := os.WriteFile(filepath.Join(dir, "weights.safetensors"), []byte("no weights"), 0o644); err != nil {
		t.Fatal(err)
	}
	_, _, err = experiment.OpenGMM(dir)
	wantError(t, "torn weights", err, "weights.safetensors")
}

// manifest returns that of a run that was stopped before its first step.
func manifest(t *testing.T) []byte {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	dir := t.TempDir()
	if _, err := newGMM(t, tinyConfig()).Train(ctx, backendtest.New(t), experiment.RunOptions{Dir: dir}); err == nil {
		t.Fatal("a cancelled training ended well")
	}
	raw, err := os.ReadFile(filepath.Join(dir, "config.json"))
	if err != nil {
		t.Fatal(err)
	}
	return raw
}
