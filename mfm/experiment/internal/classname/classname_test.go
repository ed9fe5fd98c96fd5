package classname

import (
	"fmt"
	"strings"
	"testing"
)

// A class is known by its name, or by its index if no class has that name. Messages list up to
// twenty names.
func TestIndex(t *testing.T) {
	names := []string{"a", "2", "b"}
	for text, want := range map[string]int32{"a": 0, "2": 1, "b": 2, "0": 0, "1": 1} {
		if got, err := Index(names, text); got != want || err != nil {
			t.Errorf("class %q is %d, want %d (%v)", text, got, want, err)
		}
	}
	var many []string
	for i := range 25 {
		many = append(many, fmt.Sprintf("c%d", i))
	}
	for _, c := range []struct {
		names      []string
		text, want string
	}{
		{names, "3", `class "3" is unknown: use "a", "2", "b"`}, {names, "-1", "is unknown"},
		{many, "c", `"c19", ... (25 in all)`}, {nil, "0", "the map has no classes"},
	} {
		if _, err := Index(c.names, c.text); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("class %q: error %v, want one with %q", c.text, err, c.want)
		}
	}
}
