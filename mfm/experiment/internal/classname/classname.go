// Package classname finds classes by their names.
package classname

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Index returns the index of a class in names. text is its name, or its index if no class has that
// name. Other texts are errors.
func Index(names []string, text string) (int32, error) {
	if i := slices.Index(names, text); i >= 0 {
		return int32(i), nil
	}
	if len(names) == 0 {
		return 0, fmt.Errorf("class %q: the map has no classes", text)
	}
	if i, err := strconv.Atoi(text); err == nil && i >= 0 && i < len(names) {
		return int32(i), nil
	}
	return 0, fmt.Errorf("class %q is unknown: use %s", text, Listed(names))
}

// Listed returns up to 20 names for a message, and the number of all if there are more.
func Listed(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	var all []string
	for _, name := range names[:min(len(names), 20)] {
		all = append(all, strconv.Quote(name))
	}
	text := strings.Join(all, ", ")
	if n := len(names); n > len(all) {
		text += fmt.Sprintf(", ... (%d in all)", n)
	}
	return text
}
