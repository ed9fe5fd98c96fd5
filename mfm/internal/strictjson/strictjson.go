// Package strictjson reads the JSON that users write: configurations, rewards, mixtures, settings.
// Nothing in the text is ignored and nothing is guessed. These are errors:
//
//   - a key that the value does not have, also one that differs in case alone, and a repeated key;
//   - null where Go has no nil. A pointer, a list or a map takes it, as encoding/json writes it;
//   - a number that is out of range, or too small for a float64; a list of another length than an
//     array; a value of another type;
//   - text after the value, a byte-order mark, text that is not UTF-8, and faulty syntax.
//
// Numbers are read from their decimal text: an integer has all 64 bits, and may be written as 5e1
// or 50.0, but not as 5e-1. Each error is one line that names the path of the key, the value, and
// what to do, such as "train.steps: 1e400 is out of range: use ...".
package strictjson

import (
	"bytes"
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Error is the error of a value at a path of keys, such as train.ema[1].
type Error struct {
	Path string // empty for the whole text
	Err  error
}

// Error returns the path and the error.
func (e *Error) Error() string {
	if e.Path == "" {
		return e.Err.Error()
	}
	return e.Path + ": " + e.Err.Error()
}

// Unwrap returns the error without the path.
func (e *Error) Unwrap() error { return e.Err }

// within puts a key or an index in front of the path of an error.
func within(key string, err error) error {
	inner, ok := err.(*Error)
	if !ok {
		return &Error{key, err}
	}
	if inner.Path != "" && inner.Path[0] != '[' {
		key += "."
	}
	return &Error{key + inner.Path, inner.Err}
}

// Decode reads the JSON value text into v, a pointer. Keys that are absent keep their values in v;
// a list is replaced as a whole, and what a pointer or a map of v refers to is copied before it
// changes. skip are keys that are left out if the text is an object. After an error v may be changed
// in part.
func Decode(text []byte, v any, skip ...string) error {
	d, err := open(text)
	if err != nil {
		return err
	}
	if len(skip) > 0 && d.peek() == '{' {
		if d, err = d.without(skip); err != nil {
			return err
		}
	}
	return d.value(reflect.ValueOf(v).Elem())
}

// without returns a decoder of an object without some of its keys.
func (d *decoder) without(skip []string) (*decoder, error) {
	rest := []byte{'{'}
	err := d.members(func(key string) error {
		from := d.at
		if err := d.skip(); err != nil || slices.Contains(skip, key) {
			return err
		}
		if len(rest) > 1 {
			rest = append(rest, ',')
		}
		name, _ := json.Marshal(key) // a string always encodes
		rest = append(append(append(rest, name...), ':'), d.text[from:d.at]...)
		return nil
	})
	return &decoder{text: append(rest, '}')}, err
}

// Lookup reads the value of one key of the JSON object text into v, a pointer, and reports whether
// the object has the key. Other keys are not read.
func Lookup(text []byte, key string, v any) (found bool, err error) {
	d, err := open(text)
	if err != nil {
		return false, err
	}
	if d.peek() != '{' {
		return false, d.mismatch("an object")
	}
	err = d.members(func(name string) error {
		switch {
		case name == key:
			found = true
			return d.value(reflect.ValueOf(v).Elem())
		case strings.EqualFold(name, key):
			return fmt.Errorf("did you mean %q?", key)
		}
		return d.skip()
	})
	return found, err
}

// open returns a decoder at the beginning of a text that is a single, well-formed JSON value.
func open(text []byte) (*decoder, error) {
	switch {
	case bytes.HasPrefix(text, []byte("\xef\xbb\xbf")):
		return nil, errors.New("the text begins with a byte-order mark: save it as UTF-8 without one")
	case !utf8.Valid(text):
		return nil, errors.New("the text is not UTF-8: save it as UTF-8")
	}
	stream := json.NewDecoder(bytes.NewReader(text))
	var first json.RawMessage
	err := stream.Decode(&first)
	if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
		return nil, fmt.Errorf("line %d: not JSON: %w", line(text, int(syntax.Offset)), err)
	}
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return nil, errors.New("not JSON: it ends too early")
	}
	if err != nil {
		return nil, fmt.Errorf("not JSON: %w", err)
	}
	d := &decoder{text: text, at: int(stream.InputOffset())}
	if d.space(); d.at < len(text) {
		return nil, fmt.Errorf("text after the JSON value, at line %d: remove it", line(text, d.at))
	}
	d.at = 0
	d.space()
	return d, nil
}

// line returns the line of an offset, from 1.
func line(text []byte, offset int) int {
	return 1 + bytes.Count(text[:min(offset, len(text))], []byte("\n"))
}

// decoder reads text, which is well-formed, from the offset at, where a value begins.
type decoder struct {
	text []byte
	at   int
}

func (d *decoder) peek() byte { return d.text[d.at] }

func (d *decoder) space() {
	for d.at < len(d.text) && strings.IndexByte(" \t\r\n", d.text[d.at]) >= 0 {
		d.at++
	}
}

// members calls each with the keys of an object, with d at their values, which each reads.
func (d *decoder) members(each func(key string) error) error {
	seen := make(map[string]bool)
	return d.entries('}', func(int) error {
		key := d.string()
		d.space()
		d.at++ // the colon
		d.space()
		name := key
		if quoted := strconv.Quote(key); quoted != `"`+key+`"` {
			name = short(quoted)
		}
		if seen[key] {
			return within(name, errors.New("the key is repeated: give it once"))
		}
		seen[key] = true
		if err := each(key); err != nil {
			return within(name, err)
		}
		return nil
	})
}

// entries calls each with the number of every entry of a list or an object, with d at the entry.
func (d *decoder) entries(end byte, each func(i int) error) error {
	for i := 0; ; i++ {
		d.at++ // the bracket, or a comma
		d.space()
		if d.peek() == end { // there is no comma before the end
			break
		}
		if err := each(i); err != nil {
			return err
		}
		if d.space(); d.peek() == end {
			break
		}
	}
	d.at++
	return nil
}

// skip passes a value, which must not repeat a key.
func (d *decoder) skip() error {
	switch d.peek() {
	case '{':
		return d.members(func(string) error { return d.skip() })
	case '[':
		return d.entries(']', func(i int) error {
			if err := d.skip(); err != nil {
				return within(fmt.Sprintf("[%d]", i), err)
			}
			return nil
		})
	case '"':
		d.string()
	default:
		d.token()
	}
	return nil
}

// token passes a number, true, false or null and returns it.
func (d *decoder) token() string {
	from := d.at
	for d.at < len(d.text) && strings.IndexByte(" \t\r\n,]}", d.text[d.at]) < 0 {
		d.at++
	}
	return string(d.text[from:d.at])
}

// string passes a string and returns its value.
func (d *decoder) string() (value string) {
	from := d.at
	for d.at++; d.peek() != '"'; d.at++ {
		if d.peek() == '\\' {
			d.at++
		}
	}
	d.at++
	_ = json.Unmarshal(d.text[from:d.at], &value) // it is well-formed
	return value
}

// mismatch returns the error of a value that should be another kind of value.
func (d *decoder) mismatch(want string) error {
	var got string
	switch from := d.at; d.peek() {
	case '{':
		got = "an object"
	case '[':
		got = "a list"
	case '"':
		got = strconv.Quote(short(d.string()))
	default:
		got, d.at = short(d.token()), from
	}
	return &Error{Err: fmt.Errorf("%s where %s is required", got, want)}
}

// short returns the beginning of a long text.
func short(text string) string {
	if runes := []rune(text); len(runes) > 40 {
		return string(runes[:40]) + "..."
	}
	return text
}

// value reads a value into v.
func (d *decoder) value(v reflect.Value) error {
	kind := v.Kind()
	if kind == reflect.Pointer {
		if d.peek() == 'n' {
			d.token()
			v.SetZero()
			return nil
		}
		copied := reflect.New(v.Type().Elem())
		if !v.IsNil() {
			copied.Elem().Set(v.Elem())
		}
		v.Set(copied)
		return d.value(copied.Elem())
	}
	from := d.at
	switch custom := v.Addr().Interface().(type) {
	case *json.RawMessage:
		err := d.skip()
		*custom = slices.Clone(d.text[from:d.at])
		return err
	case json.Unmarshaler:
		if d.peek() == 'n' {
			return d.mismatch(required(v.Type()))
		}
		if err := d.skip(); err != nil {
			return err
		}
		return custom.UnmarshalJSON(d.text[from:d.at])
	case encoding.TextUnmarshaler:
		if d.peek() != '"' {
			return d.mismatch("a string")
		}
		return custom.UnmarshalText([]byte(d.string()))
	}
	switch c := d.peek(); {
	case c == 'n' && (kind == reflect.Slice || kind == reflect.Map || kind == reflect.Interface):
		d.token()
		v.SetZero()
	case kind == reflect.Interface && v.NumMethod() == 0:
		if err := d.skip(); err != nil {
			return err
		}
		var read any
		if err := json.Unmarshal(d.text[from:d.at], &read); err != nil {
			return fmt.Errorf("%s is out of range", short(string(d.text[from:d.at])))
		}
		v.Set(reflect.ValueOf(read))
	case kind == reflect.Struct && c == '{':
		return d.object(v)
	case kind == reflect.Map && v.Type().Key().Kind() == reflect.String && c == '{':
		return d.mapped(v)
	case kind == reflect.Slice && c == '[':
		return d.list(v)
	case kind == reflect.Array && c == '[':
		return d.array(v)
	case kind == reflect.String && c == '"':
		v.SetString(d.string())
	case kind == reflect.Bool && (c == 't' || c == 'f'):
		v.SetBool(d.token() == "true")
	case (v.CanInt() || v.CanUint() || v.CanFloat()) && (c == '-' || '0' <= c && c <= '9'):
		return number(v, d.token())
	default:
		return d.mismatch(required(v.Type()))
	}
	return nil
}

// required names a type in JSON's terms.
func required(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.String:
		return "a string"
	case reflect.Slice, reflect.Array:
		return "a list"
	case reflect.Float32, reflect.Float64:
		return "a number"
	case reflect.Struct, reflect.Map, reflect.Interface:
		return "an object"
	}
	return "an integer"
}

// object reads an object into the fields of a struct.
func (d *decoder) object(v reflect.Value) error {
	fields := make(map[string][]int)
	collect(v.Type(), nil, fields)
	return d.members(func(key string) error {
		if index, ok := fields[key]; ok {
			return d.value(field(v, index))
		}
		return unknown(key, slices.Sorted(maps.Keys(fields)))
	})
}

// unknown returns the error of a key that is not one of those known.
func unknown(key string, known []string) error {
	hint := "no key is possible here"
	if len(known) > 0 {
		nearest := slices.MinFunc(known, func(a, b string) int { return distance(key, a) - distance(key, b) })
		hint = "use one of " + strings.Join(known, ", ")
		if distance(key, nearest) <= len(nearest)/3 {
			hint = fmt.Sprintf("did you mean %s?", nearest)
		}
	}
	return fmt.Errorf("unknown key %q: %s", key, hint)
}

// distance returns the number of letters to insert, delete or replace to make b of a, in any case.
func distance(a, b string) int {
	a, b = strings.ToLower(short(a)), strings.ToLower(b)
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0]++
		for j := range len(b) {
			replaced := diagonal
			if a[i] != b[j] {
				replaced++
			}
			diagonal, row[j+1] = row[j+1], min(replaced, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// collect adds the fields of a struct by their JSON keys, with those of embedded structs, of which
// the outermost counts.
func collect(t reflect.Type, at []int, to map[string][]int) {
	for i := range t.NumField() {
		f := t.Field(i)
		tag, inner := f.Tag.Get("json"), f.Type
		name, _, _ := strings.Cut(tag, ",")
		index := append(slices.Clone(at), i)
		if inner.Kind() == reflect.Pointer {
			inner = inner.Elem()
		}
		switch {
		case tag == "-":
		case f.Anonymous && name == "" && inner.Kind() == reflect.Struct:
			collect(inner, index, to)
		case f.IsExported():
			if name == "" {
				name = f.Name
			}
			if old, ok := to[name]; !ok || len(index) < len(old) {
				to[name] = index
			}
		}
	}
}

// field returns a field by its index, and creates embedded structs that are nil.
func field(v reflect.Value, index []int) reflect.Value {
	for _, i := range index {
		if v.Kind() == reflect.Pointer {
			if v.IsNil() {
				v.Set(reflect.New(v.Type().Elem()))
			}
			v = v.Elem()
		}
		v = v.Field(i)
	}
	return v
}

// mapped reads an object into a copy of a map.
func (d *decoder) mapped(v reflect.Value) error {
	copied := reflect.MakeMap(v.Type())
	for _, key := range v.MapKeys() {
		copied.SetMapIndex(key, v.MapIndex(key))
	}
	v.Set(copied)
	return d.members(func(key string) error {
		entry := reflect.New(v.Type().Elem()).Elem()
		if err := d.value(entry); err != nil {
			return err
		}
		v.SetMapIndex(reflect.ValueOf(key).Convert(v.Type().Key()), entry)
		return nil
	})
}

// list reads a list into a new slice.
func (d *decoder) list(v reflect.Value) error {
	v.Set(reflect.MakeSlice(v.Type(), 0, 0))
	return d.entries(']', func(i int) error {
		v.Grow(1)
		v.SetLen(i + 1)
		v.Index(i).SetZero()
		if err := d.value(v.Index(i)); err != nil {
			return within(fmt.Sprintf("[%d]", i), err)
		}
		return nil
	})
}

// array reads a list into an array of the same length.
func (d *decoder) array(v reflect.Value) error {
	n := 0
	err := d.entries(']', func(i int) error {
		if n = i + 1; n > v.Len() {
			return d.skip()
		}
		if err := d.value(v.Index(i)); err != nil {
			return within(fmt.Sprintf("[%d]", i), err)
		}
		return nil
	})
	if err == nil && n != v.Len() {
		return fmt.Errorf("%d entries in a list: give %d", n, v.Len())
	}
	return err
}

// number sets v to the number that text writes.
func number(v reflect.Value, text string) error {
	bits := v.Type().Bits()
	if v.CanFloat() {
		f, err := strconv.ParseFloat(text, bits)
		if err != nil {
			return fmt.Errorf("%s is out of range: use at most %.2g in magnitude", short(text),
				map[int]float64{32: math.MaxFloat32, 64: math.MaxFloat64}[bits])
		}
		if mantissa, _, _ := strings.Cut(strings.ToLower(text), "e"); f == 0 && strings.ContainsAny(mantissa, "123456789") {
			return fmt.Errorf("%s is too small for a number of %d bits: use 0, or more", short(text), bits)
		}
		v.SetFloat(f)
		return nil
	}
	whole, ok := integer(text)
	if !ok {
		return &Error{Err: fmt.Errorf("%s where an integer is required", short(text))}
	}
	if v.CanInt() {
		i, err := strconv.ParseInt(whole, 10, bits)
		if err != nil {
			return fmt.Errorf("%s is out of range: use an integer in [%d, %d]", short(text),
				int64(math.MinInt64)>>(64-bits), int64(math.MaxInt64)>>(64-bits))
		}
		v.SetInt(i)
		return nil
	}
	u, err := strconv.ParseUint(whole, 10, bits)
	if err != nil {
		return fmt.Errorf("%s is out of range: use an integer in [0, %d]", short(text), uint64(math.MaxUint64)>>(64-bits))
	}
	v.SetUint(u)
	return nil
}

// integer returns the digits of a JSON number that is an integer, exactly; of one with more than 30
// digits, others that are out of range too. It reports false for other numbers.
func integer(text string) (digits string, ok bool) {
	sign := ""
	if text[0] == '-' {
		sign, text = "-", text[1:]
	}
	mantissa, exponent, _ := strings.Cut(strings.ToLower(text), "e")
	whole, fraction, _ := strings.Cut(mantissa, ".")
	digits = strings.TrimLeft(strings.TrimRight(whole+fraction, "0"), "0")
	if digits == "" {
		return "0", true
	}
	shift := 0
	if exponent != "" {
		var err error
		if shift, err = strconv.Atoi(exponent); err != nil { // more than an int holds
			shift = math.MaxInt / 2
			if exponent[0] == '-' {
				shift = -shift
			}
		}
	}
	// Zeros that follow the digits.
	zeros := shift - len(fraction) + len(whole+fraction) - len(strings.TrimRight(whole+fraction, "0"))
	if zeros < 0 {
		return "", false
	}
	return sign + digits + strings.Repeat("0", min(zeros, 30)), true
}
