package main

import (
	"context"

	"github.com/gomfm/gomfm/mfm/experiment"
	"github.com/gomfm/gomfm/mfm/progress"
)

// tuneDistill distills a tuned drift of a mixture into a map, which the other commands take as a checkpoint.
func tuneDistill(ctx context.Context, s *shell, args []string) error {
	f := newFlags("tune distill").withBackend().withJSON()
	checkpoint := f.String("checkpoint", "", "`folder` of the tuned run (required)")
	base := f.String("base", "", "`folder` of the run whose map it was tuned from (required)")
	out := f.String("out", "", "`folder` of the map's run, which goes on where it was interrupted (required)")
	config := experiment.DefaultDistillConfig()
	var set settings
	set.add(f,
		option{name: "samples", path: "samples", usage: "`number` of samples of the tuned flow that the map learns from"},
		option{name: "sampler-steps", path: "sampler_steps", usage: "`number` of steps in which they are drawn"},
		option{name: "steps", path: "map.train.steps", usage: "`number` of training steps"},
		option{name: "batch", path: "map.train.batch", usage: "rows a step, a `number`"},
	)
	set.addSet(f, "map.network.width=128")
	if _, err := f.parse(s, args); err != nil {
		return err
	}
	for _, v := range []struct{ name, value string }{{"checkpoint", *checkpoint}, {"base", *base}, {"out", *out}} {
		if v.value == "" {
			return invalidf("--%s is missing: name a folder", v.name)
		}
	}
	if err := set.apply(&config); err != nil {
		return invalid{err}
	}
	t, tuned, err := experiment.OpenGMMTuning(*checkpoint, *base)
	if err != nil {
		return invalid{err}
	}
	b, err := f.open(s)
	if err != nil {
		return err
	}
	defer b.Finalize()
	e, draw, err := t.Distill(ctx, b, tuned, config, experiment.RunOptions{Dir: *out, Sink: progress.Auto(s.stderr), Problem: s.warn})
	if err != nil {
		return err
	}
	rows, err := e.Evaluate(ctx, draw, experiment.DefaultEvaluateConfig())
	if err != nil {
		return err
	}
	if *f.json {
		return writeJSON(s.stdout, rows)
	}
	return printPosterior(s, rows)
}
