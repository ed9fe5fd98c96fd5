package stream

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// IsCSV reports whether path is a .csv file of paths. Its first line names the columns: "path", and
// at most one of "label", the number of a class from 0 on, and "class", its name; others are not
// read. Classes with names are numbered in the order of the names. Paths are relative to the folder
// of the file.
func IsCSV(path string) bool { return strings.HasSuffix(strings.ToLower(path), ".csv") }

func openCSV(path string) (*Set, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, failed(path, err)
	}
	defer f.Close()
	s, err := readCSV(f, filepath.Dir(path))
	if err != nil {
		return nil, failed(path, err)
	}
	return s, nil
}

// readCSV reads a CSV file whose paths are relative to dir.
func readCSV(r io.Reader, dir string) (*Set, error) {
	lines := csv.NewReader(r)
	lines.ReuseRecord = true
	head, err := lines.Read()
	if errors.Is(err, io.EOF) {
		return nil, errors.New("is empty: give a line \"path,class\" and a line for each picture")
	}
	if err != nil {
		return nil, fmt.Errorf("is no CSV file: %w", err)
	}
	head = slices.Clone(head)
	head[0] = strings.TrimPrefix(head[0], "\ufeff") // the byte-order mark of spreadsheets
	path, label, class := slices.Index(head, "path"), slices.Index(head, "label"), slices.Index(head, "class")
	switch {
	case path < 0:
		return nil, fmt.Errorf("has the columns %q: name the column of paths \"path\" in the first line", head)
	case label >= 0 && class >= 0:
		return nil, errors.New("has the columns \"label\" and \"class\": keep one of them")
	}
	s, numbers := &Set{}, make(map[string]int32)
	var names []string // by number, in the order of their first lines
	for {
		fields, err := lines.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("is no CSV file: %w", err)
		}
		line, _ := lines.FieldPos(0)
		f := file{path: filepath.FromSlash(strings.Clone(fields[path]))}
		if f.path == "" || strings.ContainsRune(f.path, 0) {
			return nil, fmt.Errorf("line %d has the path %q: give one", line, f.path)
		}
		if !filepath.IsAbs(f.path) {
			f.path = filepath.Join(dir, f.path)
		}
		switch {
		case label >= 0:
			if f.class, err = parseLabel(fields[label]); err != nil {
				return nil, fmt.Errorf("line %d: %w", line, err)
			}
		case class >= 0:
			name := fields[class]
			number, known := numbers[name]
			if !known {
				if name == "" || len(names) > MaxLabel {
					return nil, fmt.Errorf("line %d: class %q: name each of at most %d classes", line, name, MaxLabel+1)
				}
				name = strings.Clone(name)
				number = int32(len(names))
				names, numbers[name] = append(names, name), number
			}
			f.class = number
		}
		s.add(f)
	}
	if s.Len() == 0 {
		return nil, errors.New("has no line below its columns: give one for each picture")
	}
	switch {
	case label >= 0:
		s.number()
	case class >= 0:
		s.classes = slices.Sorted(slices.Values(names))
		for i := range s.files {
			k, _ := slices.BinarySearch(s.classes, names[s.files[i].class])
			s.files[i].class = int32(k)
		}
	}
	return s, nil
}
