package main

import (
	"context"
	"fmt"

	"github.com/gomlx/compute"

	"github.com/gomfm/gomfm/mfm/diagnose"
	"github.com/gomfm/gomfm/mfm/experiment"
	"github.com/gomfm/gomfm/mfm/figure"
)

// diagnoseFlags are the flags of a look at a map.
type diagnoseFlags struct {
	*flags
	checkpoint, out, reward, tuned *string
	settings                       settings
}

func newDiagnoseFlags(command string) *diagnoseFlags {
	f := &diagnoseFlags{flags: newFlags(command).withBackend().withJSON()}
	f.checkpoint = f.String("checkpoint", "", "`folder` of the run whose map is looked at (required)")
	f.out = f.String("out", "", "`folder` for the report as JSON, text and figures (default: it is only printed)")
	f.reward = f.String("reward", "", "`name` of a reward, as mfm steer takes it, to which some samples are steered (default: none)")
	f.tuned = f.String("tuned", "", "`folder` of a drift that was tuned from the map (default: none)")
	f.settings.add(f.flags,
		option{name: "times", path: "times", usage: "`t` of the contexts, numbers in (0, 1) separated by commas", read: list},
		option{name: "contexts", path: "contexts", usage: "`number` of contexts at each t"},
		option{name: "draws", path: "draws", usage: "`number` of posterior samples for each"},
		option{name: "steps", path: "steps", usage: "`number` of steps of the ODE beside them"},
		option{name: "seed", path: "seed", usage: "`seed` of contexts and noise"},
	)
	return f
}

func diagnoseGMM(ctx context.Context, s *shell, args []string) error {
	f := newDiagnoseFlags("diagnose gmm")
	return f.run(s, args, diagnose.DefaultConfig(), func(b compute.Backend, c diagnose.Config) (*diagnose.Report, error) {
		o := experiment.DiagnoseOptions{Config: c, Tuned: *f.tuned}
		if *f.reward != "" {
			var err error
			if o.Reward, err = mixtureRewardJSON(*f.reward); err != nil {
				return nil, invalid{err}
			}
		}
		return experiment.DiagnoseGMM(ctx, b, *f.checkpoint, o)
	})
}

func diagnoseDigits(ctx context.Context, s *shell, args []string) error {
	f := newDiagnoseFlags("diagnose digits")
	folder := f.String("data", "", "`folder` of IDX files, the images that the map was trained on (default: those that the run names)")
	judge := f.String("judge", "", "`folder` of the run of a classifier of clean images, which a reward by name is made of (required with a reward)")
	second := f.String("second", "", "`folder` of the run of another one (required with a reward)")
	return f.run(s, args, experiment.DigitsDiagnosis(), func(b compute.Backend, c diagnose.Config) (*diagnose.Report, error) {
		train, heldOut, err := experiment.RunImages(*f.checkpoint)
		if *folder != "" {
			train, heldOut, err = experiment.LoadImages(*folder)
		}
		if err != nil {
			return nil, invalid{err}
		}
		o := experiment.DiagnoseOptions{Config: c, Tuned: *f.tuned, Judge: *judge, Second: *second}
		if *f.reward != "" {
			if *judge == "" || *second == "" {
				return nil, invalidf("--judge and --second are missing: a reward on images needs both")
			}
			if o.Reward, err = imageRewardJSON(*f.reward, *judge); err != nil {
				return nil, invalid{err}
			}
		}
		return experiment.DiagnoseDigits(ctx, b, *f.checkpoint, train, heldOut, o)
	})
}

// run looks, prints, and writes the report.
func (f *diagnoseFlags) run(s *shell, args []string, config diagnose.Config, look func(compute.Backend, diagnose.Config) (*diagnose.Report, error)) error {
	if _, err := f.parse(s, args); err != nil {
		return err
	}
	if *f.checkpoint == "" {
		return invalidf("--checkpoint is missing: name the folder of a run")
	}
	if err := f.settings.apply(&config); err != nil {
		return invalid{err}
	}
	if err := config.Validate(); err != nil {
		return invalid{err}
	}
	b, err := f.open(s)
	if err != nil {
		return err
	}
	defer b.Finalize()
	report, err := look(b, config)
	if err != nil {
		return err
	}
	if *f.out != "" {
		if err := experiment.WriteReport(*f.out, report, figure.Notebook()); err != nil {
			return err
		}
	}
	if *f.json {
		return writeJSON(s.stdout, report)
	}
	_, err = fmt.Fprint(s.stdout, report.Text())
	return err
}
