package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"

	"github.com/gomlx/compute"

	"github.com/gomfm/gomfm/mfm/experiment/config"
	"github.com/gomfm/gomfm/mfm/experiment/sweep"
)

// setting is the value that a flag gives to one place in a configuration.
type setting struct{ flag, path, value string }

// String returns the flag as a user types it.
func (s setting) String() string {
	if s.flag == "set" {
		return "--set " + quote(s.path+"="+s.value)
	}
	return "--" + s.flag + " " + quote(s.value)
}

// settings are flags that set values of a configuration, in the order in which they were typed.
type settings []setting

// option is a flag for one value of a configuration.
type option struct {
	name, path, usage string
	values            []string                 // all that it takes, added to usage; nil if there is no list
	only              bool                     // whether another value than those listed is an error
	read              func(text string) string // converts the text to the configuration's; nil means no conversion
}

// list reads numbers separated by commas.
func list(text string) string { return "[" + text + "]" }

// name reads a name in any case, with or without hyphens and underscores.
func name(text string) string {
	return strings.NewReplacer("-", "", "_", "").Replace(strings.ToLower(text))
}

// withSettings adds flags that set values of a configuration.
func (c *command) withSettings(options ...option) *settings {
	s := new(settings)
	for _, o := range options {
		usage := o.usage
		if o.values != nil {
			usage += ": " + strings.Join(o.values, ", ")
		}
		c.Flags().Func(o.name, usage, func(value string) error {
			if o.only && !slices.Contains(o.values, value) {
				return fmt.Errorf("use %s", strings.Join(o.values, ", "))
			}
			if o.read != nil {
				value = o.read(value)
			}
			*s = append(*s, setting{o.name, o.path, value})
			return nil
		})
		if o.values != nil {
			c.complete(o.name, false, o.values...)
		}
	}
	return s
}

// withSet adds the flag --set, which sets any value.
func (s *settings) withSet(c *command, example string) {
	usage := "any value of the configuration, as `path=value`, such as " + example + "; may be repeated"
	c.Flags().Func("set", usage, func(text string) error {
		path, value, found := strings.Cut(text, "=")
		if !found || path == "" {
			return fmt.Errorf("want path=value")
		}
		*s = append(*s, setting{"set", path, value})
		return nil
	})
}

// apply sets the values in v, a pointer to a configuration.
func (s *settings) apply(v any) error {
	for _, one := range *s {
		if err := config.Set(v, one.path, one.value); err != nil {
			text, is := strings.CutPrefix(err.Error(), one.path+": ") // the flag names the path
			if i := strings.LastIndex(text, " where "); is && i >= 0 {
				text = text[i+len(" where "):] // and the value
			}
			return fmt.Errorf("%s: %s", one, text)
		}
	}
	return nil
}

// configFlags are the flags of a whole configuration: a preset, a file that changes it, and single
// values that change both.
type configFlags struct {
	*settings
	c            *command
	preset, file *string
}

// withConfig adds the flags of a configuration.
func (c *command) withConfig(options ...option) configFlags {
	return c.withConfigOf(config.Presets(), options...)
}

// withConfigOf is withConfig with the names of the presets, the default first.
func (c *command) withConfigOf(presets []string, options ...option) configFlags {
	f := configFlags{c: c, settings: c.withSettings(options...), preset: c.withPresetOf(presets)}
	f.file = c.Flags().String("config", "", "JSON `file` with values that replace the preset's")
	f.withSet(c, "train.optimizer.clip=0.5")
	return f
}

func (c *command) withPreset() *string { return c.withPresetOf(config.Presets()) }

func (c *command) withPresetOf(names []string) *string {
	preset := c.Flags().String("preset", names[0], "`name` of the configuration to start from: "+strings.Join(names, " or "))
	c.complete("preset", false, names...)
	return preset
}

// configure applies file and settings to v, a pointer to a configuration.
func (f configFlags) configure(v any) error {
	if *f.file != "" {
		raw, err := config.ReadFile(*f.file)
		if err == nil {
			err = config.Merge(v, raw)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", *f.file, err)
		}
	}
	return f.apply(v)
}

// recorded is how commands that a run keeps name this program.
const recorded = "go run ./scripts/mfm"

// line returns the command that trains a task with this configuration, without flags that do not
// affect the result, and with absolute paths. more are the names of further flags that do.
func (f configFlags) line(task string, more ...string) string {
	words := []string{recorded + " train", task, "--preset", *f.preset}
	if *f.file != "" {
		words = append(words, "--config", quote(absolute(*f.file)))
	}
	for _, s := range *f.settings {
		words = append(words, s.String())
	}
	paths := []string{"mixture", "data", "labels", "latents", "autoencoder", "teacher"}
	for _, name := range more {
		switch flag := f.c.Flags().Lookup(name); {
		case flag.Value.String() != "" && slices.Contains(paths, name):
			words = append(words, "--"+name, quote(absolute(flag.Value.String())))
		case flag.NoOptDefVal != "" && flag.Value.String() == "true":
			words = append(words, "--"+name)
		case flag.NoOptDefVal == "" && flag.Value.String() != "":
			words = append(words, "--"+name, quote(flag.Value.String()))
		}
	}
	return strings.Join(words, " ")
}

// program returns what starts this program again from where its user is: name as it was typed, with
// an absolute path if it has one. A file that go run built is gone by then: it is run by the path
// of its package.
func program(name, executable, pkg string) string {
	switch {
	case strings.Contains(filepath.ToSlash(executable), "/go-build"):
		return "go run " + pkg
	case filepath.Base(name) == name: // found in PATH
		return quote(name)
	}
	return quote(absolute(name))
}

// resuming returns the command that resumes the run in dir, of the command that the run keeps.
func resuming(command, dir string) string {
	rest, is := strings.CutPrefix(command, recorded+" ")
	executable, err := os.Executable()
	if build, ok := debug.ReadBuildInfo(); is && err == nil && ok {
		command = program(os.Args[0], executable, build.Path) + " " + rest
	}
	return command + " --out " + quote(absolute(dir))
}

// absolute returns an absolute path.
func absolute(path string) string {
	if path, err := filepath.Abs(path); err == nil {
		return path
	}
	return path
}

// quote quotes a word for a shell if necessary.
func quote(word string) string {
	plain := func(r rune) bool {
		return strings.ContainsRune("%+,-./:=@_", r) || '0' <= r && r <= '9' || 'A' <= r && r <= 'Z' ||
			'a' <= r && r <= 'z'
	}
	if word != "" && strings.IndexFunc(word, func(r rune) bool { return !plain(r) }) < 0 {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

// sweepFlags are the flags of a command whose results are kept in a folder.
type sweepFlags struct {
	sweep.Sweep
	c     *command
	shard *string
}

func (c *command) withSweep() *sweepFlags {
	f := &sweepFlags{c: c, shard: c.Flags().String("shard", "", "`i/n`: shard i of n, from 0; only each n-th run")}
	c.Flags().StringVar(&f.Dir, "out", "",
		"`folder` of the results, one file for each run, which is not repeated (required)")
	c.Flags().StringVar(&f.Stored, "stored", "",
		"`file` with the output of mfm steer merge, whose runs are not repeated either")
	f.Done = func(i, n int) { fmt.Fprintf(c.ErrOrStderr(), "%d of %d\n", i, n) }
	return f
}

// parse checks the flags, of which --out may be missing if it is not required.
func (f *sweepFlags) parse(outRequired bool) (err error) {
	if outRequired && f.Dir == "" {
		return fmt.Errorf("--out is missing: name a folder for the results")
	}
	f.c.dir = f.Dir // a stopped sweep resumes there
	f.Shard, f.Shards, err = sweep.ParseShard(*f.shard)
	return cmp.Or(checkFolder(f.Dir), err)
}

// needFolder returns an error for a flag of a sweep without a folder, which one that writes to a
// file does not have.
func (f *sweepFlags) needFolder(file string) error {
	flag, value := "stored", f.Stored
	if f.Shards > 1 {
		flag, value = "shard", *f.shard
	}
	if f.Dir != "" || value == "" {
		return nil
	}
	const remedy = "name a folder for the results with --out"
	if file != "" {
		return fmt.Errorf("--%s %s: --out %s is a file, which takes a single run: %s", flag, quote(value), quote(file), remedy)
	}
	return fmt.Errorf("--%s %s: %s", flag, quote(value), remedy)
}

// sweepOrRun runs the settings of a sweep. Without a folder it keeps no results. An error comes
// with the results so far.
func sweepOrRun[S, R any](ctx context.Context, s sweep.Sweep, settings []S, do func(context.Context, S) (R, error)) (
	results []R, err error) {
	if s.Dir != "" {
		return sweep.Run(ctx, s, settings, do)
	}
	for i, setting := range settings {
		if ctx.Err() != nil {
			return results, fmt.Errorf("stopped after %d of %d runs: %w", i, len(settings), context.Cause(ctx))
		}
		r, err := do(ctx, setting)
		if err != nil {
			return results, fmt.Errorf("run %d of %d: %w", i+1, len(settings), err)
		}
		results = append(results, r)
		s.Done(i+1, len(settings))
	}
	return results, nil
}

// valueList is a flag with values separated by commas.
type valueList struct {
	text    *string
	numbers bool
}

// json returns the values as a list. name is that of the flag.
func (l valueList) json(name string) (json.RawMessage, error) {
	var list []any
	for text := range strings.SplitSeq(*l.text, ",") {
		if !l.numbers {
			list = append(list, text)
			continue
		}
		v, err := strconv.ParseFloat(text, 64)
		if err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
			return nil, fmt.Errorf("--%s %q: give numbers separated by commas", name, *l.text)
		}
		if name == "particles" && v < 0 {
			return nil, fmt.Errorf("--particles = %g: must not be negative", v)
		}
		list = append(list, v)
	}
	return json.Marshal(list)
}

func numeral(n int) json.RawMessage { return json.RawMessage(strconv.Itoa(n)) }

// withReward adds the flag that names a reward, with its default, and its usage unless that is
// empty.
func (c *command) withReward(otherwise, usage string) *string {
	return c.Flags().String("reward", otherwise,
		cmp.Or(usage, "`name`: paper or, for digits, class:K; or a JSON object, or a file with one: see mfm info"))
}

// rewardJSON returns a reward as JSON: the text itself if it is an object, or the content of the
// file that it names.
func rewardJSON(text string) (json.RawMessage, error) {
	if strings.HasPrefix(strings.TrimSpace(text), "{") {
		return json.RawMessage(text), nil
	}
	raw, err := config.ReadFile(text)
	if err != nil {
		return nil, fmt.Errorf("reward %q is no name of a reward, no JSON object, and no file: %w", text, err)
	}
	return raw, nil
}

// steerMerge merges results of any kind and prints them, one a line.
func steerMerge(c *command) prepare {
	from := c.Flags().String("from", "",
		"`folders` of results, or files with the output of this command, separated by commas (required)")
	return func() (work, error) {
		if err := c.require("name the folders of the results", "from"); err != nil {
			return nil, err
		}
		results, err := sweep.Merge(strings.Split(*from, ",")...)
		return func(context.Context, compute.Backend) error {
			_, err := c.OutOrStdout().Write(sweep.Join(results))
			return err
		}, err
	}
}
