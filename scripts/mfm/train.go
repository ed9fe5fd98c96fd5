package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/gomlx/compute"
	"github.com/gomlx/gomlx/core/tensors"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/backend"
	"github.com/gomfm/gomfm/mfm/checkpoint"
	"github.com/gomfm/gomfm/mfm/diagnose"
	"github.com/gomfm/gomfm/mfm/experiment/image"
	"github.com/gomfm/gomfm/mfm/experiment/latent/alignment"
	"github.com/gomfm/gomfm/mfm/experiment/points"
	"github.com/gomfm/gomfm/mfm/experiment/run"
	"github.com/gomfm/gomfm/mfm/reward"
	"github.com/gomfm/gomfm/mfm/steer"
	"github.com/gomfm/gomfm/mfm/train"
)

// training is a training that flags describe.
type training struct {
	kind     string // of its run
	config   any    // as the flags describe it
	manifest any    // the same as the run's manifest has it
	line     string // the command that repeats it
	data     string // the location of its data, empty for the data in the package
	// check opens the data and checks it before run is called; nil means that the configuration is
	// enough.
	check func() error
	// initial reads initial weights from a file; nil means that they are those of a run.
	initial func(path string) (map[string]*tensors.Tensor, error)
	run     func(ctx context.Context, b compute.Backend, o run.Options) error
	// verdict evaluates the trained map in a folder briefly: as a value for JSON, nil for none, and in
	// lines of text. A nil function means that it is no map.
	verdict func(ctx context.Context, b compute.Backend, dir string) (check any, lines []string, err error)
}

// diagnosed returns the verdict of a diagnosis, whose report is not kept.
func diagnosed(report func(ctx context.Context, b compute.Backend, dir string) (*diagnose.Report, error),
) func(ctx context.Context, b compute.Backend, dir string) (any, []string, error) {
	return func(ctx context.Context, b compute.Backend, dir string) (any, []string, error) {
		r, err := report(ctx, b, dir)
		if err != nil {
			return nil, nil, err
		}
		return nil, diagnose.Verdict(r), nil
	}
}

// withVerdict adds the flag that leaves out the verdict of a training.
func (c *command) withVerdict() {
	c.Flags().BoolVar(&c.noVerdict, "no-verdict", false, "leave out the evaluation of the trained map at the end, a few seconds")
}

// trainVerb trains a task's model.
func trainVerb(t task) builder {
	if t.train == nil {
		return nil
	}
	return func(c *command) prepare {
		c.withOutput()
		describe := t.train(c)
		var o run.Options
		f := c.Flags()
		f.StringVar(&o.Dir, "out", "", "`folder` of the run, in which an interrupted run resumes (required)")
		f.StringVar(&o.Init, "init", "",
			"`folder` of a finished run with the same network, whose weights initialize this one; for imagenet also a "+
				"file of a SiT or a flow map, as it was released or from mfm weights convert")
		f.Int64Var(&o.Every, "every", 0, "`number` of steps between checkpoints (default: a twentieth of all steps)")
		c.withRestart()
		c.withTensorBoard()
		f.IntVar(&o.Keep, "keep", 2, "`number` of newest checkpoints to keep")
		return func() (work, error) {
			t, err := describe()
			if err == nil && t.check != nil {
				err = t.check()
			}
			if err = cmp.Or(err, c.require("name the folder of the run", "out"), checkFolder(o.Dir), checkTraining(o)); err != nil {
				return nil, err
			}
			shown := c.options(o.Dir)
			c.dir, o.Command, o.Data = o.Dir, t.line, t.data
			o.Sink, o.OnDamage, o.Restart, o.Hooks, o.Logs = shown.Sink, shown.OnDamage, shown.Restart, shown.Hooks, shown.Logs
			if o.Init != "" {
				o.Command += " --init " + quote(absolute(o.Init))
				if err := t.initialize(&o); err != nil {
					return nil, err
				}
			}
			return func(ctx context.Context, b compute.Backend) error {
				if err := t.run(ctx, b, o); err != nil {
					return err
				}
				if c.noVerdict || t.verdict == nil {
					return c.reportTraining(o.Dir, nil, nil)
				}
				check, lines, err := t.verdict(ctx, b, o.Dir)
				switch {
				case ctx.Err() != nil:
					return context.Cause(ctx)
				case err != nil:
					c.warn(fmt.Errorf("the map is trained, but there is no verdict: %w", err))
				}
				return c.reportTraining(o.Dir, check, lines)
			}, nil
		}
	}
}

// initialize checks the initial weights of o, and reads those in a file. A run that has begun does
// not read them again.
func (t *training) initialize(o *run.Options) error {
	if info, err := os.Stat(o.Init); err == nil && !info.IsDir() && t.initial != nil {
		if !run.Begun(o.Dir) {
			o.InitWeights, err = t.initial(o.Init)
		}
		return err
	}
	if _, err := os.Stat(filepath.Join(o.Dir, "config.json")); err == nil {
		return nil
	}
	return run.CheckInit(o.Init, t.kind, t.manifest)
}

func checkTraining(o run.Options) error {
	if o.Every < 0 {
		return fmt.Errorf("--every = %d: must not be negative", o.Every)
	}
	if o.Keep < 1 {
		return fmt.Errorf("--keep = %d: must be at least 1", o.Keep)
	}
	return nil
}

// stopped returns the error of work that trains in a folder, with what to do if its context ended.
// An empty folder means that it is no training.
func stopped(ctx context.Context, err error, dir string) error {
	other, is := errors.AsType[*run.OtherRunError](err)
	switch {
	case is && other.Command != "":
		return invalid{&run.OtherRunError{Dir: other.Dir, Command: resuming(other.Command, other.Dir)}}
	case errors.Is(err, run.ErrOtherRun), errors.Is(err, checkpoint.ErrLocked), errors.Is(err, train.ErrDevices):
		return invalid{err}
	case err == nil || ctx.Err() == nil || dir == "":
		return err
	}
	if rest := besides(err, context.Cause(ctx)); rest != nil {
		return fmt.Errorf("stopped, but %w: the same command resumes from the last checkpoint in %s", rest, dir)
	}
	return fmt.Errorf("stopped, everything is kept in %s: the same command resumes there", dir)
}

// besides returns what an error holds besides the cause of a context's end, nil if it holds nothing
// else.
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

// reportTraining writes the last entry of the log of the run in dir, and the verdict on its map.
func (c *command) reportTraining(dir string, check any, verdict []string) error {
	log, err := run.ReadLog(dir)
	if err != nil {
		return err
	}
	last := log[len(log)-1]
	return c.write(struct {
		Out string `json:"out"`
		run.LogEntry
		Verdict []string `json:"verdict,omitempty"`
		Check   any      `json:"check,omitempty"`
	}{dir, last, verdict, check}, fmt.Sprintf("%s: %s in %.0f s of training\n", dir, count(last.Step, "step"), last.Seconds)+
		strings.Join(append(verdict, ""), "\n"))
}

// count returns a number of things, such as "1 step" and "2 steps".
func count(n int64, thing string) string {
	if n != 1 {
		thing += "s"
	}
	return fmt.Sprintf("%d %s", n, thing)
}

// versions are those of this program and of the modules that results depend on.
type versions struct {
	MFM     string            `json:"mfm"`
	Go      string            `json:"go"`
	Modules map[string]string `json:"modules"`
}

func readVersions() versions {
	v := versions{MFM: "unknown", Go: runtime.Version(), Modules: map[string]string{}}
	build, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	v.MFM = build.Main.Version
	for _, m := range build.Deps {
		if slices.Contains([]string{"github.com/gomlx/gomlx", "github.com/gomlx/compute", "github.com/gomlx/go-xla"},
			m.Path) {
			v.Modules[m.Path] = m.Version
		}
	}
	return v
}

// info shows versions, backend and every default.
func info(c *command) prepare {
	c.withOutput()
	preset := c.withPreset()
	return func() (work, error) {
		rewards := make(map[string]string) // kinds, with an example of each
		kinds := alignment.Kinds(nil)
		maps.Copy(kinds, image.RewardKinds())
		maps.Copy(kinds, new(points.Experiment).RewardKinds())
		for name, kind := range kinds {
			rewards[name] = kind.Example
		}
		for name, kind := range reward.HostKinds() {
			rewards[name] = kind.Example
		}
		rewards[alignment.OriginalKind] = alignment.OriginalExample
		all := map[string]any{
			"versions": readVersions(), "preset": *preset, "sampler": mfm.DefaultSamplerConfig(),
			"steer": steer.DefaultConfig(), "rewards": rewards,
		}
		for _, t := range tasks() {
			if t.defaults == nil {
				continue
			}
			defaults, err := t.defaults(*preset)
			if err != nil {
				return nil, err
			}
			maps.Copy(all, defaults)
		}
		return func(_ context.Context, b compute.Backend) error {
			all["backend"] = backend.Describe(b)
			return c.writeJSON(all, "  ")
		}, nil
	}
}

// infoVerb writes the configuration of a task's training to standard output, where --config can
// read it, and versions to standard error.
func infoVerb(t task) builder {
	if t.train == nil {
		return nil
	}
	return func(c *command) prepare {
		c.withOutput()
		describe := t.train(c)
		return func() (work, error) {
			c.backendName = nil // nothing runs
			t, err := describe()
			return func(context.Context, compute.Backend) error {
				v := readVersions()
				fmt.Fprintf(c.ErrOrStderr(), "versions: mfm %s, %s", v.MFM, v.Go)
				for _, path := range slices.Sorted(maps.Keys(v.Modules)) {
					fmt.Fprintf(c.ErrOrStderr(), ", %s %s", path, v.Modules[path])
				}
				fmt.Fprintln(c.ErrOrStderr())
				return c.writeJSON(t.config, "  ")
			}, err
		}
	}
}

// trainOptions set the values that every training has.
func trainOptions() []option {
	return []option{
		{name: "steps", path: "train.steps", usage: "`number` of training steps"},
		{name: "batch", path: "train.batch", usage: "`number` of rows in a batch"},
		{name: "rate", path: "train.optimizer.rate", usage: "learning `rate`"},
		{name: "seed", path: "train.seed", usage: "`seed` of weights, data and noise"},
	}
}

// mapOptions set the values that every map has.
func mapOptions() []option {
	return append(trainOptions(),
		option{name: "loss", path: "train.loss.consistency", usage: "`name` of the loss", values: losses(), read: name},
		option{name: "distillation", path: "train.loss.distillation", usage: "`source` of the drift",
			values: []string{"self", "teacher"}},
		option{name: "interpolant", path: "interpolant", usage: "`name` of the schedule",
			values: []string{"linear", "trigonometric", "vp"}},
		option{name: "parametrization", path: "parametrization",
			usage: "`name` of the parametrization around the network; see mfm info"},
	)
}

func losses() []string {
	return []string{"semigroup", "meanflow", "eulerian", "lagrangian", "energy", "diagonal"}
}
