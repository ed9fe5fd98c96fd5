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
	"github.com/gomfm/gomfm/mfm/reward"
	"github.com/gomfm/gomfm/mfm/solver"
	"github.com/gomfm/gomfm/mfm/steer"
)

// Point is a state at which a method is looked at: with the correction D = D* its residual w D - g has the mean zero, if the method has no bias.
type Point struct {
	T          float64
	X          []float64
	Correction []float64 // D, as long as X
	// Value is V_t(x), which is taken for the offset c there, so that weights are of order one.
	Value float64
}

// Residual is what draws of w D - g at a point say, in units of E[w]: the bias of the correction to first order, and how much a draw scatters about it.
type Residual struct {
	Mean, SE []float64 // [dim], with its standard error
	// Variance is that of one row's residual, summed over the dimensions.
	Variance float64
	Draws    int // rows
}

// Bias returns the length of the mean, and z, the root of its squares in standard errors, whose square is χ² of dim degrees of freedom where there is no bias.
func (r Residual) Bias() (length, z float64) {
	for i, m := range r.Mean {
		length += m * m
		if r.SE[i] > 0 {
			z += m * m / (r.SE[i] * r.SE[i])
		}
	}
	return math.Sqrt(length), math.Sqrt(z)
}

// Residuals draws rows at each point, in float32 but summed in float64. m is a model whose weights are in store. Methods that need paths have no residual at a point.
func Residuals(ctx context.Context, b compute.Backend, store *model.Store, m steer.Model, r reward.Reward, lambda float64, noise Noise, method Method, points []Point, draws int, seed int64) ([]Residual, error) {
	if err := method.Validate(); err != nil {
		return nil, fmt.Errorf("%v: %w", method, err)
	}
	if method.Needs().Paths {
		return nil, fmt.Errorf("%v: its targets are whole paths, it has no residual at a point", method)
	}
	if len(points) == 0 || draws < 2 {
		return nil, fmt.Errorf("%v: %d draws at %d points: want at least 2 at one", method, draws, len(points))
	}
	dim := len(points[0].X)
	for i, p := range points {
		if len(p.X) != dim || len(p.Correction) != dim || dim == 0 || !(p.T > 0 && p.T < 1) {
			return nil, fmt.Errorf("%v: point %d at t = %g has %d elements and a correction of %d: want t within (0, 1) and %d of each, as the first has", method, i, p.T, len(p.X), len(p.Correction), dim)
		}
	}
	rows := max(1, min(draws, (1<<18)/(len(points)*max(1, method.NFE(m)))))
	exec, err := model.NewExec(b, store, func(_ *model.Scope, rngState, t, x, d, value *Node) []*Node {
		rng := &solver.RNG{State: rngState}
		s := States{T: batch.Repeat(t, rows), X: batch.Repeat(x, rows)}
		s.Base = m.Drift(s.T, s.X, nil)
		p := Problem{Problem: steer.Problem{Model: m, Reward: r, Lambda: Scalar(x.Graph(), x.DType(), lambda)}, Noise: noise, Offset: batch.Repeat(value, rows)}
		if method.Needs().Data {
			s.Data = m.Posterior(rng, rng.Normal(s.X.Shape()), s.T, s.X)
			alpha, beta, dAlpha, dBeta := m.Interpolant.Graph(batch.Like(s.T, s.X))
			noise := Div(Sub(s.X, Mul(beta, s.Data)), alpha)
			s.Velocity = Add(Mul(dAlpha, noise), Mul(dBeta, s.Data))
		}
		got := method.Regress(p, rng, s)
		wide := func(v *Node, last ...int) *Node {
			return ConvertDType(Reshape(v, append([]int{len(points), rows}, last...)...), dtypes.Float64)
		}
		residual := wide(got.residual(batch.Repeat(d, rows)), dim)
		weight := OnesLike(wide(s.T))
		if got.Weight != nil {
			weight = wide(got.Weight)
		}
		return []*Node{ReduceSum(residual, 1), ReduceSum(Square(residual), 1), ReduceSum(weight, 1), rng.State}
	})
	if err != nil {
		return nil, fmt.Errorf("%v: preparing the residuals: %w", method, err)
	}
	defer exec.Finalize()
	state, err := RNGStateFromSeed(seed)
	if err != nil {
		return nil, fmt.Errorf("seed %d: %w", seed, err)
	}
	sum, square, weight := make([]float64, len(points)*dim), make([]float64, len(points)*dim), make([]float64, len(points))
	done := 0
	for ; done < draws; done += rows {
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("%v: residuals: %w", method, context.Cause(ctx))
		}
		in := pointTensors(points)
		out, err := exec.Call(state, in[0], in[1], in[2], in[3])
		if err != nil {
			return nil, fmt.Errorf("%v: residuals: %w", method, err)
		}
		state = out[3]
		for i, to := range [][]float64{sum, square, weight} {
			flat, err := tensors.CopyFlatData[float64](out[i])
			if err != nil {
				return nil, fmt.Errorf("%v: reading residuals: %w", method, err)
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
		r := Residual{Draws: done}
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

// pointTensors returns times [tune_test.points], states and corrections [points, dim], and values [tune_test.points].
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
