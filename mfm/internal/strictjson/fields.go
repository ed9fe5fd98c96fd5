package strictjson

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
)

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
	if key == "" { // the path shows every other one
		return fmt.Errorf(`unknown key "": %s`, hint)
	}
	return fmt.Errorf("unknown key: %s", hint)
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
