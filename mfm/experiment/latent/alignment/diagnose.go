package alignment

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"

	"github.com/gomlx/compute"

	"github.com/gomfm/gomfm/mfm/diagnose"
	"github.com/gomfm/gomfm/mfm/experiment/latent"
	"github.com/gomfm/gomfm/mfm/experiment/report"
	"github.com/gomfm/gomfm/mfm/experiment/steering"
	"github.com/gomfm/gomfm/mfm/experiment/tuning"
	"github.com/gomfm/gomfm/mfm/steer"
	"github.com/gomfm/gomfm/mfm/tune"
)

// Diagnose evaluates the map of the run, or of the release, in dir on latents of random held-out
// pictures, see [latent.Diagnose], and adds what o asks for: a steered run of samples without a
// class, and the monitors of a tuning, whose target is not known. The map is neither guided nor
// restricted to a class. Errors in o or in what it names are of type [report.InvalidError].
func Diagnose(ctx context.Context, b compute.Backend, dir string, heldOut latent.Pictures, o report.Options) (
	*diagnose.Report, error) {
	d, err := newDiagnosis(b, dir, o)
	if err == nil && heldOut.Len() < 2 {
		err = fmt.Errorf("%d held-out pictures to evaluate the map on: at least 2 are needed", heldOut.Len())
	}
	if err != nil {
		return nil, report.InvalidError{Err: err}
	}
	if d.model != nil {
		defer d.model.Finalize()
	}
	o.Contexts = min(o.Contexts, heldOut.Len())
	out, err := latent.Diagnose(ctx, b, dir, heldOut, o.Config)
	if err != nil {
		return nil, err
	}
	if s := d.steering; s != nil {
		defer s.Finalize()
		c := steeredRun()
		s.running = ctx
		_, steered, err := s.Draw(ctx, b, c, nil, rand.New(rand.NewPCG(uint64(c.Seed), 6)))
		if err != nil {
			return nil, err
		}
		out.AddSteering(steered.Series, steer.DefaultThresholds(), c.N)
		out.AddReward(s.RewardWarning(c.Config.Lambda), steering.RewardRemedy)
	}
	if o.Tuned != "" {
		out.AddTuning(d.evaluations, tune.Target{})
	}
	return out, nil
}

// steeredRun is the steered run of a report.
func steeredRun() steering.Setting { return report.Steered(25, 16) }

// diagnosis is what a report needs besides the map.
type diagnosis struct {
	model       *Model            // nil without a reward and a tuned drift
	steering    *Steering         // nil without a reward
	evaluations []tune.Evaluation // of the tuned drift
}

// newDiagnosis checks the options of a report and opens what they name.
func newDiagnosis(b compute.Backend, dir string, o report.Options) (d diagnosis, err error) {
	switch {
	case o.Class != nil || o.Guidance != 0:
		return d, errors.New("a class or guidance: the map of latents is evaluated with the classes of the pictures alone")
	case o.Evaluator != "" || o.Second != "":
		return d, errors.New("an evaluator: the report has no distances of pictures")
	}
	if err := o.Config.Validate(); err != nil || o.Reward == nil && o.Tuned == "" {
		return d, err
	}
	if d.model, err = Open(b, Config{Map: dir}); err != nil {
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
