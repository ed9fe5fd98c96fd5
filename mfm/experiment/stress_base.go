package experiment

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/gmm"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/metric"
	"github.com/gomfm/gomfm/mfm/solver"
	"github.com/gomfm/gomfm/mfm/steer"
	"github.com/gomfm/gomfm/mfm/train"
)

// Perturbation is a way in which a base drift is wrong.
type Perturbation string

// The perturbations of the paper's mixture, each of a size ε.
const (
	WrongWeights Perturbation = "weights" // the components' weights times e^ε, e^0, e^-ε
	Shifted      Perturbation = "shift"   // the means off by ε, in a direction each
	Smoothed     Perturbation = "smooth"  // ε² more variance in every direction
	Noised       Perturbation = "noise"   // the drift off by ε ξ(t, x), ξ a smooth random field of mean square 1: the drift of no law
)

// Perturbations lists them all.
func Perturbations() []Perturbation { return []Perturbation{WrongWeights, Shifted, Smoothed, Noised} }

// BaseCell is a map whose base is wrong by a known amount, and what becomes of the error: all that a [BaseRow] depends on.
type BaseCell struct {
	Edition
	Perturbation Perturbation `json:"perturbation"`
	Size         float64      `json:"size"` // ε
	// Distillation is teacher, where the wrong drift teaches on samples of the true law, or self, where the map learns drift and all from samples of the wrong law; [Noised] is the drift of none.
	Distillation mfm.Distillation `json:"distillation"`
	Width        int              `json:"width"` // of the MLP
	Depth        int              `json:"depth"`
	Steps        int64            `json:"steps"`
	TuneSteps    int64            `json:"tune_steps"`
	Draws        int              `json:"draws"`       // N of the steering, by MFM-GF
	TuneMethod   string           `json:"tune_method"` // as in [TuneConfig]
	TuneDraws    int              `json:"tune_draws"`  // N of the tuning
	ValueDraws   int              `json:"value_draws"` // N of the value's estimates, of which there are eight a state
	Samples      int              `json:"samples"`
	SamplerSteps int              `json:"sampler_steps"`
	Seed         int64            `json:"seed"`
}

// BaseRow says how far all that is made of a wrong base is from what the true one would give.
type BaseRow struct {
	Test         string           `json:"test"` // base
	Perturbation Perturbation     `json:"perturbation"`
	Size         float64          `json:"size"`
	Distillation mfm.Distillation `json:"distillation"`
	Seed         int64            `json:"seed"`
	// Base and Map are root mean square errors of the perturbed drift and of the map's own, over the true law's states, in units of the drift's deviation.
	Base float64 `json:"base"`
	Map  float64 `json:"map"`
	// Posterior is the sliced W2 of one-step samples to the true posteriors, less the floor, in units of their spread (the excess), a root mean square over t.
	Posterior float64 `json:"posterior"`
	// Samples is the sliced W2 of samples by the map's drift to the true law, Steering that of steered ones to the true tilted law; Floor and SteeringFloor are those of exact samples.
	Samples       float64 `json:"samples"`
	Floor         float64 `json:"floor"`
	Steering      float64 `json:"steering"`
	SteeringFloor float64 `json:"steering_floor"`
	// Value is the root mean square error of the value estimated from many draws, over states that the tilted law visits; ValueBias its mean, positive where the estimate is too high.
	Value     float64 `json:"value"`
	ValueBias float64 `json:"value_bias"`
	// Tuning is the root mean square error of the tuned drift, in units of b*'s deviation.
	Tuning  float64 `json:"tuning"`
	Seconds float64 `json:"seconds"` // of the map's training
	// Diverged says what was not finite: nothing else is told then.
	Diverged string `json:"diverged,omitempty"`
}

// BaseGrid is the grid of the stress test: every perturbation in growing sizes, and the true base, by teacher and by self-distillation, three seeds each.
func BaseGrid() []BaseCell {
	var cells []BaseCell
	for seed := range int64(3) {
		for _, d := range []mfm.Distillation{mfm.Teacher, mfm.Self} {
			add := func(p Perturbation, size float64) {
				cells = append(cells, BaseCell{Edition: Edition{edition}, Perturbation: p, Size: size, Distillation: d, Width: 128, Depth: 4, Steps: 5000, TuneSteps: 2000, Draws: 32, TuneMethod: "mfm-ft-gf", TuneDraws: 8, ValueDraws: 1024, Samples: 4096, SamplerSteps: 250, Seed: seed})
			}
			add(WrongWeights, 0)
			for _, p := range Perturbations() {
				if p == Noised && d == mfm.Self {
					continue
				}
				for _, size := range []float64{0.05, 0.1, 0.2, 0.4, 0.8} {
					add(p, size)
				}
			}
		}
	}
	return cells
}

// Validate returns an error that names the first value that makes no sense.
func (c BaseCell) Validate() error {
	if err := c.check(); err != nil {
		return err
	}
	if !(c.Size >= 0 && c.Size <= 10) {
		return fmt.Errorf("size = %g of a perturbation: must lie in [0, 10]", c.Size)
	}
	if c.Distillation != mfm.Self && c.Distillation != mfm.Teacher {
		return fmt.Errorf("distillation %q is unknown: use self or teacher", c.Distillation)
	}
	if c.Perturbation == Noised && c.Distillation == mfm.Self {
		return fmt.Errorf("perturbation %s is the drift of no law: a map cannot learn it from samples, use teacher", Noised)
	}
	if c.Samples < 2 || c.SamplerSteps < 3 || c.Draws < 1 || c.TuneDraws < 1 || c.ValueDraws < 1 || c.TuneSteps < 1 {
		return fmt.Errorf("%d samples in %d steps, %d, %d and %d draws, %d steps of tuning: want at least 2, 3, 1, 1, 1 and 1", c.Samples, c.SamplerSteps, c.Draws, c.TuneDraws, c.ValueDraws, c.TuneSteps)
	}
	if err := c.tuneConfig().Validate(); err != nil {
		return err
	}
	_, err := c.Perturbation.law(c.Size)
	return err
}

// law returns the paper's mixture, perturbed; of [Noised] as it is.
func (p Perturbation) law(size float64) (*gmm.Mixture, error) {
	paper := gmm.Paper()
	weights, n := paper.Weights(), paper.Len()
	means, covariances := make([][]float64, n), make([][][]float64, n)
	for k := range n {
		means[k], covariances[k] = paper.Component(k)
		angle := 2 * math.Pi * (float64(k)/float64(n) + 0.1)
		switch p {
		case WrongWeights:
			weights[k] *= math.Exp(size * float64(1-k))
		case Shifted:
			means[k][0] += size * math.Cos(angle)
			means[k][1] += size * math.Sin(angle)
		case Smoothed:
			for i := range covariances[k] {
				covariances[k][i][i] += size * size
			}
		case Noised:
		default:
			return nil, fmt.Errorf("perturbation %q is unknown: use %s, %s, %s or %s", p, WrongWeights, Shifted, Smoothed, Noised)
		}
	}
	return gmm.New(weights, means, covariances)
}

// field returns the smooth random field ξ(t, x) of mean square 1 an element over all of space: sums of 32 waves of wavelengths about 2π in x and in t.
func field() interpolant.Drift {
	const waves = 32
	rng := rand.New(rand.NewPCG(3, 5))
	frequencies, phases, amplitudes := make([][]float64, 3), make([]float64, waves), make([][]float64, waves)
	for i := range frequencies {
		frequencies[i] = make([]float64, waves)
		for k := range waves {
			frequencies[i][k] = rng.NormFloat64()
		}
	}
	var square [2]float64
	for k := range waves {
		phases[k] = 2 * math.Pi * rng.Float64()
		amplitudes[k] = []float64{rng.NormFloat64(), rng.NormFloat64()}
		for i, a := range amplitudes[k] {
			square[i] += a * a / 2
		}
	}
	for _, a := range amplitudes {
		a[0], a[1] = a[0]/math.Sqrt(square[0]), a[1]/math.Sqrt(square[1])
	}
	return func(t, x, _ *Node) *Node {
		g, dtype := x.Graph(), x.DType()
		at := Concatenate([]*Node{x, InsertAxes(BroadcastToDims(t, x.Shape().Dim(0)), -1)}, 1)
		angle := Add(Dot(at, ConstAsDType(g, dtype, frequencies)).Product(), InsertAxes(ConstAsDType(g, dtype, phases), 0))
		return Dot(Cos(angle), ConstAsDType(g, dtype, amplitudes)).Product()
	}
}

// Run trains on the wrong base and measures what comes of it.
func (c BaseCell) Run(ctx context.Context, b compute.Backend, o RunOptions) (BaseRow, error) {
	row := BaseRow{Test: "base", Perturbation: c.Perturbation, Size: c.Size, Distillation: c.Distillation, Seed: c.Seed}
	if err := c.Validate(); err != nil {
		return row, err
	}
	law, err := c.Perturbation.law(c.Size)
	if err != nil {
		return row, err
	}
	data := gmm.Paper()
	if c.Distillation == mfm.Self {
		data = law
	}
	e, err := NewGMM(stressMap(data, Variant{mfm.Semigroup, c.Distillation}, c.Width, c.Depth, c.Steps, c.Seed))
	if err != nil {
		return row, err
	}
	teacher := func(t, x, _ *Node) *Node { return law.DriftGraph(e.Map.Interpolant, t, x) }
	if c.Perturbation == Noised {
		clean, noise := teacher, field()
		teacher = func(t, x, class *Node) *Node { return Add(clean(t, x, class), MulScalar(noise(t, x, nil), c.Size)) }
	}
	began := time.Now()
	store, err := e.trainFrom(ctx, b, teacher, "stress-base", c, o)
	none := row
	if err == nil {
		row.Seconds = trainingSeconds(o.Dir, began)
		e.Config.Mixture = gmm.Paper() // what all is compared with
		err = errors.Join(c.driftErrors(b, e, store, teacher, &row), c.samples(ctx, b, e, store, &row), c.steering(ctx, b, e, store, &row), c.tuning(ctx, b, e, store, &row))
	}
	if err == nil && !finite([]float32{float32(row.Map), float32(row.Posterior), float32(row.Samples), float32(row.Steering), float32(row.Value), float32(row.Tuning)}) {
		err = errNotFinite
	}
	if diverged(err) {
		none.Diverged = err.Error()
		return none, nil
	}
	return row, err
}

// driftErrors fills in Base and Map.
func (c BaseCell) driftErrors(b compute.Backend, e *GMM, store *model.Store, teacher interpolant.Drift, row *BaseRow) error {
	const n = 1 << 15
	rng := rand.New(rand.NewPCG(uint64(c.Seed), 31))
	times, states := make([]float32, n), make([]float32, 0, 2*n)
	for i := range n {
		t := rng.Float64()
		times[i] = float32(t)
		for _, v := range e.Context(rng, t) {
			states = append(states, float32(v))
		}
	}
	exec, err := model.NewExec(b, store, func(_ *model.Scope, t, x *Node) []*Node {
		truth := e.Teacher()(t, x, nil)
		deviation := Sub(truth, ReduceAndKeep(truth, ReduceMean, 0))
		errorOf := func(b *Node) *Node {
			return Sqrt(Div(ReduceAllMean(Square(Sub(b, truth))), ReduceAllMean(Square(deviation))))
		}
		own := e.Map.Drift(store.Scope(train.WeightsScope), t, x, nil)
		return []*Node{ConvertDType(errorOf(teacher(t, x, nil)), dtypes.Float64), ConvertDType(errorOf(own), dtypes.Float64)}
	})
	if err != nil {
		return fmt.Errorf("preparing the drifts: %w", err)
	}
	defer exec.Finalize()
	out, err := exec.Call(tensors.FromFlatDataAndDimensions(times, n), tensors.FromFlatDataAndDimensions(states, n, 2))
	if err != nil {
		return fmt.Errorf("comparing drifts: %w", err)
	}
	row.Base, row.Map = tensors.ToScalar[float64](out[0]), tensors.ToScalar[float64](out[1])
	return nil
}

// samples fills in Posterior, Samples and Floor.
func (c BaseCell) samples(ctx context.Context, b compute.Backend, e *GMM, store *model.Store, row *BaseRow) error {
	draw, err := e.Drawer(b, store, train.WeightsScope, mfm.DefaultSamplerConfig())
	if err != nil {
		return err
	}
	posteriors, err := e.Evaluate(ctx, draw, EvaluateConfig{Times: []float64{0.05, 0.2, 0.4, 0.6, 0.8, 0.95}, Contexts: 6, Samples: c.Samples, Projections: 128, Seed: 123})
	if err != nil {
		return err
	}
	for _, p := range posteriors {
		row.Posterior += p.Excess * p.Excess / float64(len(posteriors))
	}
	row.Posterior = math.Sqrt(row.Posterior)
	sampler, err := mfm.NewTeacherSampler(b, store, e.Map.Interpolant, e.Map.DriftIn(store.Scope(train.WeightsScope)), e.Shape(), mfm.SamplerConfig{Method: mfm.ODEMethod, Solver: solver.Euler, Grid: interpolant.Grid{Steps: c.SamplerSteps, Power: 1}, Chunk: c.Samples})
	if err != nil {
		return err
	}
	defer sampler.Finalize()
	flat, err := sampler.Unconditional(ctx, c.Seed, c.Samples, nil)
	if err != nil {
		return err
	}
	rng, projections := rand.New(rand.NewPCG(uint64(c.Seed), 33)), metric.Projections2D(256)
	exact := e.Config.Mixture.Sample(rng, c.Samples)
	if row.Samples, err = metric.SlicedW2(mfm.Rows(flat, 2), exact, projections); err != nil {
		return err
	}
	row.Floor, err = metric.SlicedW2(e.Config.Mixture.Sample(rng, c.Samples), exact, projections)
	return err
}

// steering fills in Steering, SteeringFloor and Value.
func (c BaseCell) steering(ctx context.Context, b compute.Backend, e *GMM, store *model.Store, row *BaseRow) error {
	r := PaperReward()
	s := &Steering{Law: e.Config.Mixture, Reward: r.Reward(), Store: store, linear: &r}
	var err error
	if s.Model, err = steer.FromMap(e.Map, store.Scope(train.WeightsScope), mfm.DefaultSamplerConfig()); err != nil {
		return err
	}
	cell := SteerCell{Method: "mfm-gf", N: c.Draws, Samples: c.Samples, Seed: c.Seed, Config: steer.DefaultConfig(), Baseline: steer.MeanBaseline}
	cell.Config.Steps = c.SamplerSteps
	steered, err := s.Run(ctx, b, cell)
	if err != nil {
		return err
	}
	if steered.Diverged {
		return errNotFinite
	}
	row.Steering, row.SteeringFloor = steered.SW2, steered.Floor
	for _, t := range []float64{0.3, 0.6, 0.9} {
		v, err := s.Values(b, t, []int{c.ValueDraws}, ValueConfig{States: 64, Draws: 8 * c.ValueDraws, Seed: uint64(c.Seed)})
		if err != nil {
			return err
		}
		row.Value += v[0].StateError * v[0].StateError / 3
		row.ValueBias += v[0].Bias / 3
	}
	row.Value = math.Sqrt(row.Value)
	return nil
}

// tuneConfig returns the configuration of the tuning, which is looked at once.
func (c BaseCell) tuneConfig() TuneConfig {
	config := DefaultTuneConfig()
	config.Method, config.N, config.Tune.Steps, config.Tune.Seed = c.TuneMethod, c.TuneDraws, c.TuneSteps, c.Seed
	config.Budget.Every = c.TuneSteps
	return config
}

// tuning fills in Tuning.
func (c BaseCell) tuning(ctx context.Context, b compute.Backend, e *GMM, store *model.Store, row *BaseRow) error {
	t, err := newGMMTuning(e, store, PaperReward(), c.tuneConfig())
	if err != nil {
		return err
	}
	tuned, err := t.Train(ctx, b, RunOptions{})
	if err != nil {
		return err
	}
	off, _, err := t.driftErrors(b, tuned, 1<<15, rand.New(rand.NewPCG(uint64(c.Seed), 35)))
	row.Tuning = math.Sqrt(off)
	return err
}
