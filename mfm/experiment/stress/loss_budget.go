package stress

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"time"

	"github.com/gomlx/compute"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/experiment/mixture"
	"github.com/gomfm/gomfm/mfm/experiment/run"
	"github.com/gomfm/gomfm/mfm/train"
)

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

// windows is the number of windows of steps whose rate is measured.
const windows = 3

// rates trains a loss and yields the steps per second of each window, or an error. The first window
// begins when the training is compiled and warm; between two of them the training waits.
func (l *LossBench) rates(ctx context.Context, b compute.Backend, c LossSetting) iter.Seq2[float64, error] {
	window := int64(80)
	if c.Family == nil {
		window = 16
	}
	warm := window / 2
	c.Steps = warm + windows*window
	return func(yield func(float64, error) bool) {
		var began time.Time
		stopped := errors.New("no other window is required")
		hook := train.Hook{Step: func(_ *train.Trainer, m train.Metrics) error {
			if m.Step < warm || (m.Step-warm)%window != 0 {
				return nil
			}
			if m.Step > warm && !yield(float64(window)/time.Since(began).Seconds(), nil) {
				return stopped
			}
			began = time.Now()
			return nil
		}}
		err := l.train(ctx, b, c, run.Options{Hooks: []train.Hook{hook}}, nil)
		if err != nil && !errors.Is(err, stopped) {
			yield(0, err)
		}
	}
}

// Rates measures the steps per second of each loss on each data set of a budget, and adds those
// that rates lacks. A rate is the fastest of three windows. The losses take turns, so that other
// work on the machine does not slow down a single one. On data of which some rate is known, a loss
// with a known rate takes turns too, and what is measured is scaled to it. It returns an error of a
// training, and for a training that ends before its last window.
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
	measured, err := fastest(turns, func(c LossSetting) iter.Seq2[float64, error] { return l.rates(ctx, b, c) })
	if err != nil {
		return err
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

// fastest returns the largest rate of each setting by its name. The trainings take turns, one
// window each, and each stops after its last window, which frees its memory.
func fastest(turns []LossSetting, training func(c LossSetting) iter.Seq2[float64, error]) (map[string]float64, error) {
	measured := map[string]float64{}
	next, stop := make([]func() (float64, error, bool), len(turns)), make([]func(), len(turns))
	for i, c := range turns {
		next[i], stop[i] = iter.Pull2(training(c))
		defer stop[i]()
	}
	for window := range windows {
		for i, c := range turns {
			rate, err, more := next[i]()
			if err == nil && !more {
				err = fmt.Errorf("the training ended after %d of %d windows: report this with its settings", window, windows)
			}
			if err != nil {
				return nil, fmt.Errorf("rate of %s: %w", c.name(), err)
			}
			measured[c.name()] = max(measured[c.name()], rate)
			if window == windows-1 {
				stop[i]()
			}
		}
	}
	return measured, nil
}
