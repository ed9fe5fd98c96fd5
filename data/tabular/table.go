// Package tabular reads and writes points: rows of numbers with named columns, and perhaps a column
// of classes, in files .csv, .npy or .json.
package tabular

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Table is a set of points.
type Table struct {
	Path    string      // of the file, for errors
	Columns []string    // their names, without that of the classes
	Rows    [][]float64 // [n][columns], finite
	// Classes has the class of each row, an index of Names; nil without a column of classes.
	Classes []int32
	// Names are those of the classes, in the order of their numbers if all are numbers, otherwise
	// in that of their letters.
	Names []string
	// Class is the name of the column of classes, which [Write] writes last; empty means that it
	// writes no classes.
	Class string
	// Places says where in the file the first row of each class is, such as "line 2", for errors.
	Places []string
}

// maxValues is the largest number of values of a table, 256 MiB.
const maxValues = 1 << 25

// Formats names the endings of the files that are read and written.
const Formats = ".csv, .npy or .json"

// Read reads the table of a file. classes is the name of the column with the classes of the rows,
// empty for none.
//
//   - A .csv file has fields separated by commas, semicolons or tabs, and in the first line the
//     names of the columns, unless they are numbers other than 0, 1 and so on in order.
//   - A .npy file has one array of floating-point numbers, [n, columns].
//   - A .json file has a list of rows, each a list of numbers, or an object with the names of the
//     columns as keys.
//
// Columns without names are numbered from 0. A row of another length, a missing value and one that
// is not a finite number are errors with the line or row, the column and the value.
func Read(path, classes string) (*Table, error) {
	t, err := read(path, classes)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return t, nil
}

func read(path, classes string) (*Table, error) {
	b := &builder{classes: classes, at: -1, place: "row", places: make(map[string]string)}
	var err error
	switch strings.ToLower(filepath.Ext(path)) {
	case ".csv":
		b.place = "line"
		err = readFile(path, b.readCSV)
	case ".npy":
		err = b.readNPY(path)
	case ".json":
		err = readFile(path, b.readJSON)
	default:
		err = fmt.Errorf("is no table: name a file %s", Formats)
	}
	if err != nil {
		return nil, err
	}
	return b.table(path)
}

// builder collects the rows of a file.
type builder struct {
	classes string   // name of the column of classes, empty for none
	place   string   // what the numbers in errors count
	columns []string // all of the file
	at      int      // index of the column of classes, -1 for none
	rows    [][]float64
	names   []string          // class of each row
	places  map[string]string // of the first row of each class
}

// start sets the names of the columns.
func (b *builder) start(columns []string) error {
	for i, name := range columns {
		columns[i] = strings.TrimSpace(name)
		if j := slices.Index(columns[:i], columns[i]); j >= 0 {
			return fmt.Errorf("columns %d and %d have the same name %q: rename one", j+1, i+1, columns[i])
		}
	}
	b.columns, b.at = columns, slices.Index(columns, b.classes)
	if b.classes == "" {
		b.at = -1
	} else if b.at < 0 {
		return fmt.Errorf("has no column %q for the classes, only %s", b.classes, quoted(columns))
	}
	if len(columns) == 0 || len(columns) == 1 && b.at == 0 {
		return fmt.Errorf("has no column of numbers")
	}
	return nil
}

// numbered returns the names of n columns without names.
func numbered(n int) []string {
	names := make([]string, n)
	for i := range names {
		names[i] = strconv.Itoa(i)
	}
	return names
}

// quoted lists names.
func quoted(names []string) string {
	const most = 20
	more := ""
	if len(names) > most {
		names, more = names[:most], fmt.Sprintf(" and %d more", len(names)-most)
	}
	var out []string
	for _, n := range names {
		out = append(out, strconv.Quote(n))
	}
	return strings.Join(out, ", ") + more
}

// add adds the fields of a row, which is in the file at the given line or row, from 1.
func (b *builder) add(at int, fields []string) error {
	if len(fields) != len(b.columns) {
		return fmt.Errorf("%s %d has %d values, but there are %d columns (%s)", b.place, at, len(fields), len(b.columns),
			quoted(b.columns))
	}
	if len(b.rows)*len(fields) >= maxValues {
		return fmt.Errorf("has more than %d values: use a part of the rows", maxValues)
	}
	row := make([]float64, 0, len(fields))
	for i, field := range fields {
		text := strings.TrimSpace(field)
		where := fmt.Sprintf("%s %d, column %q", b.place, at, b.columns[i])
		if missing(text) {
			return fmt.Errorf("%s: the value %q is missing: remove the row, or fill it in", where, text)
		}
		if i == b.at {
			b.names = append(b.names, text)
			if b.places[text] == "" {
				b.places[text] = fmt.Sprintf("%s %d", b.place, at)
			}
			continue
		}
		v, err := strconv.ParseFloat(text, 64)
		switch {
		case err != nil && !math.IsInf(v, 0):
			return TextError{where, text, b.columns[i]}
		case v-v != 0:
			return fmt.Errorf("%s: the value %.40q is not finite: remove the row", where, text)
		}
		row = append(row, v)
	}
	b.rows = append(b.rows, row)
	return nil
}

// missing reports whether a field stands for a value that is missing.
func missing(text string) bool {
	return slices.Contains([]string{"", "na", "n/a", "nan", "null", "none", "-", "?"}, strings.ToLower(text))
}

// table returns the table of the rows.
func (b *builder) table(path string) (*Table, error) {
	if len(b.rows) == 0 {
		return nil, fmt.Errorf("has no rows")
	}
	t := &Table{Path: path, Columns: b.columns, Rows: b.rows}
	if b.at < 0 {
		return t, nil
	}
	t.Class = b.classes
	t.Columns = slices.Delete(slices.Clone(b.columns), b.at, b.at+1)
	t.Names = slices.Clone(b.names)
	slices.Sort(t.Names)
	t.Names = slices.Compact(t.Names)
	values := make(map[string]float64)
	for _, name := range t.Names {
		v, err := strconv.ParseFloat(name, 64)
		if err != nil {
			values = nil
			break
		}
		values[name] = v
	}
	if values != nil {
		slices.SortStableFunc(t.Names, func(a, b string) int { return cmp.Compare(values[a], values[b]) })
	}
	index := make(map[string]int32)
	for i, name := range t.Names {
		index[name] = int32(i)
		t.Places = append(t.Places, b.places[name])
	}
	for _, name := range b.names {
		t.Classes = append(t.Classes, index[name])
	}
	return t, nil
}

// TextError says that a value of a column of numbers is a text, so that the column may be that of
// the classes.
type TextError struct {
	Place, Value string // such as: line 2, column "kind"
	Column       string
}

func (e TextError) Error() string {
	return fmt.Sprintf("%s: the value %.40q is not a number: remove the column, or name it as that of the classes",
		e.Place, e.Value)
}

// Hash returns a hash of columns, rows and classes.
func (t *Table) Hash() string {
	h := sha256.New()
	fmt.Fprintf(h, "%q %q %d", t.Columns, t.Names, len(t.Rows))
	for i, row := range t.Rows {
		_ = binary.Write(h, binary.LittleEndian, row) // a hash does not fail
		if t.Classes != nil {
			_ = binary.Write(h, binary.LittleEndian, t.Classes[i])
		}
	}
	return hex.EncodeToString(h.Sum(nil))
}

// Part returns the table of the rows with the given indices.
func (t *Table) Part(rows []int) *Table {
	out := *t
	out.Rows, out.Classes = make([][]float64, len(rows)), nil
	for i, row := range rows {
		out.Rows[i] = t.Rows[row]
		if t.Classes != nil {
			out.Classes = append(out.Classes, t.Classes[row])
		}
	}
	return &out
}
