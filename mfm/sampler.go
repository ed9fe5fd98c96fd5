package mfm

import (
	"context"
	"fmt"

	"github.com/gomlx/compute"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/nn"
	"github.com/gomfm/gomfm/mfm/solver"
)

// Sampler draws samples and evaluates fields on the host's side of the compiled graphs. Each method compiles once for each number of rows a call;
// times, contexts, classes and seeds are inputs. Samples are float32, flat, one after the other; [Rows] turns them into rows.
//
// The same seed, arguments, configuration and backend give the same samples. A Sampler is for one goroutine at a time.
type Sampler struct {
	backend     compute.Backend
	store       *model.Store
	interpolant interpolant.Schedule
	m           *Map         // nil for a teacher
	weights     *model.Scope // of m
	drift       interpolant.Drift
	shape       []int
	config      SamplerConfig
	graphs      map[string]*model.Exec
}

// NewSampler returns a sampler of the map m with the weights that the store has in scope: [train.WeightsScope], or that of a moving average
// ([train.AverageScope]). shape is that of one sample, such as [2] or [28, 28, 1]. It returns an error for a configuration that [SamplerConfig.Validate]
// refuses.
func NewSampler(b compute.Backend, store *model.Store, scope string, m *Map, shape []int, config SamplerConfig) (*Sampler, error) {
	s := &Sampler{interpolant: m.Interpolant, m: m, weights: store.Scope(scope)}
	s.drift = m.DriftIn(s.weights)
	return s.with(b, store, shape, config)
}

// NewTeacherSampler returns a sampler that draws from the drift b alone, by [interpolant.ConditionalDrift]: of an analytic law, a trained flow, or a map
// with guidance ([Map.DriftIn], [ClassifierFree]). store holds the variables that b uses, if any. Methods are [ODEMethod] and [SDEMethod].
func NewTeacherSampler(b compute.Backend, store *model.Store, ip interpolant.Schedule, teacher interpolant.Drift, shape []int, config SamplerConfig) (*Sampler, error) {
	if config.Method == MapMethod || config.Method == RefineMethod {
		return nil, fmt.Errorf("method %q needs a map, a teacher is a drift: use ode or sde", config.Method)
	}
	return (&Sampler{interpolant: ip, drift: teacher}).with(b, store, shape, config)
}

func (s *Sampler) with(b compute.Backend, store *model.Store, shape []int, config SamplerConfig) (*Sampler, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	if len(shape) == 0 {
		return nil, fmt.Errorf("sampler has no shape: give that of one sample, such as [2]")
	}
	for _, d := range shape {
		if d < 1 {
			return nil, fmt.Errorf("samples of shape %v: every axis must have a length of at least 1", shape)
		}
	}
	s.backend, s.store, s.shape, s.config = b, store, append([]int(nil), shape...), config
	s.graphs = make(map[string]*model.Exec)
	return s, nil
}

// Config returns the sampler's configuration.
func (s *Sampler) Config() SamplerConfig { return s.config }

// NFE returns the number of evaluations of the map or teacher for one sample.
func (s *Sampler) NFE() int { return s.config.NFE() }

// Finalize frees the compiled graphs. The weights stay.
func (s *Sampler) Finalize() {
	for _, g := range s.graphs {
		g.Finalize()
	}
	clear(s.graphs)
}

// Posterior returns n samples of p_{1|t}(.|x) for every context, [contexts, n, shape]. t lies in [0, 1]; x holds the contexts, [contexts,
// shape], and class is nil or has one label a context. Where the map has classes, nil stands for none of them.
//
// It returns an error for arguments that do not fit, for weights that the store does not have, and, between two calls of the compiled
// graph, when ctx ends.
func (s *Sampler) Posterior(ctx context.Context, seed int64, t float64, x []float32, n int, class []int32) ([]float32, error) {
	if err := checkTimes(t); err != nil {
		return nil, fmt.Errorf("sampling a posterior: %w", err)
	}
	out, err := s.run(ctx, "posterior", s.posterior, request{seed: seed, times: []float64{t}, states: [][]float32{x}, class: class, repeat: n})
	if err != nil {
		return nil, fmt.Errorf("sampling the posterior at t = %g: %w", t, err)
	}
	return out, nil
}

// Unconditional returns n samples of the data's law, [n, shape], or n for every label in class, [labels, n, shape]: the posterior at t = 0, where
// the context says nothing. Errors are those of [Sampler.Posterior].
func (s *Sampler) Unconditional(ctx context.Context, seed int64, n int, class []int32) ([]float32, error) {
	return s.Posterior(ctx, seed, 0, make([]float32, max(len(class), 1)*s.elements()), n, class)
}

// Transition returns n samples of p(x_{t'} | x_t = x) for every context, [contexts, n, shape], where 0 <= t < to <= 1, in float32 too, and rho in [0, 1) is the
// correlation of the noises in x_t and x_{t'}: 0, or [interpolant.DDPMCorrelation]. See [interpolant.Transition]. With to = 1 it is [Sampler.Posterior]; otherwise the
// method must be [ODEMethod] or [SDEMethod]. Other arguments and errors are those of [Sampler.Posterior].
func (s *Sampler) Transition(ctx context.Context, seed int64, t, to, rho float64, x []float32, n int, class []int32) ([]float32, error) {
	switch {
	case !(t >= 0 && t < to && to <= 1):
		return nil, fmt.Errorf("sampling a transition from t = %g to %g: times must rise within [0, 1]", t, to)
	case !(rho >= 0 && rho < 1):
		return nil, fmt.Errorf("sampling a transition: correlation %g must lie in [0, 1)", rho)
	case float32(to) == 1:
		return s.Posterior(ctx, seed, t, x, n, class)
	case float32(t) == float32(to):
		return nil, fmt.Errorf("sampling a transition from t = %g to %g: in float32 the times are one, so it would not move", t, to)
	case s.config.Method != ODEMethod && s.config.Method != SDEMethod:
		return nil, fmt.Errorf("sampling a transition: method %q draws posteriors only, use ode or sde", s.config.Method)
	}
	out, err := s.run(ctx, "transition", s.transition, request{seed: seed, times: []float64{t, to, rho}, states: [][]float32{x}, class: class, repeat: n})
	if err != nil {
		return nil, fmt.Errorf("sampling the transition from t = %g to %g: %w", t, to, err)
	}
	return out, nil
}

// Drift returns b_t(x) at points x, [points, shape]. class is nil or has one label a point. Errors are those of [Sampler.Posterior].
func (s *Sampler) Drift(ctx context.Context, t float64, x []float32, class []int32) ([]float32, error) {
	return s.evaluate(ctx, "drift", func(_ *solver.RNG, times, states []*Node, class *Node) *Node {
		return s.drift(times[0], states[0], class)
	}, []float64{t}, [][]float32{x}, class)
}

// Denoiser returns D_t(x) = E[I_1 | I_t = x], by way of the drift, at points x, [points, shape]. Arguments and errors are those of [Sampler.Drift].
func (s *Sampler) Denoiser(ctx context.Context, t float64, x []float32, class []int32) ([]float32, error) {
	return s.evaluate(ctx, "denoiser", func(_ *solver.RNG, times, states []*Node, class *Node) *Node {
		return interpolant.Denoiser(s.interpolant, s.drift, times[0], states[0], class)
	}, []float64{t}, [][]float32{x}, class)
}

// Velocity returns the map's v_{s,u}(x̄; t, x) at points x̄ with contexts x, both [points, shape], for times 0 <= from <= to <= 1. Other arguments and errors are
// those of [Sampler.Drift]; a teacher has a velocity at from = to only, its conditional drift.
func (s *Sampler) Velocity(ctx context.Context, from, to float64, xbar []float32, t float64, x []float32, class []int32) ([]float32, error) {
	if from > to {
		return nil, fmt.Errorf("evaluating the velocity: its times %g and %g must not fall", from, to)
	}
	if s.m == nil && from != to {
		return nil, fmt.Errorf("evaluating the velocity from %g to %g: a teacher knows it at equal times only", from, to)
	}
	return s.evaluate(ctx, "velocity", func(_ *solver.RNG, times, states []*Node, class *Node) *Node {
		in := nn.Inputs{S: times[0], U: times[1], T: times[2], Xbar: states[0], X: states[1], Class: class}
		if s.m == nil {
			return s.field(in.T, in.X, class)(in.S, in.Xbar)
		}
		return s.m.Velocity(s.weights, in)
	}, []float64{from, to, t}, [][]float32{xbar, x}, class)
}

// posterior draws one sample for each row of contexts.
func (s *Sampler) posterior(rng *solver.RNG, times, states []*Node, class *Node) *Node {
	t, x, grid := times[0], states[0], s.config.times()
	noise := rng.Normal(x.Shape())
	common := Slice(t, AxisRange(0, 1))
	switch s.config.Method {
	case MapMethod:
		return s.m.PosteriorSteps(s.weights, grid, noise, common, x, class)
	case RefineMethod:
		return s.m.PosteriorRefined(s.weights, rng, grid, noise, common, x, class)
	default:
		return s.integrate(rng, s.field(t, x, class), noise)
	}
}

// transition draws one sample of x_{t'} for each row of contexts.
func (s *Sampler) transition(rng *solver.RNG, times, states []*Node, class *Node) *Node {
	tr := interpolant.Transition{Interpolant: s.interpolant, To: times[1], Rho: times[2]}
	return s.integrate(rng, tr.Field(s.drift, times[0], states[0], class), rng.Normal(states[0].Shape()))
}

// integrate carries noise along a field by the configured method.
func (s *Sampler) integrate(rng *solver.RNG, f solver.Field, noise *Node) *Node {
	if s.config.Method == SDEMethod {
		return solver.IntegrateSDE(rng, s.interpolant, s.config.times(), f, noise)
	}
	return solver.Integrate(rng, s.config.Solver, s.config.times(), f, noise)
}

// field returns the drift of the posterior's ODE.
func (s *Sampler) field(t, x, class *Node) solver.Field {
	if s.m != nil {
		return s.m.Field(s.weights, t, x, class)
	}
	return interpolant.ConditionalField(s.interpolant, s.drift, t, x, class)
}

// Rows splits flat samples of dim elements each into rows, [samples][dim], in float64 as metrics and oracles take them.
func Rows(flat []float32, dim int) [][]float64 {
	rows := make([][]float64, len(flat)/dim)
	for i := range rows {
		rows[i] = make([]float64, dim)
		for j := range rows[i] {
			rows[i][j] = float64(flat[i*dim+j])
		}
	}
	return rows
}
