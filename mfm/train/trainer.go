// Package train minimizes an [Objective] in one compiled step: a [Trainer] holds the weights, their
// moving averages and the optimizer's moments on the device; [Run] trains with checkpoints, from
// which a training resumes to the bit; a [Hook] observes it.
package train

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm/internal/devices"
	"github.com/gomfm/gomfm/mfm/solver"
)

// Scopes of a trainer's store. Everything but DataScope is the training state and belongs to a
// checkpoint.
const (
	WeightsScope = "/weights" // the trained weights
	averageScope = "/average" // their moving averages, one scope per decay
	momentsScope = "/moments" // the optimizer's moments
	StateScope   = "/state"   // step, random state, and variables that an objective updates itself
	DataScope    = "/data"    // data sets and frozen weights, of a source or a teacher
	devicesScope = "/devices" // of package devices
)

// Config configures the minimization of an objective.
type Config struct {
	Optimizer Optimizer `json:"optimizer"`
	Steps     int64     `json:"steps"` // number of steps, in [1, 2^24]
	Batch     int       `json:"batch"` // rows per batch, in [2, 2^20]
	// Accumulate is the number of batches, in [1, 1024], whose gradients are averaged into one
	// step.
	Accumulate int `json:"accumulate"`
	// EMA lists the decays, in (0, 1), of moving averages of the weights. After n steps the decay
	// is at most n/(n+10).
	EMA []float64 `json:"ema"`
	// Seed is the seed of weights, data and noise.
	Seed int64 `json:"seed"`
}

// Validate returns an error that names the first invalid value.
func (c Config) Validate() error {
	if c.Steps < 1 || c.Steps > 1<<24 {
		return fmt.Errorf("steps = %d: must lie in [1, 2^24], where float32 counts exactly", c.Steps)
	}
	if c.Batch < 2 || c.Batch > 1<<20 {
		return fmt.Errorf("batch = %d: must lie in [2, 2^20]", c.Batch)
	}
	if c.Accumulate < 1 || c.Accumulate > 1024 {
		return fmt.Errorf("accumulate = %d: must lie in [1, 1024]", c.Accumulate)
	}
	for _, d := range c.EMA {
		if !(d > 0 && d < 1) {
			return fmt.Errorf("ema decay %g: must lie in (0, 1)", d)
		}
	}
	return c.Optimizer.Validate()
}

// Objective builds the loss that a trainer minimizes. weights is the scope of the trained
// variables, data that of fixed tensors ([DeviceValue]), step a float32 scalar that counts from 1.
// It is called once per batch of a step.
type Objective func(weights, data *model.Scope, rng *solver.RNG, step *Node) Terms

// Metrics are the metrics of one training step.
type Metrics struct {
	Step         int64              // number of steps, including this one
	Loss         float64            // the total of the objective
	GradientNorm float64            // before clipping
	Rate         float64            // learning rate
	Values       map[string]float64 // the objective's metrics by name
}

// ErrDevices is wrapped by the error of a batch that the backend's devices cannot share equally.
var ErrDevices = errors.New("they cannot share it equally")

// Trainer minimizes an objective in one compiled step. Data, noise, loss, gradient and update stay
// on the device, parameters and moments are donated buffers, and only [Metrics] are transferred to
// the host. A Trainer must not be used by several goroutines at once.
//
// On a backend with several devices (the option "devices" of [backend.New]) each device has an
// equal part of every batch, and a copy of the weights, the moments and the data in [DataScope].
// The random numbers are those of one device, and so are loss and gradient, up to the rounding of
// their sums over the batch. The training state does not depend on the devices: a checkpoint of
// four resumes on one, and the other way round. All devices belong to one process; see
// [backend.New].
type Trainer struct {
	backend   compute.Backend
	store     *model.Store
	objective Objective
	config    Config
	metadata  any      // configuration that a checkpoint must match
	hooks     []Hook   // by priority
	names     []string // of the objective's metrics
	step      *model.Exec
	done      int64
}

// New returns a trainer of an objective at step zero. metadata is the whole configuration, which
// encoding/json can encode; [Run] refuses a checkpoint with other metadata. It returns an error for
// an invalid config, and one that wraps [ErrDevices] for a batch that is not a multiple of b's
// devices.
func New(b compute.Backend, objective Objective, config Config, metadata any) (*Trainer, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	t := &Trainer{backend: b, store: model.NewStore(), objective: objective, config: config, metadata: metadata}
	// Two streams from one seed: the store's for the weights, the trainer's for data and noise.
	if err := t.store.SetRNGStateFromSeed(config.Seed); err != nil {
		return nil, fmt.Errorf("seeding the weights: %w", err)
	}
	state, err := RNGStateFromSeed(config.Seed ^ math.MinInt64)
	if err != nil {
		return nil, fmt.Errorf("seeding the data: %w", err)
	}
	if _, err := t.store.CreateVariable(StateScope+"/rng", state); err != nil {
		return nil, err
	}
	if _, err := t.store.CreateVariable(StateScope+"/step", tensors.FromScalar(float32(0))); err != nil {
		return nil, err
	}
	t.step, err = model.NewExec(b, t.store, t.buildStep)
	if err != nil {
		return nil, fmt.Errorf("preparing the training step: %w", err)
	}
	if n := b.NumDevices(); n > 1 {
		if config.Batch%n != 0 {
			return nil, fmt.Errorf("batch = %d on %d devices: %w: use a multiple of %[2]d", config.Batch, n, ErrDevices)
		}
		if err := devices.Use(t.step, n); err != nil {
			return nil, fmt.Errorf("preparing the training step: %w", err)
		}
	}
	return t, nil
}

// Step runs one training step, without hooks. If the loss or the gradient is not finite, it changes
// nothing and returns a [*NonFiniteError].
func (t *Trainer) Step() (Metrics, error) {
	out, err := t.step.Call() // one vector per device, all equal
	if err != nil {
		return Metrics{}, fmt.Errorf("training step %d: %w", t.done+1, err)
	}
	v, err := tensors.CopyFlatData[float32](out[0])
	if err != nil {
		return Metrics{}, fmt.Errorf("training step %d: reading its metrics: %w", t.done+1, err)
	}
	for _, vector := range out {
		vector.MustFinalizeAll()
	}
	metrics := Metrics{Step: t.done + 1, Loss: float64(v[0]), GradientNorm: float64(v[1]), Rate: float64(v[2])}
	if len(t.names) > 0 {
		metrics.Values = make(map[string]float64, len(t.names))
		for i, name := range t.names {
			metrics.Values[name] = float64(v[4+i])
		}
	}
	if v[3] == 0 {
		return metrics, t.diagnose()
	}
	t.done++
	return metrics, nil
}

// Run trains to the configured number of steps without checkpoints; the function [Run] keeps them.
// It calls the hooks, see [Hook]. An error of a hook or the end of ctx stops it between two steps.
func (t *Trainer) Run(ctx context.Context) (err error) {
	defer func() { t.end(err) }()
	if err := t.eachHook(func(h Hook) error { return h.Start(t) }); err != nil {
		return err
	}
	return t.loop(ctx, func(Metrics) error { return nil })
}

// StoppedError is the error of a training whose context ended after Done of Total steps.
type StoppedError struct {
	Done, Total int64
	Cause       error
}

// Error returns the steps and the cause.
func (e *StoppedError) Error() string {
	return fmt.Sprintf("training stopped after %d of %d steps: %v", e.Done, e.Total, e.Cause)
}

// Unwrap returns the cause.
func (e *StoppedError) Unwrap() error { return e.Cause }

// loop trains to the configured number of steps. After each step it calls the hooks, then after.
func (t *Trainer) loop(ctx context.Context, after func(Metrics) error) error {
	for t.done < t.config.Steps {
		if err := ctx.Err(); err != nil {
			return &StoppedError{t.done, t.config.Steps, context.Cause(ctx)}
		}
		if err := t.eachHook(func(h Hook) error { return h.Before(ctx, t) }); err != nil {
			return err
		}
		metrics, err := t.Step()
		if err != nil {
			return err
		}
		if err := t.eachHook(func(h Hook) error { return h.Step(t, metrics) }); err != nil {
			return err
		}
		if err := after(metrics); err != nil {
			return err
		}
	}
	return nil
}

// Done returns the number of completed steps.
func (t *Trainer) Done() int64 { return t.done }

// Config returns the trainer's configuration.
func (t *Trainer) Config() Config { return t.config }

// Store returns the store, with the weights in scope [WeightsScope] and those of the i-th average
// in scope [AverageScope](i).
func (t *Trainer) Store() *model.Store { return t.store }

// AverageScope returns the scope of the i-th moving average.
func AverageScope(i int) string { return fmt.Sprintf("%s/%d", averageScope, i) }

// buildStep builds the training step and returns its metrics as one vector.
func (t *Trainer) buildStep(root *model.Scope, g *Graph) *Node {
	devices.Begin(t.store, g, devicesScope+"/rows")
	step := t.store.GetVariable(StateScope + "/step")
	rng := t.store.GetVariable(StateScope + "/rng")
	n := OnePlus(step.NodeValue(g))
	r := &solver.RNG{State: rng.NodeValue(g)}
	before := t.kept(g)
	terms, grads, weights := t.gradients(g, r, n)

	norm := globalNorm(grads)
	ok := LogicalAnd(IsFinite(terms.Total), IsFinite(norm))
	o := t.config.Optimizer
	rate, factor, bias := o.rate(n, t.config.Steps), o.clip(norm), o.biasCorrection(n)
	keep := func(v *model.Variable, next *Node) { v.SetNodeValue(Where(ok, next, v.NodeValue(g))) }
	// Variables that the objective itself has updated, in an order that is the same in every build.
	for v := range t.store.Scope(StateScope).IterVariables() {
		if next, old := v.NodeValue(g), before[v]; old != nil && next != old {
			v.SetNodeValue(Where(ok, next, old))
		}
	}
	for i, w := range weights {
		m, v := t.shadow(momentsScope+"/first", w), t.shadow(momentsScope+"/second", w)
		grad := Mul(grads[i], factor)
		next, nextM, nextV := o.update(bias, rate, w.NodeValue(g), grad, m.NodeValue(g), v.NodeValue(g))
		for j, decay := range t.config.EMA {
			average := t.shadow(AverageScope(j), w)
			before := MinusOne(n)
			d := MinScalar(Div(before, AddScalar(before, 10)), decay)
			keep(average, Add(Mul(average.NodeValue(g), d), Mul(next, OneMinus(d))))
		}
		keep(w, next)
		keep(m, nextM)
		keep(v, nextV)
	}
	keep(step, n)
	keep(rng, r.Saved())
	metrics := []*Node{terms.Total, norm, rate, ConvertDType(ok, dtypes.Float32)}
	t.names = nil
	for _, m := range terms.Metrics {
		metrics, t.names = append(metrics, m.Value), append(t.names, m.Name)
	}
	return Stack(metrics, 0)
}

// kept returns the values of the variables in [StateScope] before the step.
func (t *Trainer) kept(g *Graph) map[*model.Variable]*Node {
	values := make(map[*model.Variable]*Node)
	for v := range t.store.Scope(StateScope).IterVariables() {
		values[v] = v.NodeValue(g)
	}
	return values
}

// gradients returns the loss, its gradients and their weights.
func (t *Trainer) gradients(g *Graph, rng *solver.RNG, step *Node) (Terms, []*Node, []*model.Variable) {
	terms := t.loss(rng, step)
	weights := t.weights()
	grads := Gradient(terms.Total, values(g, weights)...)
	if k := t.config.Accumulate; k > 1 {
		terms, grads = t.accumulate(g, rng, step, weights, terms, grads, k)
	}
	return terms, grads, weights
}

// accumulate averages loss and gradients over k batches, the first of which is given. The others
// run in a loop, which bounds the memory, or unrolled on a backend without loops.
func (t *Trainer) accumulate(
	g *Graph, rng *solver.RNG, step *Node, weights []*model.Variable, terms Terms, grads []*Node, k int,
) (Terms, []*Node) {
	sum := append(terms.nodes(), grads...)
	state := solver.Loop(k-1, append([]*Node{rng.State}, sum...), func(_ *Node, state []*Node) []*Node {
		rng := &solver.RNG{State: state[0]}
		terms := t.loss(rng, step)
		next := append(terms.nodes(), Gradient(terms.Total, values(g, weights)...)...)
		for i := range next {
			next[i] = Add(state[i+1], next[i])
		}
		return append([]*Node{rng.State}, next...)
	})
	rng.State, sum = state[0], state[1:]
	for i := range sum {
		sum[i] = DivScalar(sum[i], float64(k))
	}
	n := 1 + len(terms.Metrics)
	return terms.with(sum[:n]), sum[n:]
}

func (t *Trainer) loss(rng *solver.RNG, step *Node) Terms {
	return t.objective(t.store.Scope(WeightsScope), t.store.Scope(DataScope), rng, step)
}

// weights returns the trained variables sorted by path. A restored trainer has the same order.
func (t *Trainer) weights() []*model.Variable {
	var weights []*model.Variable
	for v := range t.store.Scope(WeightsScope).IterVariables() {
		if v.Trainable {
			weights = append(weights, v)
		}
	}
	slices.SortFunc(weights, func(a, b *model.Variable) int { return strings.Compare(a.Path(), b.Path()) })
	return weights
}

// shadow returns the variable in another scope that belongs to w, with w's shape and initially
// zero.
func (t *Trainer) shadow(scope string, w *model.Variable) *model.Variable {
	path := scope + strings.TrimPrefix(w.Path(), WeightsScope)
	return t.store.VariableWithShape(path, w.Shape(), Zeros).SetTrainable(false)
}

func values(g *Graph, variables []*model.Variable) []*Node {
	nodes := make([]*Node, len(variables))
	for i, v := range variables {
		nodes[i] = v.NodeValue(g)
	}
	return nodes
}

func globalNorm(grads []*Node) *Node {
	squares := make([]*Node, len(grads))
	for i, grad := range grads {
		squares[i] = ReduceAllSum(Square(grad))
	}
	return Sqrt(ReduceAllSum(Stack(squares, 0)))
}
