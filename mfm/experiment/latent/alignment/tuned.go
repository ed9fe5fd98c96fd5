package alignment

import (
	"context"
	"fmt"

	"github.com/gomlx/compute"
	"github.com/gomlx/gomlx/core/tensors"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/experiment/run"
	"github.com/gomfm/gomfm/mfm/experiment/tuning"
	"github.com/gomfm/gomfm/mfm/tune"
)

// tunable is what the fine-tuning of a map of latents starts from.
type tunable struct {
	of      mfm.Model                  // the base
	weights map[string]*tensors.Tensor // of the base
	start   tune.Base                  // the same for package tune
	mapHash string                     // of map and autoencoder
}

// tunable returns the map with guidance of a scale, 0 for none, as what is tuned.
func (m *Model) tunable(guidance float64) (t tunable, err error) {
	t.of = m.Model
	if guidance != 0 {
		if t.of, err = t.of.Guided(guidance); err != nil {
			return t, err
		}
	}
	if t.weights, err = run.Weights(m.Store()); err != nil {
		return t, err
	}
	t.start = tune.MapBase(t.of, t.weights, mfm.DefaultSamplerConfig())
	if m.weightsHash == "" { // once, since those of a large map take seconds
		if m.weightsHash, err = run.HashTensors(t.weights); err != nil {
			return t, err
		}
	}
	t.mapHash, err = hashJSON([]any{m.Config, m.Shape, m.Map.Parametrization, m.weightsHash, m.codec})
	return t, err
}

// Tuned is a drift that was tuned from that of a map of latents.
type Tuned struct {
	// Config and Guidance are those of the tuning.
	Config   tuning.Config
	Guidance float64

	tunable
	model  *Model
	result tuning.Result
}

// OpenTuned opens the drift of the finished run in dir that was tuned from the map m. It returns an
// error for a run that was tuned from another map, or with another autoencoder.
func (m *Model) OpenTuned(dir string) (*Tuned, error) {
	var manifest tuningManifest
	if _, err := run.ReadConfig(dir, &manifest, kindTuned); err != nil {
		return nil, err
	}
	if err := manifest.Validate(); err != nil {
		return nil, fmt.Errorf("run %s: %w", dir, err)
	}
	t := &Tuned{Config: manifest.Config, Guidance: manifest.Guidance, model: m}
	var err error
	if t.tunable, err = m.tunable(t.Guidance); err != nil {
		return nil, err
	}
	if t.mapHash != manifest.Map {
		return nil, fmt.Errorf("run %s was tuned from another map, or with another autoencoder: give the map that was tuned", dir)
	}
	network, err := t.Config.MapNetwork(t.of.Map, t.weights)
	if err != nil {
		return nil, err
	}
	return t, t.result.Open(dir, t.Config.Tune.Steps, t.start, network)
}

// Sample returns n pictures of each label by Euler steps of the ODE of the tuned drift: pixels in
// [-1, 1], [labels][n][height, width, channels] flat. Without labels, for a map without classes, it
// returns n pictures. The noise is that of seed for any drift.
func (t *Tuned) Sample(ctx context.Context, b compute.Backend, seed int64, steps, n int, labels []int32) ([]float32, error) {
	sampler, err := newODE(b, t.result.Store, t.of, t.result.Drift, steps, t.model.rows(b))
	if err != nil {
		return nil, err
	}
	defer sampler.Finalize()
	latents, err := mfm.Flat(sampler.Unconditional(ctx, seed, n, labels))
	if err != nil {
		return nil, fmt.Errorf("samples of the tuned drift: %w", err)
	}
	return t.model.decoder.decode(ctx, latents)
}
