package tabular

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/gomfm/gomfm/internal/npy"
)

// Write writes the columns and rows of t, without classes, to a file that [Read] reads, by its
// ending .csv, .npy or .json. The file is replaced in one step.
func Write(path string, t *Table) error {
	encode, err := encoder(path)
	if err != nil {
		return err
	}
	var content bytes.Buffer
	if err := encode(&content, t); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	temporary := path + ".part"
	if err := os.WriteFile(temporary, content.Bytes(), 0o644); err != nil {
		return err
	}
	return os.Rename(temporary, path)
}

func encoder(path string) (func(w io.Writer, t *Table) error, error) {
	switch strings.ToLower(filepath.Ext(path)) {
	case ".csv":
		return WriteCSV, nil
	case ".npy":
		return writeNPY, nil
	case ".json":
		return writeJSON, nil
	}
	return nil, fmt.Errorf("%s: name a file %s", path, Formats)
}

// WriteCSV writes the names of the columns and the rows of t, without classes, as comma-separated
// values.
func WriteCSV(w io.Writer, t *Table) error {
	return WriteRecords(w, t.Columns, func(yield func([]string) bool) {
		fields := make([]string, len(t.Columns))
		for _, row := range t.Rows {
			for i, v := range row {
				fields[i] = strconv.FormatFloat(v, 'g', -1, 64)
			}
			if !yield(fields) {
				return
			}
		}
	})
}

// WriteRecords writes the names of columns and rows of fields as comma-separated values. A row may
// be overwritten by the next one.
func WriteRecords(w io.Writer, columns []string, rows iter.Seq[[]string]) error {
	lines := csv.NewWriter(w)
	_ = lines.Write(columns) // Error has the first error
	for row := range rows {
		_ = lines.Write(row)
	}
	lines.Flush()
	return lines.Error()
}

func writeNPY(w io.Writer, t *Table) error {
	var flat []float64
	for _, row := range t.Rows {
		flat = append(flat, row...)
	}
	return npy.Write(w, flat, len(t.Rows), len(t.Columns))
}

func writeJSON(w io.Writer, t *Table) error { return json.NewEncoder(w).Encode(t.Rows) }
