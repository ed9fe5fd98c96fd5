// Package diagnose checks a trained meta flow map that has no closed form to be compared with. It
// reports in words what is wrong and what to try: posterior samples that collapsed or spread too
// far, a map that disagrees with the drift with which it was trained, and steps that do not
// compose. Findings about steered runs and tuned drifts can be added to the same report.
package diagnose

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/internal/batch"
	"github.com/gomfm/gomfm/mfm/internal/require"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/metric"
	"github.com/gomfm/gomfm/mfm/nn"
	"github.com/gomfm/gomfm/mfm/solver"
)

// Result has the metrics at one time. Errors are in posterior standard deviations, the root mean
// square deviation of the ODE's samples per element, unless said otherwise.
type Result struct {
	T float64 `json:"t"`
	// Std is the posterior standard deviation itself, in units of the data.
	Std float64 `json:"std"`
	// Diversity is the ratio of the one-step samples' root mean square deviation to that of the
	// ODE's samples, over all contexts.
	Diversity float64 `json:"diversity"`
	// Exact is the same ratio to the exact posteriors; 0 if these are not known.
	Exact float64 `json:"exact,omitempty"`
	// Mean is the root mean square distance per element between the mean of one-step samples and
	// the drift's denoiser D_t(x), after the sampling error is subtracted in quadrature.
	Mean float64 `json:"mean"`
	// Drift is E|v_{t,t}(x; 0, .) - b_t(x)|² over the variance of the reference drift b; 0 without
	// one.
	Drift float64 `json:"drift,omitempty"`
	// Coverage of the data by one-step samples.
	Coverage Coverage `json:"coverage"`
	// Sensitivity to x_t, zero if it was left out.
	Sensitivity Sensitivity `json:"sensitivity"`
	// Consistency[i][j] is the root mean square of X_{s,u} - X_{m,u}(X_{s,m}) per element at
	// s = i/grid and u = (j+1)/grid, with m in the middle; 0 for u <= s. It is nil if it was left out.
	Consistency [][]float64 `json:"consistency"`
}

// finite reports whether all metrics are finite and the posterior standard deviation is above
// point.
func (r Result) finite(point float64) bool {
	bad := func(v float64) bool { return math.IsNaN(v) || math.IsInf(v, 0) }
	for _, line := range r.Consistency {
		if slices.ContainsFunc(line, bad) {
			return false
		}
	}
	return !bad(r.Std) && r.Std > point && !bad(r.Diversity) && !bad(r.Exact) && !bad(r.Mean) && !bad(r.Drift) &&
		r.Sensitivity.finite()
}

// worst returns the largest entry of Consistency with its s and u.
func (r Result) worst() (value, s, u float64) {
	n := float64(len(r.Consistency))
	for i, line := range r.Consistency {
		for j, v := range line {
			if v > value {
				value, s, u = v, float64(i)/n, float64(j+1)/n
			}
		}
	}
	return value, s, u
}

// Subject is the map that is evaluated.
type Subject struct {
	// Model is the map with its weights. Its store has those of Drift, too.
	Model mfm.Model
	// Data has held-out samples of the data distribution, flat, at least one for each context.
	Data []float32
	// Class has the labels of the samples for a map with classes, which is then evaluated given
	// each sample's class; nil means no class.
	Class []int32
	// Drift is the reference for the map's drift and posterior means: its teacher, or a flow from
	// which it was distilled. nil means the map's own drift.
	Drift interpolant.Drift
	// Exact returns the exact posterior's root mean square deviation per element given x_t; nil if
	// it is not known.
	Exact func(t float64, x []float64) float64
}

// Map evaluates a map. It returns an error for an invalid configuration, for too little data, if
// the store lacks weights, and if ctx ends, which it checks between two times. Non-finite metrics
// are a finding.
func Map(ctx context.Context, b compute.Backend, s Subject, c Config) (*Report, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if err := s.Model.Validate(); err != nil {
		return nil, err
	}
	elements := s.Model.Elements()
	if s.Class != nil && (s.Model.Classes == 0 || len(s.Class)*elements != len(s.Data)) {
		return nil, fmt.Errorf("%d labels for %d samples of data, and a map with %d classes", len(s.Class),
			len(s.Data)/elements, s.Model.Classes)
	}
	if n := len(s.Data) / elements; n < c.Contexts {
		return nil, fmt.Errorf("%d samples of data, fewer than the %d contexts: use at most as many contexts", n, c.Contexts)
	}
	state, err := RNGStateFromSeed(c.Seed)
	if err != nil {
		return nil, fmt.Errorf("seed %d: %w", c.Seed, err)
	}
	response, err := RNGStateFromSeed(c.Seed ^ responseSeed)
	if err != nil {
		return nil, fmt.Errorf("seed %d: %w", c.Seed, err)
	}
	random, err := RNGStateFromSeed(c.Seed ^ coverageSeed)
	if err != nil {
		return nil, fmt.Errorf("seed %d: %w", c.Seed, err)
	}
	e := evaluator{subject: s, config: c, elements: elements, state: state, random: random, response: response}
	if err := e.compile(b); err != nil {
		return nil, fmt.Errorf("preparing the diagnosis: %w", err)
	}
	defer e.finalize()
	report := &Report{Config: c}
	// A single context has no standard deviation: then only 0 is a point.
	scale, _ := metric.Std(mfm.Rows(s.Data[:c.Contexts*elements], elements))
	for _, t := range c.Times {
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("diagnosis stopped before t = %g: %w", t, context.Cause(ctx))
		}
		result, err := e.evaluate(t)
		if err != nil {
			return nil, fmt.Errorf("diagnosis at t = %g: %w", t, err)
		}
		if !result.finite(metric.Resolution * scale) {
			report.Findings = append(report.Findings, Finding{
				"not finite", fmt.Sprintf("samples of the map at t = %g are not finite, or do not vary at all", t),
				"check the weights, and use the last checkpoint with finite ones",
			})
			continue
		}
		report.Results = append(report.Results, result)
	}
	report.Findings = append(report.Findings, findings(report.Results, c.Thresholds)...)
	return report, nil
}

// evaluator evaluates a map at one time after another.
type evaluator struct {
	subject  Subject
	config   Config
	elements int             // of a sample
	state    *tensors.Tensor // of the random number generator
	random   *tensors.Tensor // state of that of the directions of coverage
	moments  *model.Exec
	compose  *model.Exec
	respond  *model.Exec
	response *tensors.Tensor // state of the random number generator of respond
}

// compile prepares the graphs.
func (e *evaluator) compile(b compute.Backend) (err error) {
	s := e.subject
	defer func() {
		if err != nil {
			e.finalize()
		}
	}()
	e.moments, err = model.NewExec(b, s.Model.Store(), func(_ *model.Scope, rngState, t, data *Node) []*Node {
		return s.require(t, func() []*Node { return s.moments(e.config, e.random, rngState, t, data) })
	})
	if err != nil {
		return err
	}
	e.compose, err = model.NewExec(b, s.Model.Store(), func(_ *model.Scope, rngState, t, ends, data *Node) []*Node {
		return s.require(t, func() []*Node { return s.compose(rngState, t, ends, data) })
	})
	if err != nil {
		return err
	}
	e.respond, err = model.NewExec(b, s.Model.Store(), func(_ *model.Scope, rngState, t, data *Node) []*Node {
		return s.require(t, func() []*Node { return s.respond(e.config, rngState, t, data) })
	})
	return err
}

// require returns the nodes that build returns, and panics if these need weights which the store
// lacks.
func (s Subject) require(t *Node, build func() []*Node) []*Node {
	return require.Weights(s.Model.Store(), t.Graph(), build)
}

func (e *evaluator) finalize() {
	for _, exec := range []*model.Exec{e.moments, e.compose, e.respond} {
		if exec != nil {
			exec.Finalize()
		}
	}
}

// data returns the data of the contexts as a new tensor.
func (e *evaluator) data() *tensors.Tensor {
	dims := append([]int{e.config.Contexts}, e.subject.Model.Shape...)
	return tensors.FromFlatDataAndDimensions(e.subject.Data[:e.config.Contexts*e.elements], dims...)
}

// evaluate returns the metrics at time t.
func (e *evaluator) evaluate(t float64) (Result, error) {
	c := e.config
	out, err := e.moments.Call(e.state, float32(t), e.data())
	if err != nil {
		return Result{}, err
	}
	v, err := tensors.CopyFlatData[float32](out[0])
	if err != nil {
		return Result{}, err
	}
	below, err := tensors.CopyFlatData[float32](out[2])
	if err != nil {
		return Result{}, err
	}
	e.state = out[3]
	r := Result{T: t, Std: math.Sqrt(float64(v[0])), Diversity: math.Sqrt(float64(v[1] / v[0])),
		Coverage: newCoverage(below, c.Samples)}
	sampling := float64(v[1]) / float64(c.Samples)
	r.Mean = math.Sqrt(max(float64(v[2])-sampling, 0)) / r.Std
	if v[4] > 0 {
		r.Drift = float64(v[3] / v[4])
	}
	if e.subject.Exact != nil {
		x, err := tensors.CopyFlatData[float32](out[1])
		if err != nil {
			return Result{}, err
		}
		square := 0.0
		for _, x := range mfm.Rows(x, e.elements) {
			deviation := e.subject.Exact(t, x)
			square += deviation * deviation / float64(c.Contexts)
		}
		r.Exact = math.Sqrt(float64(v[1]) / square)
	}
	if c.Moments {
		return r, nil
	}
	if r.Sensitivity, err = e.sensitivity(t); err != nil {
		return Result{}, err
	}
	for i := range c.Grid {
		line := make([]float64, c.Grid)
		for j := i; j < c.Grid; j++ {
			ends := []float32{float32(i) / float32(c.Grid), float32(j+1) / float32(c.Grid)}
			out, err := e.compose.Call(e.state, float32(t), ends, e.data())
			if err != nil {
				return Result{}, err
			}
			e.state = out[1]
			line[j] = math.Sqrt(float64(tensors.ToScalar[float32](out[0]))) / r.Std
		}
		r.Consistency = append(r.Consistency, line)
	}
	return r, nil
}

// contexts returns x_t of the data, [contexts, ...], and the time, [1].
func (s Subject) contexts(rng *solver.RNG, t, data *Node) (time, x *Node) {
	time = Reshape(t, 1)
	return time, interpolant.StateAt(s.Model.Map.Interpolant, batch.Every(time, data), rng.Normal(data.Shape()), data)
}

// class returns the labels of the first n contexts, int32 [n], each repeated times times.
func (s Subject) class(g *Graph, n, times int) *Node {
	if s.Class == nil {
		return nil
	}
	return batch.Repeat(Const(g, s.Class[:n]), times)
}

// drift returns the reference drift: the subject's or the map's own.
func (s Subject) drift(scope *model.Scope) interpolant.Drift {
	if s.Drift != nil {
		return s.Drift
	}
	return s.Model.Map.DriftIn(scope)
}

// moments returns mean squares per element, [5], the contexts, [ranks] and the random state. The
// mean squares are those of the ODE samples' deviation, of the one-step samples' deviation, of the
// distance between the mean and the denoiser, of that between the drifts, and of the reference
// drift's deviation. random is the state for the directions of coverage.
func (s Subject) moments(c Config, random *tensors.Tensor, rngState, t, data *Node) []*Node {
	rng := &solver.RNG{State: rngState}
	scope := s.Model.Weights
	time, x := s.contexts(rng, t, data)
	each := batch.Repeat(x, c.Samples)
	class, classes := s.class(x.Graph(), c.Contexts, 1), s.class(x.Graph(), c.Contexts, c.Samples)
	grouped := func(samples *Node) (mean, variance *Node) {
		g := Reshape(samples, c.Contexts, c.Samples, -1)
		m := ReduceAndKeep(g, ReduceMean, 1)
		variance = MulScalar(ReduceAllMean(Square(Sub(g, m))), float64(c.Samples)/float64(c.Samples-1))
		return Reshape(m, c.Contexts, -1), variance
	}
	samples := s.Model.Map.Posterior(scope, rng.Normal(each.Shape()), time, each, classes)
	mean, oneStep := grouped(samples)
	field := s.Model.Map.Field(scope, batch.Every(time, each), each, classes)
	times := interpolant.Grid{Steps: c.Steps, Power: 1}.Times(0, 1)
	_, ode := grouped(solver.Integrate(nil, solver.Heun, times, field, rng.Normal(each.Shape())))

	extracted := s.Model.Map.DriftIn(scope)
	reference := s.drift(scope)
	at := batch.Every(time, x)
	denoised := Reshape(interpolant.Denoiser(s.Model.Map.Interpolant, reference, at, x, class), c.Contexts, -1)
	b := reference(at, x, class)
	centered := Sub(b, ReduceAndKeep(b, ReduceMean, 0))
	off := ReduceAllMean(Square(Sub(extracted(at, x, class), b)))
	squares := []*Node{ode, oneStep, ReduceAllMean(Square(Sub(mean, denoised))), off, ReduceAllMean(Square(centered))}
	return []*Node{ConvertDType(Stack(squares, 0), dtypes.Float32), ConvertDType(x, dtypes.Float32),
		ranks(random, data, samples, c.Samples), rng.State}
}

// compose returns the mean square per element of X_{s,u} - X_{m,u}(X_{s,m}) with m in the middle,
// at states Ī_s of the contexts' own data, and the random state. ends are s and u.
func (s Subject) compose(rngState, t, ends, data *Node) []*Node {
	rng := &solver.RNG{State: rngState}
	scope := s.Model.Weights
	time, x := s.contexts(rng, t, data)
	from, to := Slice(ends, AxisRange(0, 1)), Slice(ends, AxisRange(1, 2))
	class := s.class(x.Graph(), x.Shape().Dim(0), 1)
	between := MulScalar(Add(from, to), 0.5)
	xbar := interpolant.StateAt(s.Model.Map.Interpolant, batch.Every(from, data), rng.Normal(data.Shape()), data)
	step := func(s0, u, xbar *Node) *Node {
		return s.Model.Map.Flow(scope, nn.Inputs{S: s0, U: u, T: time, Xbar: xbar, X: x, Class: class})
	}
	d := Sub(step(from, to, xbar), step(between, to, step(from, between, xbar)))
	return []*Node{ConvertDType(ReduceAllMean(Square(d)), dtypes.Float32), rng.State}
}
