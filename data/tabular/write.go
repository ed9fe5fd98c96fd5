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
	"slices"
	"strconv"
	"strings"

	"github.com/gomfm/gomfm/internal/npy"
)

// Write writes the columns and rows of t to a file that [Read] reads, by its ending .csv, .npy or
// .json. A .csv file has a column Class with the names of the classes, if t has both, and the rows
// of a .json file then are objects. Files .npy, and .json without classes, do not have the names of
// the columns. The file is replaced in one step.
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

// CheckPath returns an error unless [Write] knows the ending of path.
func CheckPath(path string) error {
	_, err := encoder(path)
	return err
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

// hasClasses reports whether t is written with its classes.
func (t *Table) hasClasses() bool { return t.Class != "" && t.Classes != nil && t.Names != nil }

// WriteCSV writes the names of the columns and the rows of t as comma-separated values, with the
// classes as [Write] does. A name that [Read] would take for a number, also that of the classes,
// gets the letter x in front. The numbers 0, 1 and so on stay names, but one alone is left out.
func WriteCSV(w io.Writer, t *Table) error {
	columns := slices.Clone(t.Columns)
	if t.hasClasses() {
		columns = append(columns, t.Class)
	}
	switch ordered := slices.Equal(columns, numbered(len(columns))); {
	case ordered && len(columns) == 1:
		columns = nil
	case !ordered:
		for i, name := range columns {
			if isNumber(strings.TrimSpace(name)) || missing(strings.TrimSpace(name)) {
				for columns[i] = "x" + name; slices.Index(columns, columns[i]) != i || slices.Contains(columns[i+1:], columns[i]); {
					columns[i] = "x" + columns[i]
				}
			}
		}
	}
	return WriteRecords(w, columns, func(yield func([]string) bool) {
		fields := make([]string, len(t.Columns), len(t.Columns)+1)
		for k, row := range t.Rows {
			for i, v := range row {
				fields[i] = strconv.FormatFloat(v, 'g', -1, 64)
			}
			line := fields
			if t.hasClasses() {
				line = append(fields, t.Names[t.Classes[k]])
			}
			if !yield(line) {
				return
			}
		}
	})
}

// WriteRecords writes the names of columns, unless there are none, and rows of fields as
// comma-separated values. A row may be overwritten by the next one.
func WriteRecords(w io.Writer, columns []string, rows iter.Seq[[]string]) error {
	lines := csv.NewWriter(w)
	if columns != nil {
		_ = lines.Write(columns) // Error has the first error
	}
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

func writeJSON(w io.Writer, t *Table) error {
	if !t.hasClasses() {
		return json.NewEncoder(w).Encode(t.Rows)
	}
	var objects []json.RawMessage // with the keys in the order of the columns
	for k, row := range t.Rows {
		text := []byte{'{'}
		for i, v := range append(anys(row), t.Names[t.Classes[k]]) {
			name, value := t.Class, v
			if i < len(row) {
				name = t.Columns[i]
			}
			for j, part := range []any{name, value} {
				raw, err := json.Marshal(part)
				if err != nil {
					return err
				}
				text = append(append(text, raw...), ":,"[j])
			}
		}
		text[len(text)-1] = '}' // instead of the last comma
		objects = append(objects, text)
	}
	return json.NewEncoder(w).Encode(objects)
}

func anys(row []float64) (all []any) {
	for _, v := range row {
		all = append(all, v)
	}
	return all
}
