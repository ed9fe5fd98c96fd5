package distance

import (
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/gomfm/gomfm/internal/npy"
)

// maxValues is the largest number of values of stored features, which are held in memory.
const maxValues = 1 << 31

// ReadFeatures returns the features, [n][dim], that an [Extraction] has kept in a folder, or those
// in a file: an array [n, dim] of floating-point numbers, of numpy.save, or of the given name in
// one of numpy.savez, or its first if name is empty. They must be finite. An error names the file.
func ReadFeatures(path, name string) ([][]float64, error) {
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		if name != "" {
			return nil, fmt.Errorf("%s is a folder of features, which has no array %q", path, name)
		}
		return readFolder(path)
	}
	a, err := npy.Open(path, name)
	if err != nil {
		return nil, err
	}
	defer a.Close()
	if len(a.Shape) != 2 || a.Shape[0] < 1 || a.Shape[1] < 1 || a.Shape[1] > maxDim || a.Shape[0] > maxValues/a.Shape[1] {
		return nil, fmt.Errorf("%s: has shape %v, want features [n, dim] of at most %d values and %d features", path, a.Shape,
			maxValues, maxDim)
	}
	var rows [][]float64 // it grows as they arrive
	n, dim := int(a.Shape[0]), int(a.Shape[1])
	for len(rows) < n {
		flat, err := a.Floats(min(n-len(rows), max(1<<16/dim, 1)) * dim)
		if err != nil {
			return nil, err
		}
		rows = slices.AppendSeq(rows, slices.Chunk(flat, dim))
	}
	if err := CheckRows(rows, 1); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return rows, nil
}

// CheckRows returns an error unless there are at least so many features, all with finite values.
func CheckRows(rows [][]float64, atLeast int) error {
	if len(rows) < atLeast {
		return fmt.Errorf("only %d features: give at least %d", len(rows), atLeast)
	}
	for i, row := range rows {
		for j, v := range row {
			if v-v != 0 {
				return fmt.Errorf("feature %d of row %d is %v: all must be finite", j, i, v)
			}
		}
	}
	return nil
}

// readFolder returns the features that an [Extraction] has kept.
func readFolder(dir string) ([][]float64, error) {
	s, err := readSet(dir)
	if err != nil {
		return nil, err
	}
	var all [][]float64
	for from := 0; from < s.Pictures; from += chunk {
		rows, err := s.read(dir, from)
		if errors.Is(err, os.ErrNotExist) {
			return nil, fmt.Errorf("%s has no features of the pictures from %d on: finish their shards first", dir, from)
		}
		if err != nil {
			return nil, err
		}
		all = append(all, rows...)
	}
	return all, nil
}
