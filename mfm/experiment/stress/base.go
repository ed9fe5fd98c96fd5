// Package stress measures where maps, steering and fine-tuning fail, on data whose distribution is
// known in closed form. It has six tests, each with a grid of settings:
//
//	diversity  do one-step posterior samples reach every mode of a random mixture?
//	base       how much of the error of a base drift reaches what builds on it?
//	manifold   which parametrization keeps samples near a manifold?
//	times      which time grid does the exact drift need near a manifold?
//	precision  how exact are closed forms in float32, near the data?
//	losses     which loss gives the best posterior samples in equal time?
//
// A setting, such as [DiversitySetting], has a method Run that returns a result, such as
// [DiversityResult]; the settings of the losses run on a [LossBench]. Start with a grid, such as
// [DiversityGrid], and run it with package sweep.
package stress

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"github.com/gomlx/compute"
	. "github.com/gomlx/gomlx/core/graph"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/experiment/internal/stats"
	"github.com/gomfm/gomfm/mfm/experiment/mixture"
	"github.com/gomfm/gomfm/mfm/experiment/run"
	"github.com/gomfm/gomfm/mfm/experiment/tuning"
	"github.com/gomfm/gomfm/mfm/gmm"
	"github.com/gomfm/gomfm/mfm/interpolant"
)

// Perturbation is a way in which a base drift is wrong.
type Perturbation string

// The perturbations of the paper's mixture, each of a size ε.
const (
	WrongWeights Perturbation = "weights" // the weights of the components times e^ε, e^0, e^-ε
	Shifted      Perturbation = "shift"   // each mean moved by ε, in a direction of its own
	Smoothed     Perturbation = "smooth"  // ε² more variance in every direction
	// Noised adds ε ξ(t, x) to the drift, with ξ a smooth random field of mean square 1. The sum is
	// the drift of no distribution.
	Noised Perturbation = "noise"
)

// Perturbations lists them all.
func Perturbations() []Perturbation { return []Perturbation{WrongWeights, Shifted, Smoothed, Noised} }

// BaseSetting is a map whose base is wrong by a known amount, and the measurements of what follows:
// all that a [BaseResult] depends on.
type BaseSetting struct {
	Edition
	Perturbation Perturbation `json:"perturbation"`
	Size         float64      `json:"size"` // ε
	// Distillation is teacher, where the wrong drift teaches on samples of the true distribution,
	// or self, where the map learns from samples of the wrong distribution. Self is impossible with
	// [Noised].
	Distillation mfm.Distillation `json:"distillation"`
	// Width and Depth are those of the MLP.
	Width     int   `json:"width"`
	Depth     int   `json:"depth"`
	Steps     int64 `json:"steps"`
	TuneSteps int64 `json:"tune_steps"`
	// PosteriorSamples is the number N of posterior samples of steering with MFM-GF.
	PosteriorSamples int `json:"posterior_samples"`
	// TuneMethod is the name of an objective in [tune.Objectives], TuneSamples its N.
	TuneMethod  string `json:"tune_method"`
	TuneSamples int    `json:"tune_samples"`
	// ValueSamples is the N of each of eight estimates of the value at a state.
	ValueSamples int   `json:"value_samples"`
	Samples      int   `json:"samples"`
	SamplerSteps int   `json:"sampler_steps"`
	Seed         int64 `json:"seed"`
}

// BaseResult says how far everything that builds on a wrong base is from what the true base would
// give.
type BaseResult struct {
	Test         Test             `json:"test"` // [BaseTest]
	Perturbation Perturbation     `json:"perturbation"`
	Size         float64          `json:"size"`
	Distillation mfm.Distillation `json:"distillation"`
	Seed         int64            `json:"seed"`
	// Base and Map are root mean square errors of the perturbed drift and of the map's drift, over
	// states of the true distribution, in units of the standard deviation of the true drift.
	Base float64 `json:"base"`
	Map  float64 `json:"map"`
	// Posterior is the excess of one-step samples ([mixture.PosteriorResult]), as a root mean
	// square over t.
	Posterior float64 `json:"posterior"`
	// Samples is the sliced W2 of samples by the map's drift to the true distribution, Steering
	// that of steered samples to the true tilted distribution. Floor and SteeringFloor are those of
	// exact samples.
	Samples       float64 `json:"samples"`
	Floor         float64 `json:"floor"`
	Steering      float64 `json:"steering"`
	SteeringFloor float64 `json:"steering_floor"`
	// Value is the root mean square error of the value estimated from many posterior samples, over
	// states that the tilted distribution visits. ValueBias is the mean error, positive if the
	// estimate is too high.
	Value     float64 `json:"value"`
	ValueBias float64 `json:"value_bias"`
	// Tuning is the root mean square error of the tuned drift, in units of the standard deviation
	// of the optimal drift b*.
	Tuning  float64 `json:"tuning"`
	Seconds float64 `json:"seconds"` // of the map's training
	// Diverged is the error of a run with non-finite values, which has no measurements. Empty
	// otherwise.
	Diverged string `json:"diverged,omitempty"`
}

// BaseGrid is the grid of the stress test: the true base and every perturbation in growing sizes,
// by teacher and by self-distillation, with three seeds each.
func BaseGrid() []BaseSetting {
	var settings []BaseSetting
	for seed := range int64(3) {
		for _, d := range []mfm.Distillation{mfm.Teacher, mfm.Self} {
			add := func(p Perturbation, size float64) {
				settings = append(settings, BaseSetting{
					Edition: Edition{edition}, Perturbation: p, Size: size, Distillation: d, Width: 128, Depth: 4,
					Steps: 5000, TuneSteps: 2000, PosteriorSamples: 32, TuneMethod: "mfm-ft-gf", TuneSamples: 8,
					ValueSamples: 1024,
					Samples:      4096, SamplerSteps: 250, Seed: seed,
				})
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
	return settings
}

// Validate returns an error that names the first value out of range.
func (c BaseSetting) Validate() error {
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
		return fmt.Errorf("perturbation %s is the drift of no distribution, which has no samples: use teacher", Noised)
	}
	if c.Samples < 2 || c.SamplerSteps < 3 || c.PosteriorSamples < 1 || c.TuneSamples < 1 ||
		c.ValueSamples < 1 || c.TuneSteps < 1 {
		return fmt.Errorf("samples = %d, sampler_steps = %d, posterior_samples = %d, tune_samples = %d, "+
			"value_samples = %d, "+
			"tune_steps = %d: must be at least 2, 3, 1, 1, 1 and 1",
			c.Samples, c.SamplerSteps, c.PosteriorSamples, c.TuneSamples, c.ValueSamples, c.TuneSteps)
	}
	if err := c.tuneConfig().Validate(); err != nil {
		return err
	}
	_, err := c.Perturbation.mixture(c.Size)
	return err
}

// mixture returns the paper's mixture, perturbed. [Noised] leaves the mixture as it is.
func (p Perturbation) mixture(size float64) (*gmm.Mixture, error) {
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
			return nil, fmt.Errorf("perturbation %q is unknown: use %s, %s, %s or %s",
				p, WrongWeights, Shifted, Smoothed, Noised)
		}
	}
	return gmm.New(weights, means, covariances)
}

// field returns the smooth random field ξ(t, x), whose elements have a mean square of 1 over all of
// space: sums of 32 waves of wavelengths about 2π in x and in t.
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
		waves := Dot(at, ConstAsDType(g, dtype, frequencies)).Product()
		angle := Add(waves, InsertAxes(ConstAsDType(g, dtype, phases), 0))
		return Dot(Cos(angle), ConstAsDType(g, dtype, amplitudes)).Product()
	}
}

// Run trains a map on the wrong base and measures its errors. Non-finite values are a result, see
// [BaseResult].Diverged.
func (c BaseSetting) Run(ctx context.Context, b compute.Backend, o run.Options) (BaseResult, error) {
	result := BaseResult{
		Test: BaseTest, Perturbation: c.Perturbation, Size: c.Size, Distillation: c.Distillation, Seed: c.Seed,
	}
	if err := c.Validate(); err != nil {
		return result, err
	}
	base, err := c.Perturbation.mixture(c.Size)
	if err != nil {
		return result, err
	}
	data := gmm.Paper()
	if c.Distillation == mfm.Self {
		data = base
	}
	variant := mixture.Variant{Loss: mfm.Semigroup, Distillation: c.Distillation}
	e, err := mixture.New(stressMap(data, variant, c.Width, c.Depth, c.Steps, c.Seed))
	if err != nil {
		return result, err
	}
	teacher := func(t, x, _ *Node) *Node { return base.Like(x).Drift(e.Map.Interpolant, t, x) }
	if c.Perturbation == Noised {
		clean, noise := teacher, field()
		teacher = func(t, x, class *Node) *Node {
			return Add(clean(t, x, class), MulScalar(noise(t, x, nil), c.Size))
		}
	}
	began := time.Now()
	store, err := e.TrainFrom(ctx, b, teacher, "stress-base", c, o)
	none := result
	if err == nil {
		result.Seconds = run.Seconds(o.Dir, began)
		e.Config.Mixture = gmm.Paper() // the truth of all comparisons
		err = errors.Join(
			c.driftErrors(b, e, store, teacher, &result), c.samples(ctx, b, e, store, &result),
			c.steering(ctx, b, e, store, &result), c.tuning(ctx, b, e, store, &result))
	}
	if err == nil && !stats.Finite([]float32{
		float32(result.Map), float32(result.Posterior), float32(result.Samples),
		float32(result.Steering), float32(result.Value), float32(result.Tuning),
	}) {
		err = run.ErrNonFinite
	}
	if tuning.Diverged(err) {
		none.Diverged = err.Error()
		return none, nil
	}
	return result, err
}
