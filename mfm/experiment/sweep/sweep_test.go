package sweep_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/gomfm/gomfm/mfm/experiment/sweep"
)

type setting struct {
	A, B int
}

type result struct{ Name string }

// grid returns twelve settings.
func grid() []setting {
	var settings []setting
	for a := range 3 {
		for b := range 4 {
			settings = append(settings, setting{a, b})
		}
	}
	return settings
}

// counted returns a function for [sweep.Run] that counts its calls and fails at call number broken;
// 0 means never.
func counted(calls *int, broken int) func(context.Context, setting) (result, error) {
	return func(_ context.Context, c setting) (result, error) {
		if *calls++; *calls == broken {
			return result{}, errors.New("power cut")
		}
		return result{fmt.Sprintf("%d-%d", c.A, c.B)}, nil
	}
}

// An interrupted sweep resumes with the settings that have no result. Shards run each setting once,
// and together give the results of one process.
func TestRun(t *testing.T) {
	whole := t.TempDir()
	var calls int
	want, err := sweep.Run(t.Context(), sweep.Sweep{Dir: whole}, grid(), counted(&calls, 0))
	if err != nil || calls != 12 || len(want) != 12 || want[5].Name != "1-1" {
		t.Fatalf("%v after %d calls: %v", err, calls, want)
	}

	parts := t.TempDir()
	calls = 0
	if _, err := sweep.Run(t.Context(), sweep.Sweep{Dir: parts}, grid(), counted(&calls, 5)); err == nil {
		t.Fatal("a failed run returned no error")
	}
	calls = 0
	got, err := sweep.Run(t.Context(), sweep.Sweep{Dir: parts}, grid(), counted(&calls, 0))
	if err != nil || calls != 8 || !slices.Equal(got, want) {
		t.Errorf("resumed: %v, %d calls, %v", err, calls, got)
	}

	var dirs []string
	calls = 0
	for shard := range 3 {
		dir := t.TempDir()
		results, err := sweep.Run(t.Context(), sweep.Sweep{Dir: dir, Shard: shard, Shards: 3}, grid(),
			counted(&calls, 0))
		if err != nil || len(results) != 4 {
			t.Errorf("shard %d: %v, %v", shard, err, results)
		}
		dirs = append(dirs, dir)
	}
	merged, err := sweep.Merge(append(dirs, whole)...)
	if err != nil || calls != 12 || len(merged) != 12 {
		t.Fatalf("merged: %v after %d calls, %s", err, calls, merged)
	}

	// Merged results suffice: their settings are not run again, and they merge with the folders
	// they came from.
	raw, err := json.Marshal(merged)
	if err != nil {
		t.Fatal(err)
	}
	stored := filepath.Join(t.TempDir(), "results.json")
	if err := os.WriteFile(stored, raw, 0o644); err != nil {
		t.Fatal(err)
	}
	calls = 0
	more := append(grid(), setting{7, 7})
	got, err = sweep.Run(t.Context(), sweep.Sweep{Dir: t.TempDir(), Stored: stored}, more, counted(&calls, 0))
	if err != nil || calls != 1 || !slices.Equal(got[:12], want) || got[12].Name != "7-7" {
		t.Errorf("with stored results: %v, %d calls, %v", err, calls, got)
	}
	again, err := sweep.Merge(stored, whole)
	if both, _ := json.Marshal(again); err != nil || !bytes.Equal(both, raw) {
		t.Errorf("merged with its own folder: %v, %s, want %s", err, both, raw)
	}
	for _, text := range []string{"{}", `[{"Name": "0-0"}]`, `[1]`, "["} {
		if err := os.WriteFile(stored, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := sweep.Merge(stored); err == nil {
			t.Errorf("results %s are accepted", text)
		}
	}

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = sweep.Run(ctx, sweep.Sweep{Dir: t.TempDir()}, grid(), counted(&calls, 0))
	if !errors.Is(err, context.Canceled) {
		t.Errorf("after the end of its context: %v", err)
	}
	files, err := filepath.Glob(filepath.Join(whole, "result-*.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(files[0], []byte("{"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := sweep.Merge(whole); err == nil {
		t.Error("a torn result is accepted")
	}
	if _, err := sweep.Merge(t.TempDir()); err == nil {
		t.Error("a folder without results is accepted")
	}
}

// Complete runs the settings without a result, creates the file, keeps in it the results of all
// settings or those that keep accepts, and leaves it alone if all results were in it.
func TestComplete(t *testing.T) {
	dir, calls := t.TempDir(), 0
	s := sweep.Sweep{Dir: dir, Stored: filepath.Join(dir, "results.json")}
	complete := func(settings []setting, keep func(name, test string) bool, wantCalls, wantResults int) {
		t.Helper()
		calls = 0
		err := sweep.Complete(t.Context(), s, settings, counted(&calls, 0), keep)
		results, errMerge := sweep.Merge(s.Stored)
		if err = errors.Join(err, errMerge); err != nil || calls != wantCalls || len(results) != wantResults {
			t.Errorf("%d results after %d calls, want %d after %d: %v", len(results), calls, wantResults, wantCalls,
				err)
		}
	}
	complete(grid()[:8], nil, 8, 8)
	complete(grid()[4:], nil, 4, 8) // drops four results
	s.Dir = t.TempDir()
	complete(grid()[4:5], nil, 0, 8) // leaves the file alone
	complete(grid()[:1], func(string, string) bool { return true }, 1, 9)
	first, err := sweep.Name(grid()[0])
	if err != nil {
		t.Fatal(err)
	}
	complete(grid()[:1], func(name, test string) bool { return name == first && test == "" }, 0, 1)

	// What exists stays after a failed run.
	calls = 0
	if err := sweep.Complete(t.Context(), s, grid(), counted(&calls, 3), nil); err == nil {
		t.Error("a failed run returned no error")
	}
	complete(grid(), nil, 9, 12)
}

func TestParseShard(t *testing.T) {
	for text, want := range map[string][2]int{"": {0, 1}, "0/4": {0, 4}, "3/4": {3, 4}} {
		if i, n, err := sweep.ParseShard(text); err != nil || i != want[0] || n != want[1] {
			t.Errorf("%q: %d/%d, %v", text, i, n, err)
		}
	}
	for _, text := range []string{"4/4", "-1/4", "1", "1/0", "a/b", "1/4/2", "1/4 x"} {
		if _, _, err := sweep.ParseShard(text); err == nil {
			t.Errorf("%q is accepted", text)
		}
	}
}

// Results are found in a folder of any name, and a file without an end is refused.
func TestMergeOfAnyFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "[a")
	var calls int
	if _, err := sweep.Run(t.Context(), sweep.Sweep{Dir: dir}, grid()[:2], counted(&calls, 0)); err != nil {
		t.Fatal(err)
	}
	if merged, err := sweep.Merge(dir); err != nil || len(merged) != 2 {
		t.Errorf("merged %s, %v, want two results", merged, err)
	}
	endless := sweep.Sweep{Dir: t.TempDir(), Stored: "/dev/zero"}
	if _, err := sweep.Run(t.Context(), endless, grid(), counted(&calls, 0)); err == nil {
		t.Error("stored results without an end are accepted")
	}
}
