package solver

import (
	"math"

	"github.com/gomfm/gomfm/mfm/internal/batch"
	"github.com/gomfm/gomfm/mfm/interpolant"

	. "github.com/gomlx/gomlx/core/graph"
)

// SDEStep are the numbers of one step of the SDE of [interpolant.HalfSquaredNoise] by the method of Euler and Maruyama: x moves by Drift b_t(x) + State x + Noise ξ.
type SDEStep struct{ T, Length, Drift, State, Noise float64 }

// SDESteps returns the steps between times, 0, t_0, ..., 1. The first and the last follow the ODE, as [IntegrateSDE] says.
func SDESteps(ip interpolant.Schedule, times []float64) []SDEStep {
	var steps []SDEStep
	for k := 1; k < len(times); k++ {
		t, h := times[k-1], times[k]-times[k-1]
		step := SDEStep{T: t, Length: h, Drift: h}
		if k > 1 && k < len(times)-1 {
			_, beta, _, dBeta := ip.At(t)
			step = SDEStep{T: t, Length: h, Drift: 2 * h, State: -h * dBeta / beta, Noise: math.Sqrt(2 * h * interpolant.HalfSquaredNoise(ip, t))}
		}
		steps = append(steps, step)
	}
	return steps
}

// IntegrateSDE carries x, [batch, ...], along the SDE of [interpolant.HalfSquaredNoise] from the first of times to the last by the method of Euler and Maruyama, in one
// compiled loop, one evaluation of b a step. b is the drift of an interpolant between noise and any law: the data's, or a posterior's with
// [interpolant.ConditionalField]. A guided b + (σ²/2) ∇V gives the SDE of the tilted law.
//
// The first step and the last follow the ODE, which has the same marginals: at t = 0 the SDE is singular, so times should be 0, t_0, ..., 1 with t_0 =
// 0.01 or so, below which nothing is random; and noise that the last step added would stay in the sample.
func IntegrateSDE(rng *RNG, ip interpolant.Schedule, times []float64, b Field, x *Node) *Node {
	var table [][]float64
	for _, step := range SDESteps(ip, times) {
		table = append(table, []float64{step.T, step.Drift, step.State, step.Noise})
	}
	return Scan(rng, table, x, func(row []*Node, x *Node) *Node {
		moved := Add(Mul(row[1], b(batch.Every(row[0], x), x)), Mul(row[2], x))
		return Add(x, Add(moved, Mul(row[3], rng.Normal(x.Shape()))))
	})
}
