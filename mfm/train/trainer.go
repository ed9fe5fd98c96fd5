package train

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/gomfm/gomfm/mfm/solver"
	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"
)

// Scopes of a trainer's store. Everything but the data is the training state and goes into a checkpoint.
const (
	WeightsScope = "/weights" // the map's weights
	averageScope = "/average" // their moving averages, one scope a decay
	momentsScope = "/moments"
	StateScope   = "/state" // step and random state, and what an objective keeps from step to step
	DataScope    = "/data"  // data sets and frozen weights: what a teacher or a source brings along
)

// RunConfig says how an objective is minimised.
type Config struct {
	Optimizer Optimizer `json:"optimizer"`
	// Steps of training, Batch rows a step.
	Steps int64 `json:"steps"`
	Batch int   `json:"batch"`
	// Accumulate is the number of batches whose gradients are averaged into one step.
	Accumulate int `json:"accumulate"`
	// EMA lists decays of moving averages of the weights. After n steps the decay is at most n/(n+10).
	EMA []float64 `json:"ema"`
	// Seed of weights, data and noise.
	Seed int64 `json:"seed"`
}

// Validate returns an error that names the first value that makes no sense.
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

// Objective builds what a trainer minimises. weights is the scope of the trained variables, data that of fixed tensors ([DeviceValue]), step
// counts from 1, a float32 scalar. It is called once for each batch of a step.
type Objective func(weights, data *model.Scope, rng *solver.RNG, step *Node) Terms

// Metrics are the figures of one training step.
type Metrics struct {
	Step         int64   // steps done, this one included
	Loss         float64 // what was minimised
	Diagonal     float64 // mean square of the whitened diagonal error
	Consistency  float64 // mean square of the whitened consistency error
	GradientNorm float64 // before clipping
	Rate         float64 // learning rate
}

// Trainer minimises an objective in one compiled step: data, noise, loss, gradient and update stay on the device, parameters and moments
// are donated buffers, and only the numbers of [Metrics] come back.
type Trainer struct {
	backend   compute.Backend
	store     *model.Store
	objective Objective
	config    Config
	made      any // configuration that a checkpoint has to match
	step      *model.Exec
	done      int64
}

// NewObjectiveTrainer returns a trainer of any objective at step zero. made is the whole configuration, which encoding/json can encode: a
// checkpoint made with another one is refused.
func New(b compute.Backend, objective Objective, config Config, made any) (*Trainer, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	t := &Trainer{backend: b, store: model.NewStore(), objective: objective, config: config, made: made}
	// Two streams from one seed: the store's draws the weights, the trainer's the data and noise.
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
	return t, nil
}

// Step runs one training step. On a value that is not finite it changes nothing and returns a [*NonFiniteError].
func (t *Trainer) Step() (Metrics, error) {
	out, err := t.step.Call1()
	if err != nil {
		return Metrics{}, fmt.Errorf("training step %d: %w", t.done+1, err)
	}
	v, err := tensors.CopyFlatData[float32](out)
	if err != nil {
		return Metrics{}, fmt.Errorf("training step %d: reading its figures: %w", t.done+1, err)
	}
	out.MustFinalizeAll()
	metrics := Metrics{Step: t.done + 1, Loss: float64(v[0]), Diagonal: float64(v[1]), Consistency: float64(v[2]), GradientNorm: float64(v[3]), Rate: float64(v[4])}
	if v[5] == 0 {
		return metrics, t.diagnose()
	}
	t.done++
	return metrics, nil
}

// Run steps until the configured number of steps, calling observe (which may be nil) after each; an error from observe or a
// context that ends stops it between two steps, with every step done so far kept.
func (t *Trainer) Run(ctx context.Context, observe func(Metrics) error) error {
	for t.done < t.config.Steps {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("training stopped after %d of %d steps: %w", t.done, t.config.Steps, context.Cause(ctx))
		}
		metrics, err := t.Step()
		if err != nil {
			return err
		}
		if observe != nil {
			if err := observe(metrics); err != nil {
				return err
			}
		}
	}
	return nil
}

// Done returns the number of steps done.
func (t *Trainer) Done() int64 { return t.done }

// Config returns how the objective is minimised.
func (t *Trainer) Config() Config { return t.config }

// Store returns the store with the weights in scope [WeightsScope] and those of the i-th average in scope [AverageScope].
func (t *Trainer) Store() *model.Store { return t.store }

// AverageScope returns the scope of the i-th moving average.
func AverageScope(i int) string { return fmt.Sprintf("%s/%d", averageScope, i) }

// buildStep builds the training step and returns its figures as one vector.
func (t *Trainer) buildStep(root *model.Scope, g *Graph) *Node {
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
	for v := range t.store.Scope(StateScope).IterVariables() { // what the objective has changed of its own, in an order that every build of the graph has
		if next, old := v.NodeValue(g), before[v]; old != nil && next != old {
			v.SetNodeValue(Where(ok, next, old))
		}
	}
	for i, w := range weights {
		m, v := t.shadow(momentsScope+"/first", w), t.shadow(momentsScope+"/second", w)
		next, nextM, nextV := o.update(bias, rate, w.NodeValue(g), Mul(grads[i], factor), m.NodeValue(g), v.NodeValue(g))
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
	figures := []*Node{terms.Total, terms.Diagonal, terms.Consistency, norm, rate, ConvertDType(ok, dtypes.Float32)}
	return Stack(figures, 0)
}

// kept returns what an objective keeps from step to step in [StateScope], as it is before the step.
func (t *Trainer) kept(g *Graph) map[*model.Variable]*Node {
	values := make(map[*model.Variable]*Node)
	for v := range t.store.Scope(StateScope).IterVariables() {
		values[v] = v.NodeValue(g)
	}
	return values
}

// gradients returns the loss, its gradients and the weights they belong to.
func (t *Trainer) gradients(g *Graph, rng *solver.RNG, step *Node) (Terms, []*Node, []*model.Variable) {
	terms := t.loss(rng, step)
	weights := t.weights()
	grads := Gradient(terms.Total, values(g, weights)...)
	if k := t.config.Accumulate; k > 1 {
		terms, grads = t.accumulate(g, rng, step, weights, terms, grads, k)
	}
	return terms, grads, weights
}

// accumulate averages loss and gradients over k batches, of which the first is given. The others run in a loop, which bounds the
// memory; where the backend has none they are unrolled.
func (t *Trainer) accumulate(g *Graph, rng *solver.RNG, step *Node, weights []*model.Variable, terms Terms, grads []*Node, k int) (Terms, []*Node) {
	sum := append([]*Node{terms.Total, terms.Diagonal, terms.Consistency}, grads...)
	state := solver.Loop(k-1, append([]*Node{rng.State}, sum...), func(_ *Node, state []*Node) []*Node {
		rng := &solver.RNG{State: state[0]}
		terms := t.loss(rng, step)
		next := append([]*Node{terms.Total, terms.Diagonal, terms.Consistency}, Gradient(terms.Total, values(g, weights)...)...)
		for i := range next {
			next[i] = Add(state[i+1], next[i])
		}
		return append([]*Node{rng.State}, next...)
	})
	rng.State, sum = state[0], state[1:]
	for i := range sum {
		sum[i] = DivScalar(sum[i], float64(k))
	}
	return Terms{Total: sum[0], Diagonal: sum[1], Consistency: sum[2]}, sum[3:]
}

func (t *Trainer) loss(rng *solver.RNG, step *Node) Terms {
	return t.objective(t.store.Scope(WeightsScope), t.store.Scope(DataScope), rng, step)
}

// weights returns the trained variables by path, an order that a restored trainer shares with the one that was saved.
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

// shadow returns the variable of w's shape that goes with w in another scope, zero at first.
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
