package experiment

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Cells is a grid of settings whose results are kept one by one in a folder: a cell that is there is never run again, so a sweep that was killed goes on, and several processes, on several machines, can
// share one.
type Cells struct {
	// Dir is the folder of the results.
	Dir string
	// Shard of Shards, from 0: this process runs the cells whose number leaves Shard when divided by Shards. 0 of 0, or of 1, is all.
	Shard, Shards int
	// Done is told of each cell, whether it was run or there: its number, and how many there are. nil: nobody.
	Done func(i, n int)
}

// ParseShard reads "i/n", shard i of n from 0; empty is all.
func ParseShard(s string) (shard, shards int, err error) {
	if s == "" {
		return 0, 1, nil
	}
	var rest string
	if n, _ := fmt.Sscanf(s+" ", "%d/%d%s", &shard, &shards, &rest); n != 2 || shards < 1 || shard < 0 || shard >= shards {
		return 0, 0, fmt.Errorf("shard %q: give i/n with i from 0 to n-1, such as 0/4", s)
	}
	return shard, shards, nil
}

// cellFile is what a result's file holds: the settings, so that it explains itself, and what came of them.
type cellFile[C, R any] struct {
	Cell C `json:"cell"`
	Row  R `json:"row"`
}

// RunCells runs this shard's cells, each by run, but for those whose results are there, and returns all rows that are there then, in the order of cells. It stops at the first error.
func RunCells[C, R any](ctx context.Context, o Cells, cells []C, run func(ctx context.Context, cell C) (R, error)) ([]R, error) {
	if err := os.MkdirAll(o.Dir, 0o755); err != nil {
		return nil, fmt.Errorf("cells: %w", err)
	}
	var rows []R
	for i, cell := range cells {
		path, err := cellPath(o.Dir, cell)
		if err != nil {
			return rows, err
		}
		var file cellFile[C, R]
		switch err := readCell(path, &file); {
		case err == nil:
		case !errors.Is(err, os.ErrNotExist):
			return rows, err
		case o.Shards > 1 && i%o.Shards != o.Shard:
			continue
		case ctx.Err() != nil:
			return rows, fmt.Errorf("stopped after %d of %d cells: %w", i, len(cells), context.Cause(ctx))
		default:
			row, err := run(ctx, cell)
			if err != nil {
				return rows, fmt.Errorf("cell %d of %d: %w", i+1, len(cells), err)
			}
			file = cellFile[C, R]{cell, row}
			if err := writeJSON(path, file); err != nil {
				return rows, fmt.Errorf("cells: %w", err)
			}
		}
		rows = append(rows, file.Row)
		if o.Done != nil {
			o.Done(i+1, len(cells))
		}
	}
	return rows, nil
}

// MergeCells returns the rows of all results in the folders, those of equal settings once, in the order of their settings as JSON.
func MergeCells[R any](dirs ...string) ([]R, error) {
	type found struct {
		key string
		row R
	}
	var all []found
	for _, dir := range dirs {
		paths, err := filepath.Glob(filepath.Join(dir, "cell-*.json"))
		if err != nil {
			return nil, fmt.Errorf("cells: %w", err)
		}
		if len(paths) == 0 {
			return nil, fmt.Errorf("cells: %s has no results", dir)
		}
		for _, path := range paths {
			var file cellFile[json.RawMessage, R]
			if err := readCell(path, &file); err != nil {
				return nil, err
			}
			all = append(all, found{string(file.Cell), file.Row})
		}
	}
	slices.SortStableFunc(all, func(a, b found) int { return strings.Compare(a.key, b.key) })
	all = slices.CompactFunc(all, func(a, b found) bool { return a.key == b.key })
	rows := make([]R, len(all))
	for i, f := range all {
		rows[i] = f.row
	}
	return rows, nil
}

// cellPath is the file of a cell's result, named by a hash of the settings.
func cellPath(dir string, cell any) (string, error) {
	raw, err := json.Marshal(cell)
	if err != nil {
		return "", fmt.Errorf("cells: encoding a cell: %w", err)
	}
	sum := sha256.Sum256(raw)
	return filepath.Join(dir, fmt.Sprintf("cell-%x.json", sum[:8])), nil
}

func readCell(path string, v any) error {
	raw, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("cells: %w", err)
	}
	if err := json.Unmarshal(raw, v); err != nil {
		return fmt.Errorf("cells: %s: %w: delete it to run that cell again", path, err)
	}
	return nil
}
