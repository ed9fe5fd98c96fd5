package tune

import (
	"fmt"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm/internal/batch"
	"github.com/gomfm/gomfm/mfm/reward"
	"github.com/gomfm/gomfm/mfm/solver"
	"github.com/gomfm/gomfm/mfm/steer"
	"github.com/gomfm/gomfm/mfm/train"
)

// Variables that tuning adds to the training state.
const (
	offsetVariable  = train.StateScope + "/offset"   // c, and the number of batches in it, [2]
	lambdaVariable  = train.StateScope + "/lambda"   // the largest λ that a budget allows
	replayStates    = train.StateScope + "/replay_x" // [slots, rows, ...]
	replayTimes     = train.StateScope + "/replay_t" // [slots, rows]
	replayClasses   = train.StateScope + "/replay_c" // [slots, rows], for a model with classes
	replayCount     = train.StateScope + "/replay_n" // number of slots filled so far
	lambdaUnlimited = 1e30
)

// Task is what a [Tuner] tunes: a base distribution toward a reward.
type Task struct {
	Base   Base
	Reward reward.Reward
	// Network parametrizes the tuned drift, and Objective builds the condition by which it is
	// trained.
	Network   Network
	Objective Objective
	// Source draws the data of interpolants; samples of the base may replace data. It may be nil if
	// [Config].States has no interpolants.
	Source train.Source
	// Shape is that of one sample, such as [2] or [28, 28, 1].
	Shape []int
	// ClassShares are the shares of the classes, which need not sum to 1, among on-policy paths and
	// those of [Tuner.Evaluate]; nil means equal ones. One share alone fixes the class.
	// Interpolants have the labels of their data, a path has one class from its start to its end.
	ClassShares []float64
	// Metadata is the whole configuration, which encoding/json can encode. A checkpoint with other
	// metadata is refused.
	Metadata any
}

// Tuner tunes a drift. It is a [train.Trainer]: in its metrics Loss is the mean of the states'
// squares, weighted as [Config].Girsanov says, and Values has the mean square of D as "correction".
type Tuner struct {
	*train.Trainer
	config  Config
	task    Task
	model   steer.Model
	backend compute.Backend
	paths   *pathDrawer // nil before the first evaluation
}

// New returns a tuner at step zero. It returns an error for an incomplete task, for invalid
// options, and for states that the objective cannot use.
func New(b compute.Backend, task Task, config Config) (*Tuner, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	data, onPolicy, replay, err := config.States.split(config.Batch)
	if err != nil {
		return nil, err
	}
	if err := task.validate(config, data, onPolicy, replay); err != nil {
		return nil, err
	}
	task.Shape = append([]int(nil), task.Shape...)
	t := &Tuner{config: config, task: task, backend: b}
	if t.Trainer, err = train.New(b, t.objective, config.Config, task.Metadata); err != nil {
		return nil, err
	}
	if t.model, err = task.Base.In(t.Store()); err != nil {
		return nil, err
	}
	if err := checkShares(task.ClassShares, t.model.Classes); err != nil {
		return nil, err
	}
	return t, t.prepare(onPolicy, replay)
}

// validate returns an error if a part is missing, or if the objective cannot use the states:
// numbers of interpolants, on-policy states and states of the replay buffer.
func (t Task) validate(c Config, data, onPolicy, replay int) error {
	if t.Base.Model == nil || t.Reward == nil || t.Network == nil || t.Objective == nil {
		return fmt.Errorf("the task is incomplete: set Base, Reward, Network and Objective")
	}
	if err := t.Objective.Validate(); err != nil {
		return fmt.Errorf("%v: %w", t.Objective, err)
	}
	switch needs := t.Objective.Needs(); {
	case needs.Data && onPolicy+replay > 0:
		return fmt.Errorf("%v needs interpolants of data: set own and replay to 0", t.Objective)
	case needs.Paths && (data > 0 || replay > 0):
		return fmt.Errorf("%v needs on-policy paths: set own to 1, and batch = %d to a multiple of a path's %d steps",
			t.Objective, c.Batch, c.States.Steps)
	case data > 0 && t.Source == nil:
		return fmt.Errorf("%d states are interpolants of data, but there is no data: set Source, or own to 1", data)
	}
	return nil
}

// prepare adds weights and state variables to the store.
func (t *Tuner) prepare(onPolicy, replay int) error {
	store := t.Store()
	if err := put(store, train.WeightsScope, t.task.Network.Initial(), true); err != nil {
		return fmt.Errorf("initial weights: %w", err)
	}
	if err := put(store, train.DataScope, t.task.Network.Fixed(), false); err != nil {
		return fmt.Errorf("fixed weights: %w", err)
	}
	values := map[string]*tensors.Tensor{
		offsetVariable: tensors.FromValue([]float32{0, 0}),
		lambdaVariable: tensors.FromScalar(float32(lambdaUnlimited)),
	}
	if replay > 0 {
		slots := max(t.config.States.Capacity/onPolicy, 1)
		dims := append([]int{slots, onPolicy}, t.task.Shape...)
		values[replayStates] = tensors.FromShape(shapes.Make(float32Type, dims...))
		values[replayTimes] = tensors.FromShape(shapes.Make(float32Type, slots, onPolicy))
		values[replayCount] = tensors.FromScalar(float32(0))
		if t.model.Classes > 0 {
			values[replayClasses] = tensors.FromShape(shapes.Make(int32Type, slots, onPolicy))
		}
	}
	return put(store, "", values, false)
}

// leastHalf bounds σ_t²/2 from below, and so the weight of states near t = 1 from above.
const leastHalf = 1e-3

// objective builds the loss of a step.
func (t *Tuner) objective(weights, data *model.Scope, rng *solver.RNG, step *Node) train.Terms {
	g, store := step.Graph(), weights.Store()
	offset := store.GetVariable(offsetVariable)
	c := offset.NodeValue(g)
	p := Problem{
		Problem: steer.Problem{Model: t.model, Reward: t.task.Reward, Lambda: t.lambda(store, step)},
		Noise:   t.config.Noise,
	}
	seen := Slice(c, AxisElem(1))
	unknown := Scalar(g, c.DType(), 10*unknownOffset)
	p.Offset = Reshape(Where(GreaterThan(seen, ZerosLike(seen)), Slice(c, AxisElem(0)), unknown))
	tuned := TunedDrift(t.task.Network, weights, t.model.Drift)
	s := t.states(p, tuned, data, rng, g)
	s.T, s.X = StopGradient(s.T), StopGradient(s.X)
	s.Base = StopGradient(t.model.Drift(s.T, s.X, s.Class))
	if !t.task.Objective.Needs().Paths {
		p.Problem = p.Conditioned(s.Class)
	}
	r := t.task.Objective.Regress(p, rng, s)
	if r.LogWeight != nil {
		offset.SetNodeValue(t.nextOffset(c, r.LogWeight))
	}
	correction := Sub(tuned(s.T, s.X, s.Class), s.Base)
	squares := r.squares(correction)
	if t.config.Girsanov {
		squares = Div(squares, ClipScalar(p.Noise.Half(p.Model.Interpolant, s.T), leastHalf, 1))
	}
	return train.Terms{
		Total:   ReduceAllMean(squares),
		Metrics: []train.Metric{{Name: "correction", Value: ReduceAllMean(Square(correction))}},
	}
}

// lambda returns λ at a step.
func (t *Tuner) lambda(store *model.Store, step *Node) *Node {
	l := MulScalar(OnesLike(step), t.config.Lambda)
	if t.config.LambdaWarmup > 0 {
		l = Mul(l, MinScalar(DivScalar(step, float64(t.config.LambdaWarmup)), 1))
	}
	most := store.GetVariable(lambdaVariable).NodeValue(step)
	return Min(Max(l, Neg(most)), most)
}

// nextOffset returns the running offset, [2], after a batch of log-weights. It averages the
// logarithms of the batches' mean weights, so it falls as fast as it rises. A batch without any
// weight leaves it unchanged.
func (t *Tuner) nextOffset(c, logWeight *Node) *Node {
	mean := Reshape(batch.LogMeanExp(InsertAxes(logWeight, 0)))
	was, seen := Reshape(Slice(c, AxisElem(0))), Reshape(Slice(c, AxisElem(1)))
	share := MaxScalar(Inverse(OnePlus(seen)), t.config.OffsetRate)
	next := Add(was, Mul(share, Sub(mean, was)))
	ok := LogicalAnd(IsFinite(next), GreaterThan(mean, Scalar(mean.Graph(), mean.DType(), reward.Least)))
	return Stack([]*Node{Where(ok, next, was), Where(ok, OnePlus(seen), seen)}, 0)
}
