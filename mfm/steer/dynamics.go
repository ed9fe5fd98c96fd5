package steer

import (
	"fmt"
	"math"
	"slices"

	. "github.com/gomlx/gomlx/core/graph"

	"github.com/gomfm/gomfm/mfm/internal/batch"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/solver"
)

// Dynamics names the equation of motion of steered particles.
type Dynamics string

// The dynamics. With the exact value both carry noise to the tilted distribution.
const (
	// ODE is dx/dt = b_t(x) + (σ_t²/2) ∇V_t(x).
	ODE Dynamics = "ode"
	// SDE is dX = [b_t + (σ_t²/2) ∇V_t + (ς_t²/2)(∇log p_t + ∇V_t)] dt + ς_t dW.
	// For any ς it has the marginals of the ODE. With ς = σ, the default, it is
	// dX = [2 b_t - (β'_t/β_t) X + σ_t² ∇V_t] dt + σ_t dW.
	SDE Dynamics = "sde"
)

// Renormalization says what happens to a steering term that is long compared with the base term of
// the same step. Lengths are those of one particle's vector.
type Renormalization string

// The renormalizations. All but [NoRenormalization] change the distribution of the samples.
const (
	// NoRenormalization uses the steering term as it is: it adds no bias to that of the estimate.
	// With the exact value samples follow the tilted distribution p₁ e^{λ r}/Z, as the other two do
	// not. A steep reward moves particles far in a step, so that coarse grids may diverge.
	NoRenormalization Renormalization = "none"
	// RescaleLength sets the length of every steering term to Ratio |base|, as in the paper's
	// comparison with Best-of-N. The length of the gradient is lost, and with it the size of the
	// reward: λ has no effect but that of its sign on the gradient of MFM-G with one sample and of
	// DPS. Samples follow no tilted distribution: each particle climbs the estimated value at a given
	// speed to the end, whether or not its reward is large already. Where the value is flat this
	// amplifies the noise of the estimate to that length. It reaches large rewards in few evaluations,
	// at the price of diversity; where the drift is short compared with the way to the reward, it
	// falls short.
	RescaleLength Renormalization = "rescale"
	// ClipLength bounds the length of the steering term by Ratio |base|. While it does not act,
	// samples follow the tilted distribution; where it acts, the reward has too little effect. λ and
	// the size of the reward count up to the bound.
	ClipLength Renormalization = "clip"
)

// Config says how particles are steered. The zero value is not valid: start from [DefaultConfig].
type Config struct {
	Dynamics Dynamics `json:"dynamics"`
	// Solver of the ODE: euler or heun. The SDE needs euler.
	Solver solver.Scheme `json:"solver"`
	// Grid has the steps from noise at 0 to the sample at 1. The first ends at Start; Power places
	// the others.
	interpolant.Grid
	// Start is t_0, in [1e-6, 0.5]. As t falls to 0, σ_t² grows as 1/t and ∇V falls as t. Up to t_0
	// their product is that at t_0, with an error of order t_0² in x. The SDE begins at t_0.
	Start float64 `json:"start"`
	// Lambda is λ, the factor of the reward. LambdaPower is k in λ_t = λ t^k: 0 is constant and
	// alone targets p₁ e^{λ r}/Z; with larger values the reward acts later.
	Lambda      float64 `json:"lambda"`
	LambdaPower float64 `json:"lambda_power"`
	// Noise is ς²/σ² of the SDE, 1 by default. With 0 the SDE is the ODE.
	Noise float64 `json:"noise"`
	// NoiseSchedule multiplies Noise at times in (0, 1); nil means 1. Every schedule of ς_t² has
	// the same marginals. Values must be finite and not negative, for [SMC] positive. It is not
	// part of the JSON.
	NoiseSchedule func(t float64) float64 `json:"-"`
	// Cap bounds σ_t²/2 wherever it occurs; 0 means no bound. A bound is a bias: 25, as in the
	// paper's code, weakens the steering for t < 1/26 with the linear schedule.
	Cap float64 `json:"cap"`
	// Renormalization of the steering term, with Ratio as its parameter.
	Renormalization Renormalization `json:"renormalization"`
	Ratio           float64         `json:"ratio"`
}

// DefaultConfig is the ODE in 100 uniform Euler steps from t_0 = 0.01, with λ = 1, without a bound
// on σ_t²/2 and without renormalization.
func DefaultConfig() Config {
	return Config{
		Dynamics: ODE, Solver: solver.Euler, Grid: interpolant.Grid{Steps: 100, Power: 1}, Start: 0.01,
		Lambda: 1, Noise: 1, Renormalization: NoRenormalization, Ratio: 1,
	}
}

// Validate returns an error that names the first value out of range.
func (c Config) Validate() error {
	if c.Dynamics != ODE && c.Dynamics != SDE {
		return fmt.Errorf("dynamics %q are unknown: use %s or %s", c.Dynamics, ODE, SDE)
	}
	if c.Solver != solver.Euler && c.Solver != solver.Heun {
		return fmt.Errorf("solver %q is unknown: use %s or %s", c.Solver, solver.Euler, solver.Heun)
	}
	if c.Dynamics == SDE && c.Solver != solver.Euler {
		return fmt.Errorf("solver %q is for the ODE: the SDE needs %s (Euler-Maruyama)", c.Solver, solver.Euler)
	}
	if err := c.Grid.Validate(); err != nil {
		return err
	}
	if c.Steps < 3 {
		return fmt.Errorf("steps = %d: must be at least 3, since the first ends at start and the last adds no noise",
			c.Steps)
	}
	if !slices.Contains([]Renormalization{NoRenormalization, RescaleLength, ClipLength}, c.Renormalization) {
		return fmt.Errorf("renormalization %q is unknown: use %s, %s or %s",
			c.Renormalization, NoRenormalization, RescaleLength, ClipLength)
	}
	for _, v := range []struct {
		name     string
		value    float64
		from, to float64
	}{
		{"start", c.Start, 1e-6, 0.5}, {"lambda", c.Lambda, -1e6, 1e6}, {"lambda_power", c.LambdaPower, 0, 100},
		{"noise", c.Noise, 0, 100}, {"cap", c.Cap, 0, math.MaxFloat64}, {"ratio", c.Ratio, 1e-6, 1e6},
	} {
		if !(v.value >= v.from && v.value <= v.to) {
			return fmt.Errorf("%s = %g: must lie in [%g, %g]", v.name, v.value, v.from, v.to)
		}
	}
	if c.Dynamics == SDE && c.NoiseSchedule != nil {
		for _, t := range c.noisyTimes() {
			if v := c.NoiseSchedule(t); !(v >= 0 && v <= math.MaxFloat64) {
				return fmt.Errorf("noise schedule at t = %g is %g: must be finite and not negative", t, v)
			}
		}
	}
	return nil
}

// Times returns the times 0, t_0, ..., 1 between which the steps lie.
func (c Config) Times() []float64 {
	rest := interpolant.Grid{Steps: c.Steps - 1, Power: c.Power}
	return append([]float64{0}, rest.Times(c.Start, 1)...)
}

// noisyTimes returns the times at which the steps of the SDE with noise begin.
func (c Config) noisyTimes() []float64 { return c.Times()[1 : c.Steps-1] }

// halfSquaredNoise returns σ_t²/2, bounded by Cap.
func (c Config) halfSquaredNoise(ip interpolant.Schedule, t float64) float64 {
	w := interpolant.HalfSquaredNoise(ip, max(t, c.Start))
	if c.Cap > 0 {
		w = min(w, c.Cap)
	}
	return w
}

// lambda returns λ_t.
func (c Config) lambda(t float64) float64 { return c.Lambda * math.Pow(t, c.LambdaPower) }

// step has the coefficients of one step: x moves by drift b + state x + steer ∇V + noise ξ, with b
// at time t and ∇V at time at.
type step struct{ t, at, drift, state, steer, noise, lambda float64 }

// row returns the coefficients as a row of the table that a compiled loop reads.
func (s step) row() []float64 {
	return []float64{s.t, s.at, s.drift, s.state, s.steer, s.noise, s.lambda}
}

// steps returns the steps between neighbors of Times.
func (c Config) steps(ip interpolant.Schedule) []step {
	times := c.Times()
	out := make([]step, 0, c.Steps)
	for k := 1; k < len(times); k++ {
		t, h := times[k-1], times[k]-times[k-1]
		at := max(t, c.Start)
		w := c.halfSquaredNoise(ip, t)
		s := step{t: t, at: at, drift: h, steer: h * w, lambda: c.lambda(at)}
		// Two steps of the SDE are the ODE's: the first, since the SDE is singular at 0, and the
		// last, whose noise would stay in the sample.
		if c.Dynamics == SDE && k > 1 && k < len(times)-1 {
			_, beta, _, dBeta := ip.At(t)
			unbounded := interpolant.HalfSquaredNoise(ip, t)
			noise := c.Noise * w
			if c.NoiseSchedule != nil {
				noise *= c.NoiseSchedule(t)
			}
			s.drift += h * noise / unbounded
			s.state = -h * noise / unbounded * dBeta / beta
			s.steer += h * noise
			s.noise = math.Sqrt(2 * h * noise)
		}
		out = append(out, s)
	}
	return out
}

// renormalized returns the renormalized steering term, given the base term of the same step; both
// are [n, ...]. A steering term whose elements are below leastLength has no direction: rescaled, it
// is zero.
func (c Config) renormalized(steering, base *Node) *Node {
	if c.Renormalization == NoRenormalization {
		return steering
	}
	length := norm(steering)
	factor := MulScalar(Div(norm(base), MaxScalar(length, leastLength)), c.Ratio)
	factor = Where(GreaterThan(length, ZerosLike(length)), factor, ZerosLike(factor))
	if c.Renormalization == ClipLength {
		factor = MinScalar(factor, 1)
	}
	return Mul(steering, batch.Like(factor, steering))
}

// leastLength is far above the smallest normal float32, 1.2e-38.
const leastLength = 1e-30

// norm returns the Euclidean length of each row of x, [n], or 0 if all elements are below
// leastLength. It squares the elements divided by the largest one, since XLA rounds squares below
// 1.2e-38 to zero.
func norm(x *Node) *Node {
	x = Reshape(x, x.Shape().Dim(0), -1)
	most := ReduceAndKeep(Abs(x), ReduceMax, 1)
	scaled := Div(x, MaxScalar(most, leastLength))
	length := Mul(Reshape(most, -1), Sqrt(ReduceSum(Square(scaled), 1)))
	return Where(LessThan(Reshape(most, -1), Scalar(x.Graph(), x.DType(), leastLength)), ZerosLike(length), length)
}
