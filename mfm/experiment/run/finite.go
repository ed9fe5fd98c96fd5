package run

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// CheckFinite returns an error that names the first number of a result, by its path in JSON, that
// is NaN or infinite, which JSON cannot express and which no reader can use.
func CheckFinite(result any) error {
	return checkFinite(reflect.ValueOf(result), "")
}

func checkFinite(v reflect.Value, path string) error {
	if !v.IsValid() || v.Kind() == reflect.Pointer && v.IsNil() {
		return nil
	}
	if m, ok := marshaler(v); ok {
		if _, err := m.MarshalJSON(); err != nil {
			return notFinite(path, strings.TrimPrefix(err.Error(), "json: unsupported value: "))
		}
		return nil
	}
	switch v.Kind() {
	case reflect.Float32, reflect.Float64:
		if f := v.Float(); f-f != 0 {
			return notFinite(path, fmt.Sprint(f))
		}
	case reflect.Pointer, reflect.Interface:
		return checkFinite(v.Elem(), path)
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			if err := checkFinite(v.Index(i), fmt.Sprintf("%s[%d]", path, i)); err != nil {
				return err
			}
		}
	case reflect.Map:
		keys := v.MapKeys()
		slices.SortFunc(keys, func(a, b reflect.Value) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
		for _, key := range keys {
			if err := checkFinite(v.MapIndex(key), join(path, fmt.Sprint(key))); err != nil {
				return err
			}
		}
	case reflect.Struct:
		for i := range v.NumField() {
			f := v.Type().Field(i)
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			at := path
			switch {
			case !f.IsExported() && !f.Anonymous || name == "-":
				continue
			case name != "":
				at = join(path, name)
			case !f.Anonymous:
				at = join(path, f.Name)
			}
			if err := checkFinite(v.Field(i), at); err != nil {
				return err
			}
		}
	}
	return nil
}

func marshaler(v reflect.Value) (m json.Marshaler, ok bool) {
	if v.CanInterface() {
		m, ok = v.Interface().(json.Marshaler)
	}
	return m, ok
}

func join(path, key string) string { return strings.TrimPrefix(path+"."+key, ".") }

func notFinite(path, value string) error {
	if path == "" {
		path = "it"
	}
	return fmt.Errorf("the result is not finite: %s is %s: check the weights and the setting that it comes from", path,
		value)
}
