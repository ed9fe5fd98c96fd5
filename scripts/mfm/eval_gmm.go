package main

import (
	"context"
	"fmt"
	"text/tabwriter"

	"github.com/gomfm/gomfm/mfm/experiment"
	"github.com/gomfm/gomfm/mfm/train"
)

func evalGMM(ctx context.Context, s *shell, args []string) error {
	f := newSamplerFlags("eval gmm")
	var judge settings
	judge.add(f.flags,
		option{name: "times", path: "times", usage: "`t` of the contexts, numbers in [0, 1) separated by commas", read: list},
		option{name: "contexts", path: "contexts", usage: "`number` of random x_t at each t"},
		option{name: "samples", path: "samples", usage: "`number` of samples for each x_t"},
		option{name: "projections", path: "projections", usage: "`number` of directions of the sliced W2"},
		option{name: "seed", path: "seed", usage: "`seed` of contexts and exact samples"},
	)
	if _, err := f.parse(s, args); err != nil {
		return err
	}
	config, err := f.config()
	if err != nil {
		return err
	}
	evaluation := experiment.DefaultEvaluateConfig()
	if err := judge.apply(&evaluation); err != nil {
		return invalid{err}
	}
	if err := evaluation.Validate(); err != nil {
		return invalid{err}
	}
	f.warn(s)
	e, store, err := experiment.OpenGMM(*f.checkpoint)
	if err != nil {
		return invalid{err}
	}
	if store, err = f.weights(store); err != nil {
		return err
	}
	b, err := f.open(s)
	if err != nil {
		return err
	}
	defer b.Finalize()
	draw, err := e.Drawer(b, store, train.WeightsScope, config)
	if err != nil {
		return invalid{err}
	}
	rows, err := e.Evaluate(ctx, draw, evaluation)
	if err != nil {
		return err
	}
	if *f.json {
		return writeJSON(s.stdout, rows)
	}
	return printPosterior(s, rows)
}

func printPosterior(s *shell, rows []experiment.PosteriorRow) error {
	w := tabwriter.NewWriter(s.stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(w, "%s, %s, seed %d\n", rows[0].Loss, rows[0].Distillation, rows[0].Seed)
	fmt.Fprintln(w, "t\tsw2\tfloor\tspread\texcess\tdiversity\t")
	for _, r := range rows {
		fmt.Fprintf(w, "%g\t%.4f\t%.4f\t%.4f\t%.4f\t%.4f\t\n", r.T, r.SW2, r.Floor, r.Spread, r.Excess, r.Diversity)
	}
	return w.Flush()
}
