package config

import (
	"fmt"
	"slices"
	"strings"
)

// Presets returns the names of the scales at which every experiment has a configuration: quick, for
// a few minutes on a laptop's CPU, and full, for more (a map of digits: 25 minutes; a map of a
// mixture: minutes, in batches for a GPU). The project's figures use quick for mixtures and
// classifiers, and full for maps of digits. The presets of the notebooks have the same names, but
// say how much of a notebook to run.
func Presets() []string { return []string{"quick", "full"} }

// Full reports whether the scale of a name is full rather than quick. Another name is an error.
func Full(name string) (bool, error) {
	if !slices.Contains(Presets(), name) {
		return false, fmt.Errorf("preset %q is unknown: use %s", name, strings.Join(Presets(), " or "))
	}
	return name == "full", nil
}
