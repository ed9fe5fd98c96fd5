package experiment

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// Presets are the names of the scales that every experiment has a configuration for: quick for a minute or a few on a laptop's CPU, full for more (a map of digits: half an hour; of a mixture: minutes, in batches for a GPU). The project's figures
// are of quick for mixtures and classifiers, of full for maps of digits. The notebooks' presets go by the same names, but say how much of a notebook to run.
func Presets() []string { return []string{"quick", "full"} }

// GMMPreset returns the configuration of a mixture's map at a scale of [Presets]: quick is [DefaultGMMConfig], full has more and larger steps.
func GMMPreset(name string) (GMMConfig, error) {
	c := DefaultGMMConfig()
	switch name {
	case "quick":
	case "full":
		c.Train.Steps, c.Train.Batch = 20_000, 4096
	default:
		return c, unknownPreset(name)
	}
	return c, nil
}

// DigitsPreset returns the configuration of a map of digits at a scale of [Presets]: full is [DefaultDigitsConfig], quick the same for fewer steps.
func DigitsPreset(name string) (DigitsConfig, error) {
	c := DefaultDigitsConfig()
	switch name {
	case "quick":
		c.Train.Steps = 2000
	case "full":
	default:
		return c, unknownPreset(name)
	}
	return c, nil
}

// ClassifierPreset returns the configuration of a classifier at a scale of [Presets]: quick is [DefaultClassifierConfig], full has three times the steps.
func ClassifierPreset(name string, noised bool) (ClassifierConfig, error) {
	c := DefaultClassifierConfig(noised)
	switch name {
	case "quick":
	case "full":
		c.Train.Steps *= 3
	default:
		return c, unknownPreset(name)
	}
	return c, nil
}

func unknownPreset(name string) error {
	return fmt.Errorf("preset %q is unknown: use %s", name, strings.Join(Presets(), " or "))
}

// Merge reads a JSON object over the values that config, a pointer to a configuration, already has: keys that are not in it keep theirs. An unknown key, a value
// of another type and anything after the object are errors of one line, which say where. Whether values make sense is for the configuration's own check.
func Merge(config any, raw []byte) error {
	err := decodeStrict(raw, config)
	if e, ok := errors.AsType[*json.SyntaxError](err); ok {
		return fmt.Errorf("line %d: %w", line(raw, e.Offset), explain(err))
	}
	if e, ok := errors.AsType[*json.UnmarshalTypeError](err); ok && e.Field != "" {
		return fmt.Errorf("%s: %w", keyPath(e), explain(err))
	}
	return explain(err)
}

// Set sets one value of config, a pointer to a configuration, by its path of JSON keys, such as "train.optimizer.rate". The value is JSON, a number as one types it (.5),
// or else a text: 1e-3, [0.99, 0.999], true, semigroup. Errors are those of [Merge].
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
	if err := decodeStrict(raw, config); err != nil {
		return fmt.Errorf("%s: %w", path, explain(err))
	}
	return nil
}

// decodeStrict reads JSON into v and refuses keys that v does not have.
func decodeStrict(data []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return err
	}
	if _, err := d.Token(); err != io.EOF {
		return fmt.Errorf("there is something after the JSON value, at line %d", line(data, d.InputOffset()))
	}
	return nil
}

// explain says what encoding/json found, in words for whoever wrote the text.
func explain(err error) error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return fmt.Errorf("%s where %s is due", e.Value, due(e.Type))
	}
	if e, ok := errors.AsType[*json.SyntaxError](err); ok {
		return fmt.Errorf("not JSON: %w", e)
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("not JSON: it ends too early")
	}
	return errors.New(strings.Replace(err.Error(), "json: unknown field", "unknown key", 1))
}

// keyPath is where a value of the wrong type is, without the names of embedded types, which are no keys.
func keyPath(e *json.UnmarshalTypeError) string {
	isType := func(name string) bool { return name[:1] != strings.ToLower(name[:1]) }
	return strings.Join(slices.DeleteFunc(strings.Split(e.Field, "."), isType), ".")
}

// due names a type in JSON's terms.
func due(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Int, reflect.Int64, reflect.Uint64:
		return "a whole number"
	case reflect.Float64:
		return "a number"
	case reflect.Bool:
		return "true or false"
	case reflect.String:
		return "a text"
	case reflect.Slice:
		return "a list"
	}
	return "an object"
}

// line counts lines from 1.
func line(text []byte, offset int64) int {
	return 1 + bytes.Count(text[:min(int(offset), len(text))], []byte("\n"))
}
