package points

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"

	"github.com/gomlx/compute"
	"github.com/gomlx/gomlx/core/tensors"
	"gonum.org/v1/gonum/floats"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/experiment/internal/stats"
	"github.com/gomfm/gomfm/mfm/experiment/run"
	"github.com/gomfm/gomfm/mfm/experiment/tuning"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/nn"
	"github.com/gomfm/gomfm/mfm/solver"
	"github.com/gomfm/gomfm/mfm/train"
	"github.com/gomfm/gomfm/mfm/tune"
)

// kindTuned is the kind of a run that tuned the drift of a map of points.
const kindTuned = "tuned-points"

// DefaultTuning is MFM-FT of an adapter with 8 posterior samples for each state, for 2,000 steps of
// 512 points.
func DefaultTuning() tuning.Config {
	c := tuning.DefaultConfig()
	c.Tune.Steps, c.Tune.Batch = 2000, 512
	return c
}

// Tuning fine-tunes the drift of a map of points to the reward of a steering. It implements
// [tuning.Task].
type Tuning struct {
	*Steering
	Config tuning.Config

	weights map[string]*tensors.Tensor // of the base
	base    tune.Base
	network tune.Network
}

// NewTuning returns the tuning of the map that s steers, to the same reward. A map with classes is
// tuned for each of them, or for the one that c names, to its own tilted distribution. The steering
// must have data: the states are interpolants of their rows. An invalid configuration, and one that
// does not fit points, is an error.
func NewTuning(s *Steering, c tuning.Config) (*Tuning, error) {
	if s.data == nil {
		return nil, errors.New("tuning needs the data of the run")
	}
	if err := c.Validate(); err != nil {
		return nil, err
	}
	classes := s.Model.Classes
	if c.Class != nil && (*c.Class < 0 || *c.Class >= classes) {
		return nil, fmt.Errorf("class = %d: the map has %d classes, from 0", *c.Class, classes)
	}
	if entry, _ := tune.Lookup(c.Method); entry.Exact {
		return nil, fmt.Errorf("method %s: points have no value in closed form", c.Method)
	}
	t := &Tuning{Steering: s, Config: c}
	var err error
	if t.weights, err = run.Weights(s.Model.Store); err != nil {
		return nil, err
	}
	t.base = tune.MapBase(*s.Map, t.weights, mfm.DefaultSamplerConfig())
	if c.Tilted {
		if target, few := t.target(); !target.enough() {
			return nil, fmt.Errorf("tilted = true: %s", few)
		}
	}
	if c.Network != tuning.Adapter {
		t.network, err = c.MapNetwork(s.Map.Map, t.weights)
		return t, err
	}
	network := c.Adapter
	if mlp, is := network.Architecture.(nn.MLPConfig); is && mlp.Classes == 0 {
		mlp.Classes = classes
		network.Architecture = mlp
	}
	if err := network.CheckShape(s.Experiment.Shape()); err != nil {
		return nil, fmt.Errorf("adapter: %w", err)
	}
	if n := network.ClassCount(); n != 0 && n != classes {
		return nil, fmt.Errorf("adapter with classes = %d: the map has %d", n, classes)
	}
	t.network = tune.Adapter{
		Interpolant: s.Map.Map.Interpolant, Backbone: network.Backbone(), Variance: 1, Noise: c.Tune.Noise,
		Classes: network.ClassCount(),
	}
	return t, nil
}

// tuningManifest is the configuration in the manifest of such a run.
type tuningManifest struct {
	Fingerprint string `json:"fingerprint"`
	Reward      string `json:"reward"` // canonical JSON
	tuning.Config
}

// Train fine-tunes the drift; see [run.Train] and [tuning.Config.Train]. A budget that ends the
// training is no error. Non-finite values are [train.NonFiniteError] or [tune.ErrDiverged],
// wrapped; a folder of another run is [run.ErrOtherRun].
func (t *Tuning) Train(ctx context.Context, b compute.Backend, o run.Options) (*tuning.Result, error) {
	objective, err := t.Config.Objective(nil)
	if err != nil {
		return nil, err
	}
	source, err := t.source()
	if err != nil {
		return nil, err
	}
	manifest := tuningManifest{t.Fingerprint, t.reward, t.Config}
	task := tune.Task{
		Base: t.base, Reward: t.Reward, Network: t.network, Objective: objective, Source: source,
		Shape: t.Model.Shape, ClassShares: t.shares(), Metadata: manifest,
	}
	tuner, err := tune.New(b, task, t.Config.Tune)
	if err != nil {
		return nil, err
	}
	return t.Config.Train(ctx, tuner, kindTuned, manifest, t.base, t.network, o)
}

// target returns the weighted rows, those of each class by its share if all classes are tuned, and
// in words if they are too few.
func (t *Tuning) target() (_ *weighted, few string) {
	lambda := t.Config.Tune.Lambda
	if t.Model.Classes == 0 || t.Config.Class != nil {
		return t.weightedRows(lambda, t.Config.Class)
	}
	all := &weighted{w: make([]float64, len(t.rows))}
	for class, share := range t.shares() {
		of, none := t.weightedRows(lambda, &class)
		if of == nil {
			return nil, none
		}
		floats.AddScaled(all.w, share, of.w)
		all.kl += share * of.kl
	}
	all.effective = 1 / floats.Dot(all.w, all.w)
	return all, all.few(len(t.rows), " of all classes")
}

// source samples the rows of which states are interpolants.
func (t *Tuning) source() (train.Source, error) {
	rows, classes, of := t.rows, t.data.Train.Classes, t.Config.Class
	var chosen []int
	switch {
	case t.Config.Tilted:
		target, _ := t.target() // enough, as NewTuning has checked
		chosen = resampled(rand.New(rand.NewPCG(uint64(t.Config.Tune.Seed), 19)), target.w, len(rows))
	case of != nil:
		for i, label := range classes {
			if int(label) == *of {
				chosen = append(chosen, i)
			}
		}
	default:
		return t.Experiment.Source(t.data)
	}
	return t.Experiment.Source(&Data{Train: t.data.Train.Part(chosen)})
}

// shares returns the shares of the classes of the states, see [tuning.Config.ClassShares].
func (t *Tuning) shares() []float64 {
	return t.Config.ClassShares(t.Model.Classes, t.data.Train.Classes)
}

// Sample returns c.Samples samples of a tuned drift by c.Steps Euler steps of its ODE, in the units
// of the data, with classes by their shares unless the configuration names one. Non-finite samples
// are [run.ErrNonFinite].
func (t *Tuning) Sample(ctx context.Context, b compute.Backend, r *tuning.Result, c tuning.EvalConfig) (
	[][]float64, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	rows, err := t.sample(ctx, b, r, r.Drift, c)
	return t.Experiment.Scale.Restore(rows), err
}

// SampleClasses returns the classes of the samples that Sample returns, indices of the names; nil
// for a map without classes, or if the configuration names one.
func (t *Tuning) SampleClasses(c tuning.EvalConfig) []int32 {
	if t.Config.Class != nil {
		return nil
	}
	_, labels := c.Draws(t.shares())
	return labels
}

// sample returns standardized samples of the ODE of a drift.
func (t *Tuning) sample(
	ctx context.Context, b compute.Backend, r *tuning.Result, drift interpolant.Drift, c tuning.EvalConfig,
) ([][]float64, error) {
	sampler, err := mfm.NewTeacherSampler(b, r.Store, r.Model.Interpolant, drift, t.Model.Shape, mfm.SamplerConfig{
		Method: mfm.ODESampling, Solver: solver.Euler, Grid: interpolant.Grid{Steps: c.Steps, Power: 1},
		Chunk: c.Samples, Classes: t.Model.Classes,
	})
	if err != nil {
		return nil, err
	}
	defer sampler.Finalize()
	each, labels := c.Draws(t.shares())
	flat, err := mfm.Flat(sampler.Unconditional(ctx, c.Seed, each, labels))
	if err == nil && !stats.Finite(flat) {
		err = run.ErrNonFinite
	}
	return t.standardized(flat), err
}

// OpenTuning opens the tuned drift of the finished run in dir. base is the folder of the run whose
// map was tuned, and path the file of its data as in [OfRun]. Another map and other data are
// errors.
func OpenTuning(dir, base, path string) (*Tuning, *tuning.Result, error) {
	var manifest tuningManifest
	if _, err := run.ReadConfig(dir, &manifest, kindTuned); err != nil {
		return nil, nil, err
	}
	e, store, err := Open(base)
	if err != nil {
		return nil, nil, err
	}
	data, err := OfRun(base, path)
	if err != nil {
		return nil, nil, err
	}
	s, err := NewSteering(e, store, data, []byte(manifest.Reward))
	if err != nil {
		return nil, nil, err
	}
	if s.Fingerprint != manifest.Fingerprint {
		return nil, nil, fmt.Errorf("run %s was tuned from another map, or with other data, than those of %s: give "+
			"the map that was tuned", dir, base)
	}
	t, err := NewTuning(s, manifest.Config)
	if err != nil {
		return nil, nil, err
	}
	r := &tuning.Result{}
	if r.Evaluations, err = tuning.ReadEvaluations(dir); err != nil {
		return nil, nil, err
	}
	return t, r, r.Open(dir, t.Config.Tune.Steps, t.base, t.network)
}
