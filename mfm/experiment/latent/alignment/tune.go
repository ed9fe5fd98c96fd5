package alignment

import (
	"context"
	"fmt"

	"github.com/gomlx/compute"
	"github.com/gomlx/gomlx/core/tensors"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/experiment/run"
	"github.com/gomfm/gomfm/mfm/experiment/tuning"
	"github.com/gomfm/gomfm/mfm/train"
	"github.com/gomfm/gomfm/mfm/tune"
)

// kindTuned is the kind of a run that tuned the drift of a map of latents.
const kindTuned = "tuned-imagenet"

// DefaultTuning is MFM-FT of a copy of the map's network with one posterior sample for each state,
// for 400 steps of 16 states with λ = 10. λ rises over the first quarter. The weight of a second
// sample divides that of the first, so that all states count alike (Reference of
// [tune.MetaTuning]). The drift is evaluated every 100 steps on 32 paths of 30 steps.
func DefaultTuning() tuning.Config {
	c := tuning.DefaultConfig()
	c.Network, c.N, c.Reference = tuning.Copy, 1, 1
	c.Tune.Lambda, c.Tune.Steps, c.Tune.Batch, c.Tune.EMA = 10, 400, 16, []float64{0.99}
	c.Tune.LambdaWarmup = c.Tune.Steps / 4
	c.Tune.Optimizer.Method, c.Tune.Optimizer.Rate = train.Muon, 2e-4
	c.Tune.Girsanov = false // as for digits, a copy is not held to the base toward t = 1
	c.Budget.Every, c.Budget.Paths = 100, tune.PathConfig{Paths: 32, Steps: 30, Start: 0.02}
	return c
}

// PaperTuning is DefaultTuning without the second sample, which the paper does not have, for 10,000
// steps of 64 states by RAdam with the rate 1e-5: the number of steps of the paper's experiment,
// whose λ are those of [PaperLambdas]. Batch, optimizer and rate are ours.
func PaperTuning() tuning.Config {
	c := DefaultTuning()
	c.Reference = 0
	c.Tune.Steps, c.Tune.Batch, c.Tune.EMA = 10_000, 64, []float64{0.999}
	c.Tune.LambdaWarmup = 1000
	c.Tune.Optimizer.Method, c.Tune.Optimizer.Rate = train.RAdam, 1e-5
	c.Budget.Every, c.Budget.Paths.Paths = 1000, 128
	return c
}

// PaperLambdas are the factors λ of the paper's fine-tuning on ImageNet.
func PaperLambdas() []float64 { return []float64{10, 25, 50} }

// NamedNoise is a choice of σ_t² with what it does to the fixed point of fine-tuning, which is
// b + (σ_t²/2) ∇V_t.
type NamedNoise struct {
	Name, Effect string
	Noise        tune.Noise
}

// Noises returns choices of σ_t².
func Noises() []NamedNoise {
	return []NamedNoise{
		{"doob", "the fixed point is b*, whose ODE and SDE sample the tilted distribution (from t = 0.01 on; below, σ_t is that " +
			"at 0.01)", tune.Noise{Start: 0.01}},
		{"late", "σ_t is that at t = 0.1 for smaller t, so that targets near noise have less variance: the fixed point steers too " +
			"little for t < 0.1, and its samples have less reward than the tilted distribution", tune.Noise{Start: 0.1}},
		{"constant", "σ_t²/2 = 1: the fixed point is b + ∇V at all times, which for the linear schedule steers too little for " +
			"t < 1/2 and too much afterwards, and samples no tilted distribution", tune.Noise{Constant: 1, Start: 0.01}},
	}
}

// Tuning fine-tunes the drift of a map of latents to the reward of a steering. It implements
// [tuning.Task].
type Tuning struct {
	*Steering
	Config tuning.Config
	// Guidance is the scale of the guidance of the base, of drift and posterior samples alike; 0 means
	// none. A map that was trained on classes with one scale alone has that.
	Guidance float64
	// Fingerprint is that of the steering and of Guidance.
	Fingerprint string

	tunable
	along []Sampled // of the training so far
}

// NewTuning returns the tuning of the map that s steers, to the same reward. A map with classes is
// tuned for each of them, or for the one that c names, to its own tilted distribution. NewTuning
// returns an error for a configuration that [tuning.Config.Validate] rejects or that does not fit
// this map, for guidance that the map cannot have, and for a black-box reward.
func NewTuning(s *Steering, c tuning.Config, guidance float64) (*Tuning, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	classes := s.Model.Classes
	switch entry, _ := tune.Lookup(c.Method); {
	case entry.Exact:
		return nil, fmt.Errorf("method %s: latents have no value in closed form", c.Method)
	case s.Reward == nil:
		return nil, fmt.Errorf("method %s: a black-box reward cannot be a part of a training step: steer to it", c.Method)
	case c.Network != tuning.Copy && c.Network != tuning.LowRank:
		return nil, fmt.Errorf("network %s: for a map of latents use %s or %s", c.Network, tuning.Copy, tuning.LowRank)
	case c.Tilted:
		return nil, fmt.Errorf("tilted = true: the states are interpolants of samples without weights, use false")
	case c.Class != nil && (*c.Class < 0 || *c.Class >= classes):
		return nil, fmt.Errorf("class = %d: must lie in [0, %d)", *c.Class, classes)
	case guidance != 0 && classes > 0 && s.model.Config.Train.Loss.Guidance.Dropout == 0:
		return nil, fmt.Errorf("guidance = %g: the map was trained with dropout = 0, so that it has no velocity without "+
			"a class: use 0", guidance)
	case len(c.Tune.EMA) == 0:
		return nil, fmt.Errorf("tune.ema is empty: the samples along the training are those of a moving average, give one")
	}
	if guidance == 0 {
		guidance = s.Map.ClassScale
	}
	t := &Tuning{Steering: s, Config: c, Guidance: guidance}
	var err error
	if t.tunable, err = s.model.tunable(guidance); err != nil {
		return nil, err
	}
	t.Fingerprint, err = hashJSON([]any{kindTuned, s.Fingerprint, guidance, stateSamples, stateSteps})
	return t, err
}

// The states of training are interpolants of stateSamples samples of the base in stateSteps steps.
// The fixed point of MFM-FT is the same for any states, and so training needs no data: the base may
// be a released map whose data cannot be distributed.
const stateSamples, stateSteps = 1024, 2

// source returns a source of samples of the base with their labels.
func (t *Tuning) source(ctx context.Context, b compute.Backend) (train.Source, error) {
	config := mfm.DefaultSamplerConfig()
	config.Grid.Steps, config.Chunk = stateSteps, t.Batch
	sampler, err := mfm.NewSampler(b, t.of, config)
	if err != nil {
		return nil, err
	}
	defer sampler.Finalize()
	labels := t.labels(stateSamples)
	each := 1
	if labels == nil {
		each = stateSamples
	}
	flat, err := mfm.Flat(sampler.Unconditional(ctx, t.Config.Tune.Seed, each, labels))
	if err != nil {
		return nil, fmt.Errorf("samples of the base for the states: %w", err)
	}
	all := tensors.FromFlatDataAndDimensions(flat, append([]int{stateSamples}, t.Model.Shape...)...)
	if labels == nil {
		return train.DataSet(all, nil)
	}
	return train.DataSet(all, tensors.FromValue(labels))
}

// labels returns the labels of n samples: the configured class, or all classes in turn. It returns
// nil for a map without classes.
func (t *Tuning) labels(n int) []int32 {
	if t.Model.Classes == 0 {
		return nil
	}
	labels := make([]int32, n)
	for i := range labels {
		if labels[i] = int32(i % t.Model.Classes); t.Config.Class != nil {
			labels[i] = int32(*t.Config.Class)
		}
	}
	return labels
}

// shares returns the shares of the classes among the paths; nil means equal ones.
func (t *Tuning) shares() []float64 {
	if t.Config.Class == nil {
		return nil
	}
	shares := make([]float64, t.Model.Classes)
	shares[*t.Config.Class] = 1
	return shares
}

// tuningManifest is the configuration in the manifest of such a run. Map is a hash of map and
// autoencoder.
type tuningManifest struct {
	Fingerprint string  `json:"fingerprint"`
	Map         string  `json:"map"`
	Guidance    float64 `json:"guidance,omitempty"`
	tuning.Config
}

// Train fine-tunes the drift; see [run.Train] and [tuning.Config.Train]. With each evaluation of
// the budget it draws samples of the ODE, see [Sampled]. Errors are those of [tuning.Config.Train].
func (t *Tuning) Train(ctx context.Context, b compute.Backend, o run.Options) (*tuning.Result, error) {
	objective, err := t.Config.Objective(nil)
	if err != nil {
		return nil, err
	}
	network, err := t.Config.MapNetwork(t.of.Map, t.weights)
	if err != nil {
		return nil, err
	}
	source, err := t.source(ctx, b)
	if err != nil {
		return nil, err
	}
	manifest := tuningManifest{t.Fingerprint, t.mapHash, t.Guidance, t.Config}
	tuner, err := tune.New(b, tune.Task{
		Base: t.start, Reward: t.Reward, Network: network, Objective: objective, Source: source, Shape: t.Model.Shape,
		ClassShares: t.shares(), Metadata: manifest,
	}, t.Config.Tune)
	if err != nil {
		return nil, err
	}
	hook, done, err := t.sampling(ctx, b, tuner, network, o.Dir)
	if err != nil {
		return nil, err
	}
	defer done()
	o.Hooks = append([]train.Hook{hook}, o.Hooks...)
	return t.Config.Train(ctx, tuner, kindTuned, manifest, t.start, network, o)
}
