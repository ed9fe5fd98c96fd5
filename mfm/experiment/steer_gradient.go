package experiment

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
	"github.com/gomfm/gomfm/mfm/internal/batch"
	"github.com/gomfm/gomfm/mfm/reward"
	"github.com/gomfm/gomfm/mfm/solver"
	"github.com/gomfm/gomfm/mfm/steer"
)

// GradientRow says what a single estimate of ∇V_t sees of it: the component of estimates along the gradient, in units of the gradient's length, of which 1 is right.
type GradientRow struct {
	Method    string  `json:"method"` // mfm-g or mfm-gf
	T         float64 `json:"t"`
	N         int     `json:"n"`
	States    int     `json:"states"`
	Estimates int     `json:"estimates"` // for each state
	Median    float64 `json:"median"`    // over states and estimates
	Mean      float64 `json:"mean"`      // of mfm-gf near 1 by construction: the gradient is made of the same draws
	MeanSE    float64 `json:"mean_se"`   // over the states' own means
	// Length is the median over states of the root mean square length of an estimate, all directions together.
	Length float64 `json:"length"`
	// Difference is the same component of the gradient of the value of all draws, by a difference quotient with the same noise on both sides: a mean over states, and its standard error. It is of the map's own value, to which MFM-G's estimates tend: what it is off 1 by is the map's posterior off the exact one, and the noise of the draws.
	Difference   float64 `json:"difference"`
	DifferenceSE float64 `json:"difference_se"`
}

// GradientConfig says at what estimates of ∇V_t are looked.
type GradientConfig struct {
	Times  []float64
	Ns     []int // numbers of draws of an estimate, each a power of two up to 256
	States int
	// Draws at each state: N of them are an estimate, and all together the gradient that estimates are compared with, by MFM-GF's formula.
	Draws int
	Seed  uint64
}

// gradientChunk is the number of draws of a compiled call.
const gradientChunk = 256

// Validate returns an error that names the first value that makes no sense.
func (c GradientConfig) Validate() error {
	for _, t := range c.Times {
		if !(t > 0 && t < 1) {
			return fmt.Errorf("gradients at t = %g: must lie in (0, 1)", t)
		}
	}
	for _, n := range c.Ns {
		if n < 2 || n > gradientChunk || gradientChunk%n != 0 {
			return fmt.Errorf("gradients from n = %d draws: must be a power of two in [2, %d]", n, gradientChunk)
		}
	}
	if c.States < 2 || c.Draws < 2*gradientChunk || len(c.Times) == 0 || len(c.Ns) == 0 {
		return fmt.Errorf("gradients at %d times of %d states from %d draws, %d numbers at a time: want at least 2 states, %d draws, a time and a number", len(c.Times), c.States, c.Draws, len(c.Ns), 2*gradientChunk)
	}
	return nil
}

// Gradients looks at estimates of ∇V_t at interpolants of the target's images, λ = 1.
func (s *DigitsSteering) Gradients(ctx context.Context, b compute.Backend, c GradientConfig) ([]GradientRow, error) {
	weights, err := s.weights(1)
	if err != nil {
		return nil, err
	}
	pixels, size := s.Digits.Data.Float32(), s.Digits.Data.Dim()
	rng := rand.New(rand.NewPCG(c.Seed, 41))
	images := make([]float32, 0, c.States*size)
	for range c.States {
		i := draw(rng, weights)
		images = append(images, pixels[i*size:(i+1)*size]...)
	}
	return gradients(ctx, b, s.Store, s.Model, s.Reward, s.Digits.Shape(), images, c)
}

// gradients looks at interpolants of the given data, one state each.
func gradients(ctx context.Context, b compute.Backend, store *model.Store, m steer.Model, r reward.Reward, shape []int, data []float32, c GradientConfig) ([]GradientRow, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	var rows []GradientRow
	for _, t := range c.Times {
		rng := rand.New(rand.NewPCG(c.Seed, uint64(1e6*t)))
		alpha, beta, _, _ := m.Interpolant.At(t)
		states := make([]float32, len(data))
		for i, x := range data {
			states[i] = float32(alpha*rng.NormFloat64()) + float32(beta)*x
		}
		at := &gradientsAt{ctx: ctx, store: store, model: m, reward: r, shape: shape, states: states, t: t, config: c}
		truth, err := at.truth(b)
		if err != nil {
			return nil, err
		}
		difference, differenceSE, err := at.difference(b, truth)
		if err != nil {
			return nil, err
		}
		for _, n := range c.Ns {
			for _, e := range []steer.Estimator{steer.MFMG{Draws: steer.Draws{N: n}}, steer.MFMGF{Draws: steer.Draws{N: n}, Baseline: steer.MeanBaseline}} {
				row, err := at.row(b, e, truth)
				if err != nil {
					return nil, err
				}
				row.Difference, row.DifferenceSE = difference, differenceSE
				rows = append(rows, row)
			}
		}
	}
	return rows, nil
}

// gradientsAt is what all estimates at a time have in common.
type gradientsAt struct {
	ctx    context.Context
	store  *model.Store
	model  steer.Model
	reward reward.Reward
	shape  []int
	states []float32
	t      float64
	config GradientConfig
}

// each calls a graph for each state, Draws/gradientChunk times, and hands on what it returns. The graph is given the problem, times [copies], the state, copies times, and its direction, [size], one of those given.
func (g *gradientsAt) each(b compute.Backend, copies int, directions [][]float64, build func(p steer.Problem, rng *solver.RNG, t, x, direction *Node) *Node, take func(state int, values []float32)) error {
	exec, err := model.NewExec(b, g.store, func(_ *model.Scope, rngState, x, direction *Node) []*Node {
		rng := &solver.RNG{State: rngState}
		many := batch.Repeat(x, copies)
		p := steer.Problem{Model: g.model, Reward: g.reward, Lambda: ScalarOne(x.Graph(), x.DType())}
		out := build(p, rng, BroadcastToDims(Scalar(x.Graph(), x.DType(), g.t), copies), many, ConvertDType(direction, x.DType()))
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
		for range g.config.Draws / gradientChunk {
			if g.ctx.Err() != nil {
				return fmt.Errorf("gradients at t = %g: %w", g.t, context.Cause(g.ctx))
			}
			x := tensors.FromFlatDataAndDimensions(slices.Clone(g.states[k*size:(k+1)*size]), append([]int{1}, g.shape...)...)
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

// truth returns (β/α²)(E*[X|x] - E[X|x]) of each state, from all draws.
func (g *gradientsAt) truth(b compute.Backend) ([][]float64, error) {
	size := len(g.states) / g.config.States
	sums := make([][]float64, g.config.States) // of e^{r - most}, that times X, and X
	most := make([]float64, g.config.States)
	for k := range sums {
		sums[k], most[k] = make([]float64, 1+2*size), math.Inf(-1)
	}
	none := slices.Repeat([][]float64{{0}}, g.config.States)
	err := g.each(b, 1, none, func(p steer.Problem, rng *solver.RNG, t, x, _ *Node) *Node {
		samples, rewards, _ := steer.Draws{N: gradientChunk}.Draw(p, rng, steer.NewLedger(x.Graph()), t, x)
		flat := Reshape(samples, gradientChunk, -1)
		top := ReduceAllMax(rewards)
		w := Reshape(Exp(Sub(rewards, top)), -1, 1)
		return Concatenate([]*Node{Reshape(top, 1), Reshape(ReduceAllSum(w), 1), ReduceSum(Mul(w, flat), 0), ReduceSum(flat, 0)}, 0)
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
	draws := float64(g.config.Draws / gradientChunk * gradientChunk)
	out := make([][]float64, len(sums))
	for k, s := range sums {
		out[k] = make([]float64, size)
		for i := range out[k] {
			out[k][i] = beta / (alpha * alpha) * (s[1+i]/s[0] - s[1+size+i]/draws)
		}
	}
	return out, nil
}

// differenceStep is how far to either side of a state, in the metric of states, its value is looked at.
const differenceStep = 0.3

// difference returns the derivative of the value of all draws along the truth, in units of the truth's length: a mean over states, and its standard error.
func (g *gradientsAt) difference(b compute.Backend, truth [][]float64) (mean, se float64, err error) {
	var values [2][]float64 // log of the sums of e^r on either side
	size := len(truth[0])
	for side := range values {
		aside := *g
		aside.states = slices.Clone(g.states)
		for k, v := range truth {
			step := differenceStep * float64(2*side-1) / floats.Norm(v, 2)
			for i, d := range v {
				aside.states[k*size+i] += float32(step * d)
			}
		}
		logs := make([][]float64, len(truth))
		err := aside.each(b, 1, truth, func(p steer.Problem, rng *solver.RNG, t, x, _ *Node) *Node {
			_, rewards, _ := steer.Draws{N: gradientChunk}.Draw(p, rng, steer.NewLedger(x.Graph()), t, x)
			return batch.LogMeanExp(rewards)
		}, func(k int, values []float32) { logs[k] = append(logs[k], float64(values[0])) })
		if err != nil {
			return 0, 0, err
		}
		for _, l := range logs {
			values[side] = append(values[side], floats.LogSumExp(l))
		}
	}
	slopes := make([]float64, len(truth))
	for k, v := range truth {
		slopes[k] = (values[1][k] - values[0][k]) / (2 * differenceStep * floats.Norm(v, 2))
	}
	mean, se = meanSE(slopes)
	return mean, se, nil
}

// row compares an estimator's estimates with the truth.
func (g *gradientsAt) row(b compute.Backend, e steer.Estimator, truth [][]float64) (GradientRow, error) {
	row := GradientRow{Method: e.String(), T: g.t, N: e.DrawCount(), States: g.config.States}
	shares, squares := make([][]float64, row.States), make([]float64, row.States)
	err := g.each(b, gradientChunk/row.N, truth, func(p steer.Problem, rng *solver.RNG, t, x, direction *Node) *Node {
		gradient := Reshape(e.Estimate(p, rng, steer.NewLedger(x.Graph()), t, x, p.Model.Drift(t, x, nil), true).Gradient, gradientChunk/row.N, -1)
		along := ReduceSum(Mul(gradient, InsertAxes(direction, 0)), 1)
		return Div(Stack([]*Node{along, ReduceSum(Square(gradient), 1)}, 1), ReduceAllSum(Square(direction)))
	}, func(k int, values []float32) {
		for _, v := range mfm.Rows(values, 2) {
			shares[k] = append(shares[k], v[0])
			squares[k] += v[1]
		}
	})
	if err != nil {
		return row, err
	}
	row.Estimates = len(shares[0])
	var all, means []float64
	for k, s := range shares {
		all, means = append(all, s...), append(means, stat.Mean(s, nil))
		squares[k] = math.Sqrt(squares[k] / float64(len(s)))
	}
	row.Median, row.Length = median(all), median(squares)
	row.Mean, row.MeanSE = meanSE(means)
	return row, nil
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return stat.Quantile(0.5, stat.Empirical, sorted, nil)
}
