package main

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/checkpoint"
	"github.com/gomfm/gomfm/mfm/experiment"
)

// samplerFlags are the flags of commands that draw samples from a trained map.
type samplerFlags struct {
	*flags
	checkpoint *string
	at         *int64
	settings   settings
}

func newSamplerFlags(name string) *samplerFlags {
	f := &samplerFlags{flags: newFlags(name).withBackend().withJSON()}
	f.checkpoint = f.String("checkpoint", "", "`folder` of the run, finished or not (required)")
	f.at = f.Int64("at", 0, "`step` of the checkpoint to use (default: the end of the run)")
	f.settings.add(f.flags, samplerOptions()...)
	return f
}

// samplerOptions set the fields of a [mfm.SamplerConfig].
func samplerOptions() []option {
	return []option{
		{name: "method", path: "method", usage: "how samples are drawn: `map`, refine, ode or sde", read: name},
		{name: "steps", path: "steps", usage: "`number` of steps; one step of the map is the default"},
		{name: "solver", path: "solver", usage: "of the ODE: euler or `heun`", read: name},
		{name: "power", path: "power", usage: "of the steps' times, a `number`: 1 is uniform, more is finer near noise"},
	}
}

// config returns how samples are drawn, after a check of the flags.
func (f *samplerFlags) config() (mfm.SamplerConfig, error) {
	config := mfm.DefaultSamplerConfig()
	if *f.checkpoint == "" {
		return config, invalidf("--checkpoint is missing: name the folder of a run")
	}
	err := f.settings.apply(&config)
	if err == nil {
		err = config.Validate()
	}
	if err != nil {
		return config, invalid{err}
	}
	return config, nil
}

// weights returns the weights of the run at the step that was asked for; store has those of its end.
func (f *samplerFlags) weights(store *model.Store) (*model.Store, error) {
	if *f.at == 0 {
		return store, nil
	}
	store, err := experiment.CheckpointWeights(*f.checkpoint, *f.at)
	if err != nil {
		return nil, invalid{err}
	}
	return store, nil
}

// warn tells of damaged checkpoints in the folder, in place of which an older one is used.
func (f *samplerFlags) warn(s *shell) {
	_, problems, _ := checkpoint.Latest(*f.checkpoint) // where there is none, opening the run says so
	for _, p := range problems {
		s.warn(p)
	}
}

// numbers reads numbers separated by commas.
func numbers(text string) ([]float32, error) {
	var out []float32
	for _, field := range strings.Split(text, ",") {
		v, err := strconv.ParseFloat(strings.TrimSpace(field), 32)
		if err != nil || v-v != 0 { // not finite
			return nil, fmt.Errorf("%q is not a number", field)
		}
		out = append(out, float32(v))
	}
	return out, nil
}

func checkTime(t float64) error {
	if !(t >= 0 && t <= 1) {
		return invalidf("--t = %g: a time must lie in [0, 1]", t)
	}
	return nil
}

// mostSamples of a command: what is printed is to be read.
const mostSamples = 1 << 20

func checkCount(flag string, n int) error {
	if n < 1 || n > mostSamples {
		return invalidf("--%s = %d: must lie in [1, %d]", flag, n, mostSamples)
	}
	return nil
}
