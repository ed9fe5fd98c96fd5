package experiment

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/gomfm/gomfm/mfm/checkpoint"
	"github.com/gomfm/gomfm/mfm/train"
)

// ErrInit is the error, wrapped, of a run that cannot give another one its weights.
var ErrInit = errors.New("weights to begin with")

// CheckInit returns an error, [ErrInit], unless the run in dir is a finished one of the given kind and with the network that config has.
func CheckInit(dir, kind string, config any) error {
	_, err := initialWeights(dir, kind, config)
	return err
}

// initialize gives a trainer at step zero the weights of the run in dir. Moments and averages start anew.
func initialize(t *train.Trainer, kind string, config any, dir string) error {
	weights, err := initialWeights(dir, kind, config)
	if err != nil {
		return err
	}
	return train.SetWeights(t.Store(), weights)
}

func initialWeights(dir, kind string, config any) (checkpoint.Tensors, error) {
	manifest, err := readManifest(dir, kind)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInit, err)
	}
	mine, err := json.Marshal(config)
	if err != nil {
		return nil, fmt.Errorf("run: encoding the configuration: %w", err)
	}
	if theirs := manifest.Config; shaping(mine) != shaping(theirs) {
		return nil, fmt.Errorf("%w: run %s has %s, this one %s: configure the same", ErrInit, dir, shaping(theirs), shaping(mine))
	}
	weights, _, err := checkpoint.ReadWeights(filepath.Join(dir, weightsFile))
	if err != nil {
		return nil, fmt.Errorf("%w: run %s: %w", ErrInit, dir, err)
	}
	return weights, nil
}

// shaping returns the part of a configuration that the shapes of weights depend on.
func shaping(config []byte) string {
	var all map[string]any
	_ = json.Unmarshal(config, &all) // what is no configuration has no such part
	part := make(map[string]any)
	for _, key := range []string{"network", "parametrization", "prior", "noised"} {
		if value, ok := all[key]; ok {
			part[key] = value
		}
	}
	raw, _ := json.Marshal(part) // what came from JSON goes back
	return string(raw)
}

// begun reports whether the run in dir has a checkpoint to go on from.
func begun(dir string) bool {
	_, _, err := checkpoint.Latest(dir)
	return err == nil
}
