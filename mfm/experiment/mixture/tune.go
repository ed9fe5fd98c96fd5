package mixture

import (
	"context"
	"fmt"

	"github.com/gomlx/compute"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/experiment/run"
	"github.com/gomfm/gomfm/mfm/experiment/tuning"
	"github.com/gomfm/gomfm/mfm/gmm"
	"github.com/gomfm/gomfm/mfm/reward"
	"github.com/gomfm/gomfm/mfm/steer"
	"github.com/gomfm/gomfm/mfm/tune"
)

// kindTuned is the kind of a run that tuned the drift of a mixture's map.
const kindTuned = "tuned-gmm"

// Tuning fine-tunes the drift of a mixture's map to a linear-Gaussian reward, for which the optimal
// drift is a closed form. It implements [tuning.Task].
type Tuning struct {
	Config tuning.Config
	// Base is the experiment whose map is tuned.
	Base *Experiment
	// Target is p₁ e^{λ r}/Z, and LogZ log E[e^{λ r}].
	Target *gmm.Mixture
	LogZ   float64

	reward   reward.LinearGaussian
	warnings []string                   // about the scale of λ r
	weights  map[string]*tensors.Tensor // of the base
	base     tune.Base
	network  tune.Network
}

// NewTuning returns the tuning of the map of the run in dir to the reward r.
func NewTuning(dir string, r reward.LinearGaussian, config tuning.Config) (*Tuning, error) {
	if err := r.Validate(); err != nil {
		return nil, err
	}
	if err := config.Validate(); err != nil {
		return nil, err
	}
	e, store, err := Open(dir)
	if err != nil {
		return nil, err
	}
	t, err := TuningOf(e, store, r, config)
	if err != nil {
		return nil, fmt.Errorf("run %s: %w", dir, err)
	}
	return t, nil
}

// TuningOf returns the tuning of the map of e to the reward r. The weights are those that store has
// in train.WeightsScope. Config.Tune.Lambda must be positive.
func TuningOf(e *Experiment, store *model.Store, r reward.LinearGaussian, config tuning.Config) (*Tuning, error) {
	steering, err := SteeringOf(e, store, r)
	if err != nil {
		return nil, err
	}
	if config.Class != nil {
		return nil, fmt.Errorf("class = %d: a map of a mixture has no classes", *config.Class)
	}
	if config.Network == tuning.Adapter {
		if err := config.Adapter.CheckShape(e.Shape()); err != nil {
			return nil, fmt.Errorf("adapter: %w", err)
		}
	}
	t := &Tuning{Config: config, Base: e, reward: r, warnings: steering.RewardWarnings(config.Tune.Lambda)}
	if t.weights, err = run.Weights(store); err != nil {
		return nil, err
	}
	if t.Target, t.LogZ, err = tilt(e.Config.Mixture, r, config.Tune.Lambda); err != nil {
		return nil, err
	}
	t.base = tune.MapBase(e.Model(store), t.weights, mfm.DefaultSamplerConfig())
	t.network, err = t.newNetwork()
	return t, err
}

// objective returns the configured objective.
func (t *Tuning) objective() (tune.Objective, error) {
	exact := steer.FromTilt(t.Base.Config.Mixture, t.Target, t.LogZ, t.Base.Map.Interpolant)
	return t.Config.Objective(&exact)
}

func (t *Tuning) newNetwork() (tune.Network, error) {
	if t.Config.Network == tuning.Adapter {
		deviation := t.Base.Config.Mixture.Std()
		return tune.Adapter{
			Interpolant: t.Base.Map.Interpolant, Backbone: t.Config.Adapter.Backbone(),
			Variance: deviation * deviation, Noise: t.Config.Tune.Noise,
		}, nil
	}
	return t.Config.MapNetwork(t.Base.Map, t.weights)
}

// tuneManifest is the configuration in the manifest of such a run.
type tuneManifest struct {
	Base   string                `json:"base"` // hash of the base's weights
	Reward reward.LinearGaussian `json:"reward"`
	tuning.Config
}

// Train fine-tunes the drift; see [run.Train] and [tuning.Config.Train].
func (t *Tuning) Train(ctx context.Context, b compute.Backend, o run.Options) (*tuning.Result, error) {
	objective, err := t.objective()
	if err != nil {
		return nil, err
	}
	hash, err := run.HashTensors(t.weights)
	if err != nil {
		return nil, err
	}
	manifest := tuneManifest{hash, t.reward, t.Config}
	source := t.Base.Source()
	if t.Config.Tilted {
		source = (&Experiment{Config: Config{Mixture: t.Target}}).Source()
	}
	task := tune.Task{
		Base: t.base, Reward: t.reward.Reward(), Network: t.network, Objective: objective,
		Source: source, Shape: t.Base.Shape(), Metadata: manifest,
	}
	tuner, err := tune.New(b, task, t.Config.Tune)
	if err != nil {
		return nil, err
	}
	return t.Config.Train(ctx, tuner, kindTuned, manifest, t.base, t.network, o)
}

// OpenTuning opens the tuned drift of the finished run in dir. base is the folder of the run whose
// map was tuned; another map is an error.
func OpenTuning(dir, base string) (*Tuning, *tuning.Result, error) {
	var manifest tuneManifest
	if _, err := run.ReadConfig(dir, &manifest, kindTuned); err != nil {
		return nil, nil, err
	}
	t, err := NewTuning(base, manifest.Reward, manifest.Config)
	if err != nil {
		return nil, nil, err
	}
	hash, err := run.HashTensors(t.weights)
	if err != nil {
		return nil, nil, err
	}
	if hash != manifest.Base {
		return nil, nil, fmt.Errorf("run %s was tuned from another map than that of %s: give the map that was tuned",
			dir, base)
	}
	r := &tuning.Result{}
	if r.Evaluations, err = tuning.ReadEvaluations(dir); err != nil {
		return nil, nil, err
	}
	return t, r, r.Open(dir, t.Config.Tune.Steps, t.base, t.network)
}
