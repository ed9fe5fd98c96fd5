package run

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/gomlx/gomlx/core/tensors"

	"github.com/gomfm/gomfm/mfm/checkpoint"
	"github.com/gomfm/gomfm/mfm/train"
)

// ErrInit is wrapped by the error of a run whose weights cannot initialize another one.
var ErrInit = errors.New("initial weights")

// CheckInit returns an error that wraps [ErrInit] unless the run in dir has ended, is of the given
// kind and has the network that config describes. It does not read the weights: [Train] does, and
// compares them with the model.
func CheckInit(dir, kind string, config any) error {
	manifest, err := ReadManifest(dir, kind)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrInit, err)
	}
	mine, err := json.Marshal(config)
	if err != nil {
		return fmt.Errorf("run: encoding the configuration: %w", err)
	}
	if theirs := manifest.Config; shaping(mine) != shaping(theirs) {
		return fmt.Errorf("%w: run %s has %s, this one %s: use the same values",
			ErrInit, dir, shaping(theirs), shaping(mine))
	}
	if _, err := os.Stat(filepath.Join(dir, weightsFile)); err != nil {
		return fmt.Errorf("%w: run %s: %w", ErrInit, dir, err)
	}
	return nil
}

// initialize gives a trainer at step zero the weights of the run or the file o.Init. Moments and
// moving averages start anew.
func (o Options) initialize(t *train.Trainer, kind string, config any) error {
	initialize := func(from string) func(checkpoint.Tensors) error {
		return func(weights checkpoint.Tensors) error {
			if err := t.Initialize(weights); err != nil {
				return fmt.Errorf("%s: %w", from, err)
			}
			return nil
		}
	}
	var err error
	if o.InitWeights != nil {
		err = initialize(o.Init)(o.InitWeights)
	} else if err = CheckInit(o.Init, kind, config); err != nil {
		return err
	} else {
		_, _, err = checkpoint.ReadFitting(filepath.Join(o.Init, weightsFile),
			initialize(fmt.Sprintf("run %s: %s", o.Init, weightsFile)))
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrInit, err)
	}
	return nil
}

// shaping returns the part of a configuration that determines the shapes of the weights, as JSON.
func shaping(config []byte) string {
	var all map[string]any
	// Text that is not a JSON object has no such part.
	_ = json.Unmarshal(config, &all)
	part := make(map[string]any)
	for _, key := range []string{"network", "parametrization", "prior", "noised"} {
		if value, ok := all[key]; ok {
			part[key] = value
		}
	}
	raw, _ := json.Marshal(part) // decoded JSON always encodes
	return string(raw)
}

// Adopt makes the folder of o a run that has ended, with weights that were trained elsewhere, by
// their paths below [train.WeightsScope]. kind and config describe it as in [Train]. It is an error
// if the folder has weights already, or holds another run.
func (o Options) Adopt(kind string, config any, weights map[string]*tensors.Tensor) error {
	if err := o.Claim(kind, config); err != nil {
		return err
	}
	ended, err := Exported(o.Dir)
	if err == nil && (ended || Begun(o.Dir)) {
		err = fmt.Errorf("run %s has weights already: choose another folder", o.Dir)
	}
	if err != nil {
		return err
	}
	return checkpoint.WriteWeights(filepath.Join(o.Dir, weightsFile), weights, map[string]string{"command": o.Command})
}

// Begun reports whether the folder dir has a checkpoint to resume from.
func Begun(dir string) bool {
	_, _, err := checkpoint.Latest(dir)
	return err == nil
}
