// Package config reads configurations: JSON over the values that a configuration already has, and
// single values by their path of JSON keys, as a command line sets them. Errors are one line, in
// the terms of JSON rather than of Go.
//
// Start from the default of a task, such as mixture.DefaultConfig; read a file into it with
// [Merge], and set one value with [Set].
package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// maxBytes bounds a file of JSON.
const maxBytes = 256 << 20

// ReadFile returns the content of a JSON file, or an error if it is larger than 256 MiB: a device
// such as /dev/zero has no end. Its errors do not repeat the path.
func ReadFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, withoutPath(err)
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, maxBytes+1))
	if err == nil && len(raw) > maxBytes {
		err = fmt.Errorf("larger than %d MiB, too large for JSON", maxBytes>>20)
	}
	return raw, withoutPath(err)
}

// withoutPath returns the cause of an error of a file, whose path the caller adds.
func withoutPath(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	return err
}

// Merge reads a JSON object into config, a pointer to a configuration; keys that are absent keep
// their values. An unknown key, a value of another type and text after the object are errors of one
// line, which say where. Merge does not check ranges: that is left to the configuration's own
// validation.
func Merge(config any, raw []byte) error {
	err := Decode(raw, config)
	if e, ok := errors.AsType[*json.SyntaxError](err); ok {
		return fmt.Errorf("line %d: %w", line(raw, e.Offset), explain(err))
	}
	if e, ok := errors.AsType[*json.UnmarshalTypeError](err); ok && e.Field != "" {
		return fmt.Errorf("%s: %w", keyPath(e), explain(err))
	}
	return explain(err)
}

// Set sets one value of config, a pointer to a configuration, by its path of JSON keys, such as
// "train.optimizer.rate". The value is JSON such as [0.99, 0.999] or true, or a number such as .5
// or 1e-3; anything else is a string, such as semigroup. Errors are those of [Merge].
func Set(config any, path, value string) error {
	raw := []byte(value)
	if !json.Valid(raw) || value == "null" {
		raw, _ = json.Marshal(value) // a string always encodes
		if number, err := strconv.ParseFloat(value, 64); err == nil && !math.IsNaN(number) && !math.IsInf(number, 0) {
			raw, _ = json.Marshal(number)
		}
	}
	keys := strings.Split(path, ".")
	for i := len(keys) - 1; i >= 0; i-- {
		key, _ := json.Marshal(keys[i])
		raw = fmt.Appendf(nil, "{%s:%s}", key, raw)
	}
	if err := Decode(raw, config); err != nil {
		return fmt.Errorf("%s: %w", path, explain(err))
	}
	return nil
}

// Decode reads a single JSON value into v. Keys that v does not have are an error, and so is text
// after the value.
func Decode(data []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return err
	}
	if _, err := d.Token(); err != io.EOF {
		return fmt.Errorf("text after the JSON value, at line %d", line(data, d.InputOffset()))
	}
	return nil
}

// explain rewords an error of encoding/json for the author of the text.
func explain(err error) error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return fmt.Errorf("%s where %s is required", e.Value, required(e.Type))
	}
	if e, ok := errors.AsType[*json.SyntaxError](err); ok {
		return fmt.Errorf("not JSON: %w", e)
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("not JSON: it ends too early")
	}
	return errors.New(strings.Replace(err.Error(), "json: unknown field", "unknown key", 1))
}

// keyPath returns the path of keys of a value of the wrong type. It omits the names of embedded
// types, which are not keys.
func keyPath(e *json.UnmarshalTypeError) string {
	isType := func(name string) bool { return name[:1] != strings.ToLower(name[:1]) }
	return strings.Join(slices.DeleteFunc(strings.Split(e.Field, "."), isType), ".")
}

// required names a type in JSON's terms.
func required(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Int, reflect.Int64, reflect.Uint64:
		return "an integer"
	case reflect.Float64:
		return "a number"
	case reflect.Bool:
		return "true or false"
	case reflect.String:
		return "a string"
	case reflect.Slice:
		return "a list"
	}
	return "an object"
}

// line returns the line of an offset, from 1.
func line(text []byte, offset int64) int {
	return 1 + bytes.Count(text[:min(int(offset), len(text))], []byte("\n"))
}
