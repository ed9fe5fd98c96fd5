package image

import (
	"context"
	"fmt"

	"github.com/gomlx/compute"

	"github.com/gomfm/gomfm/data"
	"github.com/gomfm/gomfm/mfm/diagnose"
	"github.com/gomfm/gomfm/mfm/experiment/report"
	"github.com/gomfm/gomfm/mfm/experiment/run"
	"github.com/gomfm/gomfm/mfm/experiment/tuning"
	"github.com/gomfm/gomfm/mfm/steer"
)

// Diagnose evaluates the map of the run in dir on the first of the held-out images, and adds what o
// asks for: a steered run and the monitors of a tuning. There is no reference drift: the map should
// not equal its teacher, the drift of the empirical distribution. A map with
// classes is evaluated given the class of each image.
func Diagnose(ctx context.Context, b compute.Backend, dir string, images, heldOut *data.Images, o report.Options) (
	*diagnose.Report, error) {
	if err := o.Config.Validate(); err != nil {
		return nil, err
	}
	e, store, err := Open(dir, images)
	if err != nil {
		return nil, err
	}
	subject := diagnose.Subject{
		Model: e.Model(store), Data: heldOut.Float32(),
	}
	if subject.Model.Classes > 0 {
		subject.Class = heldOut.Labels
	}
	if err := e.restrict(&subject, o); err != nil {
		return nil, err
	}
	out, err := diagnose.Map(ctx, b, subject, o.Config)
	if err != nil {
		return nil, err
	}
	if o.Reward == nil {
		if o.Tuned != "" {
			return nil, fmt.Errorf("run %s: give the reward that it was tuned to, which determines its target", o.Tuned)
		}
		return out, nil
	}
	config := SteeringConfig{Map: dir, Reward: o.Reward, Evaluator: o.Evaluator, Second: o.Second}
	s, err := NewSteering(b, config, images)
	if err != nil {
		return nil, err
	}
	c := report.Steered(25, 16)
	c.Class, c.Guidance, c.GuidePosterior = o.Class, o.Guidance, o.Guidance != 0
	if err := s.Check(c); err != nil {
		return nil, err
	}
	_, steered, err := s.Draw(ctx, b, c)
	if err != nil {
		return nil, err
	}
	out.AddSteering(steered.Series, steer.DefaultThresholds(), c.N)
	if o.Tuned == "" {
		return out, nil
	}
	var manifest tuningManifest
	if _, err := run.ReadConfig(o.Tuned, &manifest, kindTuned); err != nil {
		return nil, err
	}
	if manifest.Fingerprint != s.Fingerprint {
		return nil, fmt.Errorf("run %s was tuned from another map, or to another reward", o.Tuned)
	}
	evaluations, err := tuning.ReadEvaluations(o.Tuned)
	if err != nil {
		return nil, err
	}
	target, err := s.target(manifest.Tune.Lambda, manifest.Class)
	if err != nil {
		return nil, fmt.Errorf("run %s: %w", o.Tuned, err)
	}
	out.AddTuning(evaluations, target)
	return out, nil
}

// restrict leaves to a subject the images of a class and guides its map, if o asks for it.
func (e *Experiment) restrict(subject *diagnose.Subject, o report.Options) (err error) {
	if err := e.Config.CheckCondition(o.Class, o.Guidance); err != nil {
		return err
	}
	if o.Class != nil {
		all, labels := subject.Data, subject.Class
		subject.Data, subject.Class = nil, nil
		size := subject.Model.Elements()
		for i, label := range labels {
			if int(label) == *o.Class {
				subject.Data, subject.Class = append(subject.Data, all[i*size:(i+1)*size]...),
					append(subject.Class, label)
			}
		}
	}
	if o.Guidance != 0 {
		subject.Model, err = subject.Model.Guided(o.Guidance)
	}
	return err
}

// DefaultDiagnosis is a diagnosis of a map of images, whose network is large: 8 contexts with 16
// posterior samples each, 8 steps of the ODE, and residuals on a grid of 4.
func DefaultDiagnosis() diagnose.Config {
	c := diagnose.DefaultConfig()
	c.Contexts, c.Draws, c.Steps, c.Grid = 8, 16, 8, 4
	return c
}
