// Package samplefile writes samples to a file, in the format that the extension of its name says.
package samplefile

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/gomfm/gomfm/data/tabular"
	"github.com/gomfm/gomfm/internal/npy"
	"github.com/gomfm/gomfm/mfm/experiment/run"
	"github.com/gomfm/gomfm/mfm/figure"
)

// Samples are samples in what the formats need: a table, or what CSV, NPY and JSON need without
// one.
type Samples struct {
	// Table has the samples in named columns. CSV, NPY and JSON have it, as [tabular.Write] writes
	// it.
	Table *tabular.Table
	// Values are all numbers of the samples, and Shape is their shape: the numbers of contexts and of
	// samples for each, say, and then the shape of a sample. NPY has them, as float32.
	Values []float32
	Shape  []int
	// Index are the names of the dimensions before those of a sample, such as context and sample. CSV
	// has a line for each sample: its indices under these names, from 0, and its numbers as x0, x1
	// and so on.
	Index []string
	// JSON is what JSON has.
	JSON any
	// Figure draws the samples for PNG and SVG.
	Figure func() *figure.Figure
}

// formats returns the content of a file by its extension.
func formats() map[string]func(Samples) ([]byte, error) {
	return map[string]func(Samples) ([]byte, error){
		".csv":  Samples.csv,
		".json": func(s Samples) ([]byte, error) { return json.Marshal(s.JSON) },
		".npy": func(s Samples) ([]byte, error) {
			var file bytes.Buffer
			err := npy.Write(&file, s.Values, s.Shape...)
			return file.Bytes(), err
		},
		".png": func(s Samples) ([]byte, error) { return s.Figure().Render("png") },
		".svg": func(s Samples) ([]byte, error) { return s.Figure().Render("svg") },
	}
}

// extension returns the extension of a path, in lower case.
func extension(path string) string { return strings.ToLower(filepath.Ext(path)) }

// IsFigure reports whether the file is to have a figure.
func IsFigure(path string) bool { return slices.Contains([]string{".png", ".svg"}, extension(path)) }

// IsFile reports whether the extension of a path is one of those that can be written.
func IsFile(path string) bool { return formats()[extension(path)] != nil }

// Check returns an error if no samples can be written to path: for an unknown extension, for a
// folder, or in a folder that does not exist.
func Check(path string) error {
	if !IsFile(path) {
		known := slices.Sorted(maps.Keys(formats()))
		return fmt.Errorf("name a %s or %s file", strings.Join(known[:len(known)-1], ", "), known[len(known)-1])
	}
	if info, err := os.Stat(filepath.Dir(path)); err != nil || !info.IsDir() {
		return fmt.Errorf("there is no folder %s", filepath.Dir(path))
	}
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return errors.New("is a folder, name a file")
	}
	return nil
}

// Write writes samples to a file, which it replaces in one step. Samples that are not finite are an
// error, and so are those of [Check].
func Write(path string, s Samples) error {
	if err := Check(path); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	for i, v := range s.Values {
		if v-v != 0 {
			return fmt.Errorf("%s: number %d of the samples is %v: they have diverged", path, i, v)
		}
	}
	if s.Table != nil {
		for i, row := range s.Table.Rows {
			for j, v := range row {
				if v-v != 0 {
					return fmt.Errorf("%s: column %q of sample %d is %v: the samples have diverged", path,
						s.Table.Columns[j], i, v)
				}
			}
		}
		if !IsFigure(path) {
			return tabular.Write(path, s.Table)
		}
	}
	content, err := formats()[extension(path)](s)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return run.ReplaceFile(path, content)
}

// csv returns a table with a line for each sample.
func (s Samples) csv() ([]byte, error) {
	counts, size := s.Shape[:len(s.Index)], 1
	for _, d := range s.Shape[len(s.Index):] {
		size *= d
	}
	header := slices.Clone(s.Index)
	for i := range size {
		header = append(header, "x"+strconv.Itoa(i))
	}
	var file bytes.Buffer
	err := tabular.WriteRecords(&file, header, func(yield func([]string) bool) {
		row := make([]string, len(header))
		for i := range len(s.Values) / size {
			rest := i
			for k := len(counts) - 1; k >= 0; k-- {
				row[k], rest = strconv.Itoa(rest%counts[k]), rest/counts[k]
			}
			for j, v := range s.Values[i*size : (i+1)*size] {
				row[len(counts)+j] = strconv.FormatFloat(float64(v), 'g', -1, 32)
			}
			if !yield(row) {
				return
			}
		}
	})
	return file.Bytes(), err
}
