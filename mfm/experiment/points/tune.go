package points

import (
	"cmp"
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
	"github.com/gomfm/gomfm/mfm/metric"
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
		return nil, errors.New("tuning needs the data of the run: name their file")
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
		return t.weigh(lambda, t.Config.Class)
	}
	all := &weighted{w: make([]float64, len(t.rows))}
	for class, share := range t.shares() {
		of, text := t.weigh(lambda, &class)
		if few = cmp.Or(few, text); of == nil {
			return nil, few
		}
		floats.AddScaled(all.w, share, of.w)
		all.kl += share * of.kl
	}
	all.effective = 1 / floats.Dot(all.w, all.w)
	if all.enough() {
		few = ""
	}
	return all, few
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

// shares returns the shares of the classes of the states, nil for a map without classes. They sum
// to 1.
func (t *Tuning) shares() []float64 {
	if t.Model.Classes == 0 {
		return nil
	}
	shares := make([]float64, t.Model.Classes)
	if t.Config.Class != nil {
		shares[*t.Config.Class] = 1
		return shares
	}
	for class, count := range classCounts(t.data.Train) {
		shares[class] = float64(count) / float64(len(t.rows))
	}
	return shares
}

// TuningResult describes samples of a tuned drift by its ODE, those of the base's before.
type TuningResult struct {
	// Method is the name of an objective in [tune.Objectives].
	Method  string         `json:"method"`
	Network tuning.Network `json:"network"`
	N       int            `json:"n"`
	Lambda  float64        `json:"lambda"`
	Class   *int           `json:"class,omitempty"`
	Seed    int64          `json:"seed"`
	Steps   int64          `json:"steps"` // of training that were done
	// NFE is that of the whole training, with three evaluations for each row of the tuned network.
	NFE     float64 `json:"nfe"`
	Samples int     `json:"samples"`
	Comparison
	// KL is the divergence of the paths of the tuned drift's SDE from the base's, with its standard
	// error, in nats, and RewardSDE the mean reward at their ends. TargetKL is the divergence of
	// the weighted rows from equal weights, which the optimal drift has, and TargetEffective their
	// effective number.
	KL              float64         `json:"kl"`
	KLSE            float64         `json:"kl_se"`
	RewardSDE       float64         `json:"reward_sde"`
	TargetKL        metric.Optional `json:"target_kl,omitzero"`
	TargetEffective metric.Optional `json:"target_effective,omitzero"`
	// Evaluations are those of the training. Collapse, Overshoot and Behind are the reports of the
	// monitors of package tune on them; empty means none.
	Evaluations []tune.Evaluation `json:"evaluations,omitempty"`
	Collapse    string            `json:"collapse,omitempty"`
	Overshoot   string            `json:"overshoot,omitempty"`
	Behind      string            `json:"behind,omitempty"`
	Seconds     float64           `json:"seconds"`           // of training
	Stopped     bool              `json:"stopped,omitempty"` // whether the budget ended it
	Diverged    string            `json:"diverged,omitempty"`
	Warnings    []string          `json:"warnings,omitempty"`
}

// Check returns an error for an evaluation with which the SDE cannot be solved.
func (t *Tuning) Check(s tuning.Setting) error { return s.Eval.ValidateSDE(s.Config.Tune.Noise.Start) }

// common returns what the configuration alone says of a result.
func (t *Tuning) common() TuningResult {
	c := t.Config
	return TuningResult{
		Method: c.Method, Network: c.Network, N: c.N, Lambda: c.Tune.Lambda, Class: c.Class, Seed: c.Tune.Seed,
		Warnings: t.RewardWarnings(c.Tune.Lambda),
	}
}

// Diverged returns the result of a training that ended in non-finite values, err.
func (t *Tuning) Diverged(_ tuning.Setting, err error) TuningResult {
	r := t.common()
	r.Diverged = err.Error()
	return r
}

// Evaluate compares samples of the tuned drift with those of the base, both by the ODE from the
// same noise, and with weighted rows. A drift with non-finite samples has a result that says so in
// Diverged.
func (t *Tuning) Evaluate(ctx context.Context, b compute.Backend, r *tuning.Result, c tuning.EvalConfig) (
	TuningResult, error) {
	result := t.common()
	result.Steps, result.Samples, result.Seconds = r.Steps, c.Samples, r.Seconds
	result.Evaluations, result.Stopped = r.Evaluations, r.Stopped
	objective, err := t.Config.Objective(nil)
	if err != nil {
		return result, err
	}
	result.NFE = t.Config.NFE(objective, r.Model, r.Steps)
	path := tune.PathConfig{Paths: c.Samples, Steps: c.Steps, Start: t.Config.Tune.Noise.Start, Seed: c.Seed}
	paths, err := tune.DrawPaths(ctx, b, r.Store, tune.PathTask{
		Base: r.Model, Drift: r.Drift, Reward: t.Reward, Shape: t.Model.Shape, ClassShares: t.shares(),
	}, path)
	if errors.Is(err, tune.ErrDiverged) {
		result.Diverged = err.Error()
		return result, nil
	}
	if err != nil {
		return result, err
	}
	result.KL, result.KLSE = paths.KL, paths.KLSE
	result.RewardSDE, _ = paths.Reward()
	tuned, err := t.sample(ctx, b, r, r.Drift, c)
	if errors.Is(err, run.ErrNonFinite) {
		result.Diverged = "samples by the ODE are not finite"
		return result, nil
	}
	if err != nil {
		return result, err
	}
	before, err := t.sample(ctx, b, r, r.Model.Drift, c)
	if err != nil {
		return result, fmt.Errorf("samples before tuning: %w", err)
	}
	target, few := t.target()
	if target != nil {
		result.TargetKL, result.TargetEffective = metric.Some(target.kl), metric.Some(target.effective)
	}
	if few != "" {
		result.Warnings = append(result.Warnings, few)
	}
	if target.enough() {
		known, err := t.known(target)
		if err != nil {
			return result, err
		}
		result.Collapse = tune.Collapse(r.Evaluations, known)
		result.Overshoot = tune.Overshoot(r.Evaluations, known)
		result.Behind = tune.Behind(r.Evaluations, known)
	}
	result.Comparison, err = t.compare(b, tuned, before, target, rand.New(rand.NewPCG(uint64(c.Seed), 17)))
	return result, err
}

// known returns what the weighted rows say of the target, for the monitors of package tune.
func (t *Tuning) known(target *weighted) (tune.Target, error) {
	moments, err := metric.NewMoments(t.rows, target.w)
	return tune.Target{Std: moments.Std(), KL: target.kl}, err
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
	each := c.Samples // of a label
	var labels []int32
	if shares := t.shares(); shares != nil {
		each = 1
		rng := rand.New(rand.NewPCG(uint64(c.Seed), 29))
		for range c.Samples {
			labels = append(labels, int32(stats.Categorical(rng, shares)))
		}
	}
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
