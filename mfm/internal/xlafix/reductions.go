// Package xlafix works around a limitation of go-xla (v0.4) with reductions in closures.
package xlafix

import (
	"reflect"
	"strings"
	"unsafe"

	. "github.com/gomlx/gomlx/core/graph"
)

// OwnReductions calls build, which builds a closure of g, and keeps the reductions of the closure
// separate from those outside it.
//
// go-xla builds the function by which a reduction combines two elements once per kind and type,
// inside the function that reduces first, and refuses it in all other functions. So no sum could be
// computed both inside and outside a loop. The caches of these functions have no accessor;
// OwnReductions empties them by reflection. If a later version renames them, or for another
// backend, it just calls build.
func OwnReductions(g *Graph, build func() []*Node) []*Node {
	for _, cache := range builderCaches(g) {
		before := reflect.ValueOf(cache.Interface())
		cache.Set(reflect.MakeMap(cache.Type()))
		defer cache.Set(before)
	}
	return build()
}

// builderCaches returns the maps named "cache..." of the backend's builder as settable values.
func builderCaches(g *Graph) (caches []reflect.Value) {
	builder := reflect.ValueOf(g).Elem().FieldByName("builder")
	for builder.Kind() == reflect.Interface || builder.Kind() == reflect.Pointer {
		builder = builder.Elem()
	}
	if builder.Kind() != reflect.Struct {
		return nil
	}
	for i := range builder.NumField() {
		field := builder.Field(i)
		if field.Kind() == reflect.Map && strings.HasPrefix(builder.Type().Field(i).Name, "cache") {
			caches = append(caches, reflect.NewAt(field.Type(), unsafe.Pointer(field.UnsafeAddr())).Elem())
		}
	}
	return caches
}
