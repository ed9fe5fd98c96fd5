package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/gomlx/compute"

	"github.com/gomfm/gomfm/mfm/experiment"
	"github.com/gomfm/gomfm/mfm/progress"
)

// stressFlags are the flags of a stress test: a grid of cells, each of which says all that its row depends on.
type stressFlags struct {
	*flags
	grid                      *bool
	cells, out, stored, shard *string
	only, of                  int // shard of shards
}

func newStressFlags(test string) *stressFlags {
	f := &stressFlags{flags: newFlags("stress " + test).withBackend()}
	f.grid = f.Bool("grid", false, "print the test's cells as JSON, and run nothing")
	f.cells = f.String("cells", "", "`file` with cells to run instead, as --grid prints them")
	f.out = f.String("out", "", "`folder` of the results, one file for each cell, which is never run again (required)")
	f.stored = f.String("stored", "", "`file` that mfm steer merge has printed: what is in it is not run again either")
	f.shard = f.String("shard", "", "`i/n`: of the cells only each n-th, from the i-th of 0 to n-1")
	return f
}

// parseStress reads the flags, and a file of cells where there is one.
func parseStress[C any](s *shell, f *stressFlags, args []string) (cells []C, err error) {
	if _, err := f.parse(s, args); err != nil {
		return nil, err
	}
	if *f.out == "" && !*f.grid {
		return nil, invalidf("--out is missing: name a folder")
	}
	if f.only, f.of, err = experiment.ParseShard(*f.shard); err != nil {
		return nil, invalid{err}
	}
	if *f.cells == "" {
		return nil, nil
	}
	raw, err := os.ReadFile(*f.cells)
	if err != nil {
		return nil, invalid{err}
	}
	if err := experiment.Merge(&cells, raw); err != nil {
		return nil, invalid{fmt.Errorf("%s: %w", *f.cells, err)}
	}
	if len(cells) == 0 {
		return nil, invalidf("%s has no cells", *f.cells)
	}
	return cells, nil
}

// runStress runs cells on an open backend and prints their rows as JSON.
func runStress[C, R any](ctx context.Context, s *shell, f *stressFlags, cells []C, run func(ctx context.Context, c C, o experiment.RunOptions) (R, error)) error {
	o := experiment.Cells{Dir: *f.out, Stored: *f.stored, Shard: f.only, Shards: f.of, Done: func(i, n int) { fmt.Fprintf(s.stderr, "%d of %d\n", i, n) }}
	rows, err := experiment.RunCells(ctx, o, cells, func(ctx context.Context, c C) (R, error) {
		name, err := experiment.CellName(c)
		if err != nil {
			var none R
			return none, err
		}
		return run(ctx, c, experiment.RunOptions{Dir: filepath.Join(*f.out, "run-"+name), Sink: progress.Auto(s.stderr), Problem: s.warn})
	})
	if err != nil {
		return err
	}
	return writeJSON(s.stdout, rows)
}

// checkCells returns the first cell's error.
func checkCells[C interface{ Validate() error }](cells []C) error {
	for i, c := range cells {
		if err := c.Validate(); err != nil {
			return invalid{fmt.Errorf("cell %d: %w", i+1, err)}
		}
	}
	return nil
}

// stress returns the command of a test whose cells run by themselves.
func stress[C interface {
	Validate() error
	Run(ctx context.Context, b compute.Backend, o experiment.RunOptions) (R, error)
}, R any](test string, grid func() []C) func(ctx context.Context, s *shell, args []string) error {
	return func(ctx context.Context, s *shell, args []string) error {
		f := newStressFlags(test)
		cells, err := parseStress[C](s, f, args)
		if err != nil {
			return err
		}
		if cells == nil {
			cells = grid()
		}
		if *f.grid {
			return printCells(s, cells)
		}
		if err := checkCells(cells); err != nil {
			return err
		}
		b, err := f.open(s)
		if err != nil {
			return err
		}
		defer b.Finalize()
		return runStress(ctx, s, f, cells, func(ctx context.Context, c C, o experiment.RunOptions) (R, error) { return c.Run(ctx, b, o) })
	}
}

func printCells(s *shell, cells any) error {
	raw, err := json.MarshalIndent(cells, "", " ")
	if err != nil {
		return fmt.Errorf("writing the cells: %w", err)
	}
	_, err = fmt.Fprintf(s.stdout, "%s\n", raw)
	return err
}

// ratesFile keeps the steps a second that each loss was measured at, from which its steps follow, beside the results where no other file is named.
const ratesFile = "rates.json"

// stressLosses compares losses in equal time.
func stressLosses(ctx context.Context, s *shell, args []string) error {
	f := newStressFlags("losses")
	budget := experiment.DefaultLossBudget()
	var set settings
	set.add(f.flags,
		option{name: "mixture", path: "mixture", usage: "`seconds` of a training on a family of mixtures, 0 for none"},
		option{name: "digits", path: "digits", usage: "`seconds` of one on digits, 0 for none"},
		option{name: "seeds", path: "seeds", usage: "`number` of seeds"},
	)
	checkpoint := f.String("checkpoint", "", "`folder` of a run on the images that digits are trained on (required for digits)")
	judge := f.String("judge", "", "`folder` of the run of the classifier that judges digits (required for digits)")
	noised := f.String("noised", "", "`folder` of the run of a classifier of noised digits (required for digits)")
	rates := f.String("rates", "", "`file` of steps a second of each loss, which give its steps; what it lacks is measured, on a machine that should do nothing else, and added (default: rates.json in --out)")
	cells, err := parseStress[experiment.LossCell](s, f, args)
	if err != nil {
		return err
	}
	if err := set.apply(&budget); err != nil {
		return invalid{err}
	}
	if err := errors.Join(budget.Validate(), checkCells(cells)); err != nil {
		return invalid{err}
	}
	if (*checkpoint == "") != (*judge == "") || (*judge == "") != (*noised == "") || cells == nil && budget.Digits > 0 && *checkpoint == "" {
		return invalidf("of --checkpoint, --judge and --noised one is missing: name folders of runs, or give --digits 0 and none of them")
	}
	if *rates == "" {
		if *f.out == "" && cells == nil {
			return invalidf("--rates is missing: name a file of rates, or --out")
		}
		*rates = filepath.Join(*f.out, ratesFile)
	}
	b, err := f.open(s)
	if err != nil {
		return err
	}
	defer b.Finalize()
	bench := &experiment.LossBench{}
	if *checkpoint != "" {
		if bench.Images, bench.HeldOut, err = experiment.RunImages(*checkpoint); err != nil {
			return invalid{err}
		}
		if bench.Judge, err = experiment.OpenClassifier(b, *judge, []int{bench.Images.Height, bench.Images.Width, bench.Images.Channels}); err != nil {
			return invalid{err}
		}
		if bench.Noised, err = experiment.OpenClassifier(b, *noised, []int{bench.Images.Height, bench.Images.Width, bench.Images.Channels}); err != nil {
			return invalid{err}
		}
	}
	if cells == nil {
		rates, err := lossRates(ctx, s, b, bench, budget, *rates, *f.grid)
		if err != nil {
			return err
		}
		problem, err := bench.Problem()
		if err != nil {
			return err
		}
		if cells, err = budget.Grid(rates, problem); err != nil {
			return err
		}
	}
	if *f.grid {
		return printCells(s, cells)
	}
	return runStress(ctx, s, f, cells, func(ctx context.Context, c experiment.LossCell, o experiment.RunOptions) (experiment.LossRow, error) {
		return bench.Run(ctx, b, c, o)
	})
}

// lossRates returns the rates in the file, and, unless they are only to be read, measures those that are missing and adds them: the cells, and what is done of them, depend on them.
func lossRates(ctx context.Context, s *shell, b compute.Backend, bench *experiment.LossBench, budget experiment.LossBudget, path string, only bool) (map[string]float64, error) {
	rates := map[string]float64{}
	raw, err := os.ReadFile(path)
	if err == nil {
		err = experiment.Merge(&rates, raw)
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, invalid{fmt.Errorf("%s: %w: delete it to measure again", path, err)}
	}
	if only {
		return rates, nil
	}
	known := len(rates)
	fmt.Fprintln(s.stderr, "measuring the rates of the losses that are not known")
	if err := bench.Rates(ctx, b, budget, rates); err != nil || len(rates) == known {
		return rates, err
	}
	if raw, err = json.MarshalIndent(rates, "", " "); err != nil {
		return nil, fmt.Errorf("writing the rates: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("writing the rates: %w", err)
	}
	if err := os.WriteFile(path+".new", append(raw, '\n'), 0o644); err != nil {
		return nil, fmt.Errorf("writing the rates: %w", err)
	}
	if err := os.Rename(path+".new", path); err != nil { // the file is whole at every moment
		return nil, fmt.Errorf("writing the rates: %w", err)
	}
	return rates, nil
}
