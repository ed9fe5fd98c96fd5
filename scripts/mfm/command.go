package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/gomlx/compute"
	"github.com/spf13/cobra"

	"github.com/gomfm/gomfm/mfm/backend"
	"github.com/gomfm/gomfm/mfm/experiment/run"
	"github.com/gomfm/gomfm/mfm/experiment/samplefile"
	"github.com/gomfm/gomfm/mfm/progress"
	"github.com/gomfm/gomfm/mfm/train"
)

// command is a command that does something.
type command struct {
	*cobra.Command
	json        bool // whether the result is written as JSON
	restart     bool // whether a training starts from zero if no checkpoint is intact
	tensorBoard bool // whether a training writes an event file
	noVerdict   bool // whether a training ends without a verdict
	// measuresCompilation is whether the result has the time of compiling, or memory that it takes.
	measuresCompilation bool
	backendName         *string
	devices             int // number of the backend's devices, 0 for that in its name
	opened              compute.Backend
	dir                 string      // folder in which its training or sweep resumes, empty for none
	unsaved             atomic.Bool // whether something is done that is saved when the work is stopped
}

// builder registers the flags of a command and returns what runs once they are parsed.
type builder func(c *command) prepare

// prepare checks the flags and opens what they name. Its error means that the work cannot begin.
type prepare func() (work, error)

// work is the work of a command, on the backend if the command has a flag for it.
type work func(ctx context.Context, b compute.Backend) error

// leaf returns the command with the given builder. use is its name, followed by the names of its
// operands, the optional ones last and in brackets.
func leaf(use, about string, build builder) *cobra.Command {
	c := &command{Command: &cobra.Command{Use: use, Short: about, SuggestionsMinimumDistance: 2}}
	operands := strings.Fields(use)[1:]
	required := operands
	if i := slices.IndexFunc(operands, func(name string) bool { return name[0] == '[' }); i >= 0 {
		required = operands[:i]
	}
	c.Args = func(_ *cobra.Command, args []string) error {
		if n := len(operands); len(args) > n {
			return fmt.Errorf("unexpected argument %q: %s-h lists the arguments", args[n],
				didYouMean(c.SuggestionsFor(args[n])))
		}
		if len(args) < len(required) {
			return fmt.Errorf("%s is missing: -h lists the arguments", strings.Join(required[len(args):], " and "))
		}
		return nil
	}
	prepare := build(c)
	c.RunE = func(*cobra.Command, []string) error {
		return c.stoppable(func() error {
			defer c.close()
			work, err := prepare()
			if err == nil && c.backendName != nil {
				_, err = c.backend()
			}
			if err != nil {
				return invalid{err}
			}
			return stopped(c.Context(), work(c.Context(), c.opened), c.dir)
		})
	}
	return c.Command
}

// stoppable does the work. Some work does not end soon after its context, such as a compilation by
// XLA. If nothing is left to save, stoppable leaves it behind then, for the process to end: files
// are replaced in one step, and so none is half written.
func (c *command) stoppable(work func() error) error {
	ctx, done := c.Context(), make(chan error, 1)
	go func() { done <- work() }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	if patience > 0 {
		select {
		case err := <-done:
			return err
		case <-time.After(patience):
			if !c.unsaved.Load() {
				return stopped(ctx, fmt.Errorf("stopped: %w", context.Cause(ctx)), c.dir)
			}
		}
	}
	return <-done
}

// group returns a command that only has others below it.
func group(name, about string, commands ...*cobra.Command) *cobra.Command {
	g := &cobra.Command{
		Use: name, Short: about + ": " + names(commands), SuggestionsMinimumDistance: 2, DisableFlagsInUseLine: true,
		Args: cobra.ArbitraryArgs, FParseErrWhitelist: cobra.FParseErrWhitelist{UnknownFlags: true},
		RunE: onlyBelow(name, commands),
	}
	g.AddCommand(commands...)
	return g
}

// onlyBelow returns the run of a command that does nothing without one of the commands below it.
func onlyBelow(name string, commands []*cobra.Command) func(c *cobra.Command, args []string) error {
	return func(c *cobra.Command, args []string) error {
		if len(args) == 0 {
			return invalid{fmt.Errorf("%s what? It takes %s", name, names(commands))}
		}
		hint := didYouMean(c.SuggestionsFor(args[0]))
		return invalid{fmt.Errorf("unknown command \"%s %s\": %s%[1]s takes %[4]s", name, args[0], hint, names(commands))}
	}
}

// names returns the names of commands, separated by commas.
func names(commands []*cobra.Command) string {
	var all []string
	for _, c := range commands {
		all = append(all, c.Name())
	}
	return strings.Join(all, ", ")
}

// withJSON adds the flag for a result that programs read.
func (c *command) withJSON() { c.Flags().BoolVar(&c.json, "json", false, "write the result as JSON") }

// withOutput adds the flags that choose the backend, its devices and the form of the result.
func (c *command) withOutput() {
	c.backendName = c.Flags().String("backend", "", "`name` of the backend: xla:cpu, xla:cuda or go "+
		"(default: $GOMLX_BACKEND, or else XLA if there is a plugin)")
	c.Flags().IntVar(&c.devices, "devices", 0, "`number` of devices that share the batches of a training and "+
		"posterior samples: GPUs of xla:cuda, or virtual ones of xla:cpu (default: 1)")
	c.withJSON()
}

// complete offers values of a flag to the shell; in a list they are separated by commas.
func (c *command) complete(flag string, list bool, values ...string) {
	directive := cobra.ShellCompDirectiveNoFileComp
	if list {
		directive |= cobra.ShellCompDirectiveNoSpace
	}
	_ = c.RegisterFlagCompletionFunc(flag, func(
		_ *cobra.Command, _ []string, typed string,
	) (out []string, _ cobra.ShellCompDirective) {
		for _, v := range values {
			if list {
				v = typed[:strings.LastIndex(typed, ",")+1] + v
			}
			out = append(out, v)
		}
		return out, directive
	}) // it fails for an unknown flag alone
}

// require returns an error for the first of the given flags that is empty.
func (c *command) require(remedy string, flags ...string) error {
	for _, name := range flags {
		if c.Flags().Lookup(name).Value.String() == "" {
			return fmt.Errorf("--%s is missing: %s", name, remedy)
		}
	}
	return nil
}

// checkFolder returns an error if dir names something that is not a folder. It need not exist.
func checkFolder(dir string) error {
	info, err := os.Stat(dir)
	if errors.Is(err, syscall.ENOTDIR) || err == nil && !info.IsDir() {
		return fmt.Errorf("run: %s is not a folder", dir)
	}
	return nil
}

// checkSamples returns an error if no samples can be written to path; empty means that they are
// not.
func checkSamples(path string) error {
	if path == "" {
		return nil
	}
	if err := samplefile.Check(path); err != nil {
		return fmt.Errorf("--out %s: %w", quote(path), err)
	}
	return nil
}

// sampleFormats are the formats of samplefile, for usages.
const sampleFormats = "CSV, JSON, NPY, PNG or SVG `file`, by its extension, "

// backend opens the backend at its first call and reports on standard error which one it is.
func (c *command) backend() (compute.Backend, error) {
	if c.opened == nil {
		name := *c.backendName
		if c.Flags().Changed("devices") {
			name = backend.WithDevices(name, c.devices)
		}
		b, err := c.open(name)
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(c.ErrOrStderr(), "backend: %s\n", backend.Describe(b))
		if missing := backend.Missing(*c.backendName); missing != "" {
			c.warn(errors.New(missing))
		}
		c.opened = b
	}
	return c.opened, nil
}

// open opens the backend of a name. If the command measures compilation, it does not load graphs.
func (c *command) open(name string) (compute.Backend, error) {
	if c.measuresCompilation {
		before, found := os.LookupEnv(backend.EnvCompileCache)
		if err := os.Setenv(backend.EnvCompileCache, "off"); err != nil {
			return nil, err
		}
		defer func() {
			if err := os.Setenv(backend.EnvCompileCache, before); err != nil || !found {
				os.Unsetenv(backend.EnvCompileCache)
			}
		}()
	}
	return backend.New(name)
}

func (c *command) close() {
	if c.opened != nil {
		c.opened.Finalize()
	}
}

func (c *command) warn(err error) { fmt.Fprintf(c.ErrOrStderr(), "mfm: warning: %s\n", oneLine(err)) }

// options returns those of a run in dir, whose progress and damaged checkpoints are reported on
// standard error.
func (c *command) options(dir string) run.Options {
	saves := train.Hook{
		Step: func(*train.Trainer, train.Metrics) error { c.unsaved.Store(true); return nil },
		End:  func(*train.Trainer, error) { c.unsaved.Store(false) },
	}
	o := run.Options{
		Dir: dir, Sink: progress.Auto(c.ErrOrStderr()), OnDamage: c.warn, Restart: c.restart,
		Hooks: []train.Hook{saves},
	}
	if c.tensorBoard {
		o.Logs = []run.LogSink{run.EventLog{}}
	}
	return o
}

// withTensorBoard adds the flag for an event file of a training.
func (c *command) withTensorBoard() {
	c.Flags().BoolVar(&c.tensorBoard, "tensorboard", false, "write the log for TensorBoard, too: "+
		"events.out.tfevents.mfm in the run's folder, beside log.json and log.csv")
}

// withRestart adds the flag for a run without an intact checkpoint.
func (c *command) withRestart() {
	c.Flags().BoolVar(&c.restart, "restart", false, "start from step zero if no checkpoint of the run is intact, "+
		"and replace what it has")
}

// write writes a result to standard output, as JSON in one line or as text. A result that is not
// finite is an error in both forms.
func (c *command) write(v any, text string) error {
	if c.json {
		return c.writeJSON(v, "")
	}
	if err := run.CheckFinite(v); err != nil {
		return err
	}
	fmt.Fprint(c.OutOrStdout(), text) // execute reports its error
	return nil
}

// writeJSON writes JSON to standard output, in one line if indent is empty.
func (c *command) writeJSON(v any, indent string) error {
	if err := run.CheckFinite(v); err != nil {
		return err
	}
	e := json.NewEncoder(c.OutOrStdout())
	e.SetIndent("", indent)
	if err := e.Encode(v); err != nil {
		return fmt.Errorf("writing the result: %w", err)
	}
	return nil
}

// column is a column of a table of results.
type column[R any] struct {
	header string
	value  func(R) string
}

// columns returns columns of the values of a result. Each spec is a header, a space, and a format.
// A value that is NaN does not exist, and is "-".
func columns[R any](values func(R) []any, specs ...string) []column[R] {
	var all []column[R]
	for i, spec := range specs {
		end := strings.LastIndexByte(spec, ' ')
		all = append(all, column[R]{spec[:end], func(r R) string {
			v := values(r)[i]
			if f, ok := v.(float64); ok && math.IsNaN(f) {
				return "-"
			}
			return fmt.Sprintf(spec[end+1:], v)
		}})
	}
	return all
}

// table is a table of results.
type table[R any] struct {
	columns []column[R]
	// A diverged result has its first keys columns alone. Nil means that no result diverges.
	diverged func(R) bool
	keys     int
	// notes are the lines about a result for standard error; nil means none.
	notes func(R) []string
}

// text returns the table of results as text.
func (t table[R]) text(results []R) string {
	var out strings.Builder
	w := tabwriter.NewWriter(&out, 0, 0, 2, ' ', tabwriter.AlignRight)
	for _, c := range t.columns {
		fmt.Fprint(w, c.header, "\t")
	}
	fmt.Fprintln(w)
	for _, r := range results {
		for i, c := range t.columns {
			text := ""
			if diverged := t.diverged != nil && t.diverged(r); !diverged || i < t.keys {
				text = c.value(r)
			} else if i == t.keys {
				text = "diverged"
			}
			fmt.Fprint(w, text, "\t")
		}
		fmt.Fprintln(w)
	}
	_ = w.Flush() // a strings.Builder does not fail
	return out.String()
}

// write writes results as JSON, or as a table with notes.
func (t table[R]) write(c *command, results []R) error {
	for _, r := range results {
		if t.notes == nil || c.json {
			break
		}
		for _, note := range t.notes(r) {
			fmt.Fprintln(c.ErrOrStderr(), note)
		}
	}
	return c.write(results, t.text(results))
}
