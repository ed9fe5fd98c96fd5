package mixture

import (
	"context"
	"errors"
	"math/rand/v2"

	"github.com/gomlx/compute"

	"github.com/gomfm/gomfm/mfm/diagnose"
	"github.com/gomfm/gomfm/mfm/experiment/report"
	"github.com/gomfm/gomfm/mfm/steer"
)

// Diagnose evaluates the map of the run in dir against the drift and the posteriors of its mixture,
// and adds what o asks for: a steered run and the monitors of a tuning. A distilled map has no
// reference drift, since its teacher was not the drift of the exact target.
func Diagnose(ctx context.Context, b compute.Backend, dir string, o report.Options) (*diagnose.Report, error) {
	if err := o.Config.Validate(); err != nil {
		return nil, err
	}
	if o.Class != nil || o.Guidance != 0 {
		return nil, errors.New("a class or guidance: a map of a mixture has no classes")
	}
	e, store, err := Open(dir)
	if err != nil {
		return nil, err
	}
	samples := e.Config.Mixture.Sample(rand.New(rand.NewPCG(uint64(o.Seed), 23)), o.Contexts)
	subject := diagnose.Subject{
		Model: e.Model(store),
		Data:  flatten(samples), Drift: e.Teacher(),
		Exact: func(t float64, x []float64) float64 {
			return e.Config.Mixture.Posterior(e.Map.Interpolant, t, x).Spread()
		},
	}
	if e.distilled {
		subject.Drift = nil
	}
	out, err := diagnose.Map(ctx, b, subject, o.Config)
	if err != nil {
		return nil, err
	}
	if o.Reward != nil {
		s, err := NewRewardSteering(dir, nil, o.Reward)
		if err != nil {
			return nil, err
		}
		c := report.Steered(100, 256)
		_, steered, err := s.Draw(ctx, b, c)
		if err != nil {
			return nil, err
		}
		out.AddSteering(steered.Series, steer.DefaultThresholds(), c.N)
	}
	if o.Tuned != "" {
		t, tuned, err := OpenTuning(o.Tuned, dir)
		if err != nil {
			return nil, err
		}
		out.AddTuning(tuned.Evaluations, t.Known())
	}
	return out, nil
}
