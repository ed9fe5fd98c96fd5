package main

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"

	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/checkpoint"
	"github.com/gomfm/gomfm/mfm/experiment/run"
)

// samplerFlags are the flags of commands that draw samples from the map of a run.
type samplerFlags struct {
	c          *command
	checkpoint *string
	at         *int64
	settings   *settings
}

func (c *command) withSampler() samplerFlags {
	c.withOutput()
	f := c.Flags()
	return samplerFlags{
		c:          c,
		checkpoint: f.String("checkpoint", "", "`folder` of the run, finished or not (required)"),
		at:         f.Int64("at", 0, "`step` of the checkpoint to use (default: the end of the run)"),
		settings: c.withSettings(
			option{name: "method", path: "method", usage: "`method` of sampling",
				values: []string{"map", "refine", "ode", "sde"}, read: name},
			option{name: "steps", path: "steps", usage: "`number` of steps (default: one step of the map)"},
			option{name: "solver", path: "solver", usage: "`solver` of the ODE", values: []string{"heun", "euler"},
				read: name},
			option{name: "power", path: "power",
				usage: "`exponent` of the times of the steps: 1 is uniform, more is finer near noise"},
		),
	}
}

// openMap opens the map of the run that the flags name with its weights at the step that they name,
// and returns how it is sampled. It reports damaged checkpoints, instead of which an older one is
// used.
func openMap[E interface{ Model(*model.Store) mfm.Model }](f samplerFlags, open func(dir string) (E, *model.Store, error)) (
	e E, store *model.Store, config mfm.SamplerConfig, err error,
) {
	var dir string
	dir, config, err = f.open()
	if err != nil {
		return e, nil, config, err
	}
	if e, store, err = open(dir); err == nil && *f.at != 0 {
		store, err = run.OpenAt(dir, *f.at, e.Model(store).Shapes)
	}
	return e, store, config, err
}

// open returns the folder of the run that the flags name and how its map is sampled.
func (f samplerFlags) open() (dir string, config mfm.SamplerConfig, err error) {
	config = mfm.DefaultSamplerConfig()
	if err = cmp.Or(f.c.require("name the folder of a run", "checkpoint"), f.settings.apply(&config)); err == nil {
		err = config.Validate()
	}
	if err != nil {
		return "", config, err
	}
	_, damaged, _ := checkpoint.Latest(*f.checkpoint) // opening the run reports that there is no checkpoint
	for _, err := range damaged {
		f.c.warn(err)
	}
	return *f.checkpoint, config, nil
}

// numbers reads finite numbers separated by commas.
func numbers(text string) (all []float32, err error) {
	for _, field := range strings.Split(text, ",") {
		v, err := strconv.ParseFloat(strings.TrimSpace(field), 32)
		if err != nil || v-v != 0 {
			return nil, fmt.Errorf("%q is not a finite number", field)
		}
		all = append(all, float32(v))
	}
	return all, nil
}

func checkTime(t float64) error {
	if !(t >= 0 && t <= 1) {
		return fmt.Errorf("--t = %g: a time must lie in [0, 1]", t)
	}
	return nil
}

// checkCount returns an error for a number of samples that is not positive or too large to be
// printed.
func checkCount(flag string, n int) error {
	const most = 1 << 20
	if n < 1 || n > most {
		return fmt.Errorf("--%s = %d: must lie in [1, %d]", flag, n, most)
	}
	return nil
}
