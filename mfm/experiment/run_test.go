package experiment_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/backend"
	"github.com/gomfm/gomfm/mfm/checkpoint"
	"github.com/gomfm/gomfm/mfm/experiment"
	"github.com/gomfm/gomfm/mfm/internal/backendtest"
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
func stopAfter(step int64, err error) func(mfm.Metrics) error {
	return func(m mfm.Metrics) error {
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
	wholeLog, err := experiment.ReadLog(whole)
	if err != nil {
		t.Fatal(err)
	}
	partsLog, err := experiment.ReadLog(parts)
	if err != nil {
		t.Fatal(err)
	}
	same := func(a, b experiment.LogEntry) bool { a.Seconds, b.Seconds = 0, 0; return a == b }
	if len(wholeLog) != 12 || !slices.EqualFunc(wholeLog, partsLog, same) {
		t.Errorf("logs differ: %v\nand %v", wholeLog, partsLog)
	}
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

// A folder in use is waited for, as long as a killed process needs to end.
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
	time.AfterFunc(200*time.Millisecond, func() { _ = holder.Close() })
	if _, err := newGMM(t, tinyConfig()).Train(t.Context(), b, experiment.RunOptions{Dir: dir, Observe: stopAfter(1, stop)}); !errors.Is(err, stop) {
		t.Errorf("in a folder that becomes free: error %v", err)
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
