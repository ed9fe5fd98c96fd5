package stress

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/gomlx/compute"

	"github.com/gomfm/gomfm/data"
	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/experiment/image"
	"github.com/gomfm/gomfm/mfm/experiment/internal/stats"
	"github.com/gomfm/gomfm/mfm/experiment/mixture"
	"github.com/gomfm/gomfm/mfm/experiment/run"
	"github.com/gomfm/gomfm/mfm/metric"
	"github.com/gomfm/gomfm/mfm/train"
)

// LossSetting is a training by one loss on a family of mixtures or on digits, for as long as the
// other losses: all that a [LossResult] depends on.
type LossSetting struct {
	Edition
	// Family is the mixture. Nil means digits.
	Family *Family `json:"family,omitempty"`
	// Fingerprint is, for digits, that of [LossBench.Fingerprint].
	Fingerprint string `json:"fingerprint,omitempty"`
	mixture.Variant
	// Width and Depth are those of the MLP on a mixture.
	Width int   `json:"width,omitempty"`
	Depth int   `json:"depth,omitempty"`
	Steps int64 `json:"steps"`
	Seed  int64 `json:"seed"`
	// Eval is the evaluation of the posterior samples, for digits by their classes. Images is the
	// number of digits to sample at t = 0.
	Eval   mixture.EvalConfig `json:"eval"`
	Images int                `json:"images,omitempty"`
}

// LossResult is what a loss gives within the time of its budget.
type LossResult struct {
	Test         Test             `json:"test"` // [LossesTest]
	On           string           `json:"on"`   // name of the family, or "digits"
	Loss         mfm.Consistency  `json:"loss"`
	Distillation mfm.Distillation `json:"distillation"`
	Seed         int64            `json:"seed"`
	Steps        int64            `json:"steps"`
	// Seconds is the time of the training, which includes that of other work on the machine.
	Seconds float64 `json:"seconds"`
	// Diverged reports that a value was not finite. There are no other measurements then.
	Diverged bool `json:"diverged"`
	// MeanExcess and WorstExcess are those of the posteriors of a mixture over t, see
	// [mixture.PosteriorResult].
	MeanExcess  metric.Optional `json:"mean_excess,omitzero"`
	WorstExcess metric.Optional `json:"worst_excess,omitzero"`
	// Distance is the Fréchet distance of one-step digits to the held-out ones in the classifier's
	// features, DistanceFloor that of as many training images. Confident is the share of one-step
	// digits whose class has a probability above 0.9.
	Distance      float64 `json:"distance,omitempty"`
	DistanceFloor float64 `json:"distance_floor,omitempty"`
	Confident     float64 `json:"confident,omitempty"`
	// Classes compares the classes of digits' posterior samples with p(class | x_t), by t.
	Classes []image.ClassResult `json:"classes,omitempty"`
}

// LossBench runs settings of the losses. Mixtures need no fields. Digits need all: the images of
// the training, held-out images to compare with, a classifier of clean images and one of noised
// images.
type LossBench struct {
	Images, HeldOut   *data.Images
	Evaluator, Noised *image.Classifier

	digits *image.Experiment // shares the prior, which is fitted once
}

// Fingerprint returns a hash of the images and classifiers, empty if one of them is absent.
func (l *LossBench) Fingerprint() (string, error) {
	if l.Images == nil || l.HeldOut == nil || l.Evaluator == nil || l.Noised == nil {
		return "", nil
	}
	evaluator, err := run.Fingerprint(l.Evaluator.Store, l.Evaluator.Config)
	if err != nil {
		return "", err
	}
	return run.Fingerprint(l.Noised.Store, struct {
		// The names of the fields are part of the hash.
		Judge           string
		Noised          image.ClassifierConfig
		Images, HeldOut string
	}{evaluator, l.Noised.Config, l.Images.Hash(), l.HeldOut.Hash()})
}

// LossBudget says on which data all losses are trained, and for how long.
type LossBudget struct {
	Families []Family `json:"families"`
	Mixture  float64  `json:"mixture"` // seconds on a family, 0 for none
	Digits   float64  `json:"digits"`  // seconds on digits, 0 for none
	Seeds    int      `json:"seeds"`   // trainings by each loss
}

// DefaultLossBudget returns 20 seconds on each of three families, 180 seconds on digits, and five
// seeds.
func DefaultLossBudget() LossBudget {
	return LossBudget{
		Families: []Family{{Separated, 16, 2, 1}, {Overlapping, 16, 8, 1}, {Anisotropic, 4, 32, 1}},
		Mixture:  20, Digits: 180, Seeds: 5,
	}
}

// Validate returns an error that names the first value out of range.
func (l LossBudget) Validate() error {
	if !(l.Mixture >= 0 && l.Mixture <= 1e6) || !(l.Digits >= 0 && l.Digits <= 1e6) || l.Mixture+l.Digits == 0 {
		return fmt.Errorf("mixture = %g, digits = %g seconds: must lie in [0, 1e6], and one must be positive",
			l.Mixture, l.Digits)
	}
	if l.Seeds < 1 || l.Seeds > 1000 {
		return fmt.Errorf("seeds = %d: must lie in [1, 1000]", l.Seeds)
	}
	for _, f := range l.Families {
		if err := f.Validate(); err != nil {
			return err
		}
	}
	return nil
}

// Grid returns the settings of a budget. Each loss gets as many steps as rates, in steps per
// second, allow; see [LossBench.Rates]. For digits there is also a single step of one loss, which
// leaves the map almost at its initialization; fingerprint is that of [LossBench.Fingerprint]. It
// returns an error for a rate that is absent or not positive and finite.
func (l LossBudget) Grid(rates map[string]float64, fingerprint string) ([]LossSetting, error) {
	var settings []LossSetting
	for _, c := range l.settings() {
		rate, budget := rates[c.name()], l.Mixture
		if c.Family == nil {
			budget, c.Fingerprint = l.Digits, fingerprint
		}
		if rate == 0 {
			return nil, fmt.Errorf("rate of %s is unknown: measure it first", c.name())
		}
		if !(rate > 0) || math.IsInf(rate, 0) {
			return nil, fmt.Errorf("rate of %s is %g steps per second: delete the file of rates to measure it again",
				c.name(), rate)
		}
		c.Steps = max(1, int64(rate*budget))
		for seed := range l.Seeds {
			c.Seed = int64(seed)
			settings = append(settings, c)
		}
		if c.Family == nil && c.Variant == (mixture.Variant{Loss: mfm.Semigroup, Distillation: mfm.Teacher}) {
			for seed := range l.Seeds {
				c.Steps, c.Seed = 1, int64(seed)
				settings = append(settings, c)
			}
		}
	}
	return settings, nil
}

// variants returns the losses that are compared: the consistency losses and the energy score.
func variants() []mixture.Variant {
	return append(mixture.Variants(), mixture.Variant{Loss: mfm.Energy, Distillation: mfm.Self})
}

// settings returns one setting of each loss on each data set, without steps.
func (l LossBudget) settings() []LossSetting {
	var settings []LossSetting
	if l.Mixture == 0 {
		l.Families = nil
	}
	for i := range l.Families {
		for _, v := range variants() {
			settings = append(settings, LossSetting{
				Edition: Edition{edition}, Family: &l.Families[i], Variant: v, Width: 128, Depth: 4,
				Eval: posteriorEvaluation(),
			})
		}
	}
	for _, v := range variants() {
		// A data set as teacher has no Lagrangian loss.
		if l.Digits > 0 && v != (mixture.Variant{Loss: mfm.Lagrangian, Distillation: mfm.Teacher}) {
			settings = append(settings, LossSetting{
				Edition: Edition{edition}, Variant: v, Images: 2000,
				Eval: mixture.EvalConfig{Times: []float64{0.2, 0.3, 0.4}, Contexts: 100, Samples: 64, Seed: 1},
			})
		}
	}
	return settings
}

// on returns the name of the data: that of the family, or digits.
func (c LossSetting) on() string {
	if c.Family == nil {
		return "digits"
	}
	return c.Family.Name()
}

// name returns the name of the data and of the loss, the key of a rate.
func (c LossSetting) name() string { return fmt.Sprintf("%s %v", c.on(), c.Variant) }

// Rates measures the steps per second of each loss on each data set of a budget, and adds those
// that rates lacks. A rate is the fastest of three windows. The losses take turns, so that other
// work on the machine does not slow down a single one. On data of which some rate is known, a loss
// with a known rate takes turns too, and what is measured is scaled to it.
func (l *LossBench) Rates(ctx context.Context, b compute.Backend, budget LossBudget, rates map[string]float64) error {
	var turns []LossSetting
	known, lacks := map[string]LossSetting{}, map[string]bool{}
	for _, c := range budget.settings() {
		if rates[c.name()] > 0 {
			if _, found := known[c.on()]; !found {
				known[c.on()] = c
			}
			continue
		}
		turns, lacks[c.on()] = append(turns, c), true
	}
	for on, c := range known {
		if lacks[on] {
			turns = append(turns, c)
		}
	}
	measured := map[string]float64{}
	for range 3 {
		for _, c := range turns {
			c.Steps = 120
			if c.Family == nil {
				c.Steps = 24
			}
			var began time.Time
			hook := train.Hook{Step: func(_ *train.Trainer, m train.Metrics) error {
				switch m.Step {
				case c.Steps / 3: // compiled and warm
					began = time.Now()
				case c.Steps:
					rate := float64(c.Steps-c.Steps/3) / time.Since(began).Seconds()
					measured[c.name()] = max(measured[c.name()], rate)
				}
				return nil
			}}
			if err := l.train(ctx, b, c, run.Options{Hooks: []train.Hook{hook}}, nil); err != nil {
				return fmt.Errorf("rate of %s: %w", c.name(), err)
			}
		}
	}
	for _, c := range turns {
		if rates[c.name()] > 0 {
			continue
		}
		rate := measured[c.name()]
		if reference, found := known[c.on()]; found {
			rate *= rates[reference.name()] / measured[reference.name()]
		}
		rates[c.name()] = rate
	}
	return nil
}

// Validate returns an error that names the first value out of range.
func (c LossSetting) Validate() error {
	if err := c.check(); err != nil {
		return err
	}
	if c.Steps < 1 {
		return fmt.Errorf("steps = %d: must be positive", c.Steps)
	}
	if !slices.Contains(variants(), c.Variant) {
		return fmt.Errorf("loss %v is unknown: use one of %v", c.Variant, variants())
	}
	if c.Family == nil {
		if c.Images < 2 {
			return fmt.Errorf("images = %d: must be at least 2", c.Images)
		}
		eval := c.Eval
		eval.Projections = 1 // used for mixtures alone
		return eval.Validate()
	}
	if err := c.Family.Validate(); err != nil {
		return err
	}
	return c.Eval.Validate()
}

// Run trains and evaluates a setting. Non-finite values are a result. It returns an error for a
// setting of digits with another fingerprint.
func (l *LossBench) Run(ctx context.Context, b compute.Backend, c LossSetting, o run.Options) (LossResult, error) {
	result := LossResult{
		Test: LossesTest, On: c.on(), Loss: c.Loss, Distillation: c.Distillation,
		Seed: c.Seed, Steps: c.Steps,
	}
	if err := c.Validate(); err != nil {
		return result, err
	}
	if c.Family == nil {
		fingerprint, err := l.Fingerprint()
		if err == nil && fingerprint != c.Fingerprint {
			err = fmt.Errorf("fingerprint = %q, but these images and classifiers have %q: use the ones of the setting",
				c.Fingerprint, fingerprint)
		}
		if err != nil {
			return result, err
		}
	}
	err := l.train(ctx, b, c, o, &result)
	if result.Diverged = run.OnlyNonFinite(err); result.Diverged {
		return result, nil
	}
	return result, err
}

// train trains and, unless result is nil, evaluates into it.
func (l *LossBench) train(
	ctx context.Context, b compute.Backend, c LossSetting, o run.Options, result *LossResult,
) error {
	if c.Family == nil {
		return l.trainDigits(ctx, b, c, o, result)
	}
	m, err := c.Family.Mixture()
	if err != nil {
		return err
	}
	e, err := mixture.New(stressMap(m, c.Variant, c.Width, c.Depth, c.Steps, c.Seed))
	if err != nil {
		return err
	}
	if result == nil {
		_, err := e.Train(ctx, b, o)
		return err
	}
	posterior, seconds, err := e.TrainAndEvaluate(ctx, b, o, c.Eval, nil)
	result.Seconds = seconds
	result.MeanExcess, result.WorstExcess = mixture.MeanExcess(posterior)
	return err
}

// trainDigits is train for digits.
func (l *LossBench) trainDigits(
	ctx context.Context, b compute.Backend, c LossSetting, o run.Options, result *LossResult,
) error {
	if l.Images == nil || l.HeldOut == nil || l.Evaluator == nil || l.Noised == nil {
		return fmt.Errorf("digits need training and held-out images, a classifier and a classifier of noised images")
	}
	config := image.DefaultConfig()
	config.Train.Steps, config.Train.Seed = c.Steps, c.Seed
	config.Train.Optimizer.Warmup = min(config.Train.Optimizer.Warmup, int(c.Steps/4))
	mixture.SetLoss(&config.Train, c.Loss, c.Distillation)
	e, err := image.NewWith(config, l.Images, func() (mfm.Parametrization, error) {
		if l.digits != nil {
			return l.digits.Map.Parametrization, nil
		}
		return config.FitParametrization(ctx, l.Images)
	})
	if err != nil {
		return err
	}
	l.digits = e
	o.HeldOutHash = l.HeldOut.Hash()
	began := time.Now()
	store, err := e.Train(ctx, b, o)
	if err != nil || result == nil {
		return err
	}
	result.Seconds = run.Seconds(o.Dir, began)
	sampler, err := mfm.NewSampler(b, e.Model(store), mfm.DefaultSamplerConfig())
	if err != nil {
		return err
	}
	defer sampler.Finalize()
	samples, err := mfm.Flat(sampler.Unconditional(ctx, c.Seed, c.Images, nil))
	if err != nil {
		return err
	}
	if !stats.Finite(samples) {
		return run.ErrNonFinite
	}
	if err := result.distances(l.Evaluator.Evaluate, samples, l.Images, l.HeldOut); err != nil {
		return err
	}
	for _, t := range c.Eval.Times {
		classes, err := e.Classes(ctx, sampler, l.Evaluator, l.Noised, l.HeldOut, t, c.Eval.Contexts, c.Eval.Samples,
			int64(c.Eval.Seed))
		if err != nil {
			return err
		}
		result.Classes = append(result.Classes, classes)
	}
	return nil
}

// evaluate returns the probabilities of the classes and the features of images, as
// [image.Classifier.Evaluate] does.
type evaluate func(images []float32, t float64) (probabilities, features [][]float64, err error)

// distances fills in what the evaluator reports of samples at t = 0.
func (r *LossResult) distances(evaluate evaluate, samples []float32, training, heldOut *data.Images) error {
	moments := func(images []float32) (metric.Moments, [][]float64, error) {
		probabilities, features, err := evaluate(images, 1)
		if err != nil {
			return metric.Moments{}, nil, err
		}
		m, err := metric.NewMoments(features, nil)
		return m, probabilities, err
	}
	got, probabilities, err := moments(samples)
	if err != nil {
		return err
	}
	for i, class := range stats.ArgMax(probabilities) {
		if probabilities[i][class] > 0.9 {
			r.Confident += 1 / float64(len(probabilities))
		}
	}
	held, _, err := moments(heldOut.Float32())
	if err != nil {
		return err
	}
	if r.Distance, err = metric.Frechet(got, held); err != nil {
		return err
	}
	real, _, err := moments(image.Spaced(training, min(len(probabilities), training.N)))
	if err != nil {
		return err
	}
	r.DistanceFloor, err = metric.Frechet(real, held)
	return err
}
