package main

import (
	"cmp"
	"context"
	"errors"

	"github.com/gomlx/compute"

	"github.com/gomfm/gomfm/mfm/diagnose"
	"github.com/gomfm/gomfm/mfm/experiment/report"
	"github.com/gomfm/gomfm/mfm/experiment/run"
	"github.com/gomfm/gomfm/mfm/figure"
)

// diagnosis diagnoses the map of the run in dir; reward, if not empty, is one to which some samples
// are steered.
type diagnosis func(
	ctx context.Context, b compute.Backend, dir, reward string, o report.Options,
) (*diagnose.Report, error)

// diagnoseVerb prints and keeps a report about a task's map. open registers the flags of the task.
func diagnoseVerb(config diagnose.Config, open func(c *command) diagnosis) builder {
	return func(c *command) prepare {
		c.withOutput()
		checkpoint := c.Flags().String("checkpoint", "", "`folder` of the run whose map is diagnosed (required)")
		out := c.Flags().String("out", "",
			"`folder` for the report as JSON, text and figures (default: it is only printed)")
		reward := c.Flags().String("reward", "",
			"`reward`, as mfm steer accepts it, to which some samples are steered (default: none)")
		tuned := c.Flags().String("tuned", "", "`folder` of a drift that was tuned from the map (default: none)")
		set := c.withSettings(
			option{name: "times", path: "times", usage: "`t` of the contexts, numbers in (0, 1) separated by commas",
				read: list},
			option{name: "contexts", path: "contexts", usage: "`number` of contexts at each t"},
			option{name: "samples", path: "samples", usage: "`number` of posterior samples for each context"},
			option{name: "steps", path: "steps", usage: "`number` of steps of the ODE that they are compared with"},
			option{name: "seed", path: "seed", usage: "`seed` of contexts and noise"},
		)
		diagnose := open(c)
		return func() (work, error) {
			err := cmp.Or(c.require("name the folder of a run", "checkpoint"), checkFolder(*out), set.apply(&config))
			if err != nil {
				return nil, err
			}
			for _, dir := range []string{*checkpoint, cmp.Or(*tuned, *checkpoint)} {
				if _, err := run.ReadManifest(dir); err != nil {
					return nil, err
				}
			}
			return func(ctx context.Context, b compute.Backend) error {
				r, err := diagnose(ctx, b, *checkpoint, *reward, report.Options{Config: config, Tuned: *tuned})
				if _, unfit := errors.AsType[report.InvalidError](err); unfit {
					return invalid{err}
				}
				if err != nil {
					return err
				}
				if *out != "" {
					if err := report.Write(*out, r, figure.Notebook()); err != nil {
						return err
					}
				}
				return c.write(r, r.Text())
			}, config.Validate()
		}
	}
}
