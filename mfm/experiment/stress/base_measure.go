package stress

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/experiment/mixture"
	"github.com/gomfm/gomfm/mfm/experiment/run"
	"github.com/gomfm/gomfm/mfm/experiment/steering"
	"github.com/gomfm/gomfm/mfm/experiment/tuning"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/metric"
	"github.com/gomfm/gomfm/mfm/solver"
	"github.com/gomfm/gomfm/mfm/steer"
	"github.com/gomfm/gomfm/mfm/train"
)

// driftErrors fills in Base and Map.
func (c BaseSetting) driftErrors(
	b compute.Backend, e *mixture.Experiment, store *model.Store, teacher interpolant.Drift, result *BaseResult,
) error {
	const n = 1 << 15
	rng := rand.New(rand.NewPCG(uint64(c.Seed), 31))
	times, states := make([]float32, n), make([]float32, 0, 2*n)
	for i := range n {
		t := rng.Float64()
		times[i] = float32(t)
		for _, v := range e.Context(rng, t) {
			states = append(states, float32(v))
		}
	}
	exec, err := model.NewExec(b, store, func(_ *model.Scope, t, x *Node) []*Node {
		truth := e.Teacher()(t, x, nil)
		deviation := Sub(truth, ReduceAndKeep(truth, ReduceMean, 0))
		errorOf := func(b *Node) *Node {
			return Sqrt(Div(ReduceAllMean(Square(Sub(b, truth))), ReduceAllMean(Square(deviation))))
		}
		learned := e.Map.Drift(store.Scope(train.WeightsScope), t, x, nil)
		return []*Node{
			ConvertDType(errorOf(teacher(t, x, nil)), dtypes.Float64), ConvertDType(errorOf(learned), dtypes.Float64),
		}
	})
	if err != nil {
		return fmt.Errorf("compiling the drifts: %w", err)
	}
	defer exec.Finalize()
	out, err := exec.Call(tensors.FromFlatDataAndDimensions(times, n), tensors.FromFlatDataAndDimensions(states, n, 2))
	if err != nil {
		return fmt.Errorf("comparing drifts: %w", err)
	}
	result.Base, result.Map = tensors.ToScalar[float64](out[0]), tensors.ToScalar[float64](out[1])
	return nil
}

// samples fills in Posterior, Samples and Floor.
func (c BaseSetting) samples(
	ctx context.Context, b compute.Backend, e *mixture.Experiment, store *model.Store, result *BaseResult,
) error {
	draw, err := e.Sampler(b, store, train.WeightsScope, mfm.DefaultSamplerConfig())
	if err != nil {
		return err
	}
	eval := posteriorEvaluation()
	eval.Samples = c.Samples
	posteriors, err := e.Evaluate(ctx, draw, eval)
	if err != nil {
		return err
	}
	for _, p := range posteriors {
		excess := p.Excess.Float()
		result.Posterior += excess * excess / float64(len(posteriors))
	}
	result.Posterior = math.Sqrt(result.Posterior)
	config := mfm.SamplerConfig{
		Method: mfm.ODESampling, Solver: solver.Euler, Grid: interpolant.Grid{Steps: c.SamplerSteps, Power: 1},
		Chunk: c.Samples,
	}
	drift := e.Map.DriftIn(store.Scope(train.WeightsScope))
	sampler, err := mfm.NewTeacherSampler(b, store, e.Map.Interpolant, drift, e.Shape(), config)
	if err != nil {
		return err
	}
	defer sampler.Finalize()
	flat, err := mfm.Flat(sampler.Unconditional(ctx, c.Seed, c.Samples, nil))
	if err != nil {
		return err
	}
	rng, projections := rand.New(rand.NewPCG(uint64(c.Seed), 33)), metric.Projections2D(256)
	exact := e.Config.Mixture.Sample(rng, c.Samples)
	if result.Samples, err = metric.SlicedW2(mfm.Rows(flat, 2), exact, projections); err != nil {
		return err
	}
	result.Floor, err = metric.SlicedW2(e.Config.Mixture.Sample(rng, c.Samples), exact, projections)
	return err
}

// steering fills in Steering, SteeringFloor, Value and ValueBias.
func (c BaseSetting) steering(
	ctx context.Context, b compute.Backend, e *mixture.Experiment, store *model.Store, result *BaseResult,
) error {
	s, err := mixture.SteeringOf(e, store, mixture.PaperReward())
	if err != nil {
		return err
	}
	setting := steering.Setting{
		Method: "mfm-gf", N: c.PosteriorSamples, Samples: c.Samples, Seed: c.Seed, Config: steer.DefaultConfig(),
		Options: steering.Options{Baseline: steer.MeanBaseline},
	}
	setting.Config.Steps = c.SamplerSteps
	steered, err := s.Run(ctx, b, setting)
	if err != nil {
		return err
	}
	if steered.Diverged {
		return run.ErrNonFinite
	}
	result.Steering, result.SteeringFloor = steered.SW2, steered.Floor
	for _, t := range []float64{0.3, 0.6, 0.9} {
		values := mixture.ValueConfig{States: 64, Samples: 8 * c.ValueSamples, Seed: uint64(c.Seed)}
		v, err := s.Values(b, t, []int{c.ValueSamples}, values)
		if err != nil {
			return err
		}
		result.Value += v[0].StateError * v[0].StateError / 3
		result.ValueBias += v[0].Bias / 3
	}
	result.Value = math.Sqrt(result.Value)
	return nil
}

// tuneConfig returns the configuration of the tuning, which its monitor evaluates only at the end.
func (c BaseSetting) tuneConfig() tuning.Config {
	config := tuning.DefaultConfig()
	config.Method, config.N, config.Tune.Steps, config.Tune.Seed = c.TuneMethod, c.TuneSamples, c.TuneSteps, c.Seed
	config.Budget.Every = c.TuneSteps
	return config
}

// tuning fills in Tuning.
func (c BaseSetting) tuning(
	ctx context.Context, b compute.Backend, e *mixture.Experiment, store *model.Store, result *BaseResult,
) error {
	t, err := mixture.TuningOf(e, store, mixture.PaperReward(), c.tuneConfig())
	if err != nil {
		return err
	}
	tuned, err := t.Train(ctx, b, run.Options{})
	if err != nil {
		return err
	}
	square, _, err := t.DriftErrors(b, tuned, 1<<15, rand.New(rand.NewPCG(uint64(c.Seed), 35)))
	result.Tuning = math.Sqrt(square)
	return err
}
