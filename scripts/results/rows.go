package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"math"
	"path"
	"strconv"
	"strings"
)

// row is one JSON object of a file of measurements. Its values are read by their keys, so a key
// that a file lacks is an error and not a zero.
type row struct {
	file   string
	fields map[string]any
}

// value returns the value at a key. A key such as ode.sw2 or weights.0 leads into objects and
// lists.
func (r row) value(key string) (any, bool) {
	var v any = r.fields
	for part := range strings.SplitSeq(key, ".") {
		switch at := v.(type) {
		case map[string]any:
			var found bool
			if v, found = at[part]; !found {
				return nil, false
			}
		case []any:
			i, err := strconv.Atoi(part)
			if err != nil || i < 0 || i >= len(at) {
				return nil, false
			}
			v = at[i]
		default:
			return nil, false
		}
	}
	return v, v != nil
}

// Num returns the number at a key. It panics if there is none, which text/template reports as an
// error.
func (r row) Num(key string) float64 {
	v, _ := r.value(key)
	x, isNumber := v.(float64)
	if !isNumber {
		panic(fmt.Errorf("%s: no number at key %q", r.file, key))
	}
	return x
}

// Text returns the value at a key as text, empty if absent.
func (r row) Text(key string) string {
	v, found := r.value(key)
	if !found {
		return ""
	}
	return fmt.Sprint(v)
}

// format formats the number at a key.
func (r row) format(format, key string) string { return fmt.Sprintf(format, r.Num(key)) }

// list returns the objects of the list at a key.
func (r row) list(key string) []row {
	v, _ := r.value(key)
	rows := asRows(r.file, v)
	if len(rows) == 0 {
		panic(fmt.Errorf("%s: no list of objects at key %q", r.file, key))
	}
	return rows
}

// asRows returns the objects of a list, or one row for an object.
func asRows(file string, v any) (rows []row) {
	switch v := v.(type) {
	case map[string]any:
		return []row{{file, v}}
	case []any:
		for _, item := range v {
			if fields, isObject := item.(map[string]any); isObject {
				rows = append(rows, row{file, fields})
			}
		}
	}
	return rows
}

// decode returns rows as values of another type, such as the results that were written to a file.
func decode[T any](rows []row) []T {
	all := make([]T, len(rows))
	for i, r := range rows {
		raw, err := json.Marshal(r.fields)
		if err == nil {
			err = json.Unmarshal(raw, &all[i])
		}
		if err != nil {
			panic(fmt.Errorf("%s: %w", r.file, err))
		}
	}
	return all
}

// matches reports whether a row meets a condition key=a|b, key!=a, key>=a or key<=a. Equality of
// numbers allows for rounding. An absent key equals the empty text, as in model=.
func (r row) matches(condition string) bool {
	for _, op := range []string{"!=", ">=", "<=", "="} {
		key, wanted, found := strings.Cut(condition, op)
		if !found {
			continue
		}
		switch op {
		case ">=":
			return r.Num(key) >= number(wanted)
		case "<=":
			return r.Num(key) <= number(wanted)
		}
		equal := false
		for alternative := range strings.SplitSeq(wanted, "|") {
			equal = equal || r.equals(key, alternative)
		}
		return equal == (op == "=")
	}
	panic(fmt.Errorf("condition %q has no operator", condition))
}

func (r row) equals(key, wanted string) bool {
	v, _ := r.value(key)
	if x, isNumber := v.(float64); isNumber {
		return math.Abs(x-number(wanted)) < 1e-9
	}
	return r.Text(key) == wanted
}

func number(text string) float64 {
	x, err := strconv.ParseFloat(text, 64)
	if err != nil {
		panic(err)
	}
	return x
}

// store reads the files of measurements, each once.
type store struct {
	fsys     fs.FS
	files    map[string]any
	pictures []tilt // see pictureTilts; nil before
}

func newStore(fsys fs.FS) *store { return &store{fsys: fsys, files: map[string]any{}} }

// rows returns the objects of a file in the folder figures that meet all conditions. The file's
// name may be followed by a key, as in mnist_posterior.json:training. It panics if there is no such
// object.
func (s *store) rows(name string, conditions ...string) []row {
	file, key, _ := strings.Cut(name, ":")
	content, read := s.files[file]
	if !read {
		content = s.read(file)
		s.files[file] = content
	}
	all := asRows(file, content)
	if key != "" && len(all) == 1 {
		all = all[0].list(key)
	}
	return where(all, conditions...)
}

// read returns the content of a file, and panics if the file is missing, empty or not JSON.
func (s *store) read(file string) (content any) {
	raw, err := fs.ReadFile(s.fsys, path.Join("figures", file))
	if err != nil {
		panic(fmt.Errorf("read the measurements: %w", err))
	}
	if len(bytes.TrimSpace(raw)) == 0 {
		panic(fmt.Errorf("figures/%s is empty", file))
	}
	if err := json.Unmarshal(raw, &content); err != nil {
		panic(fmt.Errorf("figures/%s: %w", file, err))
	}
	if len(asRows(file, content)) == 0 {
		panic(fmt.Errorf("figures/%s holds no measurements", file))
	}
	return content
}

// where returns the rows that meet all conditions. It panics if none does.
func where(rows []row, conditions ...string) []row {
	found := filter(rows, conditions...)
	if len(found) == 0 {
		file := "no file"
		if len(rows) > 0 {
			file = rows[0].file
		}
		panic(fmt.Errorf("%s: no measurement with %s", file, strings.Join(conditions, ", ")))
	}
	return found
}

// filter returns the rows that meet all conditions, perhaps none.
func filter(rows []row, conditions ...string) (found []row) {
	for _, r := range rows {
		meets := true
		for _, c := range conditions {
			meets = meets && r.matches(c)
		}
		if meets {
			found = append(found, r)
		}
	}
	return found
}

// nested returns the objects of the lists at a key of all rows.
func nested(key string, rows []row) (all []row) {
	for _, r := range rows {
		all = append(all, r.list(key)...)
	}
	return all
}
