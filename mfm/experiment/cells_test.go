package experiment_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/gomfm/gomfm/mfm/experiment"
)

type cell struct {
	A, B int
}

func grid() []cell {
	var cells []cell
	for a := range 3 {
		for b := range 4 {
			cells = append(cells, cell{a, b})
		}
	}
	return cells
}

// counted returns a run that counts its calls, and ends with an error at the given call, 0 for none.
func counted(calls *int, broken int) func(context.Context, cell) (string, error) {
	return func(_ context.Context, c cell) (string, error) {
		if *calls++; *calls == broken {
			return "", errors.New("power cut")
		}
		return fmt.Sprintf("%d-%d", c.A, c.B), nil
	}
}

// A sweep that was stopped goes on with the cells that are missing; shards do each cell once, and together what one process does.
func TestCells(t *testing.T) {
	whole := t.TempDir()
	var calls int
	want, err := experiment.RunCells(t.Context(), experiment.Cells{Dir: whole}, grid(), counted(&calls, 0))
	if err != nil || calls != 12 || len(want) != 12 || want[5] != "1-1" {
		t.Fatalf("%v after %d calls: %v", err, calls, want)
	}

	parts := t.TempDir()
	calls = 0
	if _, err := experiment.RunCells(t.Context(), experiment.Cells{Dir: parts}, grid(), counted(&calls, 5)); err == nil {
		t.Fatal("no error")
	}
	calls = 0
	got, err := experiment.RunCells(t.Context(), experiment.Cells{Dir: parts}, grid(), counted(&calls, 0))
	if err != nil || calls != 8 || !slices.Equal(got, want) {
		t.Errorf("going on: %v, %d calls, %v", err, calls, got)
	}

	var dirs []string
	calls = 0
	for shard := range 3 {
		dir := t.TempDir()
		rows, err := experiment.RunCells(t.Context(), experiment.Cells{Dir: dir, Shard: shard, Shards: 3}, grid(), counted(&calls, 0))
		if err != nil || len(rows) != 4 {
			t.Errorf("shard %d: %v, %v", shard, err, rows)
		}
		dirs = append(dirs, dir)
	}
	merged, err := experiment.MergeCells[string](append(dirs, whole)...)
	if err != nil || calls != 12 || !slices.Equal(merged, want) {
		t.Errorf("merged: %v after %d calls, %v", err, calls, merged)
	}

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := experiment.RunCells(ctx, experiment.Cells{Dir: t.TempDir()}, grid(), counted(&calls, 0)); !errors.Is(err, context.Canceled) {
		t.Errorf("after the end of its context: %v", err)
	}
	files, err := filepath.Glob(filepath.Join(whole, "cell-*.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(files[0], []byte("{"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := experiment.MergeCells[string](whole); err == nil {
		t.Error("a torn result is taken")
	}
	if _, err := experiment.MergeCells[string](t.TempDir()); err == nil {
		t.Error("a folder without results is taken")
	}
}

func TestParseShard(t *testing.T) {
	for text, want := range map[string][2]int{"": {0, 1}, "0/4": {0, 4}, "3/4": {3, 4}} {
		if i, n, err := experiment.ParseShard(text); err != nil || i != want[0] || n != want[1] {
			t.Errorf("%q: %d/%d, %v", text, i, n, err)
		}
	}
	for _, text := range []string{"4/4", "-1/4", "1", "1/0", "a/b", "1/4/2", "1/4 x"} {
		if _, _, err := experiment.ParseShard(text); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
}
