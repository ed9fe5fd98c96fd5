package alignment

import (
	"context"
	"errors"
	"math/rand/v2"

	"github.com/gomlx/compute"

	"github.com/gomfm/gomfm/data"
	"github.com/gomfm/gomfm/mfm/diagnose"
	"github.com/gomfm/gomfm/mfm/experiment/latent"
	"github.com/gomfm/gomfm/mfm/experiment/report"
	"github.com/gomfm/gomfm/mfm/experiment/steering"
	"github.com/gomfm/gomfm/mfm/experiment/tuning"
	"github.com/gomfm/gomfm/mfm/steer"
	"github.com/gomfm/gomfm/mfm/tune"
)

// Diagnose evaluates the map of the run, or of the release, in dir on held-out images as
// [latent.Generator.Diagnose] does, and adds what o asks for: a steered run of samples without a
// class, and the monitors of a tuning, whose target is not known. A map that was trained on classes
// with guidance alone has that guidance; there is no other, and no restriction to a class. Errors
// in o or in what it names are of type [report.InvalidError].
func Diagnose(ctx context.Context, b compute.Backend, dir string, heldOut *data.Images, o report.Options) (
	*diagnose.Report, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	d, err := newDiagnosis(b, dir, heldOut, o)
	defer d.finalize()
	if err != nil {
		return nil, report.InvalidError{Err: err}
	}
	out, err := d.generator.Diagnose(ctx, heldOut, o.Config)
	if err != nil {
		return nil, err
	}
	if s := d.steering; s != nil {
		c := steeredRun()
		s.running = ctx
		_, steered, err := s.Draw(ctx, b, c, nil, rand.New(rand.NewPCG(uint64(c.Seed), 6)))
		if err != nil {
			return nil, err
		}
		out.AddSteering(steered.Series, steer.DefaultThresholds(), c.N)
	}
	if o.Tuned != "" {
		out.AddTuning(d.evaluations, tune.Target{})
	}
	return out, nil
}

// steeredRun is the steered run of a report.
func steeredRun() steering.Setting { return report.Steered(25, 16) }

// diagnosis is what a report needs.
type diagnosis struct {
	model       *Model
	generator   *latent.Generator // of the same map
	steering    *Steering         // nil without a reward
	evaluations []tune.Evaluation // of the tuned drift
}

// finalize frees the compiled graphs.
func (d diagnosis) finalize() {
	if d.steering != nil {
		d.steering.Finalize()
	}
	if d.generator != nil {
		d.generator.Finalize()
	}
	if d.model != nil {
		d.model.Finalize()
	}
}

// newDiagnosis checks the options of a report and opens what they name. What it has opened is also
// returned with an error.
func newDiagnosis(b compute.Backend, dir string, heldOut *data.Images, o report.Options) (d diagnosis, err error) {
	switch {
	case o.Class != nil || o.Guidance != 0:
		return d, errors.New("a class or guidance: a map of latents is evaluated with the classes of the images alone")
	case o.Evaluator != "" || o.Second != "":
		return d, errors.New("an evaluator: the report on a map of latents has no distances of pictures")
	}
	if err := o.Config.Validate(); err != nil {
		return d, err
	}
	if d.model, err = Open(b, Config{Map: dir}); err != nil {
		return d, err
	}
	if d.generator, err = latent.NewGenerator(b, d.model.Model, d.model.Config, dir); err != nil {
		return d, err
	}
	if err := d.generator.CheckHeldOut(heldOut); err != nil {
		return d, err
	}
	if o.Reward != nil {
		if d.steering, err = d.model.To(b, o.Reward, nil); err != nil {
			return d, err
		}
		if err := d.steering.Check(steeredRun()); err != nil {
			return d, err
		}
	}
	if o.Tuned == "" {
		return d, nil
	}
	if _, err := d.model.OpenTuned(o.Tuned); err != nil {
		return d, err
	}
	d.evaluations, err = tuning.ReadEvaluations(o.Tuned)
	return d, err
}
