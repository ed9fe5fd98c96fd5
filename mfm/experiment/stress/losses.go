package stress

import (
	"context"
	"fmt"
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
