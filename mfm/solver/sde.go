package solver

import (
	"math"

	"github.com/gomfm/gomfm/mfm/internal/batch"
	"github.com/gomfm/gomfm/mfm/interpolant"

	. "github.com/gomlx/gomlx/core/graph"
)

// SDEStep holds the numbers of one Euler-Maruyama step of the SDE of [interpolant.HalfSquaredNoise]
// at time T: x increases by Drift b_T(x) + State x + Noise ξ with ξ ~ N(0, I).
type SDEStep struct{ T, Length, Drift, State, Noise float64 }

// SDESteps returns the steps between times, 0, t_0, ..., 1. The first and the last follow the ODE,
// see [IntegrateSDE].
func SDESteps(ip interpolant.Schedule, times []float64) []SDEStep {
	var steps []SDEStep
	for k := 1; k < len(times); k++ {
		t, h := times[k-1], times[k]-times[k-1]
		step := SDEStep{T: t, Length: h, Drift: h}
		if k > 1 && k < len(times)-1 {
			_, beta, _, dBeta := ip.At(t)
			step.Drift, step.State = 2*h, -h*dBeta/beta
			step.Noise = math.Sqrt(2 * h * interpolant.HalfSquaredNoise(ip, t))
		}
		steps = append(steps, step)
	}
	return steps
}

// IntegrateSDE integrates the SDE of [interpolant.HalfSquaredNoise] from x, [batch, ...], at the
// first of times to the last by the Euler-Maruyama method, in one compiled loop with one evaluation
// of b per step. b is the drift of an interpolant between noise and any distribution: that of the
// data, or a posterior by [interpolant.ConditionalField]. The guided drift b + (σ²/2) ∇V gives the
// SDE of the tilted distribution.
//
// The first and the last step follow the ODE, which has the same marginals. At t = 0 the SDE is
// singular, so times should be 0, t_0, ..., 1 with t_0 about 0.01, below which nothing is random.
// Noise added by the last step would stay in the sample.
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
