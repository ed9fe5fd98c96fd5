package image

import (
	"context"
	"fmt"

	"github.com/gomlx/compute"

	"github.com/gomfm/gomfm/data"
	"github.com/gomfm/gomfm/mfm/diagnose"
	"github.com/gomfm/gomfm/mfm/experiment/report"
	"github.com/gomfm/gomfm/mfm/experiment/run"
	"github.com/gomfm/gomfm/mfm/experiment/steering"
	"github.com/gomfm/gomfm/mfm/experiment/tuning"
	"github.com/gomfm/gomfm/mfm/steer"
	"github.com/gomfm/gomfm/mfm/tune"
)

// Diagnose evaluates the map of the run in dir on o.Contexts of the held-out images, or all of
// fewer, and adds what o asks for: a steered run and the monitors of a tuning. There is no
// reference drift: the map should not equal its teacher, the drift of the empirical distribution. A
// map with classes is evaluated given the class of each image.
func Diagnose(ctx context.Context, b compute.Backend, dir string, images, heldOut *data.Images, o report.Options) (
	*diagnose.Report, error) {
	d, err := newDiagnosis(b, dir, images, heldOut, o)
	if err != nil {
		return nil, report.InvalidError{Err: err}
	}
	n := len(d.subject.Data) / d.subject.Model.Elements()
	if n < 2 {
		return nil, report.InvalidError{Err: fmt.Errorf("%d held-out images to evaluate the map on: at least 2 are needed", n)}
	}
	o.Contexts = min(o.Contexts, n)
	out, err := diagnose.Map(ctx, b, d.subject, o.Config)
	if err != nil || d.steering == nil {
		return out, err
	}
	_, steered, err := d.steering.Draw(ctx, b, d.setting)
	if err != nil {
		return nil, err
	}
	out.AddSteering(steered.Series, steer.DefaultThresholds(), d.setting.N)
	out.AddReward(d.steering.RewardWarning(d.setting.Config.Lambda), steering.RewardRemedy)
	if o.Tuned != "" {
		out.AddTuning(d.evaluations, d.target)
	}
	return out, nil
}

// diagnosis is what a report needs.
type diagnosis struct {
	subject     diagnose.Subject
	steering    *Steering // nil without a reward
	setting     steering.Setting
	evaluations []tune.Evaluation // of the tuned drift
	target      tune.Target
}

// newDiagnosis checks the options of a report and opens what they name.
func newDiagnosis(b compute.Backend, dir string, images, heldOut *data.Images, o report.Options) (
	d diagnosis, err error) {
	if err := o.Config.Validate(); err != nil {
		return d, err
	}
	if o.Reward == nil && o.Tuned != "" {
		return d, fmt.Errorf("run %s: give the reward that it was tuned to, which determines its target", o.Tuned)
	}
	e, store, err := Open(dir, images)
	if err != nil {
		return d, err
	}
	d.subject = diagnose.Subject{Model: e.Model(store), Data: heldOut.Float32()}
	if d.subject.Model.Classes > 0 {
		d.subject.Class = heldOut.Labels
	}
	if err := e.restrict(&d.subject, o); err != nil {
		return d, err
	}
	size := d.subject.Model.Elements()
	if o.Contexts < len(d.subject.Data)/size { // images may be in the order of their classes
		d.subject.Data, d.subject.Class = spaced(d.subject.Data, d.subject.Class, size, o.Contexts)
	}
	if o.Reward == nil {
		return d, nil
	}
	config := SteeringConfig{
		Map: dir, Reward: o.Reward, HeldOut: heldOut, Evaluator: o.Evaluator, Second: o.Second,
	}
	if d.steering, err = NewSteering(b, config, images); err != nil {
		return d, err
	}
	d.setting = report.Steered(25, 16)
	d.setting.Class, d.setting.Guidance, d.setting.GuidePosterior = o.Class, o.Guidance, o.Guidance != 0
	if err := d.steering.Check(d.setting); err != nil || o.Tuned == "" {
		return d, err
	}
	var manifest tuningManifest
	if _, err := run.ReadConfig(o.Tuned, &manifest, kindTuned); err != nil {
		return d, err
	}
	if manifest.Fingerprint != d.steering.Fingerprint {
		return d, fmt.Errorf("run %s was tuned from another map, or to another reward", o.Tuned)
	}
	if d.evaluations, err = tuning.ReadEvaluations(o.Tuned); err != nil {
		return d, err
	}
	if d.target, err = d.steering.target(manifest.Tune.Lambda, manifest.Class); err != nil {
		return d, fmt.Errorf("run %s: %w", o.Tuned, err)
	}
	return d, nil
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
	c.Contexts, c.Samples, c.Steps, c.Grid = 8, 16, 8, 4
	return c
}
