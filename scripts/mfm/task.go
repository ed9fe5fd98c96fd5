package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

// task is a kind of model with the builders of the verbs that it supports; nil means that it does
// not.
type task struct {
	name  string // as in "mfm train gmm"
	about string // what the model is
	// train describes a training; the verb info shows its configuration.
	train func(c *command) func() (*training, error)
	// defaults returns configurations by key, for mfm info; nil for a task without training.
	defaults func(preset string) (map[string]any, error)

	sample, eval, steer, tune, diagnose builder
}

// tasks lists all tasks. Each is defined in a file of its own.
func tasks() []task {
	return []task{mixtureTask(), digitsTask(), classifierTask(), autoencoderTask(), imagenetTask(), gaussianTask()}
}

// verb is a command that works on tasks.
type verb struct {
	name, about string
	each        string // what it does with one task, a format for task.about
	builder     func(task) builder
	others      []*cobra.Command // below it, besides those of the tasks
	alone       builder          // of the verb without a task; nil means that it needs one
}

// verbs lists the commands that work on tasks.
func verbs() []verb {
	merge := leaf("merge", "merge the results of sweeps by steer, tune or stress", steerMerge)
	distill := leaf("distill", "distill a fine-tuned drift of a mixture into a map", tuneDistill)
	return []verb{
		{name: "train", about: "train a model", each: "train %s", builder: trainVerb},
		{name: "sample", about: "draw posterior samples", each: "draw posterior samples from %s",
			builder: func(t task) builder { return t.sample }},
		{name: "eval", about: "evaluate a model", each: "evaluate %s",
			builder: func(t task) builder { return t.eval }},
		{name: "steer", about: "steer samples to a reward",
			each:    "steer samples of %s to a reward, in a sweep of settings",
			builder: func(t task) builder { return t.steer }, others: []*cobra.Command{merge}},
		{name: "tune", about: "fine-tune a drift to a reward",
			each:    "fine-tune the drift of %s to a reward, in a sweep of settings",
			builder: func(t task) builder { return t.tune }, others: []*cobra.Command{distill}},
		{name: "diagnose", about: "diagnose a map", each: "diagnose %s",
			builder: func(t task) builder { return t.diagnose }},
		{name: "info", about: "show versions, backend and every default, or those of one task",
			each: "show the configuration with which train, given the same flags, trains %s", builder: infoVerb,
			alone: info},
	}
}

// command returns the verb's command.
func (v verb) command(tasks []task) *cobra.Command {
	var commands []*cobra.Command
	for _, t := range tasks {
		if build := v.builder(t); build != nil {
			commands = append(commands, leaf(t.name, fmt.Sprintf(v.each, t.about), build))
		}
	}
	commands = append(commands, v.others...)
	if v.alone == nil {
		return group(v.name, v.about, commands...)
	}
	c := leaf(v.name, v.about+": "+names(commands), v.alone)
	c.AddCommand(commands...)
	return c
}
