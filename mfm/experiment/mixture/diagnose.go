package mixture

import (
	"context"
	"errors"
	"math/rand/v2"

	"github.com/gomlx/compute"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm/diagnose"
	"github.com/gomfm/gomfm/mfm/experiment/report"
	"github.com/gomfm/gomfm/mfm/experiment/steering"
	"github.com/gomfm/gomfm/mfm/experiment/tuning"
	"github.com/gomfm/gomfm/mfm/steer"
)

// Diagnose evaluates the map of the run in dir against the drift and the posteriors of its mixture,
// and adds what o asks for: a steered run and the monitors of a tuning. A distilled map has no
// reference drift, since its teacher was not the drift of the exact target.
func Diagnose(ctx context.Context, b compute.Backend, dir string, o report.Options) (*diagnose.Report, error) {
	d, err := newDiagnosis(dir, o)
	if err != nil {
		return nil, report.InvalidError{Err: err}
	}
	e, store := d.e, d.store
	samples := e.Config.Mixture.Sample(rand.New(rand.NewPCG(uint64(o.Seed), 23)), o.Contexts)
	subject := diagnose.Subject{
		Model: e.Model(store),
		Data:  flatten(samples), Drift: e.Teacher(),
		Exact: func(t float64, x []float64) float64 {
			return e.Config.Mixture.Posterior(e.Map.Interpolant, t, x).Std()
		},
	}
	if e.distilled {
		subject.Drift = nil
	}
	out, err := diagnose.Map(ctx, b, subject, o.Config)
	if err != nil {
		return nil, err
	}
	if c := steeredRun(); d.steering != nil {
		_, steered, err := d.steering.Draw(ctx, b, c)
		if err != nil {
			return nil, err
		}
		out.AddSteering(steered.Series, steer.DefaultThresholds(), c.N)
		out.AddReward(d.steering.RewardWarning(c.Config.Lambda), steering.RewardRemedy)
	}
	if d.tuning != nil {
		out.AddTuning(d.tuned.Evaluations, d.tuning.Known())
	}
	return out, nil
}

// steeredRun is the steered run of a report.
func steeredRun() steering.Setting { return report.Steered(100, 256) }

// diagnosis is what a report needs.
type diagnosis struct {
	e        *Experiment
	store    *model.Store
	steering *Steering      // nil without a reward
	tuning   *Tuning        // nil without a tuned drift
	tuned    *tuning.Result // of it
}

// newDiagnosis checks the options of a report and opens what they name.
func newDiagnosis(dir string, o report.Options) (d diagnosis, err error) {
	if err := o.Config.Validate(); err != nil {
		return d, err
	}
	if o.Class != nil || o.Guidance != 0 {
		return d, errors.New("a class or guidance: a map of a mixture has no classes")
	}
	if d.e, d.store, err = Open(dir); err != nil {
		return d, err
	}
	if o.Reward != nil {
		if d.steering, err = NewRewardSteering(dir, nil, o.Reward); err != nil {
			return d, err
		}
		if err := d.steering.Check(steeredRun()); err != nil {
			return d, err
		}
	}
	if o.Tuned != "" {
		d.tuning, d.tuned, err = OpenTuning(o.Tuned, dir)
	}
	return d, err
}
