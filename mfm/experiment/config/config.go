// Package config reads configurations: JSON over the values that a configuration already has, and
// single values by their path of JSON keys, as a command line sets them. Errors are one line, in
// the terms of JSON rather than of Go: they name the path of keys, the value, and what to do.
//
// Start from the default of a task, such as mixture.DefaultConfig; read a file into it with
// [Merge], and set one value with [Set].
package config

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"strconv"
	"strings"

	"github.com/gomfm/gomfm/mfm/internal/strictjson"
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

// Merge reads JSON into config, a pointer to a configuration; keys that are absent keep their
// values. Unknown keys (also those that differ from a key in case alone), repeated keys, values of
// another type, numbers out of range, null instead of a value, a byte-order mark and text after the
// JSON are errors. Integers keep all 64 bits and may be written as 5e1. Merge does not check other
// ranges: that is left to the configuration's own validation.
func Merge(config any, raw []byte) error { return strictjson.Decode(raw, config) }

// Set sets one value of config, a pointer to a configuration, by its path of JSON keys, such as
// "train.optimizer.rate". The value is JSON such as [0.99, 0.999] or true, or a number such as .5
// or 1e-3; anything else is a string, such as semigroup. Errors are those of [Merge].
func Set(config any, path, value string) error {
	raw := []byte(value)
	if !json.Valid(raw) || value == "null" {
		if raw = number(value); raw == nil {
			raw, _ = json.Marshal(value) // a string always encodes
		}
	}
	keys := strings.Split(path, ".")
	var object []byte
	for _, name := range keys {
		key, _ := json.Marshal(name)
		object = fmt.Appendf(object, "{%s:", key)
	}
	object = append(object, raw...)
	return strictjson.Decode(append(object, strings.Repeat("}", len(keys))...), config)
}

// number returns the JSON of a number that is not written as JSON, such as .5, 3. or +007, digit by
// digit; nil for other text.
func number(text string) []byte {
	if v, err := strconv.ParseFloat(text, 64); err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
		return nil
	}
	sign, rest := "", strings.TrimPrefix(text, "+")
	if cut, negative := strings.CutPrefix(text, "-"); negative {
		sign, rest = "-", cut
	}
	mantissa, exponent := rest, ""
	if i := strings.IndexAny(rest, "eE"); i >= 0 {
		mantissa, exponent = rest[:i], rest[i:]
	}
	whole, fraction, _ := strings.Cut(mantissa, ".")
	raw := fmt.Appendf(nil, "%s%s.%s%s", sign, cmp.Or(strings.TrimLeft(whole, "0"), "0"), cmp.Or(fraction, "0"), exponent)
	if !json.Valid(raw) { // a hexadecimal number
		return nil
	}
	return raw
}
