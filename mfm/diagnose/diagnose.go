// Package diagnose looks at a trained meta flow map where it has no closed form to be compared with, and says in plain words what is wrong and what to try: posterior samples that have collapsed or spread too far, a map that has come apart from
// the drift it was trained with, and steps that do not compose. What steered runs and tuned drifts show of themselves is added to the same report.
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
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/nn"
	"github.com/gomfm/gomfm/mfm/solver"
)

// Config says how closely a map is looked at. Start from DefaultConfig.
type Config struct {
	// Times t of the contexts, in (0, 1).
	Times []float64 `json:"times"`
	// Contexts at each time, and Draws of the posterior for each.
	Contexts int `json:"contexts"`
	Draws    int `json:"draws"`
	// Steps of the ODE whose samples the one-step samples are compared with.
	Steps int `json:"steps"`
	// Grid is the number of cells along each of s and u in the maps of consistency.
	Grid int   `json:"grid"`
	Seed int64 `json:"seed"`
	Limits
}

// Limits say from where on a figure is a finding.
type Limits struct {
	Diversity   float64 `json:"diversity"`   // of 1, up or down
	Mean        float64 `json:"mean"`        // of the posterior's spread
	Drift       float64 `json:"drift"`       // share of the drift's variance
	Consistency float64 `json:"consistency"` // of the posterior's spread
}

// DefaultConfig looks at 32 contexts with 64 draws each at six times, beside the ODE in 64 steps.
func DefaultConfig() Config {
	return Config{Times: []float64{0.05, 0.2, 0.4, 0.6, 0.8, 0.95}, Contexts: 32, Draws: 64, Steps: 64, Grid: 8, Limits: Limits{Diversity: 0.15, Mean: 0.2, Drift: 0.05, Consistency: 0.15}}
}

// Validate returns an error that names the first value that makes no sense.
func (c Config) Validate() error {
	if len(c.Times) == 0 {
		return fmt.Errorf("diagnosis has no times: give some in (0, 1)")
	}
	for _, t := range c.Times {
		if !(t > 0 && t < 1) {
			return fmt.Errorf("diagnosis at time %g: must lie in (0, 1)", t)
		}
	}
	for _, v := range []struct {
		name            string
		value, from, to int
	}{{"contexts", c.Contexts, 2, 1 << 16}, {"draws", c.Draws, 2, 1 << 16}, {"steps", c.Steps, 2, 10_000}, {"grid", c.Grid, 2, 64}} {
		if v.value < v.from || v.value > v.to {
			return fmt.Errorf("diagnosis with %s = %d: must lie in [%d, %d]", v.name, v.value, v.from, v.to)
		}
	}
	for _, l := range []float64{c.Limits.Diversity, c.Limits.Mean, c.Limits.Drift, c.Limits.Consistency} {
		if !(l > 0) {
			return fmt.Errorf("diagnosis with limits %+v: must be positive", c.Limits)
		}
	}
	return nil
}

// Row is what was seen at one time. Lengths are in units of the posterior's spread there, the root mean square deviation of the ODE's samples, unless said otherwise.
type Row struct {
	T      float64 `json:"t"`
	Spread float64 `json:"spread"` // per element, in units of the data
	// Diversity is the spread of one-step samples over that of the ODE's, its root mean square over the contexts.
	Diversity float64 `json:"diversity"`
	// Exact is the spread of one-step samples over that of the exact posteriors, where these are known; 0 otherwise.
	Exact float64 `json:"exact,omitempty"`
	// Mean is how far the mean of one-step samples is from the denoiser D_t(x) of the drift, per element, what the number of draws explains taken off in quadrature.
	Mean float64 `json:"mean"`
	// Drift is E|v_{t,t}(x; 0, .) - b_t(x)|² over the variance of the reference drift b, 0 where there is none.
	Drift float64 `json:"drift,omitempty"`
	// Consistency[i][j] is the root mean square of X_{s,u} - X_{m,u}(X_{s,m}) per element, at s = i/grid and u = (j+1)/grid with m between them; 0 for u <= s.
	Consistency [][]float64 `json:"consistency"`
}

// finite reports whether all figures are.
func (r Row) finite() bool {
	bad := func(v float64) bool { return math.IsNaN(v) || math.IsInf(v, 0) }
	for _, line := range r.Consistency {
		if slices.ContainsFunc(line, bad) {
			return false
		}
	}
	return !bad(r.Spread) && r.Spread > 0 && !bad(r.Diversity) && !bad(r.Exact) && !bad(r.Mean) && !bad(r.Drift)
}

// worst returns the largest entry of Consistency, and where it is.
func (r Row) worst() (value, s, u float64) {
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

// Subject is the map that is looked at.
type Subject struct {
	Map   *mfm.Map
	Store *model.Store // with its weights
	Scope string       // of them
	Shape []int        // of one sample
	// Data has samples of the law, flat, of which contexts are made.
	Data []float32
	// Drift is what the map's extracted drift and posterior means are compared with: its teacher, or a flow that it was distilled from. nil: the map's own.
	Drift interpolant.Drift
	// Exact returns the exact posterior's root mean square deviation per element given x_t, where it is known; nil otherwise.
	Exact func(t float64, x []float64) float64
}

// Map looks at a map.
func Map(ctx context.Context, b compute.Backend, s Subject, c Config) (*Report, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	elements := 1
	for _, d := range s.Shape {
		elements *= d
	}
	if len(s.Shape) == 0 || len(s.Data) < c.Contexts*elements {
		return nil, fmt.Errorf("%d numbers of data are fewer than %d contexts of shape %v: give more data", len(s.Data), c.Contexts, s.Shape)
	}
	state, err := RNGStateFromSeed(c.Seed)
	if err != nil {
		return nil, fmt.Errorf("seed %d: %w", c.Seed, err)
	}
	look, err := model.NewExec(b, s.Store, func(_ *model.Scope, rngState, t, data *Node) []*Node { return s.look(c, rngState, t, data) })
	if err != nil {
		return nil, fmt.Errorf("preparing the look: %w", err)
	}
	defer look.Finalize()
	compose, err := model.NewExec(b, s.Store, func(_ *model.Scope, rngState, t, ends, data *Node) []*Node { return s.compose(rngState, t, ends, data) })
	if err != nil {
		return nil, fmt.Errorf("preparing the look: %w", err)
	}
	defer compose.Finalize()
	report := &Report{Config: c}
	dims := append([]int{c.Contexts}, s.Shape...)
	for _, t := range c.Times {
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("diagnosis stopped before t = %g: %w", t, context.Cause(ctx))
		}
		data := func() *tensors.Tensor {
			return tensors.FromFlatDataAndDimensions(s.Data[:c.Contexts*elements], dims...)
		}
		out, err := look.Call(state, float32(t), data())
		if err != nil {
			return nil, fmt.Errorf("looking at t = %g: %w", t, err)
		}
		v, err := tensors.CopyFlatData[float32](out[0])
		if err != nil {
			return nil, fmt.Errorf("looking at t = %g: %w", t, err)
		}
		state = out[2]
		row := Row{T: t, Spread: math.Sqrt(float64(v[0])), Diversity: math.Sqrt(float64(v[1] / v[0]))}
		sampling := float64(v[1]) / float64(c.Draws)
		row.Mean = math.Sqrt(max(float64(v[2])-sampling, 0)) / row.Spread
		if v[4] > 0 {
			row.Drift = float64(v[3] / v[4])
		}
		if s.Exact != nil {
			x, err := tensors.CopyFlatData[float32](out[1])
			if err != nil {
				return nil, fmt.Errorf("looking at t = %g: %w", t, err)
			}
			square := 0.0
			for _, x := range mfm.Rows(x, elements) {
				spread := s.Exact(t, x)
				square += spread * spread / float64(c.Contexts)
			}
			row.Exact = math.Sqrt(float64(v[1]) / square)
		}
		for i := range c.Grid {
			line := make([]float64, c.Grid)
			for j := i; j < c.Grid; j++ {
				ends := []float32{float32(i) / float32(c.Grid), float32(j+1) / float32(c.Grid)}
				out, err := compose.Call(state, float32(t), ends, data())
				if err != nil {
					return nil, fmt.Errorf("looking at t = %g: %w", t, err)
				}
				state = out[1]
				line[j] = math.Sqrt(float64(tensors.ToScalar[float32](out[0]))) / row.Spread
			}
			row.Consistency = append(row.Consistency, line)
		}
		if !row.finite() {
			report.Findings = append(report.Findings, Finding{"not finite", fmt.Sprintf("what the map gives at t = %g is not finite, or does not vary at all", t), "look at the weights and at the last checkpoint before they broke"})
			continue
		}
		report.Rows = append(report.Rows, row)
	}
	report.Findings = append(report.Findings, findings(report.Rows, c.Limits)...)
	return report, nil
}

// contexts returns x_t of the data, [contexts, ...], and the time [1].
func (s Subject) contexts(rng *solver.RNG, t, data *Node) (time, x *Node) {
	time = Reshape(t, 1)
	return time, interpolant.StateAt(s.Map.Interpolant, batch.Every(time, data), rng.Normal(data.Shape()), data)
}

// look returns the contexts, and mean squares per element: of the ODE's deviation, of the one-step samples', of the means' distance, of the drifts' distance and of the reference drift's deviation.
func (s Subject) look(c Config, rngState, t, data *Node) []*Node {
	rng := &solver.RNG{State: rngState}
	scope := s.Store.Scope(s.Scope)
	time, x := s.contexts(rng, t, data)
	each := batch.Repeat(x, c.Draws)
	grouped := func(samples *Node) (mean, variance *Node) {
		g := Reshape(samples, c.Contexts, c.Draws, -1)
		m := ReduceAndKeep(g, ReduceMean, 1)
		return Reshape(m, c.Contexts, -1), MulScalar(ReduceAllMean(Square(Sub(g, m))), float64(c.Draws)/float64(c.Draws-1))
	}
	mean, own := grouped(s.Map.Posterior(scope, rng.Normal(each.Shape()), time, each, nil))
	field := s.Map.Field(scope, batch.Every(time, each), each, nil)
	_, ode := grouped(solver.Integrate(nil, solver.Heun, interpolant.Grid{Steps: c.Steps, Power: 1}.Times(0, 1), field, rng.Normal(each.Shape())))

	extracted := s.Map.DriftIn(scope)
	reference := extracted
	if s.Drift != nil {
		reference = s.Drift
	}
	at := batch.Every(time, x)
	denoised := Reshape(interpolant.Denoiser(s.Map.Interpolant, reference, at, x, nil), c.Contexts, -1)
	b := reference(at, x, nil)
	centred := Sub(b, ReduceAndKeep(b, ReduceMean, 0))
	off := ReduceAllMean(Square(Sub(extracted(at, x, nil), b)))
	figures := []*Node{ode, own, ReduceAllMean(Square(Sub(mean, denoised))), off, ReduceAllMean(Square(centred))}
	return []*Node{ConvertDType(Stack(figures, 0), dtypes.Float32), ConvertDType(x, dtypes.Float32), rng.State}
}

// compose returns the mean square per element of X_{s,u} - X_{m,u}(X_{s,m}) with m in the middle, at states Ī_s of the contexts' own data.
func (s Subject) compose(rngState, t, ends, data *Node) []*Node {
	rng := &solver.RNG{State: rngState}
	scope := s.Store.Scope(s.Scope)
	time, x := s.contexts(rng, t, data)
	from, to := Slice(ends, AxisRange(0, 1)), Slice(ends, AxisRange(1, 2))
	between := MulScalar(Add(from, to), 0.5)
	xbar := interpolant.StateAt(s.Map.Interpolant, batch.Every(from, data), rng.Normal(data.Shape()), data)
	step := func(s0, u, xbar *Node) *Node {
		return s.Map.Flow(scope, nn.Inputs{S: s0, U: u, T: time, Xbar: xbar, X: x})
	}
	d := Sub(step(from, to, xbar), step(between, to, step(from, between, xbar)))
	return []*Node{ConvertDType(ReduceAllMean(Square(d)), dtypes.Float32), rng.State}
}
