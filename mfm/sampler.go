package mfm

import (
	"context"
	"fmt"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm/internal/devices"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/nn"
	"github.com/gomfm/gomfm/mfm/solver"
)

// Sampler draws samples and evaluates drifts and velocities from the host. Each method compiles one
// graph per number of rows in a call; times, contexts, classes and seeds are inputs of the graph.
// States and samples are tensors, float32; [Flat] and [Rows] convert them, [Points] makes states.
//
// The same seed, arguments, configuration and backend give the same samples. On a backend with
// several devices ([backend.New]) each computes an equal part of the rows of a call, or the first
// one all of them if they cannot be shared equally; samples are those of one device, up to
// rounding. A Sampler must not be used by several goroutines at once.
type Sampler struct {
	backend     compute.Backend
	store       *model.Store
	interpolant interpolant.Schedule
	m           *Map         // nil for a teacher
	weights     *model.Scope // of m
	drift       interpolant.Drift
	shape       []int
	config      SamplerConfig
	graphs      map[string]*devices.Program
}

// NewSampler returns a sampler of a model, with the model's classes unless config has some. It
// returns an error if [Model.Validate] or [SamplerConfig.Validate] does.
func NewSampler(b compute.Backend, m Model, config SamplerConfig) (*Sampler, error) {
	if err := m.Validate(); err != nil {
		return nil, err
	}
	switch {
	case config.Classes == 0:
		config.Classes = m.Classes
	case m.Classes != 0 && m.Classes != config.Classes:
		return nil, fmt.Errorf("classes = %d of a model with %d classes", config.Classes, m.Classes)
	}
	s := &Sampler{interpolant: m.Map.Interpolant, m: m.Map, weights: m.Weights, drift: m.Drift()}
	return s.with(b, m.Store(), m.Shape, config)
}

// NewTeacherSampler returns a sampler that uses a drift alone, by [interpolant.ConditionalDrift]:
// that of a closed form, a trained flow, or a map with guidance ([Map.DriftIn], [ClassifierFree]).
// store holds the variables of the drift, if any. The method must be [ODESampling] or
// [SDESampling]. Other errors are those of [NewSampler].
func NewTeacherSampler(
	b compute.Backend, store *model.Store, ip interpolant.Schedule, teacher interpolant.Drift,
	shape []int, config SamplerConfig,
) (*Sampler, error) {
	if config.Method == MapSampling || config.Method == RefineSampling {
		return nil, fmt.Errorf("method %q needs a map, not a teacher's drift: use ode or sde", config.Method)
	}
	return (&Sampler{interpolant: ip, drift: teacher}).with(b, store, shape, config)
}

func (s *Sampler) with(b compute.Backend, store *model.Store, shape []int, config SamplerConfig) (*Sampler, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	if err := validateShape(shape); err != nil {
		return nil, err
	}
	s.backend, s.store, s.shape, s.config = b, store, append([]int(nil), shape...), config
	s.graphs = make(map[string]*devices.Program)
	return s, nil
}

// Config returns the sampler's configuration.
func (s *Sampler) Config() SamplerConfig { return s.config }

// NFE returns the number of evaluations of the map's network or of the teacher per sample.
func (s *Sampler) NFE() int {
	if s.m == nil {
		return s.config.NFE()
	}
	return s.config.NFE() * s.m.NFE()
}

// Finalize frees the compiled graphs, but not the weights.
func (s *Sampler) Finalize() {
	for _, g := range s.graphs {
		g.Finalize()
	}
	clear(s.graphs)
}

// Posterior returns n samples of p_{1|t}(.|x) per context, [contexts, n, shape]. t lies in [0, 1];
// x has the contexts, [contexts, shape], or one of them, [shape], in float32 or float64. class has
// one label per context, or is nil for no class.
//
// It returns an error if arguments do not fit, if the store lacks weights, and, between two calls
// of the compiled graph, if ctx has ended.
func (s *Sampler) Posterior(
	ctx context.Context, seed int64, t float64, x *tensors.Tensor, n int, class []int32,
) (*tensors.Tensor, error) {
	if err := checkTimes(t); err != nil {
		return nil, fmt.Errorf("sampling a posterior: %w", err)
	}
	r := request{seed: seed, times: []float64{t}, states: []*tensors.Tensor{x}, class: class, repeat: n}
	flat, err := s.run(ctx, "posterior", s.posterior, r)
	if err != nil {
		return nil, fmt.Errorf("sampling the posterior at t = %g: %w", t, err)
	}
	return s.tensor(flat, n), nil
}

// Unconditional returns n samples of the data distribution, [n, shape], or n for every label in
// class, [labels, n, shape]: the posterior at t = 0, where the context carries no information. Its
// errors are those of [Sampler.Posterior].
func (s *Sampler) Unconditional(ctx context.Context, seed int64, n int, class []int32) (*tensors.Tensor, error) {
	contexts := max(len(class), 1)
	x := tensors.FromShape(shapes.Make(dtypes.Float32, append([]int{contexts}, s.shape...)...))
	out, err := s.Posterior(ctx, seed, 0, x, n, class)
	if err != nil || class != nil {
		return out, err
	}
	flat, err := Flat(out, nil)
	if err != nil {
		return nil, err
	}
	return s.tensor(flat), nil
}

// Transition returns n samples of p(x_{t'} | x_t = x) per context, [contexts, n, shape]; see
// [interpolant.Transition]. 0 <= t < to <= 1 must hold also in float32. rho in [0, 1) is the
// correlation of the noises in x_t and x_{t'}: 0, or [interpolant.DDPMCorrelation]. For to = 1 it
// is [Sampler.Posterior]; otherwise the method must be [ODESampling] or [SDESampling]. Other
// arguments and errors are those of [Sampler.Posterior].
func (s *Sampler) Transition(
	ctx context.Context, seed int64, t, to, rho float64, x *tensors.Tensor, n int, class []int32,
) (*tensors.Tensor, error) {
	switch {
	case !(t >= 0 && t < to && to <= 1):
		return nil, fmt.Errorf("sampling a transition from t = %g to %g: times must rise within [0, 1]", t, to)
	case !(rho >= 0 && rho < 1):
		return nil, fmt.Errorf("sampling a transition: correlation %g must lie in [0, 1)", rho)
	case float32(to) == 1:
		return s.Posterior(ctx, seed, t, x, n, class)
	case float32(t) == float32(to):
		return nil, fmt.Errorf("sampling a transition from t = %g to %g: the times are equal in float32", t, to)
	case s.config.Method != ODESampling && s.config.Method != SDESampling:
		return nil, fmt.Errorf("sampling a transition: method %q has posteriors only: use ode or sde", s.config.Method)
	}
	r := request{seed: seed, times: []float64{t, to, rho}, states: []*tensors.Tensor{x}, class: class, repeat: n}
	flat, err := s.run(ctx, "transition", s.transition, r)
	if err != nil {
		return nil, fmt.Errorf("sampling the transition from t = %g to %g: %w", t, to, err)
	}
	return s.tensor(flat, n), nil
}

// Drift returns b_t(x) at points x, [points, shape]. class has one label per point, or is nil. Its
// errors are those of [Sampler.Posterior].
func (s *Sampler) Drift(ctx context.Context, t float64, x *tensors.Tensor, class []int32) (*tensors.Tensor, error) {
	return s.evaluate(ctx, "drift", func(_ *solver.RNG, times, states []*Node, class *Node) *Node {
		return s.drift(times[0], states[0], class)
	}, []float64{t}, []*tensors.Tensor{x}, class)
}

// Denoiser returns D_t(x) = E[I_1 | I_t = x] at points x, [points, shape], computed from the drift.
// Arguments and errors are those of [Sampler.Drift].
func (s *Sampler) Denoiser(ctx context.Context, t float64, x *tensors.Tensor, class []int32) (*tensors.Tensor, error) {
	return s.evaluate(ctx, "denoiser", func(_ *solver.RNG, times, states []*Node, class *Node) *Node {
		return interpolant.Denoiser(s.interpolant, s.drift, times[0], states[0], class)
	}, []float64{t}, []*tensors.Tensor{x}, class)
}

// Velocity returns v_{s,u}(x̄; t, x) of the map at points x̄ with contexts x, both [points, shape],
// for times 0 <= s <= u <= 1, from and to. Other arguments and errors are those of [Sampler.Drift].
// For a teacher, from must equal to, and the result is its conditional drift.
func (s *Sampler) Velocity(
	ctx context.Context, from, to float64, xbar *tensors.Tensor, t float64, x *tensors.Tensor, class []int32,
) (*tensors.Tensor, error) {
	if from > to {
		return nil, fmt.Errorf("evaluating the velocity from %g to %g: the times must not decrease", from, to)
	}
	if s.m == nil && from != to {
		return nil, fmt.Errorf("evaluating the velocity from %g to %g: a teacher has it at equal times only", from, to)
	}
	return s.evaluate(ctx, "velocity", func(_ *solver.RNG, times, states []*Node, class *Node) *Node {
		in := nn.Inputs{S: times[0], U: times[1], T: times[2], Xbar: states[0], X: states[1], Class: class}
		if s.m == nil {
			return s.field(in.T, in.X, class)(in.S, in.Xbar)
		}
		return s.m.Velocity(s.weights, in)
	}, []float64{from, to, t}, []*tensors.Tensor{xbar, x}, class)
}

// posterior returns one posterior sample per row of contexts.
func (s *Sampler) posterior(rng *solver.RNG, times, states []*Node, class *Node) *Node {
	return s.transport(rng, rng.Normal(states[0].Shape()), times[0], states[0], class)
}

// transition returns one sample of x_{t'} per row of contexts.
func (s *Sampler) transition(rng *solver.RNG, times, states []*Node, class *Node) *Node {
	tr := interpolant.Transition{Interpolant: s.interpolant, To: times[1], Rho: times[2]}
	return s.integrate(rng, tr.Field(s.drift, times[0], states[0], class), rng.Normal(states[0].Shape()))
}

// integrate integrates a field from noise by the configured method.
func (s *Sampler) integrate(rng *solver.RNG, f solver.Field, noise *Node) *Node {
	if s.config.Method == SDESampling {
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

// FromNoise returns the posterior samples to which the map, or the ODE, carries the given noise,
// [contexts, shape], X_{0,1}(noise; t, x). Noise from N(0, I) gives the samples of
// [Sampler.Posterior]; the same noise for other contexts, classes or weights shows what they
// change. The method must be [MapSampling] or [ODESampling], which are functions of their first
// noise. Other arguments and errors are those of [Sampler.Posterior].
func (s *Sampler) FromNoise(
	ctx context.Context, noise *tensors.Tensor, t float64, x *tensors.Tensor, class []int32,
) (*tensors.Tensor, error) {
	if s.config.Method != MapSampling && s.config.Method != ODESampling {
		return nil, fmt.Errorf("sampling from given noise: method %q draws more of it: use map or ode", s.config.Method)
	}
	return s.evaluate(ctx, "posterior from noise", func(_ *solver.RNG, times, states []*Node, class *Node) *Node {
		return s.transport(nil, states[0], times[0], states[1], class)
	}, []float64{t}, []*tensors.Tensor{noise, x}, class)
}

// transport returns the sample to which noise is carried. rng is for methods that draw more noise.
func (s *Sampler) transport(rng *solver.RNG, noise, t, x, class *Node) *Node {
	common, grid := Slice(t, AxisRange(0, 1)), s.config.times()
	switch s.config.Method {
	case MapSampling:
		return s.m.PosteriorSteps(s.weights, grid, noise, common, x, class)
	case RefineSampling:
		return s.m.PosteriorRefined(s.weights, rng, grid, noise, common, x, class)
	default:
		return s.integrate(rng, s.field(t, x, class), noise)
	}
}
