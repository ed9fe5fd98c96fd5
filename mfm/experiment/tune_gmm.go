package experiment

import (
	"context"
	"fmt"
	"math"

	"github.com/gomlx/compute"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/gmm"
	"github.com/gomfm/gomfm/mfm/nn"
	"github.com/gomfm/gomfm/mfm/reward"
	"github.com/gomfm/gomfm/mfm/steer"
	"github.com/gomfm/gomfm/mfm/tune"
)

// KindTunedGMM is the kind of a run that tuned the drift of a mixture's map, as its manifest says.
const KindTunedGMM = "tuned-gmm"

// GMMTuning tunes the drift of a mixture's map to a linear-Gaussian reward, of which the optimum is a closed form.
type GMMTuning struct {
	Config TuneConfig
	Base   *GMM
	// Target is p₁ e^{λ r}/Z, and LogZ log E[e^{λ r}].
	Target *gmm.Mixture
	LogZ   float64

	reward  reward.LinearGaussian
	weights map[string]*tensors.Tensor
	base    tune.Base
	network tune.Network
}

// NewGMMTuning returns the tuning of the map of the run in dir.
func NewGMMTuning(dir string, r reward.LinearGaussian, config TuneConfig) (*GMMTuning, error) {
	if err := r.Validate(); err != nil {
		return nil, err
	}
	if err := config.Validate(); err != nil {
		return nil, err
	}
	e, store, err := OpenGMM(dir)
	if err != nil {
		return nil, err
	}
	t, err := newGMMTuning(e, store, r, config)
	if err != nil {
		return nil, fmt.Errorf("run %s: %w", dir, err)
	}
	return t, nil
}

// newGMMTuning returns the tuning of a map with the weights that store has.
func newGMMTuning(e *GMM, store *model.Store, r reward.LinearGaussian, config TuneConfig) (*GMMTuning, error) {
	if n := len(r.A[0]); n != e.Config.Mixture.Dim() {
		return nil, fmt.Errorf("the reward is for %d elements, samples of the mixture have %d", n, e.Config.Mixture.Dim())
	}
	t := &GMMTuning{Config: config, Base: e, reward: r}
	var err error
	if t.weights, err = weightsOf(store); err != nil {
		return nil, err
	}
	lambda := config.Tune.Lambda
	if !(lambda > 0) {
		return nil, fmt.Errorf("lambda = %g: the target is a closed form for positive factors", lambda)
	}
	if t.Target, t.LogZ, err = e.Config.Mixture.Tilt(r.A, r.Y, r.Sigma/math.Sqrt(lambda)); err != nil {
		return nil, err
	}
	t.base = tune.MapBase(e.Map, t.weights, mfm.DefaultSamplerConfig())
	t.network, err = t.newNetwork()
	return t, err
}

// method returns the configured method.
func (t *GMMTuning) method() (tune.Method, error) {
	if t.Config.Method == exactTuning {
		return tune.PlugIn{Estimator: steer.FromTilt(t.Base.Config.Mixture, t.Target, t.LogZ, t.Base.Map.Interpolant)}, nil
	}
	return t.Config.TuneMethod()
}

func (t *GMMTuning) newNetwork() (tune.Network, error) {
	if t.Config.Network == "adapter" {
		spread := t.Base.Config.Mixture.Spread()
		return tune.Adapter{Interpolant: t.Base.Map.Interpolant, Backbone: nn.MLP(t.Config.Adapter), Variance: spread * spread, Noise: t.Config.Tune.Noise}, nil
	}
	return t.Config.mapNetwork(t.Base.Map, t.weights)
}

// tuneManifest is the configuration that a run's manifest has: that of the base too, by a hash of its weights.
type tuneManifest struct {
	Base   string                `json:"base"`
	Reward reward.LinearGaussian `json:"reward"`
	TuneConfig
}

// Train tunes; see [Run]. What a budget looks at is kept in the run's folder.
func (t *GMMTuning) Train(ctx context.Context, b compute.Backend, o RunOptions) (*TuneResult, error) {
	method, err := t.method()
	if err != nil {
		return nil, err
	}
	hash, err := hashTensors(t.weights)
	if err != nil {
		return nil, err
	}
	made := tuneManifest{hash, t.reward, t.Config}
	source := t.Base.Source()
	if t.Config.Tilted {
		source = (&GMM{Config: GMMConfig{Mixture: t.Target}}).Source()
	}
	tuner, err := tune.New(b, t.base, t.reward.Reward(), t.network, method, source, t.Base.Shape(), t.Config.Tune, made)
	if err != nil {
		return nil, err
	}
	return t.Config.run(ctx, tuner, KindTunedGMM, made, t.base, t.network, o)
}

// OpenGMMTuning returns the tuned drift of the finished run in dir, whose base is the map of the run in base.
func OpenGMMTuning(dir, base string) (*GMMTuning, *TuneResult, error) {
	manifest, err := readManifest(dir, KindTunedGMM)
	if err != nil {
		return nil, nil, err
	}
	var made tuneManifest
	if err := decodeStrict(manifest.Config, &made); err != nil {
		return nil, nil, fmt.Errorf("run %s: %s: %w", dir, configFile, err)
	}
	t, err := NewGMMTuning(base, made.Reward, made.TuneConfig)
	if err != nil {
		return nil, nil, err
	}
	hash, err := hashTensors(t.weights)
	if err != nil {
		return nil, nil, err
	}
	if hash != made.Base {
		return nil, nil, fmt.Errorf("run %s was tuned from another map than that of %s: name the one that it was tuned from", dir, base)
	}
	r := &TuneResult{}
	if err := readLooks(dir, &r.Looks); err != nil {
		return nil, nil, err
	}
	return t, r, r.open(dir, t.Config.Tune.Steps, t.base, t.network)
}
