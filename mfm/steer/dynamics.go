package steer

import (
	"fmt"
	"math"
	"slices"

	"github.com/gomfm/gomfm/mfm/internal/batch"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/solver"

	. "github.com/gomlx/gomlx/core/graph"
)

// Dynamics names the equation that steered particles follow.
type Dynamics string

// The dynamics: with the exact value, both carry noise to the tilted law.
const (
	// ODE is dx/dt = b_t(x) + (σ_t²/2) ∇V_t(x).
	ODE Dynamics = "ode"
	// SDE is dX = [b_t + (σ_t²/2) ∇V_t + (ς_t²/2)(∇log p_t + ∇V_t)] dt + ς_t dW, whose marginals are the ODE's for any ς. With ς = σ, the default, it is
	// dX = [2 b_t - (β'_t/β_t) X + σ_t² ∇V_t] dt + σ_t dW.
	SDE Dynamics = "sde"
)

// Renormalization is what becomes of a steering term that is large beside the base term of the same step.
type Renormalization string

// The renormalizations. But for none they change the law: see each.
const (
	// NoRenormalization leaves the steering as it is. It alone has the tilted law as its target.
	NoRenormalization Renormalization = "none"
	// RescaleLength gives the steering the length Ratio |base|, whatever its own: where the value is flat, noise of the estimate is blown up to that length, where it is steep, the reward is
	// held back. The samples' law is none that the reward names.
	RescaleLength Renormalization = "rescale"
	// ClipLength bounds the steering's length by Ratio |base|. Where it never acts the law is the tilted one; where it does, the reward counts less than it should.
	ClipLength Renormalization = "clip"
)

// Config says how particles are steered. The zero value is not usable: start from DefaultConfig.
type Config struct {
	Dynamics Dynamics      `json:"dynamics"`
	Solver   solver.Method `json:"solver"` // of the ODE: euler or heun
	// Grid of the steps from noise at 0 to the sample at 1: the first ends at Start, the others are placed by its power.
	interpolant.Grid
	// Start is t_0, from 1e-6 to 0.5. σ_t² grows as 1/t towards 0, where ∇V falls as t: up to t_0 their product is taken at t_0, which errs by t_0² in x. The SDE takes over there.
	Start float64 `json:"start"`
	// Lambda is λ, the factor of the reward, and LambdaPower k in λ_t = λ t^k: 0 for none, the only one whose target is p₁ e^{λ r}/Z; more lets the reward in late.
	Lambda      float64 `json:"lambda"`
	LambdaPower float64 `json:"lambda_power"`
	// Noise is ς²/σ² of the SDE, 1 by default. 0 is the ODE.
	Noise float64 `json:"noise"`
	// NoiseSchedule is what Noise is multiplied by at a time in (0, 1), nil for 1 everywhere: any schedule of ς_t², each with the same marginals. It must be finite and not negative, of [SMC] positive, and is not part of the JSON.
	NoiseSchedule func(t float64) float64 `json:"-"`
	// Cap bounds σ_t²/2 wherever it stands, 0 for none. It is a bias, which the paper's code has at 25: below t = 1/26, for the linear schedule, the steering is weaker than the value asks.
	Cap float64 `json:"cap"`
	// Renormalization of the steering, and the ratio that it takes.
	Renormalization Renormalization `json:"renormalization"`
	Ratio           float64         `json:"ratio"`
}

// DefaultConfig is the ODE in 100 uniform steps of Euler's, λ = 1, without cap and renormalization.
func DefaultConfig() Config {
	return Config{Dynamics: ODE, Solver: solver.Euler, Grid: interpolant.Grid{Steps: 100, Power: 1}, Start: 0.01, Lambda: 1, Noise: 1, Renormalization: NoRenormalization, Ratio: 1}
}

// Validate returns an error that names the first value that makes no sense.
func (c Config) Validate() error {
	if c.Dynamics != ODE && c.Dynamics != SDE {
		return fmt.Errorf("dynamics %q are unknown: use %s or %s", c.Dynamics, ODE, SDE)
	}
	if c.Solver != solver.Euler && c.Solver != solver.Heun {
		return fmt.Errorf("solver %q is unknown: use %s or %s", c.Solver, solver.Euler, solver.Heun)
	}
	if c.Dynamics == SDE && c.Solver != solver.Euler {
		return fmt.Errorf("solver %q is for the ODE: the SDE takes steps of Euler and Maruyama, use %s", c.Solver, solver.Euler)
	}
	if err := c.Grid.Validate(); err != nil {
		return err
	}
	if c.Steps < 3 {
		return fmt.Errorf("steps = %d: must be 3 or more, of which the first ends at start and the last adds no noise", c.Steps)
	}
	if !slices.Contains([]Renormalization{NoRenormalization, RescaleLength, ClipLength}, c.Renormalization) {
		return fmt.Errorf("renormalization %q is unknown: use %s, %s or %s", c.Renormalization, NoRenormalization, RescaleLength, ClipLength)
	}
	for _, v := range []struct {
		name     string
		value    float64
		from, to float64
	}{{"start", c.Start, 1e-6, 0.5}, {"lambda", c.Lambda, -1e6, 1e6}, {"lambda_power", c.LambdaPower, 0, 100}, {"noise", c.Noise, 0, 100}, {"cap", c.Cap, 0, math.MaxFloat64}, {"ratio", c.Ratio, 1e-6, 1e6}} {
		if !(v.value >= v.from && v.value <= v.to) {
			return fmt.Errorf("%s = %g: must lie in [%g, %g]", v.name, v.value, v.from, v.to)
		}
	}
	if c.Dynamics == SDE && c.NoiseSchedule != nil {
		for _, t := range c.scheduled() {
			if v := c.NoiseSchedule(t); !(v >= 0 && v <= math.MaxFloat64) {
				return fmt.Errorf("noise schedule at t = %g is %g: must be finite and not negative", t, v)
			}
		}
	}
	return nil
}

// Times returns 0, t_0, ..., 1.
func (c Config) Times() []float64 {
	rest := interpolant.Grid{Steps: c.Steps - 1, Power: c.Power}
	return append([]float64{0}, rest.Times(c.Start, 1)...)
}

// scheduled returns the times at which the steps of the SDE that have noise begin.
func (c Config) scheduled() []float64 { return c.Times()[1 : c.Steps-1] }

// steering returns σ_t²/2, capped.
func (c Config) steering(ip interpolant.Schedule, t float64) float64 {
	w := interpolant.HalfSquaredNoise(ip, max(t, c.Start))
	if c.Cap > 0 {
		w = min(w, c.Cap)
	}
	return w
}

// lambda returns λ_t.
func (c Config) lambda(t float64) float64 { return c.Lambda * math.Pow(t, c.LambdaPower) }

// step holds the numbers of one step: x moves by Drift b + State x + Steer ∇V + Noise ξ, b at time T, ∇V at time At.
type step struct{ t, at, drift, state, steer, noise, lambda float64 }

// row returns the numbers as a row of the table that a compiled loop reads.
func (s step) row() []float64 {
	return []float64{s.t, s.at, s.drift, s.state, s.steer, s.noise, s.lambda}
}

// steps returns the steps along Times.
func (c Config) steps(ip interpolant.Schedule) []step {
	times := c.Times()
	out := make([]step, 0, c.Steps)
	for k := 1; k < len(times); k++ {
		t, h := times[k-1], times[k]-times[k-1]
		at := max(t, c.Start)
		w := c.steering(ip, t)
		s := step{t: t, at: at, drift: h, steer: h * w, lambda: c.lambda(at)}
		// The first step of the SDE is the ODE's, since it is singular at 0, and its last: noise added there would stay.
		if c.Dynamics == SDE && k > 1 && k < len(times)-1 {
			_, beta, _, dBeta := ip.At(t)
			own := interpolant.HalfSquaredNoise(ip, t)
			noise := c.Noise * w
			if c.NoiseSchedule != nil {
				noise *= c.NoiseSchedule(t)
			}
			s.drift += h * noise / own
			s.state = -h * noise / own * dBeta / beta
			s.steer += h * noise
			s.noise = math.Sqrt(2 * h * noise)
		}
		out = append(out, s)
	}
	return out
}

// renormalized returns the steering term as the configuration wants it beside the base term of the same step, both [n, ...].
func (c Config) renormalized(steering, base *Node) *Node {
	if c.Renormalization == NoRenormalization {
		return steering
	}
	factor := MulScalar(Div(norm(base), MaxScalar(norm(steering), 1e-20)), c.Ratio)
	if c.Renormalization == ClipLength {
		factor = MinScalar(factor, 1)
	}
	return Mul(steering, batch.Like(factor, steering))
}

// norm returns the Euclidean length of each row of x, [n].
func norm(x *Node) *Node {
	return Sqrt(ReduceSum(Square(Reshape(x, x.Shape().Dim(0), -1)), 1))
}
