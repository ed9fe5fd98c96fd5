package tabular

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/gomfm/gomfm/internal/npy"
)

// readFile reads a regular file.
func readFile(path string, read func(r io.Reader) error) error {
	f, err := os.Open(path)
	if err == nil {
		defer f.Close()
		if info, _ := f.Stat(); info == nil || !info.Mode().IsRegular() {
			return errors.New("is not a regular file")
		}
		return read(f)
	}
	if failed, ok := errors.AsType[*fs.PathError](err); ok {
		return failed.Err // the path is in the error of Read
	}
	return err
}

// readCSV reads comma-separated values.
func (b *builder) readCSV(r io.Reader) error {
	buffered := bufio.NewReaderSize(r, 1<<16)
	head, _ := buffered.Peek(1 << 16)
	if rest, is := bytes.CutPrefix(head, []byte("\xef\xbb\xbf")); is { // byte order mark
		head = rest
		_, _ = buffered.Discard(3)
	}
	first, _, _ := bytes.Cut(head, []byte("\n"))
	lines := csv.NewReader(buffered)
	lines.FieldsPerRecord, lines.ReuseRecord = -1, true
	for _, separator := range ";\t" {
		if bytes.ContainsRune(first, separator) && !bytes.ContainsRune(first, ',') {
			lines.Comma = separator
		}
	}
	for {
		fields, err := lines.Read()
		if err == io.EOF {
			return nil
		}
		if failed, ok := errors.AsType[*csv.ParseError](err); ok {
			return fmt.Errorf("line %d: %w", failed.Line, failed.Err)
		}
		if err != nil {
			return err
		}
		line, _ := lines.FieldPos(0)
		if b.columns == nil {
			columns := slices.Clone(fields)
			header, err := b.isHeader(columns)
			if err != nil {
				return fmt.Errorf("line %d: %w", line, err)
			}
			if !header {
				columns = numbered(len(fields))
			}
			if err := b.start(columns); err != nil {
				return err
			}
			if header {
				continue
			}
		}
		if err := b.add(line, fields); err != nil {
			return err
		}
	}
}

// isHeader reports whether the fields of the first line are the names of columns: none is a number
// or missing, or they are 0, 1 and so on, as in tables without names. An error says what else the
// line may be.
func (b *builder) isHeader(fields []string) (bool, error) {
	text, column := "", 0
	numbers, gaps := 0, 0
	for i, field := range fields {
		field = strings.TrimSpace(field)
		switch {
		case missing(field):
			gaps++
		case isNumber(field):
			numbers++
		case strconv.Itoa(i) != b.classes: // names of classes stand beside numbers
			text, column = field, i
		}
	}
	if spaced := strings.Fields(fields[0]); len(fields) == 1 && len(spaced) > 1 && isNumber(spaced[0]) {
		return false, fmt.Errorf("%.40q has spaces between its values: write commas, as numpy.savetxt does with delimiter=\",\"",
			fields[0])
	}
	if text != "" && numbers+gaps > 0 {
		return false, fmt.Errorf("%.40q is not a number, but other values are numbers or missing: if the line has the names of "+
			"the columns, give each a name that is not a number, and leave out an index of the rows; if it is a row, name "+
			"column %d as that of the classes", text, column)
	}
	ordered := len(fields) > 1 && slices.Equal(fields, numbered(len(fields)))
	return numbers+gaps == 0 || ordered, nil
}

func isNumber(text string) bool {
	_, err := strconv.ParseFloat(text, 64)
	return err == nil
}

// readNPY reads an array of NumPy.
func (b *builder) readNPY(path string) error {
	a, err := npy.Open(path, "")
	if err != nil {
		return unnamed(err, path)
	}
	defer a.Close()
	if len(a.Shape) != 2 || a.Shape[0] < 1 || a.Shape[1] < 1 {
		return fmt.Errorf("has shape %v, want [rows, columns]: reshape it", a.Shape)
	}
	if a.Shape[0] > maxValues/a.Shape[1] {
		return fmt.Errorf("has shape %v: more than %d values, use a part of the rows", a.Shape, maxValues)
	}
	columns := int(a.Shape[1])
	if err := b.start(numbered(columns)); err != nil {
		return err
	}
	for i := range int(a.Shape[0]) {
		values, err := a.Floats(columns)
		if err != nil {
			return unnamed(err, path)
		}
		fields := make([]string, columns)
		for j, v := range values {
			fields[j] = strconv.FormatFloat(v, 'g', -1, 64)
		}
		if err := b.add(i+1, fields); err != nil {
			return err
		}
	}
	return nil
}

// unnamed returns an error without the path that it begins with.
func unnamed(err error, path string) error {
	return errors.New(strings.TrimPrefix(err.Error(), path+": "))
}

// readJSON reads a list of lists or of objects.
func (b *builder) readJSON(r io.Reader) error {
	d := json.NewDecoder(bufio.NewReaderSize(r, 1<<16))
	if begin, err := d.Token(); err != nil || begin != json.Delim('[') {
		return errors.New("is no JSON list of rows: write [[1, 2], [3, 4]] or [{\"x\": 1, \"y\": 2}]")
	}
	for i := 1; d.More(); i++ {
		var raw json.RawMessage
		if err := d.Decode(&raw); err != nil {
			return fmt.Errorf("row %d: %w", i, err)
		}
		keys, fields, err := jsonRow(raw)
		if err != nil {
			return fmt.Errorf("row %d: %w", i, err)
		}
		if b.columns == nil {
			columns := slices.Clone(keys)
			if keys == nil {
				columns = numbered(len(fields))
			}
			if err := b.start(columns); err != nil {
				return err
			}
		}
		if keys != nil {
			if fields, err = ordered(b.columns, keys, fields); err != nil {
				return fmt.Errorf("row %d: %w", i, err)
			}
		}
		if err := b.add(i, fields); err != nil {
			return err
		}
	}
	if _, err := d.Token(); err != nil {
		return fmt.Errorf("is cut off after row %d: %w", len(b.rows), err)
	}
	if _, err := d.Token(); err != io.EOF {
		return errors.New("has text after the list of rows")
	}
	return nil
}

// jsonRow returns the values of a list or an object as text, and the keys of an object.
func jsonRow(raw json.RawMessage) (keys, fields []string, err error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	begin, err := d.Token()
	if err != nil {
		return nil, nil, err
	}
	object := begin == json.Delim('{')
	if !object && begin != json.Delim('[') {
		return nil, nil, fmt.Errorf("%.40s is no list or object", raw)
	}
	for d.More() {
		token, err := d.Token()
		if err != nil {
			return nil, nil, err
		}
		if object {
			keys = append(keys, token.(string))
			if token, err = d.Token(); err != nil {
				return nil, nil, err
			}
		}
		switch v := token.(type) {
		case nil:
			fields = append(fields, "null")
		case json.Delim:
			return nil, nil, fmt.Errorf("value %d is a list or an object, not a number", len(fields)+1)
		default:
			fields = append(fields, fmt.Sprint(v))
		}
	}
	return keys, fields, nil
}

// ordered returns the fields of an object in the order of the columns.
func ordered(columns, keys, fields []string) ([]string, error) {
	out := make([]string, len(columns))
	for i, name := range columns {
		k := slices.Index(keys, name)
		if k < 0 {
			return nil, fmt.Errorf("has no value for %q", name)
		}
		out[i] = fields[k]
	}
	if len(keys) > len(columns) {
		return nil, fmt.Errorf("has %d values, but there are %d columns (%s)", len(keys), len(columns), quoted(columns))
	}
	return out, nil
}
