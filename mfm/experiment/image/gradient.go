package image

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/gomlx/compute"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"
	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/stat"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/experiment/internal/stats"
	"github.com/gomfm/gomfm/mfm/internal/batch"
	"github.com/gomfm/gomfm/mfm/metric"
	"github.com/gomfm/gomfm/mfm/reward"
	"github.com/gomfm/gomfm/mfm/solver"
	"github.com/gomfm/gomfm/mfm/steer"
)

// GradientResult is the quality of single estimates of ∇V_t. The reference is the estimate of
// MFM-GF from many posterior samples. The component of an estimate along the reference, in units of
// the reference's length, should be 1.
type GradientResult struct {
	// Method is the name of a method in [steer.Methods], here mfm-g or mfm-gf.
	Method    string  `json:"method"`
	T         float64 `json:"t"`
	N         int     `json:"n"` // posterior samples of an estimate
	States    int     `json:"states"`
	Estimates int     `json:"estimates"` // for each state
	Median    float64 `json:"median"`    // of the component over states and estimates
	// Mean is the mean of the component, MeanSE its standard error over the means of the states.
	// For MFM-GF it is near 1 by construction, since the reference is made of the same samples.
	Mean   float64 `json:"mean"`
	MeanSE float64 `json:"mean_se"`
	// Length is the root mean square length of an estimate in all directions: the median over
	// states, in the same units.
	Length float64 `json:"length"`
	// Difference is the component of the gradient of the map's own value, by a difference quotient
	// with the same noise on both sides: the mean over states, with its standard error. Estimates
	// of MFM-G tend to it. It differs from 1 by the error of the map's posterior and by the noise
	// of the samples.
	Difference   float64 `json:"difference"`
	DifferenceSE float64 `json:"difference_se"`
	// Shares say how many of the N posterior samples of an estimate carry it, whatever the method.
	Shares Shares `json:"shares"`
}

// GradientConfig says which estimates of ∇V_t are evaluated.
type GradientConfig struct {
	Times []float64 `json:"times"` // in (0, 1)
	// Ns are numbers of posterior samples of an estimate, powers of two in [2, 256].
	Ns     []int `json:"ns"`
	States int   `json:"states"` // at each time, at least 2
	// Samples is the number of posterior samples at each state, at least 512: N of them are an
	// estimate, all of them the reference.
	Samples int    `json:"samples"`
	Seed    uint64 `json:"seed"`
}

// gradientChunk is the number of posterior samples in a compiled call.
const gradientChunk = 256

// Validate returns an error that names the first value out of range.
func (c GradientConfig) Validate() error {
	for _, t := range c.Times {
		if !(t > 0 && t < 1) {
			return fmt.Errorf("gradients at t = %g: must lie in (0, 1)", t)
		}
	}
	for _, n := range c.Ns {
		if n < 2 || n > gradientChunk || gradientChunk%n != 0 {
			return fmt.Errorf("gradients from n = %d samples: must be a power of two in [2, %d]", n, gradientChunk)
		}
	}
	if c.States < 2 || c.Samples < 2*gradientChunk || len(c.Times) == 0 || len(c.Ns) == 0 {
		return fmt.Errorf("gradients: times: %d, ns: %d, states = %d, samples = %d: must be at least 1, 1, 2 and %d",
			len(c.Times), len(c.Ns), c.States, c.Samples, 2*gradientChunk)
	}
	return nil
}

// Gradients evaluates estimates of ∇V_t at interpolants of images of the target with λ = 1. It
// returns a result for each time, number of samples, and method: MFM-G and MFM-GF.
func (s *Steering) Gradients(ctx context.Context, b compute.Backend, c GradientConfig) ([]GradientResult, error) {
	weights, err := s.weights(1, nil)
	if err != nil {
		return nil, err
	}
	pixels, size := s.Experiment.Data.Float32(), s.Experiment.Data.Dim()
	rng := rand.New(rand.NewPCG(c.Seed, 41))
	images := make([]float32, 0, c.States*size)
	for range c.States {
		i := stats.Categorical(rng, weights)
		images = append(images, pixels[i*size:(i+1)*size]...)
	}
	return gradients(ctx, b, s.Model, s.Reward, images, c)
}

// gradients is [Steering.Gradients] at interpolants of the given data, one for each state.
func gradients(
	ctx context.Context, b compute.Backend, m steer.Model, r reward.Reward, data []float32, c GradientConfig,
) ([]GradientResult, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	var results []GradientResult
	for _, t := range c.Times {
		rng := rand.New(rand.NewPCG(c.Seed, uint64(1e6*t)))
		alpha, beta, _, _ := m.Interpolant.At(t)
		states := make([]float32, len(data))
		for i, x := range data {
			states[i] = float32(alpha*rng.NormFloat64()) + float32(beta)*x
		}
		at := &gradientsAt{
			ctx: ctx, model: m, reward: r, states: states, t: t, config: c,
		}
		reference, err := at.reference(b)
		if err != nil {
			return nil, err
		}
		difference, differenceSE, err := at.difference(b, reference)
		if err != nil {
			return nil, err
		}
		terms, err := at.terms(b)
		if err != nil {
			return nil, err
		}
		for _, n := range c.Ns {
			shares := sharesOf(terms, n)
			samples := steer.PosteriorSamples{N: n}
			for _, e := range []steer.Estimator{
				steer.MFMG{PosteriorSamples: samples},
				steer.MFMGF{PosteriorSamples: samples, Baseline: steer.MeanBaseline},
			} {
				result, err := at.evaluate(b, e, reference)
				if err != nil {
					return nil, err
				}
				result.Difference, result.DifferenceSE, result.Shares = difference, differenceSE, shares
				results = append(results, result)
			}
		}
	}
	return results, nil
}

// gradientsAt has what all estimates at one time share.
type gradientsAt struct {
	ctx    context.Context
	model  steer.Model
	reward reward.Reward
	states []float32
	t      float64
	config GradientConfig
}

// each calls a graph Samples/gradientChunk times for each state and passes its output to take. The
// graph's inputs are the problem, times [copies], copies of the state [copies, ...], and the
// state's direction, [any].
func (g *gradientsAt) each(b compute.Backend, copies int, directions [][]float64,
	build func(p steer.Problem, rng *solver.RNG, t, x, direction *Node) *Node,
	take func(state int, values []float32)) error {
	exec, err := model.NewExec(b, g.model.Store, func(_ *model.Scope, rngState, x, direction *Node) []*Node {
		rng := &solver.RNG{State: rngState}
		many := batch.Repeat(x, copies)
		p := steer.Problem{Model: g.model, Reward: g.reward, Lambda: ScalarOne(x.Graph(), x.DType())}
		t := BroadcastToDims(Scalar(x.Graph(), x.DType(), g.t), copies)
		out := build(p, rng, t, many, ConvertDType(direction, x.DType()))
		return []*Node{out, rng.State}
	})
	if err != nil {
		return fmt.Errorf("preparing the gradients: %w", err)
	}
	defer exec.Finalize()
	rngState, err := RNGStateFromSeed(int64(g.config.Seed))
	if err != nil {
		return fmt.Errorf("seed %d: %w", g.config.Seed, err)
	}
	size := len(g.states) / g.config.States
	for k := range g.config.States {
		for range g.config.Samples / gradientChunk {
			if g.ctx.Err() != nil {
				return fmt.Errorf("gradients at t = %g: %w", g.t, context.Cause(g.ctx))
			}
			state := slices.Clone(g.states[k*size : (k+1)*size])
			x := tensors.FromFlatDataAndDimensions(state, append([]int{1}, g.model.Shape...)...)
			out, err := exec.Call(rngState, x, directions[k])
			if err != nil {
				return fmt.Errorf("gradients at t = %g: %w", g.t, err)
			}
			rngState = out[1]
			values, err := tensors.CopyFlatData[float32](out[0])
			if err != nil {
				return fmt.Errorf("gradients at t = %g: %w", g.t, err)
			}
			take(k, values)
		}
	}
	return nil
}

// reference returns (β/α²)(E*[X|x] - E[X|x]) at each state, [states][size], from all posterior
// samples.
func (g *gradientsAt) reference(b compute.Backend) ([][]float64, error) {
	size := len(g.states) / g.config.States
	most := make([]float64, g.config.States)   // the largest reward so far
	sums := make([][]float64, g.config.States) // of w = e^{r - most}, of w X, and of X
	for k := range sums {
		sums[k], most[k] = make([]float64, 1+2*size), math.Inf(-1)
	}
	none := slices.Repeat([][]float64{{0}}, g.config.States)
	err := g.each(b, 1, none, func(p steer.Problem, rng *solver.RNG, t, x, _ *Node) *Node {
		samples, rewards, _ := steer.PosteriorSamples{N: gradientChunk}.Draw(p, rng, steer.NewCounter(x.Graph()), t, x)
		flat := Reshape(samples, gradientChunk, -1)
		top := ReduceAllMax(rewards)
		w := Reshape(Exp(Sub(rewards, top)), -1, 1)
		return Concatenate([]*Node{
			Reshape(top, 1), Reshape(ReduceAllSum(w), 1), ReduceSum(Mul(w, flat), 0), ReduceSum(flat, 0),
		}, 0)
	}, func(k int, values []float32) {
		first := float64(values[0])
		top := math.Max(most[k], first)
		old, added := math.Exp(most[k]-top), math.Exp(first-top)
		for i := range 1 + size {
			sums[k][i] = old*sums[k][i] + added*float64(values[1+i])
		}
		for i := range size {
			sums[k][1+size+i] += float64(values[2+size+i])
		}
		most[k] = top
	})
	if err != nil {
		return nil, err
	}
	alpha, beta, _, _ := g.model.Interpolant.At(g.t)
	draws := float64(g.config.Samples / gradientChunk * gradientChunk)
	out := make([][]float64, len(sums))
	for k, s := range sums {
		out[k] = make([]float64, size)
		for i := range out[k] {
			out[k][i] = beta / (alpha * alpha) * (s[1+i]/s[0] - s[1+size+i]/draws)
		}
	}
	return out, nil
}

// differenceStep is the distance to either side of a state of the difference quotient.
const differenceStep = 0.3

// difference returns the derivative of the value along the reference in units of the reference's
// length: the mean over states and its standard error.
func (g *gradientsAt) difference(b compute.Backend, reference [][]float64) (mean, se float64, err error) {
	var values [2][]float64 // log of the sum of e^r, up to a constant, on either side
	size := len(reference[0])
	for side := range values {
		aside := *g
		aside.states = slices.Clone(g.states)
		for k, v := range reference {
			step := differenceStep * float64(2*side-1) / floats.Norm(v, 2)
			for i, d := range v {
				aside.states[k*size+i] += float32(step * d)
			}
		}
		logs := make([][]float64, len(reference))
		err := aside.each(b, 1, reference, func(p steer.Problem, rng *solver.RNG, t, x, _ *Node) *Node {
			_, rewards, _ := steer.PosteriorSamples{N: gradientChunk}.Draw(p, rng, steer.NewCounter(x.Graph()), t, x)
			return batch.LogMeanExp(rewards)
		}, func(k int, values []float32) { logs[k] = append(logs[k], float64(values[0])) })
		if err != nil {
			return 0, 0, err
		}
		for _, l := range logs {
			values[side] = append(values[side], floats.LogSumExp(l))
		}
	}
	slopes := make([]float64, len(reference))
	for k, v := range reference {
		slopes[k] = (values[1][k] - values[0][k]) / (2 * differenceStep * floats.Norm(v, 2))
	}
	mean, se = metric.MeanSE(slopes)
	return mean, se, nil
}

// evaluate compares the estimates of e with the reference.
func (g *gradientsAt) evaluate(b compute.Backend, e steer.Estimator, reference [][]float64) (GradientResult, error) {
	result := GradientResult{Method: e.String(), T: g.t, N: e.Samples(), States: g.config.States}
	components, squares := make([][]float64, result.States), make([]float64, result.States)
	copies := gradientChunk / result.N
	err := g.each(b, copies, reference, func(p steer.Problem, rng *solver.RNG, t, x, direction *Node) *Node {
		estimate := e.Estimate(p, rng, steer.NewCounter(x.Graph()), t, x, p.Model.Drift(t, x, nil), true)
		gradient := Reshape(estimate.Gradient, copies, -1)
		along := ReduceSum(Mul(gradient, InsertAxes(direction, 0)), 1)
		return Div(Stack([]*Node{along, ReduceSum(Square(gradient), 1)}, 1), ReduceAllSum(Square(direction)))
	}, func(k int, values []float32) {
		for _, v := range mfm.Rows(values, 2) {
			components[k] = append(components[k], v[0])
			squares[k] += v[1]
		}
	})
	if err != nil {
		return result, err
	}
	result.Estimates = len(components[0])
	var all, means []float64
	for k, s := range components {
		all, means = append(all, s...), append(means, stat.Mean(s, nil))
		squares[k] = math.Sqrt(squares[k] / float64(len(s)))
	}
	result.Median, result.Length = median(all), median(squares)
	result.Mean, result.MeanSE = metric.MeanSE(means)
	return result, nil
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return stat.Quantile(0.5, stat.Empirical, sorted, nil)
}
