package tabular

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/gomfm/gomfm/internal/npy"
)

// CheckWritable returns an error unless a table can be written to path by its name: for another
// ending, in a folder that does not exist, or for a path that is a folder.
func CheckWritable(path string) error {
	if _, err := encoder(path); err != nil {
		return err
	}
	if info, err := os.Stat(filepath.Dir(path)); err != nil || !info.IsDir() {
		return fmt.Errorf("%s: there is no folder %s", path, filepath.Dir(path))
	}
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return fmt.Errorf("%s: is a folder: name a file", path)
	}
	return nil
}

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
	lines := csv.NewWriter(w)
	_ = lines.Write(t.Columns) // Error has the first error
	for _, row := range t.Rows {
		var fields []string
		for _, v := range row {
			fields = append(fields, strconv.FormatFloat(v, 'g', -1, 64))
		}
		_ = lines.Write(fields)
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
