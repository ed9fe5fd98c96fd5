// Package steer draws from the tilted law p₁(x) e^{λ r(x)}/Z of a reward r while a meta flow map generates, without training (arXiv 2601.14430): the steered drift adds (σ_t²/2) ∇V_t(x), where
//
//	V_t(x) = log E[e^{λ r(I_1)} | I_t = x]
//
// is the value, which the map's posterior samples estimate. Beside it are what it is compared with: DPS, Best-of-N, sequential Monte Carlo and search.
package steer

import (
	"fmt"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"
	. "github.com/gomlx/gomlx/support/exceptions"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/gmm"
	"github.com/gomfm/gomfm/mfm/internal/batch"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/solver"
)

// Model is what steering needs to know of the data's law: a trained map, or an exact law.
type Model struct {
	Interpolant interpolant.Schedule
	// Drift is b_t(x), by one evaluation of the network.
	Drift interpolant.Drift
	// Posterior returns samples of p_{1|t}(.|x), one for each row, of x's shape, at times t, [rows], or [1] for one that they have in common: from the noise ε of x's shape, through which gradients in x go, or from rng
	// where it needs more. nil where there are none.
	Posterior func(rng *solver.RNG, eps, t, x *Node) *Node
	// PosteriorNFE is the number of evaluations of the network for a posterior sample.
	PosteriorNFE int
	// Detached says that posterior samples have no gradient in x, without which MFM-G and MFM-FT would steer nowhere: they panic.
	Detached bool
}

// WithPosterior returns the model with other posterior samples, through which gradients in x go, of the same cost.
func (m Model) WithPosterior(draw func(rng *solver.RNG, eps, t, x *Node) *Node) Model {
	m.Posterior, m.Detached = draw, false
	return m
}

// MustReparameterize panics with the method's name for a model whose posterior samples have no gradient in x.
func (m Model) MustReparameterize(method string) {
	if m.Detached {
		Panicf("%s takes gradients through posterior samples, which this model draws from a closed form without: use a map, steer.FromTeacher, or mfm-gf", method)
	}
}

// FromMap returns the model of a map with the weights in scope. draws says how posterior samples are drawn: in one step, several, or by the ODE of the map's diagonal in two or more. It returns an error for other ways.
func FromMap(m *mfm.Map, scope *model.Scope, draws mfm.SamplerConfig) (Model, error) {
	if err := draws.Validate(); err != nil {
		return Model{}, fmt.Errorf("posterior draws: %w", err)
	}
	if draws.Method != mfm.MapMethod && draws.Method != mfm.ODEMethod {
		return Model{}, fmt.Errorf("posterior draws: method %q: use map or ode", draws.Method)
	}
	if draws.Method == mfm.ODEMethod && draws.Steps < 2 {
		return Model{}, fmt.Errorf("posterior draws: the ode in %d step gives the denoiser, whatever the noise: use 2 or more", draws.Steps)
	}
	times := draws.Times(0, 1)
	return Model{
		Interpolant:  m.Interpolant,
		Drift:        m.DriftIn(scope),
		PosteriorNFE: draws.NFE(),
		Posterior: func(_ *solver.RNG, eps, t, x *Node) *Node {
			if draws.Method == mfm.MapMethod {
				return m.PosteriorSteps(scope, times, eps, t, x, nil)
			}
			return solver.Integrate(nil, draws.Solver, times, m.Field(scope, batch.Every(t, x), x, nil), eps)
		},
	}, nil
}

// FromMixture returns the exact model of a mixture. Its posterior samples are drawn from the closed form: they are Detached.
func FromMixture(law *gmm.Mixture, ip interpolant.Schedule) Model {
	return Model{
		Interpolant:  ip,
		Drift:        func(t, x, _ *Node) *Node { return law.DriftGraph(ip, t, x) },
		PosteriorNFE: 1,
		Detached:     true,
		Posterior: func(rng *solver.RNG, _, t, x *Node) (samples *Node) {
			rng.State, samples = law.PosteriorGraph(ip, batch.Every(t, x), x).Sample(rng.State, x.Shape().Dim(0))
			return StopGradient(samples)
		},
	}
}

// FromGaussian returns the exact model of a mixture of one component, whose flow map is a closed form: its posterior samples are functions of the noise, through which gradients go. Graphs of it panic for more components.
func FromGaussian(law *gmm.Mixture, ip interpolant.Schedule) Model {
	return FromMixture(law, ip).WithPosterior(func(_ *solver.RNG, eps, t, x *Node) *Node {
		t = batch.Every(t, x)
		return law.ConditionalFlowMapGraph(ip, ZerosLike(t), OnesLike(t), eps, t, x)
	})
}

// FromTeacher returns the model of a drift alone: its posterior samples come from the ODE of its conditional drift, in the given number of Heun's steps, through which gradients go.
func FromTeacher(b interpolant.Drift, ip interpolant.Schedule, steps int) Model {
	grid := mfm.SamplerConfig{Method: mfm.ODEMethod, Solver: solver.Heun, Grid: interpolant.Grid{Steps: steps, Power: 1}}
	return Model{
		Interpolant:  ip,
		Drift:        b,
		PosteriorNFE: grid.NFE(),
		Posterior: func(_ *solver.RNG, eps, t, x *Node) *Node {
			return solver.Integrate(nil, solver.Heun, grid.Times(0, 1), interpolant.ConditionalField(ip, b, batch.Every(t, x), x, nil), eps)
		},
	}
}
