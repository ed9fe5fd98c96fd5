package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/gomlx/compute"
	"github.com/spf13/cobra"

	"github.com/gomfm/gomfm/mfm/experiment/config"
	"github.com/gomfm/gomfm/mfm/experiment/image"
	"github.com/gomfm/gomfm/mfm/experiment/run"
	"github.com/gomfm/gomfm/mfm/experiment/stress"
	"github.com/gomfm/gomfm/mfm/experiment/sweep"
)

func stressCommand() *cobra.Command {
	return group("stress", "run a stress test",
		leaf("diversity", "posteriors of random mixtures, by modes, dimension and shape",
			stressTest(stress.DiversityGrid)),
		leaf("base", "the effect of an error of the base drift on all that is built on it",
			stressTest(stress.BaseGrid)),
		leaf("manifold", "maps of data near a manifold, by parametrization", stressTest(stress.ManifoldGrid)),
		leaf("precision", "closed forms for data near a manifold in float32, toward t = 1",
			stressTest(stress.PrecisionGrid)),
		leaf("times", "samples of data near a manifold by the exact drift, by time sampling",
			stressTest(stress.TimesGrid)),
		leaf("losses", "every loss for the same time, on mixtures and on digits", stressLosses),
	)
}

// stressFlags are the flags of a stress test: a sweep of settings, each of which is all that its
// result depends on.
type stressFlags struct {
	*sweepFlags
	grid *bool
	file *string
}

func (c *command) withStress() stressFlags {
	c.withOutput()
	c.withRestart()
	return stressFlags{
		sweepFlags: c.withSweep(),
		grid:       c.Flags().Bool("grid", false, "print the settings of the test as JSON and run nothing"),
		file:       c.Flags().String("settings", "", "`file` with settings to run instead, in the format of --grid"),
	}
}

// readSettings checks the flags and reads the file of settings; without a file it returns nil.
func readSettings[S interface{ Validate() error }](f stressFlags) (settings []S, err error) {
	if err := f.parse(!*f.grid); err != nil || *f.file == "" {
		return nil, err
	}
	raw, err := config.ReadFile(*f.file)
	if err == nil {
		err = config.Merge(&settings, raw)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", *f.file, err)
	}
	if len(settings) == 0 {
		return nil, fmt.Errorf("%s has no settings", *f.file)
	}
	for i, s := range settings {
		if err := s.Validate(); err != nil && !*f.grid {
			return nil, fmt.Errorf("setting %d: %w", i+1, err)
		}
	}
	return settings, nil
}

// runSettings runs settings and prints their results as JSON.
func runSettings[S, R any](
	ctx context.Context, f stressFlags, settings []S, do func(ctx context.Context, s S, o run.Options) (R, error),
) error {
	results, err := sweep.Run(ctx, f.Sweep, settings, func(ctx context.Context, s S) (r R, err error) {
		name, err := sweep.Name(s)
		if err != nil {
			return r, err
		}
		return do(ctx, s, f.c.options(filepath.Join(f.Dir, "run-"+name)))
	})
	if err != nil {
		return err
	}
	return f.c.writeJSON(results, "")
}

// stressTest returns the builder of a test whose settings run by themselves.
func stressTest[S interface {
	Validate() error
	Run(ctx context.Context, b compute.Backend, o run.Options) (R, error)
}, R any](grid func() []S) builder {
	return func(c *command) prepare {
		f := c.withStress()
		return func() (work, error) {
			settings, err := readSettings[S](f)
			if settings == nil {
				settings = grid()
			}
			if *f.grid {
				c.backendName = nil // nothing runs
				return func(context.Context, compute.Backend) error { return c.writeJSON(settings, " ") }, err
			}
			return func(ctx context.Context, b compute.Backend) error {
				return runSettings(ctx, f, settings, func(ctx context.Context, s S, o run.Options) (R, error) {
					return s.Run(ctx, b, o)
				})
			}, err
		}
	}
}

// stressLosses compares losses in equal time.
func stressLosses(c *command) prepare {
	f := c.withStress()
	set := c.withSettings(
		option{name: "mixture", path: "mixture", usage: "`seconds` of a training on a family of mixtures; 0 for none"},
		option{name: "digits", path: "digits", usage: "`seconds` of a training on digits; 0 for none"},
		option{name: "seeds", path: "seeds", usage: "`number` of seeds"},
	)
	checkpoint := c.Flags().String("checkpoint", "",
		"`folder` of a run with the images of the digits (required for digits)")
	evaluator := c.Flags().String("evaluator", "",
		"`folder` of the run of the classifier that evaluates digits (required for digits)")
	noised := c.Flags().String("noised", "",
		"`folder` of the run of a classifier of noised digits (required for digits)")
	ratesFile := c.Flags().String("rates", "", "`file` of steps per second for each loss, which determine its steps; "+
		"missing rates are measured, which needs an idle machine, and added (default: rates.json in --out)")
	return func() (work, error) {
		settings, err := readSettings[stress.LossSetting](f)
		budget := stress.DefaultLossBudget()
		if err = cmp.Or(err, set.apply(&budget)); err == nil {
			err = budget.Validate()
		}
		if err != nil {
			return nil, err
		}
		required := settings == nil && budget.Digits > 0
		if *checkpoint+*evaluator+*noised != "" || required {
			if *checkpoint == "" || *evaluator == "" || *noised == "" {
				return nil, fmt.Errorf("of --checkpoint, --evaluator and --noised one is missing: " +
					"name folders of runs, or give --digits 0 and none of them")
			}
		}
		if *ratesFile == "" {
			if f.Dir == "" && settings == nil {
				return nil, fmt.Errorf("--rates is missing: name a file of rates, or --out")
			}
			*ratesFile = filepath.Join(f.Dir, "rates.json")
		}
		return func(ctx context.Context, b compute.Backend) error {
			bench := &stress.LossBench{}
			if *checkpoint != "" {
				if bench, err = openLossBench(b, *checkpoint, *evaluator, *noised); err != nil {
					return invalid{err}
				}
			}
			if settings == nil {
				if settings, err = c.lossGrid(ctx, b, bench, budget, *ratesFile, *f.grid); err != nil {
					return err
				}
			}
			if *f.grid {
				return c.writeJSON(settings, " ")
			}
			return runSettings(ctx, f, settings,
				func(ctx context.Context, s stress.LossSetting, o run.Options) (stress.LossResult, error) {
					return bench.Run(ctx, b, s, o)
				})
		}, nil
	}
}

// openLossBench opens what trainings on digits are evaluated with.
func openLossBench(b compute.Backend, checkpoint, evaluator, noised string) (*stress.LossBench, error) {
	bench := &stress.LossBench{}
	var err error
	if bench.Images, bench.HeldOut, err = image.OfRun(checkpoint); err != nil {
		return nil, err
	}
	shape := []int{bench.Images.Height, bench.Images.Width, bench.Images.Channels}
	if bench.Evaluator, err = image.OpenClassifier(b, evaluator, shape); err != nil {
		return nil, err
	}
	bench.Noised, err = image.OpenClassifier(b, noised, shape)
	return bench, err
}

// lossGrid returns the settings of a budget with the rates in a file. Unless known is true, it
// measures the rates that are missing and adds them to the file, so that a repeated command has the
// same settings.
func (c *command) lossGrid(
	ctx context.Context, b compute.Backend, bench *stress.LossBench, budget stress.LossBudget, path string, known bool,
) ([]stress.LossSetting, error) {
	rates := map[string]float64{}
	raw, err := config.ReadFile(path)
	if err == nil {
		err = config.Merge(&rates, raw)
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, invalid{fmt.Errorf("%s: %w: delete it to measure again", path, err)}
	}
	if n := len(rates); !known {
		fmt.Fprintln(c.ErrOrStderr(), "measuring the rates of the losses that are not known")
		if err := bench.Rates(ctx, b, budget, rates); err != nil {
			return nil, err
		}
		if len(rates) > n {
			if err := cmp.Or(os.MkdirAll(filepath.Dir(path), 0o755), run.WriteJSON(path, rates)); err != nil {
				return nil, fmt.Errorf("writing the rates: %w", err)
			}
		}
	}
	fingerprint, err := bench.Fingerprint()
	if err != nil {
		return nil, err
	}
	return budget.Grid(rates, fingerprint)
}
