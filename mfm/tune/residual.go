package tune

import (
	"context"
	"fmt"
	"math"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm/internal/batch"
	"github.com/gomfm/gomfm/mfm/internal/require"
	"github.com/gomfm/gomfm/mfm/reward"
	"github.com/gomfm/gomfm/mfm/solver"
	"github.com/gomfm/gomfm/mfm/steer"
)

// Point is a state at which the residual w D - g of an objective is evaluated. With the optimal
// correction D* the residual of an unbiased objective has mean zero.
type Point struct {
	T          float64   // in (0, 1)
	X          []float64 // [dim]
	Correction []float64 // D, [dim]
	// Value is V_t(x). It is the offset c of the weights, which are then of order one.
	Value float64
	// Class is the label that the state is conditioned on if the model has classes; the number of
	// classes means none.
	Class int32
}

// ResidualTask says which residuals [Residuals] samples.
type ResidualTask struct {
	Model  steer.Model
	Reward reward.Reward
	Lambda float64
	Noise  Noise
	// Objective must not need paths, nor share the noise of its posterior samples.
	Objective Objective
	// Points have equal dimensions.
	Points []Point
	// Samples is the least number of samples of w D - g at each point, at least 2. It is rounded up
	// to whole batches.
	Samples int
	Seed    int64
}

// Residual has the moments of w D - g at a point, in units of E[w]. Its mean is the bias of the
// correction to first order.
type Residual struct {
	Mean, SE []float64 // [dim], with the standard error
	// Variance is that of one sample, summed over the dimensions.
	Variance float64
	Samples  int // number of samples
}

// Bias returns the length of the mean, and z, the largest |mean| of an element in standard errors.
// For an unbiased objective, z exceeds a bound b with probability at most 2 dim Φ(-b), however the
// elements are correlated.
func (r Residual) Bias() (length, z float64) {
	for i, m := range r.Mean {
		length += m * m
		if r.SE[i] > 0 {
			z = max(z, math.Abs(m)/r.SE[i])
		}
	}
	return math.Sqrt(length), z
}

// sharesNoise reports whether the posterior samples of an objective have the same noise at all
// states.
func sharesNoise(o Objective) bool {
	var of any = o
	if m, ok := o.(PlugIn); ok {
		of = m.Estimator
	}
	s, ok := of.(interface{ SharesNoise() bool })
	return ok && s.SharesNoise()
}

// validate returns an error that names the first value out of range.
func (r ResidualTask) validate() error {
	if err := r.Objective.Validate(); err != nil {
		return err
	}
	if r.Objective.Needs().Paths {
		return fmt.Errorf("its targets are whole paths, so it has no residual at a point: use another objective")
	}
	if sharesNoise(r.Objective) {
		return fmt.Errorf("shared noise: all samples would be drawn with the same noise, without a standard error: set " +
			"shared to false")
	}
	if len(r.Points) == 0 || r.Samples < 2 {
		return fmt.Errorf("%d samples at %d points: must be at least 2 at 1", r.Samples, len(r.Points))
	}
	dim := len(r.Points[0].X)
	for i, p := range r.Points {
		if len(p.X) != dim || len(p.Correction) != dim || dim == 0 || !(p.T > 0 && p.T < 1) {
			return fmt.Errorf("point %d at t = %g has %d elements and a correction of %d: want t in (0, 1) and %d of "+
				"each, as in the first",
				i, p.T, len(p.X), len(p.Correction), dim)
		}
		if p.Class < 0 || int(p.Class) > r.Model.Classes {
			return fmt.Errorf("point %d has class %d: must lie in [0, %d]", i, p.Class, r.Model.Classes)
		}
	}
	return nil
}

// Residuals samples the residual of an objective at each point, in float32 with sums in float64.
// store has the weights of the model. It returns an error for an objective with invalid options,
// that needs paths or shares its noise, for points or samples that do not fit, and if the store
// lacks weights.
func Residuals(
	ctx context.Context, b compute.Backend, store *model.Store, task ResidualTask,
) ([]Residual, error) {
	objective, points := task.Objective, task.Points
	if err := task.validate(); err != nil {
		return nil, fmt.Errorf("%v: %w", objective, err)
	}
	dim := len(points[0].X)
	rows := max(1, min(task.Samples, (1<<18)/(len(points)*max(1, objective.NFE(task.Model)))))
	exec, err := model.NewExec(b, store, func(_ *model.Scope, rngState, t, x, d, value *Node) []*Node {
		build := func() []*Node { return task.sums(rows, rngState, t, x, d, value) }
		return require.Weights(store, x.Graph(), build, reward.Scope)
	})
	if err != nil {
		return nil, fmt.Errorf("%v: preparing the residuals: %w", objective, err)
	}
	defer exec.Finalize()
	state, err := RNGStateFromSeed(task.Seed)
	if err != nil {
		return nil, fmt.Errorf("seed %d: %w", task.Seed, err)
	}
	sum, square := make([]float64, len(points)*dim), make([]float64, len(points)*dim)
	weight := make([]float64, len(points))
	done := 0
	for ; done < task.Samples; done += rows {
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("%v: residuals: %w", objective, context.Cause(ctx))
		}
		in := pointTensors(points)
		out, err := exec.Call(state, in[0], in[1], in[2], in[3])
		if err != nil {
			return nil, fmt.Errorf("%v: residuals: %w", objective, err)
		}
		state = out[3]
		for i, to := range [][]float64{sum, square, weight} {
			flat, err := tensors.CopyFlatData[float64](out[i])
			if err != nil {
				return nil, fmt.Errorf("%v: reading residuals: %w", objective, err)
			}
			for j, v := range flat {
				to[j] += v
			}
		}
	}
	results := make([]Residual, len(points))
	n := float64(done)
	for i := range results {
		w := weight[i] / n
		r := Residual{Samples: done}
		for j := i * dim; j < (i+1)*dim; j++ {
			mean := sum[j] / n
			variance := math.Max(square[j]/n-mean*mean, 0) / (w * w)
			r.Mean, r.SE = append(r.Mean, mean/w), append(r.SE, math.Sqrt(variance/n))
			r.Variance += variance
		}
		results[i] = r
	}
	return results, nil
}

// sums builds the sums over rows samples at each point: of the residual and its square, [points,
// dim], and of the weight, [points], in float64. The last node is the random state.
func (r ResidualTask) sums(rows int, rngState, t, x, d, value *Node) []*Node {
	rng := &solver.RNG{State: rngState}
	points, dim := x.Shape().Dim(0), x.Shape().Dim(1)
	s := States{T: batch.Repeat(t, rows), X: batch.Repeat(x, rows)}
	if r.Model.Classes > 0 {
		var class []int32
		for _, p := range r.Points {
			class = append(class, p.Class)
		}
		s.Class = batch.Repeat(Const(x.Graph(), class), rows)
	}
	s.Base = r.Model.Drift(s.T, s.X, s.Class)
	p := Problem{
		Problem: steer.Problem{Model: r.Model, Reward: r.Reward, Lambda: Scalar(x.Graph(), x.DType(), r.Lambda)},
		Noise:   r.Noise, Offset: batch.Repeat(value, rows),
	}
	p.Problem = p.Conditioned(s.Class)
	if r.Objective.Needs().Data {
		s.Data = r.Model.Posterior(rng, rng.Normal(s.X.Shape()), s.T, s.X, s.Class)
		alpha, beta, dAlpha, dBeta := r.Model.Interpolant.Graph(batch.Like(s.T, s.X))
		noise := Div(Sub(s.X, Mul(beta, s.Data)), alpha)
		s.Velocity = Add(Mul(dAlpha, noise), Mul(dBeta, s.Data))
	}
	got := r.Objective.Regress(p, rng, s)
	wide := func(v *Node, last ...int) *Node {
		return ConvertDType(Reshape(v, append([]int{points, rows}, last...)...), dtypes.Float64)
	}
	residual := wide(got.residual(batch.Repeat(d, rows)), dim)
	weight := OnesLike(wide(s.T))
	if got.Weight != nil {
		weight = wide(got.Weight)
	}
	return []*Node{ReduceSum(residual, 1), ReduceSum(Square(residual), 1), ReduceSum(weight, 1), rng.State}
}

// pointTensors returns the times, [points], states and corrections, [points, dim], and values,
// [points].
func pointTensors(points []Point) [4]*tensors.Tensor {
	var t, x, d, v []float32
	for _, p := range points {
		t, v = append(t, float32(p.T)), append(v, float32(p.Value))
		for i := range p.X {
			x, d = append(x, float32(p.X[i])), append(d, float32(p.Correction[i]))
		}
	}
	n := len(points)
	dim := len(points[0].X)
	return [4]*tensors.Tensor{
		tensors.FromFlatDataAndDimensions(t, n), tensors.FromFlatDataAndDimensions(x, n, dim),
		tensors.FromFlatDataAndDimensions(d, n, dim), tensors.FromFlatDataAndDimensions(v, n),
	}
}
