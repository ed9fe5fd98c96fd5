package experiment

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"github.com/gomlx/compute"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"gonum.org/v1/gonum/floats"

	"github.com/gomfm/gomfm/data"
	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/metric"
	"github.com/gomfm/gomfm/mfm/reward"
	"github.com/gomfm/gomfm/mfm/solver"
	"github.com/gomfm/gomfm/mfm/train"
	"github.com/gomfm/gomfm/mfm/tune"
)

// KindTunedDigits is the kind of a run that tuned the drift of a map of images.
const KindTunedDigits = "tuned-digits"

// DefaultDigitsTuneConfig is MFM-FT without gradients, of a copy of the network on the tilted prior with two draws a state, 1,000 steps of 64 images of the target, more of them near noise; looked at on 64 paths of 30 steps. A classifier is nearly a step
// function, of which gradients at single draws say little.
//
// Muon makes all steps of about one length, so that a batch of large weights counts no more than another. Like clipping this is a bias, whose size on images is not known; states of the target and the tilted prior keep weights near one. The tilted prior
// is near the target from the start, so steps are small; a plain copy needs larger ones, and more.
func DefaultDigitsTuneConfig() TuneConfig {
	c := DefaultTuneConfig()
	c.Method, c.Network, c.N, c.Tilted = "mfm-ft-gf", "tilted-copy", 2, true
	c.Tune.Steps, c.Tune.Batch, c.Tune.EMA = 1000, 64, []float64{0.995}
	c.Tune.Optimizer.Method, c.Tune.Optimizer.Rate = "muon", 2e-4
	c.Tune.Girsanov = false // a copy's drift is not held to the base's toward t = 1, where rows would weigh up to 1,000
	c.Tune.States.Power, c.Tune.States.Capacity = 2, 4096
	c.Budget.Every, c.Budget.Paths = 250, tune.PathConfig{Paths: 64, Steps: 30, Start: 0.02}
	return c
}

// DigitsTuning tunes the drift of a map of images.
type DigitsTuning struct {
	Config TuneConfig
	*DigitsSteering

	raw     json.RawMessage // the reward
	weights map[string]*tensors.Tensor
	base    tune.Base
	network tune.Network
}

// NewDigitsTuning opens map, reward and judges as [NewDigitsSteering] does, shows them the images that the map was trained on, and builds the network that is tuned. It returns an error for a configuration that [TuneConfig.Validate] or
// [DigitsTuning.Check] refuses, and for runs that cannot be read or are of images of another shape.
func NewDigitsTuning(b compute.Backend, c DigitsSteeringConfig, images *data.Images, config TuneConfig) (*DigitsTuning, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	s, err := NewDigitsSteering(b, c, images)
	if err != nil {
		return nil, err
	}
	t := &DigitsTuning{Config: config, DigitsSteering: s, raw: c.Reward}
	if err := t.Check(config); err != nil {
		return nil, err
	}
	if t.weights, err = weightsOf(s.Store); err != nil {
		return nil, err
	}
	t.base = tune.MapBase(s.Digits.Map, t.weights, mfm.DefaultSamplerConfig())
	if config.Network == "tilted-copy" {
		t.network, err = t.tiltedCopy()
		return t, err
	}
	t.network, err = config.mapNetwork(s.Digits.Map, t.weights)
	return t, err
}

// Check returns an error that says why a configuration cannot be tuned and judged from this map, to this reward.
func (t *DigitsTuning) Check(config TuneConfig) error {
	if config.Method == exactTuning {
		return fmt.Errorf("method %s: images have no value in closed form", config.Method)
	}
	if config.Network == "adapter" {
		return fmt.Errorf("network adapter is of points, use copy, low-rank or tilted-copy")
	}
	if config.Network == "tilted-copy" {
		if _, mixture := t.Digits.Map.Parametrization.(*mfm.MixturePrior); !mixture {
			return fmt.Errorf("network tilted-copy is of a map with a mixture as its prior, use copy")
		}
		if config.Budget.KL > 0 {
			return fmt.Errorf("network tilted-copy with a KL budget: its prior has the whole λ from the start, use copy")
		}
	}
	_, err := t.DigitsSteering.weights(config.Tune.Lambda)
	return err
}

// tiltedCopy is a copy of the map, which must have a mixture as its prior, with that refitted to the target by one weighted step of expectation-maximisation: much of what a mixture can say of the tilt is there from the start, and the network
// is tuned to the rest.
func (t *DigitsTuning) tiltedCopy() (tune.Network, error) {
	prior := t.Digits.Map.Parametrization.(*mfm.MixturePrior) // as Check says
	weights, err := t.DigitsSteering.weights(t.Config.Tune.Lambda)
	if err != nil {
		return nil, err
	}
	tilted, err := t.Digits.Config.Prior.refit(prior, t.Digits.Data, weights)
	if err != nil {
		return nil, err
	}
	return tune.Copy{Map: &mfm.Map{Interpolant: t.Digits.Map.Interpolant, Backbone: t.Digits.Map.Backbone, Parametrization: tilted}, Weights: t.weights}, nil
}

// digitsTuneManifest is the configuration that a run's manifest has; Problem tells map, reward and judges.
type digitsTuneManifest struct {
	Problem string `json:"problem"`
	TuneConfig
}

// Train tunes; see [Run]. It returns the tuned drift, of samples of the images' shape, with what was seen of it; a budget that ended the training is no error. A step or a look that is not finite is [train.NonFiniteError] or [tune.ErrDiverged],
// wrapped; a folder of another run is [ErrOtherRun].
func (t *DigitsTuning) Train(ctx context.Context, b compute.Backend, o RunOptions) (*TuneResult, error) {
	method, err := t.Config.TuneMethod()
	if err != nil {
		return nil, err
	}
	source, err := t.source()
	if err != nil {
		return nil, err
	}
	made := digitsTuneManifest{t.Problem, t.Config}
	var r reward.Reward // once the trainer has a store for the classifier's weights
	tuner, err := tune.New(b, t.base, func(x *Node) *Node { return r(x) }, t.network, method, source, t.Digits.Shape(), t.Config.Tune, made)
	if err != nil {
		return nil, err
	}
	if r, _, err = imageReward(b, tuner.Store(), t.raw, t.Digits.Shape()); err != nil {
		return nil, err
	}
	return t.Config.run(ctx, tuner, KindTunedDigits, made, t.base, t.network, o)
}

// source draws the images that states are made of.
func (t *DigitsTuning) source() (train.Source, error) {
	if !t.Config.Tilted {
		return t.Digits.Source()
	}
	weights, err := t.DigitsSteering.weights(t.Config.Tune.Lambda)
	if err != nil {
		return nil, err
	}
	// As many again, each as often as its weight says, but for what whole numbers leave over.
	images, rng := t.Digits.Data, rand.New(rand.NewPCG(uint64(t.Config.Tune.Seed), 19))
	pixels := images.Float32()
	drawn := make([]float32, 0, len(pixels))
	sum, offset, size := 0.0, rng.Float64(), images.Dim()
	for i, w := range weights {
		sum += w * float64(images.N)
		for sum > offset {
			drawn = append(drawn, pixels[i*size:(i+1)*size]...)
			offset++
		}
	}
	return train.DataSet(tensors.FromFlatDataAndDimensions(drawn, append([]int{len(drawn) / size}, t.Digits.Shape()...)...), nil)
}

// DigitsTuneRow is the quality of a tuned drift of images; Method is that of the tuning, NFE and Steps are the sampler's, one evaluation a step.
type DigitsTuneRow struct {
	DigitsSteeringRow
	Network   string  `json:"network"`
	Lambda    float64 `json:"lambda"`
	TuneSteps int64   `json:"tune_steps"` // done; of a training that diverged, asked for
	TuneNFE   float64 `json:"tune_nfe"`   // of the whole training, three for each row of the tuned network
	// Diversity is the spread of samples about the mean of their class over that of all training images of the class, without the target's weights; classes as the first judge sees them, the reward's own classifier where it has one. It is a
	// mean weighted by the target's shares, over the classes with at least 1 % of it and ten images. A class with fewer than ten samples counts as 0.
	Diversity    float64     `json:"diversity"`
	Looks        []tune.Look `json:"looks"`
	SpreadTarget float64     `json:"spread_target,omitempty"` // of the training images with the target's weights, as the looks' spread
	KLTarget     float64     `json:"kl_target,omitempty"`     // divergence of the same images from all alike, in nats, as the looks'
	Collapse     string      `json:"collapse,omitempty"`      // what [tune.Collapse] says of these
	Overshoot    string      `json:"overshoot,omitempty"`     // and [tune.Overshoot]
	Behind       string      `json:"behind,omitempty"`        // and [tune.Behind]
	Stopped      bool        `json:"stopped,omitempty"`
	Train        float64     `json:"train_seconds"`
}

// DigitsTuneCell is a tuned drift of images with its judgement.
type DigitsTuneCell struct {
	Problem string     `json:"problem"`
	Config  TuneConfig `json:"config"`
	Eval    EvalConfig `json:"eval"`
}

// Validate returns an error that names the first setting that makes no sense for any map.
func (c DigitsTuneCell) Validate() error {
	if err := c.Config.Validate(); err != nil {
		return err
	}
	return c.Eval.validateODE()
}

// RunDigitsTuneCell tunes and judges; a training that ends at values that are not finite is a row, too. Where folder is not empty the training is kept below it, and goes on if it was interrupted. It returns the errors of
// [DigitsTuneCell.Validate], [NewDigitsTuning], [DigitsTuning.Train] and [DigitsTuning.Evaluate].
func RunDigitsTuneCell(ctx context.Context, b compute.Backend, of DigitsSteeringConfig, images *data.Images, c DigitsTuneCell, folder string, o RunOptions) (DigitsTuneRow, error) {
	if err := c.Validate(); err != nil {
		return DigitsTuneRow{}, err
	}
	t, err := NewDigitsTuning(b, of, images, c.Config)
	if err != nil {
		return DigitsTuneRow{}, err
	}
	if o, err = o.keep(folder, c); err != nil {
		return DigitsTuneRow{}, err
	}
	result, err := t.Train(ctx, b, o)
	if diverged(err) {
		return c.diverged(), nil
	}
	if err != nil {
		return DigitsTuneRow{}, err
	}
	return t.Evaluate(ctx, b, result, c.Eval)
}

// diverged returns the row of a training that came to nothing but values that are not finite.
func (c DigitsTuneCell) diverged() DigitsTuneRow {
	row := DigitsTuneRow{Network: c.Config.Network, Lambda: c.Config.Tune.Lambda, TuneSteps: c.Config.Tune.Steps}
	row.DigitsSteeringRow = DigitsSteeringRow{Method: c.Config.Method, Dynamics: "ode", N: c.Config.N, Seed: c.Config.Tune.Seed, RunSettings: RunSettings{Samples: c.Eval.Samples, Steps: c.Eval.Steps}, Diverged: true}
	return row
}

// Evaluate judges c.Samples samples, of the images' shape, that c.Steps Euler steps of the tuned drift's ODE draw, one evaluation each. Samples that are not finite make a row that says Diverged and nothing else of them. It returns an error
// for numbers of samples and steps below 2 and 1, where too few training images have a weight in the target or ten of one class, and where sampler or judges fail.
func (t *DigitsTuning) Evaluate(ctx context.Context, b compute.Backend, r *TuneResult, c EvalConfig) (DigitsTuneRow, error) {
	if err := c.validateODE(); err != nil {
		return DigitsTuneRow{}, err
	}
	config := t.Config.Tune
	target, err := t.target(config.Lambda)
	if err != nil {
		return DigitsTuneRow{}, err
	}
	row := DigitsTuneRow{Network: t.Config.Network, Lambda: config.Lambda, TuneSteps: r.Steps, Looks: r.Looks, SpreadTarget: target.Spread, KLTarget: target.KL, Collapse: tune.Collapse(r.Looks, target), Overshoot: tune.Overshoot(r.Looks, target), Behind: tune.Behind(r.Looks, target), Stopped: r.Stopped, Train: r.Seconds}
	row.DigitsSteeringRow = DigitsSteeringRow{Method: t.Config.Method, Dynamics: "ode", N: t.Config.N, NFE: float64(c.Steps), Seed: config.Seed, RunSettings: RunSettings{Samples: c.Samples, Steps: c.Steps, Device: deviceOf(b)}}
	method, err := t.Config.TuneMethod()
	if err != nil {
		return row, err
	}
	row.TuneNFE = t.Config.nfe(method, r.Model, r.Steps)
	sampler, err := mfm.NewTeacherSampler(b, r.Store, r.Model.Interpolant, r.Drift, t.Digits.Shape(), mfm.SamplerConfig{Method: mfm.ODEMethod, Solver: solver.Euler, Grid: interpolant.Grid{Steps: c.Steps, Power: 1}, Chunk: 256})
	if err != nil {
		return row, err
	}
	defer sampler.Finalize()
	began := time.Now()
	samples, err := sampler.Unconditional(ctx, c.Seed, c.Samples, nil)
	if err != nil {
		return row, err
	}
	row.Seconds = time.Since(began).Seconds()
	if row.Diverged = !finite(samples); row.Diverged {
		return row, nil
	}
	if row.Images, err = strip(samples, t.Digits.Shape(), shownImages); err != nil {
		return row, err
	}
	if err := t.judge(&row.DigitsSteeringRow, samples, config.Lambda, rand.New(rand.NewPCG(uint64(c.Seed), 7)), b); err != nil {
		return row, err
	}
	row.Diversity, err = t.withinClasses(samples, row.Target)
	return row, err
}

// target returns what is known of the tilted law by the training images with its weights: their spread, and their divergence from all alike, Σ w log(n w). The slack is 5, for copies: those that
// come near the target are up to three times as far from the base on the looks' grid.
func (s *DigitsSteering) target(lambda float64) (tune.Target, error) {
	weights, err := s.weights(lambda)
	if err != nil {
		return tune.Target{}, err
	}
	moments, err := metric.NewMoments(mfm.Rows(s.Digits.Data.Float32(), s.Digits.Data.Dim()), weights)
	if err != nil {
		return tune.Target{}, fmt.Errorf("spread of the target: %w", err)
	}
	kl, mean := 0.0, floats.Sum(weights)/float64(len(weights))
	for _, w := range weights {
		if w > 0 {
			kl += w / mean * math.Log(w/mean) / float64(len(weights))
		}
	}
	return tune.Target{Spread: moments.Spread(), KL: kl, Slack: 5}, nil
}

// withinClasses returns the diversity of samples, flat, whose target has the given shares of the classes; see [DigitsTuneRow].
func (t *DigitsTuning) withinClasses(samples []float32, shares []float64) (float64, error) {
	probabilities, _, err := t.judges[0].Evaluate(samples, 1)
	if err != nil {
		return 0, err
	}
	size := 1
	for _, d := range t.Digits.Shape() {
		size *= d
	}
	own, theirs := make([][][]float64, len(shares)), make([][][]float64, len(shares))
	rows, images := mfm.Rows(samples, size), mfm.Rows(t.Digits.Data.Float32(), size)
	for i, class := range likeliest(probabilities) {
		own[class] = append(own[class], rows[i])
	}
	for i, class := range t.judges[0].classes {
		theirs[class] = append(theirs[class], images[i])
	}
	var ratio, total float64
	for class, share := range shares {
		if share < 0.01 || len(theirs[class]) < 10 {
			continue
		}
		total += share
		if len(own[class]) < 10 {
			continue
		}
		a, err := metric.Spread(own[class])
		if err != nil {
			return 0, err
		}
		b, err := metric.Spread(theirs[class])
		if err != nil {
			return 0, err
		}
		ratio += share * a / b
	}
	if total == 0 {
		return 0, fmt.Errorf("diversity: no class of the target has ten images to compare with")
	}
	return ratio / total, nil
}
