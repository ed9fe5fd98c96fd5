package xlafix

import (
	"reflect"
	"strings"
	"unsafe"

	. "github.com/gomlx/gomlx/core/graph"
)

// withOwnReductions calls build, which builds a closure of g, and keeps the closure's reductions and those outside apart.
//
// go-xla (v0.4) makes the little function by which a reduction combines two elements once for each kind and type, as part of the function that reduces
// first, and refuses it in all others: no sum could be taken both inside a loop and outside. Its caches of them have no accessor; where a
// later version has renamed them, or the backend is another, build sees them as they are.
func OwnReductions(g *Graph, build func() []*Node) []*Node {
	for _, cache := range builderCaches(g) {
		before := reflect.ValueOf(cache.Interface())
		cache.Set(reflect.MakeMap(cache.Type()))
		defer cache.Set(before)
	}
	return build()
}

// builderCaches returns the maps called "cache..." of the backend's builder, so that they can be set.
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
