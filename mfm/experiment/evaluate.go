package experiment

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/gomlx/compute"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/gmm"
	"github.com/gomfm/gomfm/mfm/metric"
)

// PosteriorRow is the quality of a map's posterior samples at one time t. Figures over several contexts x_t are root mean squares, so that
// Excess follows from the others.
type PosteriorRow struct {
	Loss         string  `json:"loss"`
	Distillation string  `json:"distillation"`
	Seed         int64   `json:"seed"`
	T            float64 `json:"t"`
	SW2          float64 `json:"sw2"`       // sliced W2 between the map's samples and exact ones
	Floor        float64 `json:"floor"`     // the same between two sets of exact samples
	Spread       float64 `json:"spread"`    // root mean square deviation of the posterior, per dimension
	Excess       float64 `json:"excess"`    // √max(sw2² - floor², 0)/spread; 0 where all posteriors are points, of which SW2 says all
	Diversity    float64 `json:"diversity"` // spread of the map's samples over the posterior's, mean over the contexts whose posterior is more than a point; 0 for none
}

// EvaluateConfig says how posterior samples are judged.
type EvaluateConfig struct {
	Times       []float64 `json:"times"`
	Contexts    int       `json:"contexts"`    // x_t for each t
	Samples     int       `json:"samples"`     // for each x_t
	Projections int       `json:"projections"` // of the sliced W2
	Seed        uint64    `json:"seed"`        // of contexts and exact samples
}

// DefaultEvaluateConfig is the evaluation that README and notebooks quote.
func DefaultEvaluateConfig() EvaluateConfig {
	return EvaluateConfig{Times: []float64{0.05, 0.2, 0.4, 0.6, 0.8, 0.95}, Contexts: 8, Samples: 8192, Projections: 256, Seed: 123}
}

// Validate returns an error that names the first value that makes no sense.
func (c EvaluateConfig) Validate() error {
	if len(c.Times) == 0 {
		return fmt.Errorf("evaluation has no times: give some in [0, 1)")
	}
	for _, t := range c.Times {
		if !(t >= 0 && t < 1) {
			return fmt.Errorf("evaluation at time %g: must lie in [0, 1), at 1 a posterior is a point", t)
		}
	}
	for _, v := range []struct {
		name            string
		value, from, to int
	}{{"contexts", c.Contexts, 1, 1 << 20}, {"samples", c.Samples, 2, 1 << 24}, {"projections", c.Projections, 1, 1 << 16}} {
		if v.value < v.from || v.value > v.to {
			return fmt.Errorf("evaluation with %s = %d: must lie in [%d, %d]", v.name, v.value, v.from, v.to)
		}
	}
	return nil
}

// Drawer draws n samples of the posterior p_{1|t}(.|x), [n][dim].
type Drawer func(ctx context.Context, t float64, x []float64, n int) ([][]float64, error)

// errNotFinite is the error of samples that are not.
var errNotFinite = errors.New("samples are not finite: the map has diverged")

// Evaluate returns a row for each time, of the posterior samples that draw gives.
func (e *GMM) Evaluate(ctx context.Context, draw Drawer, config EvaluateConfig) ([]PosteriorRow, error) {
	return e.evaluate(ctx, draw, config, nil)
}

// evaluate shows each context's own row, samples and posterior to each, where that is not nil.
func (e *GMM) evaluate(ctx context.Context, draw Drawer, config EvaluateConfig, each func(one PosteriorRow, samples [][]float64, posterior *gmm.Mixture) error) ([]PosteriorRow, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	rng := rand.New(rand.NewPCG(config.Seed, 0))
	projections := metric.Projections2D(config.Projections)
	if e.Config.Mixture.Dim() != 2 {
		projections = metric.RandomProjections(rng, config.Projections, e.Config.Mixture.Dim())
	}
	rows := make([]PosteriorRow, 0, len(config.Times))
	for _, t := range config.Times {
		row := PosteriorRow{Loss: string(e.Config.Train.Loss.Consistency), Distillation: string(e.Config.Train.Loss.Distillation), Seed: e.Config.Train.Seed, T: t}
		wide := 0
		for range config.Contexts {
			x := e.Context(rng, t)
			posterior := e.Config.Mixture.Posterior(e.Map.Interpolant, t, x)
			samples, err := draw(ctx, t, x, config.Samples)
			if err != nil {
				return nil, fmt.Errorf("evaluating at t = %g: %w", t, err)
			}
			if posterior.Spread() > 0 {
				wide++
			}
			one := PosteriorRow{T: t}
			if err := one.judge(samples, posterior, rng, projections); err != nil {
				return nil, fmt.Errorf("evaluating at t = %g: %w", t, err)
			}
			if each != nil {
				if err := each(one, samples, posterior); err != nil {
					return nil, fmt.Errorf("evaluating at t = %g: %w", t, err)
				}
			}
			row.Diversity += one.Diversity
			row.SW2 += one.SW2 * one.SW2
			row.Floor += one.Floor * one.Floor
			row.Spread += one.Spread * one.Spread
		}
		n := float64(config.Contexts)
		row.SW2, row.Floor, row.Spread = math.Sqrt(row.SW2/n), math.Sqrt(row.Floor/n), math.Sqrt(row.Spread/n)
		if wide > 0 {
			row.Diversity /= float64(wide)
			row.Excess = metric.Excess(row.SW2, row.Floor, row.Spread)
		}
		rows = append(rows, row)
	}
	return rows, nil
}

// judge fills in the row of one context.
func (r *PosteriorRow) judge(samples [][]float64, posterior *gmm.Mixture, rng *rand.Rand, projections [][]float64) (err error) {
	exact, again := posterior.Sample(rng, len(samples)), posterior.Sample(rng, len(samples))
	if r.SW2, err = metric.SlicedW2(samples, exact, projections); err != nil {
		return err
	}
	if r.Floor, err = metric.SlicedW2(again, exact, projections); err != nil {
		return err
	}
	if r.Spread = posterior.Spread(); r.Spread > 0 {
		r.Excess = metric.Excess(r.SW2, r.Floor, r.Spread)
		r.Diversity, err = metric.Diversity(samples, r.Spread)
	}
	return err
}

// Drawer returns the posterior sampler of the map with the weights in scope, drawn as config says.
func (e *GMM) Drawer(b compute.Backend, store *model.Store, scope string, config mfm.SamplerConfig) (Drawer, error) {
	sampler, err := mfm.NewSampler(b, store, scope, e.Map, e.Shape(), config)
	if err != nil {
		return nil, err
	}
	seed := e.Config.Train.Seed
	return func(ctx context.Context, t float64, x []float64, n int) ([][]float64, error) {
		context32 := make([]float32, len(x))
		for i, v := range x {
			context32[i] = float32(v)
		}
		seed++
		flat, err := sampler.Posterior(ctx, seed, t, context32, n, nil)
		if err != nil {
			return nil, err
		}
		if !finite(flat) {
			return nil, errNotFinite
		}
		return mfm.Rows(flat, len(x)), nil
	}, nil
}
