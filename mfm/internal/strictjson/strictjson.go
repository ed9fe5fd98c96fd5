// Package strictjson reads the JSON that users write: configurations, rewards, mixtures, settings.
// Nothing in the text is ignored and nothing is guessed. These are errors:
//
//   - a key that the value does not have, also one that differs in case alone, and a repeated key;
//   - null, except for a pointer to a number or a string. [DecodeStored] reads it for any pointer,
//     a list and a map, since encoding/json writes it for nil;
//   - a number that is out of range, or too small for a float64; a list of another length than an
//     array; a value of another type;
//   - text after the value, a byte-order mark, text that is not UTF-8, and faulty syntax.
//
// Numbers are read from their decimal text: an integer has all 64 bits, and may be written as 5e1
// or 50.0, but not as 5e-1. Each error is one line that names the path of the key, the value, and
// what to do, such as "train.steps: 1e400 is out of range: use ...".
package strictjson

import (
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
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
// changes. skip are keys that are left out if the text is an object. After an error v may be
// changed in part.
func Decode(text []byte, v any, skip ...string) error { return decode(text, v, false, skip) }

// DecodeStored is [Decode] for what a program has written, in which null is a pointer, a list or a
// map that is nil.
func DecodeStored(text []byte, v any, skip ...string) error { return decode(text, v, true, skip) }

func decode(text []byte, v any, stored bool, skip []string) error {
	d, err := open(text)
	if err != nil {
		return err
	}
	if len(skip) > 0 && d.peek() == '{' {
		if d, err = d.without(skip); err != nil {
			return err
		}
	}
	d.stored = stored
	return d.value(reflect.ValueOf(v).Elem())
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

// Strict is a [json.Unmarshaler] that reads text of users, by [Decode], otherwise than stored text.
type Strict interface{ UnmarshalStrict(text []byte) error }

// value reads a value into v.
func (d *decoder) value(v reflect.Value) error {
	kind := v.Kind()
	if kind == reflect.Pointer {
		if d.peek() == 'n' && (d.stored || v.Type().Elem().Kind() != reflect.Struct) {
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
	if custom, ok := v.Addr().Interface().(Strict); ok && !d.stored && d.peek() != 'n' {
		if err := d.skip(); err != nil {
			return err
		}
		return custom.UnmarshalStrict(d.text[from:d.at])
	}
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
	case c == 'n' && (d.stored && (kind == reflect.Slice || kind == reflect.Map) || kind == reflect.Interface):
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
