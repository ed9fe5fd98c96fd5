package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/gomlx/compute"

	"github.com/gomfm/gomfm/mfm/experiment"
	"github.com/gomfm/gomfm/mfm/progress"
)

// trainFlags are the flags of every training.
type trainFlags struct {
	*flags
	out   *string
	init  *string
	every *int64
	keep  *int
}

func newTrainFlags(name string) trainFlags {
	f := newFlags(name).withBackend().withJSON()
	return trainFlags{
		flags: f,
		out:   f.String("out", "", "`folder` of the run, which goes on where it was interrupted (required)"),
		init:  f.String("init", "", "`folder` of a finished run with the same network, whose weights to begin with"),
		every: f.Int64("every", 0, "steps between checkpoints, a `number` (default: a twentieth of all)"),
		keep:  f.Int("keep", 2, "`number` of newest checkpoints that stay"),
	}
}

func (f trainFlags) check() error {
	switch {
	case *f.out == "":
		return invalidf("--out is missing: name the folder of the run")
	case *f.every < 0:
		return invalidf("--every = %d: must not be negative", *f.every)
	case *f.keep < 1:
		return invalidf("--keep = %d: must be at least 1", *f.keep)
	}
	return nil
}

func trainGMM(ctx context.Context, s *shell, args []string) error {
	f := newTrainFlags("train gmm")
	c := f.withGMM("train gmm")
	if _, err := f.parse(s, args); err != nil {
		return err
	}
	e, err := c.experiment()
	if err != nil {
		return err
	}
	return f.train(ctx, s, experiment.KindGMM, e.Config, c.line(), "", func(b compute.Backend, o experiment.RunOptions) error {
		_, err := e.Train(ctx, b, o)
		return err
	})
}

func trainDigits(ctx context.Context, s *shell, args []string) error {
	f := newTrainFlags("train digits")
	c := f.withDigits("train digits")
	if _, err := f.parse(s, args); err != nil {
		return err
	}
	config, err := c.digits()
	if err != nil {
		return err
	}
	images, err := c.images()
	if err != nil {
		return err
	}
	e, err := experiment.NewDigits(config, images)
	if err != nil {
		return invalid{err}
	}
	return f.train(ctx, s, experiment.KindDigits, e.Config, c.line(), c.folder(), func(b compute.Backend, o experiment.RunOptions) error {
		_, err := e.Train(ctx, b, o)
		return err
	})
}

func trainClassifier(ctx context.Context, s *shell, args []string) error {
	f := newTrainFlags("train classifier")
	c := f.withClassifier("train classifier")
	if _, err := f.parse(s, args); err != nil {
		return err
	}
	config, err := c.classifier()
	if err != nil {
		return err
	}
	if err := config.Validate(); err != nil {
		return invalid{err}
	}
	images, err := c.images()
	if err != nil {
		return err
	}
	if err := config.CheckLabels(images); err != nil {
		return invalid{err}
	}
	return f.train(ctx, s, experiment.KindClassifier, config, c.line(), c.folder(), func(b compute.Backend, o experiment.RunOptions) error {
		_, err := experiment.TrainClassifier(ctx, b, config, images, o)
		return err
	})
}

// train carries out a training that flags and configuration allow, and says how it ended.
func (f trainFlags) train(ctx context.Context, s *shell, kind string, config any, line, data string, work func(compute.Backend, experiment.RunOptions) error) error {
	if err := f.check(); err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(*f.out, "config.json")); *f.init != "" && err != nil { // a run that has begun goes on without it
		if err := experiment.CheckInit(*f.init, kind, config); err != nil {
			return invalid{err}
		}
	}
	b, err := f.open(s)
	if err != nil {
		return err
	}
	defer b.Finalize()
	if *f.init != "" {
		line += " --init " + quote(*f.init)
	}
	err = work(b, experiment.RunOptions{Dir: *f.out, Command: line, Data: data, Init: *f.init, Every: *f.every, Keep: *f.keep, Sink: progress.Auto(s.stderr), Problem: s.warn})
	switch {
	case errors.Is(err, experiment.ErrOtherRun):
		return invalid{err}
	case err != nil && ctx.Err() != nil:
		if err := besides(err, context.Cause(ctx)); err != nil {
			return fmt.Errorf("stopped, but %w: the same command goes on from the last checkpoint in %s", err, *f.out)
		}
		return fmt.Errorf("stopped, everything is kept in %s: the same command goes on from there", *f.out)
	case err != nil:
		return err
	}
	return f.report(s)
}

// besides returns what an error holds besides the cause for which a context ended, nil where that is all.
func besides(err, cause error) error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var rest []error
		for _, e := range joined.Unwrap() {
			rest = append(rest, besides(e, cause))
		}
		return errors.Join(rest...)
	}
	if inner := errors.Unwrap(err); err == cause || inner != nil && besides(inner, cause) == nil {
		return nil
	}
	return err
}

// report says what came of a training.
func (f trainFlags) report(s *shell) error {
	log, err := experiment.ReadLog(*f.out)
	if err != nil {
		return err
	}
	last := log[len(log)-1]
	if *f.json {
		return writeJSON(s.stdout, struct {
			Out string `json:"out"`
			experiment.LogEntry
		}{*f.out, last})
	}
	fmt.Fprintf(s.stdout, "%s: %d steps in %.0f s, loss %.4g\n", *f.out, last.Step, last.Seconds, last.Loss)
	return nil
}
