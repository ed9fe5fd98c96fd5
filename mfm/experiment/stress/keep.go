package stress

import (
	"errors"
	"maps"

	"github.com/gomfm/gomfm/mfm/experiment/sweep"
)

// Keep returns a function for [sweep.Complete] that keeps the results of settings in the grids of
// the stress tests, and all those of the losses, whose grid depends on measured rates. It drops the
// results of other settings that were tried in the same folder.
func Keep() (func(name, test string) bool, error) {
	names := make(map[string]bool)
	err := errors.Join(
		addNames(names, DiversityGrid()), addNames(names, BaseGrid()), addNames(names, ManifoldGrid()),
		addNames(names, PrecisionGrid()), addNames(names, TimesGrid()))
	return func(name, test string) bool { return Test(test) == LossesTest || names[name] }, err
}

// addNames adds the hashes of settings to names.
func addNames[S any](names map[string]bool, settings []S) error {
	more, err := sweep.Names(settings)
	maps.Copy(names, more)
	return err
}
