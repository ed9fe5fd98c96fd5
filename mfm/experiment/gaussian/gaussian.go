// Package gaussian is steering in closed form: data from N(0, I) in d dimensions and a linear
// reward,
//
//	r(x) = a·x,   |a|² = 2κ,
//
// so that the tilted distribution is N(a, I), at a Kullback-Leibler divergence of κ nats from the
// data. Drift, flow map and value are exact, and Best-of-N is an integral over one variable: what
// remains is the method. It says when steering pays: the factor between the evaluations of
// Best-of-N and those of a steered run grows as e^κ.
//
// A [Task] runs settings of package steering. [ExpectedMaximum], [BestOfKL] and [BestOfW2] are
// Best-of-N in closed form; [CandidatesForKL] and [CandidatesForMean] are their inverses.
package gaussian

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/gomlx/compute"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"
	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/stat"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/experiment/run"
	"github.com/gomfm/gomfm/mfm/experiment/steering"
	"github.com/gomfm/gomfm/mfm/gmm"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/metric"
	"github.com/gomfm/gomfm/mfm/reward"
	"github.com/gomfm/gomfm/mfm/steer"
)

// Problem is the data N(0, I) with a linear reward.
type Problem struct {
	// Dim is the number of dimensions, 1 to 1024.
	Dim int `json:"dim"`
	// KL is κ, the divergence of the tilted distribution from the data for λ = 1, in nats, in
	// (0, 40].
	KL float64 `json:"kl"`
}

// Validate returns an error that names the first value out of range.
func (p Problem) Validate() error {
	if p.Dim < 1 || p.Dim > 1024 {
		return fmt.Errorf("dim = %d: must lie in [1, 1024]", p.Dim)
	}
	if !(p.KL > 0 && p.KL <= 40) {
		return fmt.Errorf("kl = %g nats: must lie in (0, 40]", p.KL)
	}
	return nil
}

// Length returns |a| = √(2κ), the mean of the tilted distribution along the reward.
func (p Problem) Length() float64 { return math.Sqrt(2 * p.KL) }

// Along returns x·a/|a| of each sample, for samples [n][dim].
func (p Problem) Along(samples [][]float64) []float64 {
	out := make([]float64, len(samples))
	for i, x := range samples {
		for _, v := range x {
			out[i] += v / math.Sqrt(float64(p.Dim))
		}
	}
	return out
}

// reward returns a·x, with a = |a| (1, ..., 1)/√d.
func (p Problem) reward() reward.Reward {
	return reward.Func(func(x *Node) *Node {
		return MulScalar(ReduceSum(x, -1), p.Length()/math.Sqrt(float64(p.Dim)))
	})
}

// Result compares steered samples with the tilted distribution N(λ a, I). Along the reward means
// of the component x·a/|a|.
type Result struct {
	Test string `json:"test"` // [Test]
	steering.Result
	Problem
	// Mean, with its standard error for independent samples, and Std are those of samples along the
	// reward. The tilted distribution has |λ a| and 1. Particles of a filter depend on each other.
	Mean   float64 `json:"mean,omitempty"`
	MeanSE float64 `json:"mean_se,omitempty"`
	Std    float64 `json:"std,omitempty"`
	// Reached is the divergence of the Gaussian with Mean and Std from the data, in nats. The tilted
	// distribution has λ² KL.
	Reached float64 `json:"reached,omitempty"`
	// W2 is the distance to exact samples along the reward, Floor that between two sets of exact
	// samples.
	W2    float64 `json:"w2,omitempty"`
	Floor float64 `json:"floor,omitempty"`
	// Across is the root mean square of the components across the reward, which is 1 for data and
	// target; absent in one dimension.
	Across float64 `json:"across,omitempty"`
}

// Task steers samples of a problem. It implements [steering.Task].
type Task struct {
	steering.Base
	Problem
}

// New returns the task of a problem, or the error of its Validate.
func New(p Problem) (*Task, error) {
	if err := p.Validate(); err != nil {
		return nil, err
	}
	identity := make([][]float64, p.Dim)
	for i := range identity {
		identity[i] = make([]float64, p.Dim)
		identity[i][i] = 1
	}
	data, err := gmm.New([]float64{1}, [][]float64{make([]float64, p.Dim)}, [][][]float64{identity})
	if err != nil {
		return nil, err
	}
	t := &Task{Problem: p}
	t.Model, t.Reward = steer.FromGaussian(data, interpolant.Linear{}), p.reward()
	t.Model.Store = model.NewStore()
	t.Fingerprint, err = run.Fingerprint(t.Model.Store, struct{ Gaussian Problem }{p})
	return t, err
}

// exact is the value, λ a·D_t(x) + λ² |a|² c_t/2, with the posterior's mean D_t(x) = β x/(α² + β²)
// and variance c_t = α²/(α² + β²).
func (t *Task) exact(lambda float64) *steer.Exact {
	return &steer.Exact{Value: func(at, x *Node) *Node {
		alpha, beta, _, _ := t.Model.Interpolant.Graph(at)
		marginal := Add(Square(alpha), Square(beta))
		mean := Mul(MulScalar(t.Reward.Build(nil, x, reward.Condition{}), lambda), Div(beta, marginal))
		return Add(mean, MulScalar(Div(Square(alpha), marginal), lambda*lambda*t.KL))
	}}
}

// Check returns an error that says why a setting cannot be run; nil means that it can.
func (t *Task) Check(s steering.Setting) error {
	if s.Config.LambdaPower != 0 {
		return fmt.Errorf("lambda_power = %g: the target of the comparison needs 0", s.Config.LambdaPower)
	}
	if _, err := t.DrawModel(s); err != nil {
		return err
	}
	return s.Check(t.exact(s.Config.Lambda))
}

// Run draws the samples of a setting and compares them with the tilted distribution.
func (t *Task) Run(ctx context.Context, b compute.Backend, s steering.Setting) (Result, error) {
	r := Result{Test: Test, Problem: t.Problem}
	rng := rand.New(rand.NewPCG(uint64(s.Seed), 5))
	common, samples, _, err := t.Base.Run(ctx, b, s, t.exact(s.Config.Lambda), rng)
	r.Result = common
	if err != nil || r.Diverged {
		return r, err
	}
	r.TargetKL = metric.Some(s.Config.Lambda * s.Config.Lambda * t.KL)
	points := mfm.Rows(samples, t.Dim)
	along := t.Along(points)
	rewards := slices.Clone(along)
	floats.Scale(t.Length(), rewards)
	r.RewardQuantiles = steering.Quantiles(rewards)
	if s.Pool {
		r.PoolRewards = steering.PoolOf(rewards)
	}
	r.Mean, r.MeanSE = metric.MeanSE(along)
	r.Std = stat.StdDev(along, nil)
	r.Reached = (r.Mean*r.Mean + r.Std*r.Std - 1 - 2*math.Log(r.Std)) / 2
	exact := func() [][]float64 {
		rows := make([][]float64, len(along))
		for i := range rows {
			rows[i] = []float64{s.Config.Lambda*t.Length() + rng.NormFloat64()}
		}
		return rows
	}
	target, line := exact(), [][]float64{{1}}
	if r.W2, err = metric.SlicedW2(slices.Collect(slices.Chunk(along, 1)), target, line); err != nil {
		return r, err
	}
	if r.Floor, err = metric.SlicedW2(exact(), target, line); err != nil {
		return r, err
	}
	if t.Dim > 1 {
		r.Across = across(points, along)
	}
	return r, nil
}

// across returns the root mean square of the components of points across the reward, along which
// they have the components along.
func across(points [][]float64, along []float64) float64 {
	sum := 0.0
	for i, x := range points {
		sum -= along[i] * along[i]
		for _, v := range x {
			sum += v * v
		}
	}
	return math.Sqrt(sum / float64(len(points)*(len(points[0])-1)))
}
