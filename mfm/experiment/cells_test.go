package experiment_test

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

	"github.com/gomfm/gomfm/mfm/experiment"
)

type cell struct {
	A, B int
}

type row struct{ Name string }

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
func counted(calls *int, broken int) func(context.Context, cell) (row, error) {
	return func(_ context.Context, c cell) (row, error) {
		if *calls++; *calls == broken {
			return row{}, errors.New("power cut")
		}
		return row{fmt.Sprintf("%d-%d", c.A, c.B)}, nil
	}
}

// A sweep that was stopped goes on with the cells that are missing; shards do each cell once, and together what one process does.
func TestCells(t *testing.T) {
	whole := t.TempDir()
	var calls int
	want, err := experiment.RunCells(t.Context(), experiment.Cells{Dir: whole}, grid(), counted(&calls, 0))
	if err != nil || calls != 12 || len(want) != 12 || want[5].Name != "1-1" {
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
	merged, err := experiment.MergeCells(append(dirs, whole)...)
	if err != nil || calls != 12 || len(merged) != 12 {
		t.Fatalf("merged: %v after %d calls, %s", err, calls, merged)
	}

	// What was merged is enough: no cell of it is run again, and it can be merged itself, beside its own cells.
	raw, err := json.Marshal(merged)
	if err != nil {
		t.Fatal(err)
	}
	stored := filepath.Join(t.TempDir(), "rows.json")
	if err := os.WriteFile(stored, raw, 0o644); err != nil {
		t.Fatal(err)
	}
	calls = 0
	more := append(grid(), cell{7, 7})
	got, err = experiment.RunCells(t.Context(), experiment.Cells{Dir: t.TempDir(), Stored: stored}, more, counted(&calls, 0))
	if err != nil || calls != 1 || !slices.Equal(got[:12], want) || got[12].Name != "7-7" {
		t.Errorf("with stored rows: %v, %d calls, %v", err, calls, got)
	}
	again, err := experiment.MergeCells(stored, whole)
	if both, _ := json.Marshal(again); err != nil || !bytes.Equal(both, raw) {
		t.Errorf("merged with its own cells: %v, %s, want %s", err, both, raw)
	}
	for _, text := range []string{"{}", `[{"Name": "0-0"}]`, `[1]`, "["} {
		if err := os.WriteFile(stored, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := experiment.MergeCells(stored); err == nil {
			t.Errorf("rows %s are taken", text)
		}
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
	if _, err := experiment.MergeCells(whole); err == nil {
		t.Error("a torn result is taken")
	}
	if _, err := experiment.MergeCells(t.TempDir()); err == nil {
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
