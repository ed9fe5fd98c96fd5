package mixture

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/gomlx/compute"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/experiment/internal/stats"
	"github.com/gomfm/gomfm/mfm/experiment/run"
	"github.com/gomfm/gomfm/mfm/gmm"
	"github.com/gomfm/gomfm/mfm/metric"
)

// PosteriorResult is the quality of a map's posterior samples at one time t. SW2, Floor and Std
// are root mean squares over the contexts x_t, and Excess follows from them.
type PosteriorResult struct {
	Loss         mfm.Consistency  `json:"loss"`
	Distillation mfm.Distillation `json:"distillation"`
	Seed         int64            `json:"seed"`
	T            float64          `json:"t"`
	SW2          float64          `json:"sw2"`   // sliced W2 between the map's samples and exact ones
	Floor        float64          `json:"floor"` // the same between two sets of exact samples
	Std          float64          `json:"std"`   // standard deviation of the posterior, √(tr Cov / dim)
	// Excess is √max(SW2² - Floor², 0)/Std. It is undefined if all posteriors are points, see
	// [metric.Resolution]; SW2 then has the whole error.
	Excess metric.Optional `json:"excess,omitzero"`
	// Diversity is the standard deviation of the map's samples over that of the posterior: the mean
	// over the contexts whose posterior is more than a point. Without any it is undefined.
	Diversity metric.Optional `json:"diversity,omitzero"`
}

// EvalConfig says how posterior samples are evaluated.
type EvalConfig struct {
	Times       []float64 `json:"times"`       // in [0, 1)
	Contexts    int       `json:"contexts"`    // x_t for each t
	Samples     int       `json:"samples"`     // for each x_t
	Projections int       `json:"projections"` // of the sliced W2
	Seed        uint64    `json:"seed"`        // of contexts and exact samples
}

// DefaultEvalConfig is the evaluation that README and notebooks quote.
func DefaultEvalConfig() EvalConfig {
	return EvalConfig{
		Times:    []float64{0.05, 0.2, 0.4, 0.6, 0.8, 0.95},
		Contexts: 8, Samples: 8192, Projections: 256, Seed: 123,
	}
}

// Validate returns an error that names the first value out of range.
func (c EvalConfig) Validate() error {
	if len(c.Times) == 0 {
		return fmt.Errorf("evaluation has no times: give some in [0, 1)")
	}
	for _, t := range c.Times {
		if !(t >= 0 && t < 1) {
			return fmt.Errorf("evaluation at time %g: must lie in [0, 1), a posterior is a point at 1", t)
		}
	}
	for _, v := range []struct {
		name            string
		value, from, to int
	}{
		{"contexts", c.Contexts, 1, 1 << 20},
		{"samples", c.Samples, 2, 1 << 24},
		{"projections", c.Projections, 1, 1 << 16},
	} {
		if v.value < v.from || v.value > v.to {
			return fmt.Errorf("evaluation with %s = %d: must lie in [%d, %d]", v.name, v.value, v.from, v.to)
		}
	}
	return nil
}

// Sampler returns n samples of the posterior p_{1|t}(.|x), [n][dim].
type Sampler func(ctx context.Context, t float64, x []float64, n int) ([][]float64, error)

// Evaluate compares the posterior samples of draw with exact ones and returns a result for each
// time.
func (e *Experiment) Evaluate(ctx context.Context, draw Sampler, config EvalConfig) ([]PosteriorResult, error) {
	return e.EvaluateEach(ctx, draw, config, nil)
}

// EvaluateEach is Evaluate with a callback for each context: its own result, the samples of draw
// and the exact posterior. Nil means no callback; an error of it ends the evaluation.
func (e *Experiment) EvaluateEach(ctx context.Context, draw Sampler, config EvalConfig,
	each func(one PosteriorResult, samples [][]float64, posterior *gmm.Mixture) error) ([]PosteriorResult, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	rng := rand.New(rand.NewPCG(config.Seed, 0))
	projections := metric.Projections2D(config.Projections)
	if e.Config.Mixture.Dim() != 2 {
		projections = metric.RandomProjections(rng, config.Projections, e.Config.Mixture.Dim())
	}
	training, point := e.Config.Train, metric.Resolution*e.Config.Mixture.Std()
	results := make([]PosteriorResult, 0, len(config.Times))
	for _, t := range config.Times {
		result := PosteriorResult{
			Loss: training.Loss.Consistency, Distillation: training.Loss.Distillation,
			Seed: training.Seed, T: t,
		}
		wide, diversity := 0, 0.0 // over contexts whose posterior is more than a point
		for range config.Contexts {
			x := e.Context(rng, t)
			posterior := e.Config.Mixture.Posterior(e.Map.Interpolant, t, x)
			samples, err := draw(ctx, t, x, config.Samples)
			if err != nil {
				return nil, fmt.Errorf("evaluating at t = %g: %w", t, err)
			}
			one := PosteriorResult{T: t}
			if err := one.compare(samples, posterior, point, rng, projections); err != nil {
				return nil, fmt.Errorf("evaluating at t = %g: %w", t, err)
			}
			if each != nil {
				if err := each(one, samples, posterior); err != nil {
					return nil, fmt.Errorf("evaluating at t = %g: %w", t, err)
				}
			}
			if one.Std > point {
				wide++
				diversity += one.Diversity.Float()
			}
			result.SW2 += one.SW2 * one.SW2
			result.Floor += one.Floor * one.Floor
			result.Std += one.Std * one.Std
		}
		n := float64(config.Contexts)
		result.SW2, result.Floor = math.Sqrt(result.SW2/n), math.Sqrt(result.Floor/n)
		result.Std = math.Sqrt(result.Std / n)
		if wide > 0 {
			result.Diversity = metric.Some(diversity / float64(wide))
			result.Excess = metric.Some(metric.Excess(result.SW2, result.Floor, result.Std))
		}
		results = append(results, result)
	}
	return results, nil
}

// compare fills in the result of one context. A posterior whose standard deviation is at most point
// has no excess and no diversity.
func (r *PosteriorResult) compare(samples [][]float64, posterior *gmm.Mixture, point float64, rng *rand.Rand,
	projections [][]float64) (err error) {
	exact, again := posterior.Sample(rng, len(samples)), posterior.Sample(rng, len(samples))
	if r.SW2, err = metric.SlicedW2(samples, exact, projections); err != nil {
		return err
	}
	if r.Floor, err = metric.SlicedW2(again, exact, projections); err != nil {
		return err
	}
	if r.Std = posterior.Std(); r.Std > point {
		diversity, err := metric.Diversity(samples, r.Std)
		if err != nil {
			return err
		}
		r.Excess, r.Diversity = metric.Some(metric.Excess(r.SW2, r.Floor, r.Std)), metric.Some(diversity)
	}
	return nil
}

// Sampler returns a sampler of the posteriors of the map, whose weights store has in scope. Each
// call uses another seed, counted from that of the training. Non-finite samples are
// [run.ErrNonFinite].
func (e *Experiment) Sampler(b compute.Backend, store *model.Store, scope string, config mfm.SamplerConfig) (
	Sampler, error) {
	sampler, err := mfm.NewSampler(b, mfm.Model{Map: e.Map, Weights: store.Scope(scope), Shape: e.Shape()}, config)
	if err != nil {
		return nil, err
	}
	seed := e.Config.Train.Seed
	return func(ctx context.Context, t float64, x []float64, n int) ([][]float64, error) {
		seed++
		flat, err := mfm.Flat(sampler.Posterior(ctx, seed, t, mfm.Points([][]float64{x}), n, nil))
		if err != nil {
			return nil, err
		}
		if !stats.Finite(flat) {
			return nil, run.ErrNonFinite
		}
		return mfm.Rows(flat, len(x)), nil
	}, nil
}
