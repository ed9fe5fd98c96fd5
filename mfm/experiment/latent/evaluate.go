package latent

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/gomlx/compute"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/metric"
	"github.com/gomfm/gomfm/mfm/solver"
)

// EvalConfig says how posterior samples of latents are evaluated.
type EvalConfig struct {
	Times       []float64 `json:"times"`       // in [0, 1)
	Contexts    int       `json:"contexts"`    // x_t for each t
	Samples     int       `json:"samples"`     // for each x_t
	Projections int       `json:"projections"` // of the sliced W2
	Seed        int64     `json:"seed"`        // of contexts and samples
}

// DefaultEvalConfig is the evaluation that README and notebooks quote.
func DefaultEvalConfig() EvalConfig {
	return EvalConfig{Times: []float64{0.2, 0.4, 0.6, 0.8}, Contexts: 32, Samples: 256, Projections: 256, Seed: 1}
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
	if c.Contexts < 1 || c.Samples < 2 || c.Projections < 1 {
		return fmt.Errorf("evaluation with contexts = %d, samples = %d, projections = %d: must be at least 1, 2 and 1",
			c.Contexts, c.Samples, c.Projections)
	}
	return nil
}

// PosteriorResult is the quality of posterior samples at one time t, against exact ones of the
// training latents. SW2, Floor and standard deviations are root mean squares over the contexts x_t.
type PosteriorResult struct {
	T     float64 `json:"t"`
	SW2   float64 `json:"sw2"`   // sliced W2 between samples and exact ones
	Floor float64 `json:"floor"` // the same between two sets of exact samples
	Std   float64 `json:"std"`   // standard deviation of the posterior, √(tr Cov / dim)
	// SamplesStd is the standard deviation of the samples, and Diversity SamplesStd/Std.
	SamplesStd float64 `json:"samples_std"`
	Diversity  float64 `json:"diversity"`
	// Excess is √max(SW2² - Floor², 0)/Std. DataExcess has the standard deviation of the data, a
	// random latent about its mean, instead of the posterior's.
	Excess     float64 `json:"excess"`
	DataExcess float64 `json:"data_excess"`
}

// Posteriors compares posterior samples of the map with exact ones, for contexts of the data's
// distribution and of its classes if the map has classes. Streamed latents are an error.
func (e *Experiment) Posteriors(ctx context.Context, b compute.Backend, store *model.Store, sampling mfm.SamplerConfig,
	config EvalConfig) ([]PosteriorResult, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	if e.points == nil {
		return nil, fmt.Errorf("evaluating posterior samples: exact ones need all latents in memory, but the %d "+
			"latents need more than memory = %d bytes: evaluate a map of fewer", e.Latents.N,
			cmp.Or(e.Config.Memory, DefaultMemory))
	}
	sampler, err := mfm.NewSampler(b, e.Model(store), sampling)
	if err != nil {
		return nil, err
	}
	defer sampler.Finalize()
	exact, err := model.NewExec(b, model.NewStore(), func(_ *model.Scope, state, t, x, class *Node) *Node {
		if e.labels == nil {
			class = nil
		}
		return e.kernels(x.Graph()).Sample(&solver.RNG{State: state}, e.Map.Interpolant, t, x, class)
	})
	if err != nil {
		return nil, fmt.Errorf("preparing exact posteriors: %w", err)
	}
	defer exact.Finalize()
	rng := rand.New(rand.NewPCG(uint64(config.Seed), 0))
	projections := metric.RandomProjections(rng, config.Projections, e.Latents.Size())
	data := math.Sqrt(float64(e.statistics.Variance))
	seed := config.Seed
	var results []PosteriorResult
	for _, t := range config.Times {
		r := PosteriorResult{T: t}
		contexts, classes := e.contexts(rng, t, config.Contexts)
		for i, x := range contexts {
			var class []int32
			if e.labels != nil {
				class = classes[i : i+1]
			}
			seed++
			state := e.state(x)
			samples, err := mfm.Flat(sampler.Posterior(ctx, seed, t, state, config.Samples, class))
			if err != nil {
				return nil, err
			}
			var sets [2][][]float64
			for k := range sets {
				if sets[k], err = e.exactSamples(exact, rng, t, x, classes[i], config.Samples); err != nil {
					return nil, err
				}
			}
			if err := r.add(mfm.Rows(samples, len(x)), sets, projections); err != nil {
				return nil, fmt.Errorf("evaluating at t = %g: %w", t, err)
			}
		}
		r.finish(float64(len(contexts)), data)
		results = append(results, r)
	}
	return results, nil
}

// add adds the squares of one context.
func (r *PosteriorResult) add(samples [][]float64, exact [2][][]float64, projections [][]float64) error {
	sw2, err := metric.SlicedW2(samples, exact[0], projections)
	if err != nil {
		return err
	}
	floor, err := metric.SlicedW2(exact[1], exact[0], projections)
	if err != nil {
		return err
	}
	std, err := metric.Std(slices.Concat(exact[0], exact[1]))
	if err != nil {
		return err
	}
	own, err := metric.Std(samples)
	r.SW2, r.Floor = r.SW2+sw2*sw2, r.Floor+floor*floor
	r.Std, r.SamplesStd = r.Std+std*std, r.SamplesStd+own*own
	return err
}

// finish turns sums of squares over n contexts into root mean squares.
func (r *PosteriorResult) finish(n, data float64) {
	for _, v := range []*float64{&r.SW2, &r.Floor, &r.Std, &r.SamplesStd} {
		*v = math.Sqrt(*v / n)
	}
	r.Diversity = r.SamplesStd / r.Std
	r.Excess = metric.Excess(r.SW2, r.Floor, r.Std)
	r.DataExcess = metric.Excess(r.SW2, r.Floor, data)
}

// contexts returns n contexts x_t of the data's distribution, and their classes.
func (e *Experiment) contexts(rng *rand.Rand, t float64, n int) (contexts [][]float32, classes []int32) {
	alpha, beta, _, _ := e.Map.Interpolant.At(t)
	size, rows := e.Latents.Size(), e.points.Shape().Dim(0)
	points := tensors.MustCopyFlatData[float32](e.points)
	for range n {
		row := rng.IntN(rows)
		x := make([]float32, size)
		for j := range x {
			noise := math.Sqrt(float64(e.statistics.Noise[j%e.Latents.Channels]))
			z := float64(points[row*size+j]) + noise*rng.NormFloat64()
			x[j] = float32(alpha*rng.NormFloat64() + beta*z)
		}
		contexts = append(contexts, x)
		class := int32(0)
		if e.labels != nil {
			class = tensors.MustCopyFlatData[int32](e.labels)[row]
		}
		classes = append(classes, class)
	}
	return contexts, classes
}

// state returns one latent as a tensor.
func (e *Experiment) state(x []float32) *tensors.Tensor {
	return tensors.FromFlatDataAndDimensions(x, e.Latents.Shape()...)
}

// exactSamples returns n samples of the exact posterior of a context.
func (e *Experiment) exactSamples(exact *model.Exec, rng *rand.Rand, t float64, x []float32, class int32, n int) (
	[][]float64, error) {
	state, err := RNGStateFromSeed(rng.Int64())
	if err != nil {
		return nil, err
	}
	dims := append([]int{n}, e.Latents.Shape()...)
	flat, err := mfm.Flat(exact.Call1(state, tensors.FromFlatDataAndDimensions(slices.Repeat([]float32{float32(t)}, n), n),
		tensors.FromFlatDataAndDimensions(slices.Repeat(x, n), dims...),
		tensors.FromFlatDataAndDimensions(slices.Repeat([]int32{class}, n), n)))
	if err != nil {
		return nil, fmt.Errorf("sampling an exact posterior at t = %g: %w", t, err)
	}
	return mfm.Rows(flat, e.Latents.Size()), nil
}
