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

// Tuned is a drift that was tuned from that of a map of latents.
type Tuned struct {
	// Config and Guidance are those of the tuning.
	Config   tuning.Config
	Guidance float64

	model  *Model
	of     mfm.Model // the base
	result tuning.Result
}

// OpenTuned opens the drift of the finished run in dir that was tuned from the map m. It returns an
// error for a run that was tuned from another map, or with another autoencoder.
func (m *Model) OpenTuned(dir string) (*Tuned, error) {
	var manifest tuningManifest
	if _, err := run.ReadConfig(dir, &manifest, kindTuned); err != nil {
		return nil, err
	}
	weights, err := run.Weights(m.Store())
	if err != nil {
		return nil, err
	}
	origin, err := m.origin(weights)
	if err != nil {
		return nil, err
	}
	if origin != manifest.Map {
		return nil, fmt.Errorf("run %s was tuned from another map, or with another autoencoder: give the map that was tuned", dir)
	}
	t := &Tuned{Config: manifest.Config, Guidance: manifest.Guidance, model: m, of: m.Model}
	if t.Guidance != 0 {
		if t.of, err = t.of.Guided(t.Guidance); err != nil {
			return nil, err
		}
	}
	network, err := t.Config.MapNetwork(t.of.Map, weights)
	if err != nil {
		return nil, err
	}
	base := tune.MapBase(t.of, weights, mfm.DefaultSamplerConfig())
	return t, t.result.Open(dir, t.Config.Tune.Steps, base, network)
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

// origin returns a hash of the map, whose weights are given, and of the autoencoder.
func (m *Model) origin(weights map[string]*tensors.Tensor) (string, error) {
	of, err := run.HashTensors(weights)
	if err != nil {
		return "", err
	}
	codec, err := run.HashTensors(m.autoencoder.Weights)
	if err != nil {
		return "", err
	}
	return hashJSON([]any{m.Config, m.Shape, m.Map.Parametrization, of, codec})
}
