package run

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/gomlx/gomlx/core/tensors"

	"github.com/gomfm/gomfm/mfm/checkpoint"
	"github.com/gomfm/gomfm/mfm/train"
)

// ErrInit is wrapped by the error of a run whose weights cannot initialize another one.
var ErrInit = errors.New("initial weights")

// CheckInit returns an error that wraps [ErrInit] unless the run in dir has ended, is of the given
// kind and has the network that config describes. [Train] also compares its weights with the model.
func CheckInit(dir, kind string, config any) error {
	_, err := initialWeights(dir, kind, config)
	return err
}

// initialize gives a trainer at step zero the weights of the run or the file o.Init. Moments and
// moving averages start anew.
func (o Options) initialize(t *train.Trainer, kind string, config any) (err error) {
	weights, from := o.InitWeights, o.Init
	if weights == nil {
		from = fmt.Sprintf("run %s: %s", o.Init, weightsFile)
		if weights, err = initialWeights(o.Init, kind, config); err != nil {
			return err
		}
	}
	if err := t.Initialize(weights); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrInit, from, err)
	}
	return nil
}

// initialWeights returns the weights of the run in dir after the checks of [CheckInit].
func initialWeights(dir, kind string, config any) (checkpoint.Tensors, error) {
	manifest, err := ReadManifest(dir, kind)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInit, err)
	}
	mine, err := json.Marshal(config)
	if err != nil {
		return nil, fmt.Errorf("run: encoding the configuration: %w", err)
	}
	if theirs := manifest.Config; shaping(mine) != shaping(theirs) {
		return nil, fmt.Errorf("%w: run %s has %s, this one %s: use the same values",
			ErrInit, dir, shaping(theirs), shaping(mine))
	}
	weights, _, err := checkpoint.ReadWeights(filepath.Join(dir, weightsFile))
	if err != nil {
		return nil, fmt.Errorf("%w: run %s: %w", ErrInit, dir, err)
	}
	return weights, nil
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
