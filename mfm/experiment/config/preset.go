package config

import (
	"fmt"
	"strings"
)

// Presets returns the names of the scales at which every experiment has a configuration: quick, for
// a few minutes on a laptop's CPU, and full, for more (a map of digits: half an hour; a map of a
// mixture: minutes, in batches for a GPU). The project's figures use quick for mixtures and
// classifiers, and full for maps of digits. The presets of the notebooks have the same names, but
// say how much of a notebook to run.
func Presets() []string { return []string{"quick", "full"} }

// UnknownPreset returns the error of a name that is not one of [Presets].
func UnknownPreset(name string) error {
	return fmt.Errorf("preset %q is unknown: use %s", name, strings.Join(Presets(), " or "))
}
