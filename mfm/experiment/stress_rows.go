package experiment

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
)

// StressRows returns the rows of one stress test, by the name in its rows (diversity, base, manifold, precision, times or losses), from a file that [WriteRows] wrote; none where there is no such file.
func StressRows[R any](path, test string) ([]R, error) {
	raw, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("rows of %s: %w", test, err)
	}
	var all []json.RawMessage
	if err := json.Unmarshal(raw, &all); err != nil {
		return nil, fmt.Errorf("rows of %s: %s: %w", test, path, err)
	}
	var rows []R
	for _, r := range all {
		var head struct{ Test string }
		var row R
		if err := json.Unmarshal(r, &head); err != nil {
			return nil, fmt.Errorf("rows of %s: %s: %w", test, path, err)
		}
		if head.Test != test {
			continue
		}
		if err := json.Unmarshal(r, &row); err != nil {
			return nil, fmt.Errorf("rows of %s: %s: %w", test, path, err)
		}
		rows = append(rows, row)
	}
	return rows, nil
}

// KeepStress returns, of rows that [MergeCells] gave, those of cells of the stress tests' grids, and all of the losses', whose grid depends on measured rates: a folder may hold others, of settings that were tried.
func KeepStress(rows []json.RawMessage) ([]json.RawMessage, error) {
	names := make(map[string]bool)
	if err := errors.Join(addNames(names, DiversityGrid()), addNames(names, BaseGrid()), addNames(names, ManifoldGrid()), addNames(names, PrecisionGrid()), addNames(names, TimesGrid())); err != nil {
		return nil, err
	}
	var failed error
	return slices.DeleteFunc(rows, func(raw json.RawMessage) bool {
		var head struct{ Cell, Test string }
		if err := json.Unmarshal(raw, &head); err != nil {
			failed = errors.Join(failed, fmt.Errorf("rows of stress tests: %w", err))
			return false
		}
		return head.Test != "losses" && !names[head.Cell]
	}), failed
}

func addNames[C any](names map[string]bool, cells []C) error {
	for _, c := range cells {
		name, err := CellName(c)
		if err != nil {
			return err
		}
		names[name] = true
	}
	return nil
}
