// Package steer draws samples of the tilted distribution p₁(x) e^{λ r(x)}/Z of a reward r with a
// meta flow map, without training (arXiv 2601.14430). The steered drift adds (σ_t²/2) ∇V_t(x),
// where
//
//	V_t(x) = log E[e^{λ r(I_1)} | I_t = x]
//
// is the value, which posterior samples of the map estimate. For comparison the package has DPS,
// flow-map guidance, Weighted Diamond Maps, Best-of-N, sequential Monte Carlo and search.
//
// A [Steerer] runs a [Method] on a [Model] and a reward. New methods implement [Method], new
// estimates of the value [Estimator]. A reward in plain Go needs [NewBlackBox].
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
	"github.com/gomfm/gomfm/mfm/nn"
	"github.com/gomfm/gomfm/mfm/solver"
)

// Model is what steering needs of the data distribution: a trained map or a closed form.
type Model struct {
	Interpolant interpolant.Schedule
	// Store has the weights of drift and posterior samples; nil if there are none.
	Store *model.Store
	// Shape is that of one sample, such as [2] or [28, 28, 1].
	Shape []int
	// Drift builds b_t(x), with DriftNFE evaluations of the network, of which 0 means 1.
	Drift    interpolant.Drift
	DriftNFE int
	// Posterior builds a sample of p_{1|t}(.|x) for each row of x, [rows, ...]; nil if the model
	// has none. t is [rows], or [1] for a time that all rows share. eps is noise of x's shape:
	// samples are functions of eps and x, with gradients in x. A model that needs other random
	// numbers takes them from rng. class has one label for each row, or is nil, as for Drift.
	Posterior func(rng *solver.RNG, eps, t, x, class *Node) *Node
	// PosteriorNFE is the number of evaluations of the network for a posterior sample.
	PosteriorNFE int
	// Detached says that posterior samples have no gradient in x. MFM-G and MFM-FT panic for such a
	// model, since their gradients would be zero.
	Detached bool
	// FlowMap builds X_{s,u}(x) of the unconditional ODE dx/dt = b_t(x), for times s and u, [rows],
	// with gradients in x and FlowMapNFE evaluations of the network; nil if the model has none.
	FlowMap    func(s, u, x, class *Node) *Node
	FlowMapNFE int
	// Classes is the number of classes that the model can be conditioned on, 0 for none.
	Classes int
}

// Given returns the model conditioned on class, int32 [1] or [k]: in a batch of n rows each label
// holds for n/k consecutive rows. The labels that the methods of the result receive have no effect.
// A nil class returns the model itself.
func (m Model) Given(class *Node) Model {
	if class == nil {
		return m
	}
	drift, posterior, flow := m.Drift, m.Posterior, m.FlowMap
	m.Drift = func(t, x, _ *Node) *Node { return drift(t, x, labels(class, x)) }
	if posterior != nil {
		m.Posterior = func(rng *solver.RNG, eps, t, x, _ *Node) *Node {
			return posterior(rng, eps, t, x, labels(class, x))
		}
	}
	if flow != nil {
		m.FlowMap = func(s, u, x, _ *Node) *Node { return flow(s, u, x, labels(class, x)) }
	}
	return m
}

// Guided returns the model with classifier-free guidance of its drift, b_∅ + scale (b_c - b_∅), at
// twice the evaluations; see [mfm.ClassifierFree]. A scale of 1 is none. Posterior samples stay
// those of the class: the value is that of the class's posterior, and guidance is added to the
// steering of its samples. The result has no flow map, since guidance of the drift does not give
// one. With [FromMap] of [mfm.Model.Guided] all are guided. It panics for a model without classes.
func (m Model) Guided(scale float64) Model {
	if m.Classes == 0 {
		Panicf("guidance by %g of a model without classes", scale)
	}
	if scale != 1 {
		m.Drift, m.DriftNFE = mfm.ClassifierFree(m.Drift, scale, m.Classes), 2*m.driftNFE()
		m.FlowMap = nil
	}
	return m
}

func (m Model) driftNFE() int { return max(m.DriftNFE, 1) }

// flow builds X_{s,u}(x) without loops, so that it has gradients, and counts its evaluations. It
// panics with the method's name if the model has no flow map.
func (m Model) flow(method string, counter *Counter, s, u, x *Node) *Node {
	if m.FlowMap == nil {
		Panicf("%s needs the flow map of the unconditional ODE, which this model does not have: use a map, without "+
			"guidance of its drift alone, or steer.FromTeacher",
			method)
	}
	counter.Network(x.Shape().Dim(0)*m.FlowMapNFE, 0)
	return solver.Unrolled(x.Graph(), func() *Node { return m.FlowMap(s, u, x, nil) })
}

// labels returns class, [k], repeated to one label for each row of x.
func labels(class, x *Node) *Node {
	rows, k := x.Shape().Dim(0), class.Shape().Dim(0)
	if k == 1 {
		return BroadcastToDims(class, rows)
	}
	if rows%k != 0 {
		Panicf("%d labels for a batch of %d rows: want a divisor of it", k, rows)
	}
	return batch.Repeat(class, rows/k)
}

// WithPosterior returns the model with other posterior samples, which have gradients in x and the
// same cost.
func (m Model) WithPosterior(draw func(rng *solver.RNG, eps, t, x, class *Node) *Node) Model {
	m.Posterior, m.Detached = draw, false
	return m
}

// MustReparameterize panics with the method's name if the model is Detached.
func (m Model) MustReparameterize(method string) {
	if m.Detached {
		Panicf("%s needs gradients through posterior samples, but those of this model come from a closed form "+
			"without gradients: use a map, steer.FromTeacher, or mfm-gf",
			method)
	}
}

// FromMap returns the model of a map with its weights. sampler says how posterior samples
// are drawn: by one or more steps of the map, or by two or more steps of the ODE of its diagonal.
// Other values of sampler are an error.
func FromMap(m mfm.Model, sampler mfm.SamplerConfig) (Model, error) {
	if err := sampler.Validate(); err != nil {
		return Model{}, fmt.Errorf("posterior samples: %w", err)
	}
	if sampler.Method != mfm.MapSampling && sampler.Method != mfm.ODESampling {
		return Model{}, fmt.Errorf("posterior samples: method %q: use map or ode", sampler.Method)
	}
	if sampler.Method == mfm.ODESampling && sampler.Steps < 2 {
		return Model{}, fmt.Errorf("posterior samples: %d step of the ode returns the denoiser for any noise: "+
			"use 2 or more",
			sampler.Steps)
	}
	times := sampler.Times(0, 1)
	return Model{
		Interpolant:  m.Map.Interpolant,
		Store:        m.Store(),
		Shape:        m.Shape,
		Classes:      m.Classes,
		Drift:        m.Drift(),
		DriftNFE:     m.Map.NFE(),
		PosteriorNFE: sampler.NFE() * m.Map.NFE(),
		Posterior: func(_ *solver.RNG, eps, t, x, class *Node) *Node {
			if sampler.Method == mfm.MapSampling {
				return m.Map.PosteriorSteps(m.Weights, times, eps, t, x, class)
			}
			return solver.Integrate(nil, sampler.Solver, times, m.Map.Field(m.Weights, batch.Every(t, x), x, class),
				eps)
		},
		FlowMapNFE: m.Map.NFE(),
		FlowMap: func(s, u, x, class *Node) *Node {
			return m.Map.Flow(m.Weights, nn.Inputs{
				S: s, U: u, T: ZerosLike(s), Xbar: x, X: ZerosLike(x), Class: class,
			})
		},
	}, nil
}

// FromMixture returns the exact model of a Gaussian mixture. Its posterior samples come from the
// closed form and are Detached.
func FromMixture(mixture *gmm.Mixture, ip interpolant.Schedule) Model {
	return Model{
		Interpolant:  ip,
		Shape:        []int{mixture.Dim()},
		Drift:        func(t, x, _ *Node) *Node { return mixture.Like(x).Drift(ip, t, x) },
		PosteriorNFE: 1,
		Detached:     true,
		Posterior: func(rng *solver.RNG, _, t, x, _ *Node) (samples *Node) {
			posterior := mixture.Like(x).Posterior(ip, batch.Every(t, x), x)
			rng.State, samples = posterior.Sample(rng.State, x.Shape().Dim(0))
			return StopGradient(samples)
		},
	}
}

// FromGaussian returns the exact model of a mixture with one component. Its flow map has a closed
// form, so posterior samples have gradients in x. Graphs of the model panic for more components.
func FromGaussian(gaussian *gmm.Mixture, ip interpolant.Schedule) Model {
	m := FromMixture(gaussian, ip).WithPosterior(func(_ *solver.RNG, eps, t, x, _ *Node) *Node {
		t = batch.Every(t, x)
		return gaussian.Like(x).Posterior(ip, t, x).FlowMap(ip, ZerosLike(t), OnesLike(t), eps)
	})
	m.FlowMap = func(s, u, x, _ *Node) *Node { return gaussian.Like(x).FlowMap(ip, s, u, x) }
	m.FlowMapNFE = 1
	return m
}

// FromTeacher returns the model of a drift alone, for samples of the given shape. Set Store if the
// drift has weights. Its posterior samples are solutions of the ODE of the conditional drift, and
// its flow map those of the unconditional ODE, by the given number of Heun steps, with gradients in
// x. It panics for fewer than 2 steps, since one returns the denoiser for any noise.
func FromTeacher(b interpolant.Drift, ip interpolant.Schedule, shape []int, steps int) Model {
	if steps < 2 {
		Panicf("posterior samples of a teacher in %d steps: one step of the ODE returns the denoiser for any noise: use "+
			"at least 2", steps)
	}
	sampler := mfm.SamplerConfig{
		Method: mfm.ODESampling, Solver: solver.Heun, Grid: interpolant.Grid{Steps: steps, Power: 1},
	}
	return Model{
		Interpolant:  ip,
		Shape:        shape,
		Drift:        b,
		PosteriorNFE: sampler.NFE(),
		Posterior: func(_ *solver.RNG, eps, t, x, class *Node) *Node {
			field := interpolant.ConditionalField(ip, b, batch.Every(t, x), x, class)
			return solver.Integrate(nil, solver.Heun, sampler.Times(0, 1), field, eps)
		},
		FlowMapNFE: sampler.NFE(),
		FlowMap: func(s, u, x, class *Node) *Node {
			length := Sub(u, s)
			field := func(share, x *Node) *Node { // dx/dτ at t = s + τ (u - s)
				velocity := b(Add(s, Mul(share, length)), x, class)
				return Mul(batch.Like(length, x), velocity)
			}
			return solver.Integrate(nil, solver.Heun, sampler.Times(0, 1), field, x)
		},
	}
}
