// Command mfm trains, samples, evaluates, steers, fine-tunes and diagnoses meta flow maps. It only
// calls the packages of this module: a program or a notebook does the same with the same calls.
// `mfm help` lists its commands, `mfm train gmm -h` the flags of one, `mfm info` every default.
// `mfm completion bash` prints a script that completes commands, flags and values.
//
// Results go to standard output, as JSON with --json; the backend, progress and warnings go to
// standard error. The exit code is 0 for success, 1 for work that failed or was stopped or whose
// result cannot be written, and 2 for work that did not begin because of the arguments or of a run
// that they name, such as one whose folder is in use.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/gomlx/compute"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/gomfm/gomfm/data"
	"github.com/gomfm/gomfm/mfm/diagnose"
	"github.com/gomfm/gomfm/mfm/experiment/report"
	"github.com/gomfm/gomfm/mfm/experiment/run"
	"github.com/gomfm/gomfm/mfm/figure"
	"github.com/gomfm/gomfm/mfm/train"
	"github.com/gomfm/gomfm/scripts/mfm/internal/hugepages"
	"github.com/gomfm/gomfm/scripts/mfm/internal/stdout"
)

func main() {
	if !stdout.Closed() { // a new start would take the null device for it
		hugepages.Use()
	}
	signals := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) { // as it is under nohup
		signals = append(signals, syscall.SIGHUP)
	}
	ctx, stop := signal.NotifyContext(context.Background(), signals...)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the process at once
	patience = 500 * time.Millisecond
	var out io.Writer = os.Stdout
	if stdout.Closed() {
		out = closed{}
	}
	os.Exit(execute(ctx, os.Args[1:], out, os.Stderr))
}

// closed is a standard output that cannot be written.
type closed struct{}

func (closed) Write([]byte) (int, error) { return 0, errors.New("the standard output is closed") }

// patience is the time that a stopped command has to end by itself if nothing is left to save; 0
// means that it has all the time it needs.
var patience time.Duration

// invalid is an error in the arguments of a command.
type invalid struct{ error }

func (e invalid) Unwrap() error { return e.error }

// execute runs a command line and returns the exit code.
func execute(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	root, out := newRoot(), &output{Writer: stdout}
	root.SetOut(out)
	root.SetErr(stderr)
	checkTopics(root)
	begun := false
	root.PersistentPreRun = func(*cobra.Command, []string) { begun = true }
	root.SetArgs(doubleDashes(root, args))
	c, err := root.ExecuteContextC(ctx)
	if err == nil && out.err != nil {
		err, begun = out.err, true
	}
	if err == nil {
		return 0
	}
	damaged := errors.Is(err, train.ErrDamaged)
	if damaged && c.Flags().Lookup("restart") != nil {
		err = fmt.Errorf("%w: give --restart for that", err)
	}
	if errors.Is(err, data.ErrSize) && resizes(c) {
		err = fmt.Errorf("%w: --size HxW crops and resizes the pictures", err)
	}
	fmt.Fprintf(stderr, "%s: %s\n", c.CommandPath(), oneLine(err))
	_, wrong := errors.AsType[invalid](err)
	_, unfit := errors.AsType[*train.FitError](err)
	if wrong || unfit || damaged || errors.Is(err, run.ErrInit) || !begun {
		return 2
	}
	return 1
}

// resizes reports whether the flag size of a command is one of picture files, and whether --data
// names them.
func resizes(c *cobra.Command) bool {
	size, from := c.Flags().Lookup("size"), c.Flags().Lookup("data")
	return size != nil && from != nil && from.Value.String() != "" && !strings.HasSuffix(from.Value.String(), ".npy")
}

// formerFlags are earlier names of flags, which are accepted with their present names.
var formerFlags = map[string]string{"cells": "settings", "draws": "samples", "judge": "evaluator"}

// output is a writer that keeps its first error for the end of a command, since cobra drops those
// of help.
type output struct {
	io.Writer
	err error
}

func (o *output) Write(p []byte) (int, error) {
	if o.err == nil {
		if _, err := o.Writer.Write(p); err != nil {
			o.err = fmt.Errorf("writing the result: %w", err)
		}
	}
	return len(p), nil
}

// newRoot returns the command mfm with all others below it.
func newRoot() *cobra.Command {
	var all []*cobra.Command
	for _, v := range verbs() {
		all = append(all, v.command(tasks()))
	}
	all = append(all, stressCommand(), dataCommand(), weightsCommand(),
		leaf("parity FILE", "compare a network with reference values of its original", parity),
		leaf("bench", "measure the speed of a training step or of a steered run", bench))
	root := group("mfm", "meta flow maps", all...)
	root.Long = "mfm trains, samples, evaluates, steers, fine-tunes and diagnoses meta flow maps.\n" +
		"Each command lists its flags with -h."
	root.RunE = func(c *cobra.Command, args []string) error {
		if len(args) == 0 {
			return invalid{errors.New("no command: mfm help lists them")}
		}
		return invalid{fmt.Errorf("unknown command %q: %smfm help lists them", args[0],
			didYouMean(c.SuggestionsFor(args[0])))}
	}
	root.SilenceErrors, root.SilenceUsage = true, true
	root.SetGlobalNormalizationFunc(func(_ *pflag.FlagSet, name string) pflag.NormalizedName {
		return pflag.NormalizedName(cmp.Or(formerFlags[name], name))
	})
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		hint := ""
		if unknown, ok := errors.AsType[*pflag.NotExistError](err); ok {
			hint = didYouMean(similarFlags(c.Flags(),
				cmp.Or(unknown.GetSpecifiedShortnames(), unknown.GetSpecifiedName())))
		}
		return fmt.Errorf("%w: %s-h lists the flags", err, hint)
	})
	return root
}

// checkTopics makes the commands help and completion refuse a topic and a shell that do not exist.
func checkTopics(root *cobra.Command) {
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	for _, c := range root.Commands() {
		switch c.Name() {
		case "help":
			c.Args = func(_ *cobra.Command, topic []string) error {
				if at, rest, err := root.Find(topic); err != nil || len(rest) > 0 {
					if len(rest) == 0 {
						rest = topic
					}
					return fmt.Errorf("no help on %q: %smfm help lists the commands", rest[0], didYouMean(at.SuggestionsFor(rest[0])))
				}
				return nil
			}
		case "completion":
			c.Args, c.RunE = cobra.ArbitraryArgs, onlyBelow(c.Name(), c.Commands())
		}
	}
}

// didYouMean returns a hint with names that are similar to one that does not exist, empty if there
// are none.
func didYouMean(names []string) string {
	if len(names) == 0 {
		return ""
	}
	return fmt.Sprintf("did you mean %s? ", strings.Join(names, " or "))
}

// similarFlags returns the flags whose names are similar to the given one.
func similarFlags(flags *pflag.FlagSet, name string) []string {
	names := &cobra.Command{SuggestionsMinimumDistance: 2}
	flags.VisitAll(func(f *pflag.Flag) {
		names.AddCommand(&cobra.Command{Use: "--" + f.Name, Run: func(*cobra.Command, []string) {}})
	})
	return names.SuggestionsFor("--" + name)
}

// doubleDashes returns args with each flag -name as --name: both forms are accepted.
func doubleDashes(root *cobra.Command, args []string) []string {
	c, rest, _ := root.Find(args) // an unknown command is an error of the execution
	c.InitDefaultHelpFlag()
	out := append([]string{}, strings.Fields(c.CommandPath())[1:]...)
	for _, arg := range rest {
		name, isFlag := strings.CutPrefix(arg, "-")
		if name, _, _ = strings.Cut(name, "="); isFlag && c.Flags().Lookup(name) != nil {
			arg = "-" + arg
		}
		out = append(out, arg)
	}
	return out
}

// oneLine returns the text of an error in one line; a joined error has several.
func oneLine(err error) string {
	return strings.Join(strings.FieldsFunc(err.Error(), func(r rune) bool { return r == '\n' || r == '\r' }), "; ")
}

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

// tasks lists all tasks.
func tasks() []task {
	return []task{mixtureTask(), digitsTask(), classifierTask(), autoencoderTask(), imagenetTask(), gaussianTask(),
		pointsTask()}
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
	fid := leaf("fid [FILE]", "compare sets of pictures by the features of a network: FID, KID, precision, recall", evaluateFID)
	distill := leaf("distill", "distill a fine-tuned drift of a mixture into a map", tuneDistill)
	return []verb{
		{name: "train", about: "train a model", each: "train %s", builder: trainVerb},
		{name: "sample", about: "draw posterior samples", each: "draw posterior samples from %s",
			builder: func(t task) builder { return t.sample }},
		{name: "eval", about: "evaluate a model", each: "evaluate %s",
			builder: func(t task) builder { return t.eval }, others: []*cobra.Command{fid}},
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

// diagnosis diagnoses the map of the run in dir; reward, if not empty, is one to which some samples
// are steered.
type diagnosis func(
	ctx context.Context, b compute.Backend, dir, reward string, o report.Options,
) (*diagnose.Report, error)

// diagnoseVerb prints and keeps a report about a task's map. folder checks the folder that
// the flags name, or sets it if they name none. open registers the flags of the task.
func diagnoseVerb(config diagnose.Config, folder func(c *command, dir *string) error, open func(c *command) diagnosis) builder {
	return func(c *command) prepare {
		c.withOutput()
		checkpoint := c.Flags().String("checkpoint", "", "`folder` of the run whose map is diagnosed (required)")
		out := c.Flags().String("out", "",
			"`folder` for the report as JSON, text and figures (default: it is only printed)")
		reward := c.Flags().String("reward", "",
			"`reward`, as mfm steer accepts it, to which some samples are steered (default: none)")
		tuned := c.Flags().String("tuned", "", "`folder` of a drift that was tuned from the map, or of "+
			"the one run of mfm tune (default: none)")
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
			err := cmp.Or(folder(c, checkpoint), checkFolder(*out), set.apply(&config))
			if err != nil {
				return nil, err
			}
			if *tuned != "" {
				if *tuned, err = tunedRun(*tuned); err != nil {
					return nil, err
				}
				if _, err := run.ReadManifest(*tuned); err != nil {
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

// namedRun returns an error unless the flag --checkpoint names a run.
func namedRun(c *command, dir *string) error {
	if err := c.require("name the folder of a run", "checkpoint"); err != nil {
		return err
	}
	_, err := run.ReadManifest(*dir)
	return err
}
