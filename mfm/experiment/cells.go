package experiment

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
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
	// Stored is a file of rows that [MergeCells] returned, whose cells are not run again either; empty for none.
	Stored string
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
	stored := make(map[string]json.RawMessage)
	if o.Stored != "" {
		if err := readStored(o.Stored, stored); err != nil {
			return nil, err
		}
	}
	var rows []R
	for i, cell := range cells {
		name, err := CellName(cell)
		if err != nil {
			return rows, err
		}
		path := filepath.Join(o.Dir, "cell-"+name+".json")
		var file cellFile[C, R]
		switch err := readCell(path, &file); {
		case err == nil:
		case !errors.Is(err, os.ErrNotExist):
			return rows, err
		case stored[name] != nil:
			if err := json.Unmarshal(stored[name], &file.Row); err != nil {
				return rows, fmt.Errorf("cells: %s: cell %s: %w", o.Stored, name, err)
			}
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

// MergeCells returns the rows of all results, those of equal settings once, each with its settings' hash as "cell" and in the order of their text. They come from folders of cells, and from files of rows that it
// returned before.
func MergeCells(from ...string) ([]json.RawMessage, error) {
	all := make(map[string]json.RawMessage)
	for _, dir := range from {
		if info, err := os.Stat(dir); err == nil && info.Mode().IsRegular() {
			if err := readStored(dir, all); err != nil {
				return nil, err
			}
			continue
		}
		paths, err := filepath.Glob(filepath.Join(dir, "cell-*.json"))
		if err != nil {
			return nil, fmt.Errorf("cells: %w", err)
		}
		if len(paths) == 0 {
			return nil, fmt.Errorf("cells: %s has no results", dir)
		}
		for _, path := range paths {
			var file cellFile[json.RawMessage, json.RawMessage]
			if err := readCell(path, &file); err != nil {
				return nil, err
			}
			name := strings.TrimSuffix(strings.TrimPrefix(filepath.Base(path), "cell-"), ".json")
			var row bytes.Buffer
			if err := json.Compact(&row, file.Row); err != nil || row.Len() < 3 || row.Bytes()[0] != '{' {
				return nil, fmt.Errorf("cells: %s: its row is no object: delete it to run that cell again", path)
			}
			all[name] = fmt.Appendf(nil, `{"cell":%q,%s`, name, row.Bytes()[1:])
		}
	}
	return slices.SortedFunc(maps.Values(all), func(a, b json.RawMessage) int { return bytes.Compare(withoutCell(a), withoutCell(b)) }), nil
}

// WriteRows writes rows of [MergeCells] to a file, one a line, as [Cells].Stored reads them. The file is the old one or the new one at every moment.
func WriteRows(path string, rows []json.RawMessage) error {
	if err := replaceFile(path, JoinRows(rows)); err != nil {
		return fmt.Errorf("rows: %w", err)
	}
	return nil
}

// JoinRows returns the text of rows as a list in JSON, one a line.
func JoinRows(rows []json.RawMessage) []byte {
	text := []byte("[\n")
	for i, row := range rows {
		if i > 0 {
			text = append(text, ",\n"...)
		}
		text = append(text, row...)
	}
	return append(text, "\n]\n"...)
}

// withoutCell returns a row's text after its hash.
func withoutCell(row json.RawMessage) []byte {
	_, rest, _ := bytes.Cut(row, []byte(","))
	return rest
}

// readStored adds the rows of a file to those known by their cells' hashes.
func readStored(path string, rows map[string]json.RawMessage) error {
	raw, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("cells: %w", err)
	}
	var all []json.RawMessage
	if err := json.Unmarshal(raw, &all); err != nil {
		return fmt.Errorf("cells: %s: want a list of rows: %w", path, err)
	}
	for i, row := range all {
		var head struct {
			Cell string `json:"cell"`
		}
		if err := json.Unmarshal(row, &head); err != nil || head.Cell == "" {
			return fmt.Errorf("cells: %s: row %d does not say of which cell it is", path, i+1)
		}
		var compact bytes.Buffer
		if err := json.Compact(&compact, row); err != nil {
			return fmt.Errorf("cells: %s: row %d: %w", path, i+1, err)
		}
		rows[head.Cell] = compact.Bytes()
	}
	return nil
}

// CellName returns the hash of settings under which [RunCells] keeps a cell, and [MergeCells] its row.
func CellName(cell any) (string, error) {
	raw, err := json.Marshal(cell)
	if err != nil {
		return "", fmt.Errorf("cells: encoding a cell: %w", err)
	}
	sum := sha256.Sum256(raw)
	return fmt.Sprintf("%x", sum[:8]), nil
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
