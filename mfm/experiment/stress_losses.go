package experiment

import (
	"context"
	"crypto/sha256"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/gomlx/compute"

	"github.com/gomfm/gomfm/data"
	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/metric"
	"github.com/gomfm/gomfm/mfm/train"
)

// LossCell is a training by one loss on a family of mixtures, or on digits, for as long as all others: all that a [LossRow] depends on.
type LossCell struct {
	Edition
	Family *Family `json:"family,omitempty"` // nil: digits
	// Problem is, of digits, [LossBench.Problem].
	Problem string `json:"problem,omitempty"`
	Variant
	Width int   `json:"width,omitempty"` // of the MLP
	Depth int   `json:"depth,omitempty"`
	Steps int64 `json:"steps"`
	Seed  int64 `json:"seed"`
	// Eval judges the posteriors, of digits by their classes; Images is how many digits are drawn at t = 0.
	Eval   EvaluateConfig `json:"eval"`
	Images int            `json:"images,omitempty"`
}

// LossRow is what a loss gives with the steps of equal time.
type LossRow struct {
	Test         string  `json:"test"` // losses
	On           string  `json:"on"`   // the family, or digits
	Loss         string  `json:"loss"`
	Distillation string  `json:"distillation"`
	Seed         int64   `json:"seed"`
	Steps        int64   `json:"steps"`
	Seconds      float64 `json:"seconds"`  // that the training took, beside whatever else ran
	Diverged     bool    `json:"diverged"` // a value was not finite: there is nothing to judge
	// MeanExcess and WorstExcess are those of the posteriors of a mixture over t.
	MeanExcess  float64 `json:"mean_excess,omitempty"`
	WorstExcess float64 `json:"worst_excess,omitempty"`
	// Distance is the FID-style distance of one-step digits to the held-out ones in the classifier's features, DistanceFloor that of as many training images, Confident the share of those digits that have a class of probability above 0.9.
	Distance      float64 `json:"distance,omitempty"`
	DistanceFloor float64 `json:"distance_floor,omitempty"`
	Confident     float64 `json:"confident,omitempty"`
	// Classes compares the classes of digits' posterior samples with p(class | x_t), by t.
	Classes []ClassRow `json:"classes,omitempty"`
}

// LossBench runs cells. Its fields are needed for digits alone, and may be nil otherwise: the images of the training, others to compare with, a classifier of clean images and one of noised ones.
type LossBench struct {
	Images, HeldOut *data.Images
	Judge, Noised   *Classifier

	digits *Digits // with the prior, fitted once
}

// Problem returns a hash of images and judges, empty where there are none.
func (l *LossBench) Problem() (string, error) {
	if l.Images == nil || l.HeldOut == nil || l.Judge == nil || l.Noised == nil {
		return "", nil
	}
	sum := func(i *data.Images) [sha256.Size]byte {
		return sha256.Sum256(append(slices.Clone(i.Pixels), i.Labels...))
	}
	judge, err := hashProblem(l.Judge.store, l.Judge.Config)
	if err != nil {
		return "", err
	}
	return hashProblem(l.Noised.store, struct {
		Judge           string
		Noised          ClassifierConfig
		Images, HeldOut [sha256.Size]byte
	}{judge, l.Noised.Config, sum(l.Images), sum(l.HeldOut)})
}

// LossBudget says for which laws all losses are trained, and for how many seconds each.
type LossBudget struct {
	Families []Family `json:"families"`
	Mixture  float64  `json:"mixture"` // seconds on a family; 0: none
	Digits   float64  `json:"digits"`  // seconds on digits; 0: none
	Seeds    int      `json:"seeds"`
}

// DefaultLossBudget is twenty seconds on a family and three minutes on digits, five seeds.
func DefaultLossBudget() LossBudget {
	return LossBudget{Families: []Family{{Separated, 16, 2, 1}, {Overlapping, 16, 8, 1}, {Anisotropic, 4, 32, 1}}, Mixture: 20, Digits: 180, Seeds: 5}
}

// Validate returns an error that names the first value that makes no sense.
func (l LossBudget) Validate() error {
	if !(l.Mixture >= 0 && l.Mixture <= 1e6) || !(l.Digits >= 0 && l.Digits <= 1e6) || l.Mixture+l.Digits == 0 {
		return fmt.Errorf("%g seconds on mixtures, %g on digits: must lie in [0, 1e6], and one be positive", l.Mixture, l.Digits)
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

// Grid returns the cells of a budget, with as many steps as rates, steps a second, allow each loss; of digits also a single step, which leaves the map nearly as it was. See [LossBench.Rates] and [LossBench.Problem].
func (l LossBudget) Grid(rates map[string]float64, problem string) ([]LossCell, error) {
	var cells []LossCell
	for _, c := range l.cells() {
		rate, budget := rates[c.name()], l.Mixture
		if c.Family == nil {
			budget, c.Problem = l.Digits, problem
		}
		if rate == 0 {
			return nil, fmt.Errorf("rate of %s is not known: it has to be measured first", c.name())
		}
		if !(rate > 0) || math.IsInf(rate, 0) {
			return nil, fmt.Errorf("rate of %s is %g steps a second: delete the file of rates, and it is measured again", c.name(), rate)
		}
		c.Steps = max(1, int64(rate*budget))
		for seed := range l.Seeds {
			c.Seed = int64(seed)
			cells = append(cells, c)
		}
		if c.Family == nil && c.Variant == (Variant{mfm.Semigroup, mfm.Teacher}) {
			for seed := range l.Seeds {
				c.Steps, c.Seed = 1, int64(seed)
				cells = append(cells, c)
			}
		}
	}
	return cells, nil
}

// cells returns one of each loss on each law, without steps.
func (l LossBudget) cells() []LossCell {
	var cells []LossCell
	if l.Mixture == 0 {
		l.Families = nil
	}
	eval := EvaluateConfig{Times: []float64{0.05, 0.2, 0.4, 0.6, 0.8, 0.95}, Contexts: 6, Samples: 4096, Projections: 128, Seed: 123}
	for i := range l.Families {
		for _, v := range Variants() {
			cells = append(cells, LossCell{Edition: Edition{edition}, Family: &l.Families[i], Variant: v, Width: 128, Depth: 4, Eval: eval})
		}
	}
	for _, v := range Variants() {
		if l.Digits > 0 && v != (Variant{mfm.Lagrangian, mfm.Teacher}) { // which a data set as a teacher has not
			cells = append(cells, LossCell{Edition: Edition{edition}, Variant: v, Eval: EvaluateConfig{Times: []float64{0.2, 0.3, 0.4}, Contexts: 100, Samples: 64, Seed: 1}, Images: 2000})
		}
	}
	return cells
}

// on returns the family's name, or digits.
func (c LossCell) on() string {
	if c.Family == nil {
		return "digits"
	}
	return c.Family.Name()
}

// name is that of a loss on a law.
func (c LossCell) name() string { return fmt.Sprintf("%s %v", c.on(), c.Variant) }

// Rates adds to rates the steps a second of each loss on each law of a budget that it lacks: the fastest of three windows, which the laws and losses take in turn, so that other work on the machine slows none alone.
func (l *LossBench) Rates(ctx context.Context, b compute.Backend, of LossBudget, rates map[string]float64) error {
	missing := slices.DeleteFunc(of.cells(), func(c LossCell) bool { return rates[c.name()] > 0 })
	for range 3 {
		for _, c := range missing {
			c.Steps = 120
			if c.Family == nil {
				c.Steps = 24
			}
			var began time.Time
			o := RunOptions{Observe: func(m train.Metrics) error {
				switch m.Step {
				case c.Steps / 3: // compiled and warm
					began = time.Now()
				case c.Steps:
					rates[c.name()] = max(rates[c.name()], float64(c.Steps-c.Steps/3)/time.Since(began).Seconds())
				}
				return nil
			}}
			if err := l.train(ctx, b, c, o, nil); err != nil {
				return fmt.Errorf("rate of %s: %w", c.name(), err)
			}
		}
	}
	return nil
}

// Validate returns an error that names the first value that makes no sense.
func (c LossCell) Validate() error {
	if err := c.check(); err != nil {
		return err
	}
	if c.Steps < 1 {
		return fmt.Errorf("steps = %d: must be positive", c.Steps)
	}
	if !slices.Contains(Variants(), c.Variant) {
		return fmt.Errorf("loss %v is unknown: use one of %v", c.Variant, Variants())
	}
	if c.Family == nil {
		if c.Images < 2 {
			return fmt.Errorf("images = %d to judge: must be at least 2", c.Images)
		}
		eval := c.Eval
		eval.Projections = 1 // which are of mixtures alone
		return eval.Validate()
	}
	if err := c.Family.Validate(); err != nil {
		return err
	}
	return c.Eval.Validate()
}

// Run trains and judges.
func (l *LossBench) Run(ctx context.Context, b compute.Backend, c LossCell, o RunOptions) (LossRow, error) {
	row := LossRow{Test: "losses", On: c.on(), Loss: string(c.Loss), Distillation: string(c.Distillation), Seed: c.Seed, Steps: c.Steps}
	if err := c.Validate(); err != nil {
		return row, err
	}
	if c.Family == nil {
		problem, err := l.Problem()
		if err == nil && problem != c.Problem {
			err = fmt.Errorf("the cell is of other images, or of another judge: %q, here %q", c.Problem, problem)
		}
		if err != nil {
			return row, err
		}
	}
	err := l.train(ctx, b, c, o, &row)
	if row.Diverged = onlyNonFinite(err); row.Diverged {
		return row, nil
	}
	return row, err
}

// train trains and, where there is a row, judges.
func (l *LossBench) train(ctx context.Context, b compute.Backend, c LossCell, o RunOptions, row *LossRow) error {
	if c.Family == nil {
		return l.trainDigits(ctx, b, c, o, row)
	}
	law, err := c.Family.Mixture()
	if err != nil {
		return err
	}
	e, err := NewGMM(stressMap(law, c.Variant, c.Width, c.Depth, c.Steps, c.Seed))
	if err != nil {
		return err
	}
	if row == nil {
		_, err := e.Train(ctx, b, o)
		return err
	}
	posterior, seconds, err := e.trainAndJudge(ctx, b, o, c.Eval, nil)
	row.Seconds = seconds
	for _, p := range posterior {
		row.MeanExcess += p.Excess / float64(len(posterior))
		row.WorstExcess = max(row.WorstExcess, p.Excess)
	}
	return err
}

func (l *LossBench) trainDigits(ctx context.Context, b compute.Backend, c LossCell, o RunOptions, row *LossRow) error {
	if l.Images == nil || l.HeldOut == nil || l.Judge == nil || l.Noised == nil {
		return fmt.Errorf("losses on digits need images and two judges")
	}
	config := DefaultDigitsConfig()
	config.Train.Steps, config.Train.Seed = c.Steps, c.Seed
	config.Train.Optimizer.Warmup = min(config.Train.Optimizer.Warmup, int(c.Steps/4))
	setLoss(&config.Train, c.Loss, c.Distillation)
	e, err := newDigits(config, l.Images, func() (mfm.Parametrization, error) {
		if l.digits != nil {
			return l.digits.Map.Parametrization, nil
		}
		return config.parametrization(l.Images)
	})
	if err != nil {
		return err
	}
	l.digits = e
	began := time.Now()
	store, err := e.Train(ctx, b, o)
	if err != nil || row == nil {
		return err
	}
	row.Seconds = trainingSeconds(o.Dir, began)
	sampler, err := mfm.NewSampler(b, store, train.WeightsScope, e.Map, e.Shape(), mfm.DefaultSamplerConfig())
	if err != nil {
		return err
	}
	defer sampler.Finalize()
	samples, err := sampler.Unconditional(ctx, c.Seed, c.Images, nil)
	if err != nil {
		return err
	}
	if !finite(samples) {
		return errNotFinite
	}
	if err := l.distances(samples, row); err != nil {
		return err
	}
	for _, t := range c.Eval.Times {
		classes, err := e.Classes(ctx, sampler, l.Judge, l.Noised, l.HeldOut, t, c.Eval.Contexts, c.Eval.Samples, int64(c.Eval.Seed))
		if err != nil {
			return err
		}
		row.Classes = append(row.Classes, classes)
	}
	return nil
}

// distances fills in what the judge sees of samples at t = 0.
func (l *LossBench) distances(samples []float32, row *LossRow) error {
	moments := func(images []float32) (metric.Moments, [][]float64, error) {
		probabilities, features, err := l.Judge.Evaluate(images, 1)
		if err != nil {
			return metric.Moments{}, nil, err
		}
		m, err := metric.NewMoments(features, nil)
		return m, probabilities, err
	}
	own, probabilities, err := moments(samples)
	if err != nil {
		return err
	}
	for i, class := range likeliest(probabilities) {
		if probabilities[i][class] > 0.9 {
			row.Confident += 1 / float64(len(probabilities))
		}
	}
	held, _, err := moments(l.HeldOut.Float32())
	if err != nil {
		return err
	}
	if row.Distance, err = metric.Frechet(own, held); err != nil {
		return err
	}
	real, _, err := moments(spaced(l.Images, min(len(probabilities), l.Images.N)))
	if err != nil {
		return err
	}
	row.DistanceFloor, err = metric.Frechet(real, held)
	return err
}
