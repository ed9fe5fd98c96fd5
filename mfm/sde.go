package mfm

import (
	"math"

	"github.com/gomfm/gomfm/mfm/internal/batch"

	. "github.com/gomlx/gomlx/core/graph"
)

// HalfSquaredNoise returns σ_t²/2 = (β'/β) α² - α' α, the diffusion coefficient at which the SDE
//
//	dX = [2 b_t(X) - (β'/β) X] dt + σ_t dW
//
// has the marginals of the ODE dx/dt = b_t(x) and is memoryless: X_1 does not depend on X_0 (Domingo-Enrich et al., arXiv 2409.08861). For the
// linear schedule it is (1-t)/t. It grows as 1/t towards t = 0 and is +Inf there.
func HalfSquaredNoise(ip Interpolant, t float64) float64 {
	alpha, beta, dAlpha, dBeta := ip.At(t)
	return alpha * (dBeta*alpha - dAlpha*beta) / beta
}

// SDEStep are the numbers of one step of the SDE of [HalfSquaredNoise] by the method of Euler and Maruyama: x moves by Drift b_t(x) + State x + Noise ξ.
type SDEStep struct{ T, Length, Drift, State, Noise float64 }

// SDESteps returns the steps between times, 0, t_0, ..., 1. The first and the last follow the ODE, as [IntegrateSDE] says.
func SDESteps(ip Interpolant, times []float64) []SDEStep {
	var steps []SDEStep
	for k := 1; k < len(times); k++ {
		t, h := times[k-1], times[k]-times[k-1]
		step := SDEStep{T: t, Length: h, Drift: h}
		if k > 1 && k < len(times)-1 {
			_, beta, _, dBeta := ip.At(t)
			step = SDEStep{T: t, Length: h, Drift: 2 * h, State: -h * dBeta / beta, Noise: math.Sqrt(2 * h * HalfSquaredNoise(ip, t))}
		}
		steps = append(steps, step)
	}
	return steps
}

// IntegrateSDE carries x, [batch, ...], along the SDE of [HalfSquaredNoise] from the first of times to the last by the method of Euler and Maruyama, in one
// compiled loop, one evaluation of b a step. b is the drift of an interpolant between noise and any law: the data's, or a posterior's with
// [ConditionalField]. A guided b + (σ²/2) ∇V gives the SDE of the tilted law.
//
// The first step and the last follow the ODE, which has the same marginals: at t = 0 the SDE is singular, so times should be 0, t_0, ..., 1 with t_0 =
// 0.01 or so, below which nothing is random; and noise that the last step added would stay in the sample.
func IntegrateSDE(rng *RNG, ip Interpolant, times []float64, b Field, x *Node) *Node {
	var table [][]float64
	for _, step := range SDESteps(ip, times) {
		table = append(table, []float64{step.T, step.Drift, step.State, step.Noise})
	}
	return march(rng, table, x, func(row []*Node, x *Node) *Node {
		moved := Add(Mul(row[1], b(batch.Every(row[0], x), x)), Mul(row[2], x))
		return Add(x, Add(moved, Mul(row[3], rng.Normal(x.Shape()))))
	})
}
