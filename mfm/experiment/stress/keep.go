package stress

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/gomfm/gomfm/mfm/experiment/sweep"
)

// Keep returns, of results that [sweep.Merge] returned, those of settings in the grids of the
// stress tests, and all those of the losses, whose grid depends on measured rates. It drops the
// results of other settings that were tried in the same folder.
func Keep(results []json.RawMessage) ([]json.RawMessage, error) {
	names := make(map[string]bool)
	if err := errors.Join(
		addNames(names, DiversityGrid()), addNames(names, BaseGrid()), addNames(names, ManifoldGrid()),
		addNames(names, PrecisionGrid()), addNames(names, TimesGrid()),
	); err != nil {
		return nil, err
	}
	var failed error
	return slices.DeleteFunc(results, func(raw json.RawMessage) bool {
		var head struct {
			Run  string
			Test Test
		}
		if err := json.Unmarshal(raw, &head); err != nil {
			failed = errors.Join(failed, fmt.Errorf("reading results of stress tests: %w", err))
			return false
		}
		return head.Test != LossesTest && !names[head.Run]
	}), failed
}

// addNames adds the hashes of settings to names.
func addNames[S any](names map[string]bool, settings []S) error {
	for _, s := range settings {
		name, err := sweep.Name(s)
		if err != nil {
			return err
		}
		names[name] = true
	}
	return nil
}
