package tune

import (
	"fmt"
	"path"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/internal/batch"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/reward"
	"github.com/gomfm/gomfm/mfm/solver"
	"github.com/gomfm/gomfm/mfm/steer"
	"github.com/gomfm/gomfm/mfm/train"
)

// Base is the law that is tuned: a model, and the weights that it needs below the scope it is given. They stay as they are.
type Base struct {
	Model   func(scope *model.Scope) (steer.Model, error)
	Weights map[string]*tensors.Tensor
}

// baseScope is where the base's weights lie, below the scope of data.
const baseScope = "base"

// MapBase is a map with its weights, by their path below the scope of its weights; draws says how posterior samples are drawn.
func MapBase(m *mfm.Map, weights map[string]*tensors.Tensor, draws mfm.SamplerConfig) Base {
	return Base{func(scope *model.Scope) (steer.Model, error) { return steer.FromMap(m, scope, draws) }, weights}
}

// ModelBase is a model without weights, such as [steer.FromTeacher] of a closed form. MFM-FT and the plug-in of MFM-G take gradients through its posterior samples, and refuse those of [steer.FromMixture], which have none.
func ModelBase(m steer.Model) Base {
	return Base{Model: func(*model.Scope) (steer.Model, error) { return m, nil }}
}

// In puts the base's weights into a store and returns the model of them.
func (b Base) In(store *model.Store) (steer.Model, error) {
	scope := path.Join(train.DataScope, baseScope)
	if err := put(store, scope, b.Weights, false); err != nil {
		return steer.Model{}, fmt.Errorf("base weights: %w", err)
	}
	return b.Model(store.Scope(scope))
}

// Config says how a drift is tuned.
type Config struct {
	train.Config
	// Lambda is λ, the factor of the reward, to which it rises linearly over the first LambdaWarmup steps.
	Lambda       float64 `json:"lambda"`
	LambdaWarmup int64   `json:"lambda_warmup"`
	Noise        Noise   `json:"noise"`
	States       Law     `json:"states"`
	// Girsanov weighs a row's square by 1/min(σ_t²/2, 1), by 1,000 at most, as the divergence of paths does where σ_t is small ([PathResult].KL); otherwise all rows weigh alike.
	Girsanov bool `json:"girsanov"`
	// OffsetRate is the share of a batch in the running offset c, a moving average of the logarithm of the mean weight.
	OffsetRate float64 `json:"offset_rate"`
}

// DefaultConfig is λ = 1 for 4,000 steps on 2,048 interpolants each, Doob's schedule from t_0 = 0.01. Gradients are not clipped: clipping takes most off the batches of the largest weights, which is a bias.
func DefaultConfig() Config {
	c := Config{Config: mfm.DefaultTrainConfig().Config, Lambda: 1, Noise: Noise{Start: 0.01}, States: DefaultLaw(), Girsanov: true, OffsetRate: 0.01}
	c.Steps, c.Batch, c.Optimizer.Clip = 4000, 2048, 0
	return c
}

// Validate returns an error that names the first value that makes no sense.
func (c Config) Validate() error {
	switch {
	case !(c.Lambda >= -1e6 && c.Lambda <= 1e6) || c.Lambda == 0:
		return fmt.Errorf("lambda = %g: must lie in [-1e6, 1e6] and not be zero", c.Lambda)
	case c.LambdaWarmup < 0:
		return fmt.Errorf("lambda_warmup = %d: must not be negative", c.LambdaWarmup)
	case !(c.OffsetRate > 0 && c.OffsetRate <= 1):
		return fmt.Errorf("offset_rate = %g: must lie in (0, 1]", c.OffsetRate)
	case c.Accumulate != 1:
		return fmt.Errorf("accumulate = %d: tuning keeps a running offset a step, use 1 and a larger batch", c.Accumulate)
	}
	if err := c.Noise.Validate(); err != nil {
		return err
	}
	if err := c.States.Validate(); err != nil {
		return err
	}
	if _, _, _, err := c.States.split(c.Batch); err != nil {
		return err
	}
	if c.States.Own > 0 {
		if err := checkPath(c.Noise.Start, c.States.Steps); err != nil {
			return err
		}
	}
	return c.Config.Validate()
}

// Variables of the training state that tuning adds.
const (
	offsetVariable  = train.StateScope + "/offset"   // c, and the number of steps that it has seen
	lambdaVariable  = train.StateScope + "/lambda"   // the largest λ that a budget allows
	replayStates    = train.StateScope + "/replay_x" // [slots, rows, ...]
	replayTimes     = train.StateScope + "/replay_t" // [slots, rows]
	replayCount     = train.StateScope + "/replay_n" // slots ever filled
	lambdaUnlimited = 1e30
)

// Tuner tunes a drift: a [train.Trainer], in whose metrics Diagonal is the loss, the mean of the rows' squares weighted as [Config].Girsanov says, and Consistency the mean square of D, and what a budget needs.
type Tuner struct {
	*train.Trainer
	config  Config
	model   steer.Model
	reward  reward.Reward
	network Network
	shape   []int
	backend compute.Backend
	looks   *pathDrawer // nil before the first look
}

// New returns a tuner at step zero. shape is that of one sample. source draws the data of the interpolants, which the base's own samples may stand for; it may be nil where no row of the law needs it. made is the whole configuration, by
// which a checkpoint is known.
func New(b compute.Backend, base Base, r reward.Reward, network Network, method Method, source train.Source, shape []int, config Config, made any) (*Tuner, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	if err := method.Validate(); err != nil {
		return nil, fmt.Errorf("%v: %w", method, err)
	}
	dataRows, own, replay, err := config.States.split(config.Batch)
	if err != nil {
		return nil, err
	}
	switch needs := method.Needs(); {
	case needs.Data && own+replay > 0:
		return nil, fmt.Errorf("%v learns from interpolants of data: set own and replay to 0", method)
	case needs.Paths && (dataRows > 0 || replay > 0):
		return nil, fmt.Errorf("%v learns from the model's own paths: set own to 1, and batch = %d to a multiple of a path's %d steps", method, config.Batch, config.States.Steps)
	case dataRows > 0 && source == nil:
		return nil, fmt.Errorf("the law of states has interpolants of data, and there is no data: give a source, or set own to 1")
	}
	t := &Tuner{config: config, reward: r, network: network, shape: append([]int(nil), shape...), backend: b}
	objective := func(weights, data *model.Scope, rng *solver.RNG, step *Node) train.Terms {
		return t.objective(method, source, weights, data, rng, step)
	}
	if t.Trainer, err = train.New(b, objective, config.Config, made); err != nil {
		return nil, err
	}
	if t.model, err = base.In(t.Store()); err != nil {
		return nil, err
	}
	return t, t.prepare(own, replay)
}

// prepare makes the variables of the state.
func (t *Tuner) prepare(own, replay int) error {
	store := t.Store()
	if err := put(store, train.WeightsScope, t.network.Initial(), true); err != nil {
		return fmt.Errorf("weights to begin with: %w", err)
	}
	if err := put(store, train.DataScope, t.network.Fixed(), false); err != nil {
		return fmt.Errorf("fixed weights: %w", err)
	}
	values := map[string]*tensors.Tensor{
		offsetVariable: tensors.FromValue([]float32{0, 0}),
		lambdaVariable: tensors.FromScalar(float32(lambdaUnlimited)),
	}
	if replay > 0 {
		slots := max(t.config.States.Capacity/own, 1)
		values[replayStates] = tensors.FromShape(shapes.Make(float32Type, append([]int{slots, own}, t.shape...)...))
		values[replayTimes] = tensors.FromShape(shapes.Make(float32Type, slots, own))
		values[replayCount] = tensors.FromScalar(float32(0))
	}
	return put(store, "", values, false)
}

// leastHalf bounds the weight of rows near t = 1.
const leastHalf = 1e-3

// objective builds a step's loss.
func (t *Tuner) objective(method Method, source train.Source, weights, data *model.Scope, rng *solver.RNG, step *Node) train.Terms {
	g, store := step.Graph(), weights.Store()
	offset := store.GetVariable(offsetVariable)
	c := offset.NodeValue(g)
	p := Problem{Problem: steer.Problem{Model: t.model, Reward: t.reward, Lambda: t.lambda(store, step)}, Noise: t.config.Noise}
	seen := Slice(c, AxisElem(1))
	p.Offset = Reshape(Where(GreaterThan(seen, ZerosLike(seen)), Slice(c, AxisElem(0)), Scalar(g, c.DType(), 10*unknownOffset)))
	tuned := TunedDrift(t.network, weights, t.model.Drift)
	s := t.states(p, tuned, source, data, rng, g)
	s.T, s.X = StopGradient(s.T), StopGradient(s.X)
	s.Base = StopGradient(t.model.Drift(s.T, s.X, nil))
	r := method.Regress(p, rng, s)
	if r.LogWeight != nil {
		offset.SetNodeValue(t.nextOffset(c, r.LogWeight))
	}
	correction := Sub(tuned(s.T, s.X, nil), s.Base)
	squares := r.squares(correction)
	if t.config.Girsanov {
		squares = Div(squares, ClipScalar(p.Noise.Half(p.Model.Interpolant, s.T), leastHalf, 1))
	}
	return train.Terms{Total: ReduceAllMean(squares), Diagonal: ReduceAllMean(squares), Consistency: ReduceAllMean(Square(correction))}
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

// nextOffset returns the running offset, [2], after a batch of log-weights: an average of the logarithms of the batches' mean weights, which follows down as fast as up.
func (t *Tuner) nextOffset(c, logWeight *Node) *Node {
	mean := Reshape(batch.LogMeanExp(InsertAxes(logWeight, 0)))
	was, seen := Reshape(Slice(c, AxisElem(0))), Reshape(Slice(c, AxisElem(1)))
	share := MaxScalar(Inverse(OnePlus(seen)), t.config.OffsetRate)
	next := Add(was, Mul(share, Sub(mean, was)))
	ok := LogicalAnd(IsFinite(next), GreaterThan(mean, Scalar(mean.Graph(), mean.DType(), reward.Least))) // of a batch without any weight there is nothing to learn
	return Stack([]*Node{Where(ok, next, was), Where(ok, OnePlus(seen), seen)}, 0)
}

// states draws a step's rows.
func (t *Tuner) states(p Problem, tuned interpolant.Drift, source train.Source, data *model.Scope, rng *solver.RNG, g *Graph) States {
	rows, own, replay, _ := t.config.States.split(t.config.Batch) // checked by New
	var all []States
	if rows > 0 {
		all = append(all, t.config.States.interpolants(p, source, data, g, rng, rows))
	}
	if own > 0 {
		like := shapes.Make(float32Type, append([]int{own}, t.shape...)...)
		all = append(all, onPaths(p, tuned, rng, like, own, t.config.States.Steps, g))
	}
	if replay > 0 {
		all = append(all, t.replayed(all[len(all)-1], rng, replay))
	}
	return joined(all)
}

// replayed puts states of own paths into the buffer, and draws rows of it.
func (t *Tuner) replayed(own States, rng *solver.RNG, rows int) States {
	g, store := own.X.Graph(), t.Store()
	xs, ts, count := store.GetVariable(replayStates), store.GetVariable(replayTimes), store.GetVariable(replayCount)
	slots, each := xs.Shape().Dim(0), xs.Shape().Dim(1)
	n := count.NodeValue(g)
	turn := Sub(n, MulScalar(Floor(DivScalar(n, float64(slots))), float64(slots)))
	slot := ConvertDType(turn, int32Type)
	x, at := batch.SetRow(xs.NodeValue(g), slot, own.X), batch.SetRow(ts.NodeValue(g), slot, own.T)
	xs.SetNodeValue(x)
	ts.SetNodeValue(at)
	n = OnePlus(n)
	count.SetNodeValue(n)
	filled := MulScalar(MinScalar(n, float64(slots)), float64(each))
	u := rng.Uniform(shapes.Make(float32Type, rows))
	index := ConvertDType(Min(Floor(Mul(u, filled)), MinusOne(filled)), int32Type)
	dims := append([]int{slots * each}, t.shape...)
	return States{T: Gather(Reshape(at, -1), InsertAxes(index, -1)), X: Gather(Reshape(x, dims...), InsertAxes(index, -1))}
}
