package points

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/gomlx/compute"
	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/experiment/points/sets"
	"github.com/gomfm/gomfm/mfm/metric"
	"github.com/gomfm/gomfm/mfm/nn"
)

// EvalConfig says how posterior samples are compared with exact ones.
type EvalConfig struct {
	Times       []float64 `json:"times"`       // in [0, 1)
	Contexts    int       `json:"contexts"`    // x_t for each t
	Samples     int       `json:"samples"`     // for each x_t
	Projections int       `json:"projections"` // of the sliced W2
	// Pool is the number of samples of the generator in each of two pools, of which exact posterior
	// samples are drawn; see [sets.Truth].
	Pool int    `json:"pool"`
	Seed uint64 `json:"seed"`
}

// DefaultEval is the evaluation that the results page quotes.
func DefaultEval() EvalConfig {
	return EvalConfig{
		Times: []float64{0.1, 0.3, 0.5, 0.7, 0.9}, Contexts: 8, Samples: 4096, Projections: 128, Pool: 1_000_000, Seed: 123,
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
	if c.Contexts < 1 || c.Samples < 2 || c.Projections < 1 || c.Pool < 1 {
		return fmt.Errorf("evaluation with contexts = %d, samples = %d, projections = %d, pool = %d: "+
			"must be at least 1, and 2 samples", c.Contexts, c.Samples, c.Projections, c.Pool)
	}
	return nil
}

// PosteriorResult is the quality of one-step posterior samples at one time, of standardized points.
// SW2, Floor and Std are root mean squares over the contexts.
type PosteriorResult struct {
	T      float64 `json:"t"`
	SW2    float64 `json:"sw2"`   // sliced W2 between the map's samples and exact ones
	Floor  float64 `json:"floor"` // the same for exact samples, see [metric.PoolFactor]
	Std    float64 `json:"std"`   // standard deviation of the posterior, √(tr Cov / dim)
	Excess float64 `json:"excess"`
	// Prior is the excess of the map without its network.
	Prior float64 `json:"prior"`
	// Effective is the least effective number of samples of a pool, 0 if the posteriors are closed
	// forms.
	Effective float64 `json:"effective,omitempty"`
}

// Evaluate compares one-step posterior samples with exact ones of the set that the points are from.
// store has the weights of the map.
func (e *Experiment) Evaluate(ctx context.Context, b compute.Backend, store *model.Store, set sets.Set, c EvalConfig) (
	[]PosteriorResult, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	rng := rand.New(rand.NewPCG(c.Seed, 0))
	truth, err := sets.NewTruth(set, e.Scale.Mean, e.Scale.Std, c.Pool, rng)
	if err != nil {
		return nil, err
	}
	bare := e.Model(store)
	bare.Map = &mfm.Map{Interpolant: e.Map.Interpolant, Parametrization: e.Map.Parametrization, Backbone: none}
	var samplers [2]*mfm.Sampler
	for i, m := range []mfm.Model{e.Model(store), bare} {
		if samplers[i], err = mfm.NewSampler(b, m, mfm.DefaultSamplerConfig()); err != nil {
			return nil, err
		}
		defer samplers[i].Finalize()
	}
	projections := metric.RandomProjections(rng, c.Projections, len(e.Columns))
	var results []PosteriorResult
	for _, t := range c.Times {
		var squares [2]float64 // of the distances with and without the network
		r := PosteriorResult{T: t, Effective: math.Inf(1)}
		for i := range c.Contexts {
			x := noised(rng, e.Map.Interpolant, t, e.Scale.Standardize(set.Sample(rng, 1)))
			posterior := truth.Posterior(e.Map.Interpolant, t, x[0])
			exact, again := posterior.Sample(rng, c.Samples, 0), posterior.Sample(rng, c.Samples, 1)
			for k, s := range samplers {
				samples, err := e.draw(ctx, s, t, x, c.Samples, nil, int64(i))
				if err != nil {
					return nil, fmt.Errorf("evaluating at t = %g: %w", t, err)
				}
				d, err := metric.SlicedW2(samples, exact, projections)
				if err != nil {
					return nil, fmt.Errorf("evaluating at t = %g: %w", t, err)
				}
				squares[k] += d * d
			}
			floor, err := metric.SlicedW2(again, exact, projections)
			if err != nil {
				return nil, fmt.Errorf("evaluating at t = %g: %w", t, err)
			}
			floor *= metric.PoolFactor(c.Samples, posterior.Effective[0], posterior.Effective[1])
			r.Floor += floor * floor
			r.Std += posterior.Std * posterior.Std
			r.Effective = min(r.Effective, posterior.Effective[0], posterior.Effective[1])
		}
		n := float64(c.Contexts)
		r.SW2, r.Floor, r.Std = math.Sqrt(squares[0]/n), math.Sqrt(r.Floor/n), math.Sqrt(r.Std/n)
		r.Excess, r.Prior = metric.Excess(r.SW2, r.Floor, r.Std), metric.Excess(math.Sqrt(squares[1]/n), r.Floor, r.Std)
		if math.IsInf(r.Effective, 1) {
			r.Effective = 0
		}
		results = append(results, r)
	}
	return results, nil
}

// none is a network that is zero.
func none(_ *model.Scope, in nn.Inputs) *graph.Node { return graph.ZerosLike(in.Xbar) }
