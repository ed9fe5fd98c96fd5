package main

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/gomfm/gomfm/mfm/experiment"
)

// setting is the value that a flag gives to one place in a configuration.
type setting struct{ flag, path, value string }

// String returns the flag as it can be typed.
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
	read              func(text string) string // what was typed as it is in a configuration; nil: the same
}

// list reads numbers separated by commas, name a name whose case, hyphens and underscores do not matter.
func list(text string) string { return "[" + text + "]" }

func name(text string) string {
	return strings.NewReplacer("-", "", "_", "").Replace(strings.ToLower(text))
}

func (s *settings) add(f *flags, options ...option) {
	for _, o := range options {
		f.Func(o.name, o.usage, func(value string) error {
			if o.read != nil {
				value = o.read(value)
			}
			*s = append(*s, setting{o.name, o.path, value})
			return nil
		})
	}
}

// addSet adds the flag --set, for any value.
func (s *settings) addSet(f *flags, example string) {
	f.Func("set", "any value of the configuration, as `path=value`, such as "+example+"; may be given several times", func(text string) error {
		path, value, found := strings.Cut(text, "=")
		if !found || path == "" {
			return fmt.Errorf("want path=value")
		}
		*s = append(*s, setting{"set", path, value})
		return nil
	})
}

// apply sets the values in config, a pointer.
func (s settings) apply(config any) error {
	for _, v := range s {
		if err := experiment.Set(config, v.path, v.value); err != nil {
			return fmt.Errorf("%s: %w", v, err)
		}
	}
	return nil
}

// configFlags are the flags of a command that takes a whole configuration: a preset, a file over it, single values over that.
type configFlags struct {
	command  string
	preset   *string
	file     *string
	settings settings
}

// withConfig adds the flags for a configuration. All of them have those of training; options are the others.
func (f *flags) withConfig(command string, options ...option) *configFlags {
	c := &configFlags{command: command}
	c.preset = f.String("preset", experiment.Presets()[0], "scale to start from: "+strings.Join(experiment.Presets(), " or "))
	c.file = f.String("config", "", "JSON `file` with values that replace the preset's")
	c.settings.add(f, options...)
	c.settings.addSet(f, "train.optimizer.clip=0.5")
	return c
}

// trainOptions set what every training has, below the given path.
func trainOptions() []option {
	return []option{
		{name: "steps", path: "train.steps", usage: "`number` of training steps"},
		{name: "batch", path: "train.batch", usage: "rows a step, a `number`"},
		{name: "rate", path: "train.optimizer.rate", usage: "learning `rate`"},
		{name: "seed", path: "train.seed", usage: "`seed` of weights, data and noise"},
	}
}

// mapOptions set what every map has.
func mapOptions() []option {
	return append(trainOptions(),
		option{name: "loss", path: "train.loss.consistency", usage: "`name` of the loss: semigroup, meanflow, eulerian, lagrangian or diagonal", read: name},
		option{name: "distillation", path: "train.loss.distillation", usage: "where the drift comes from: `self` or teacher"},
		option{name: "interpolant", path: "interpolant", usage: "`name` of the schedule: linear, trigonometric or vp"},
		option{name: "parametrization", path: "parametrization", usage: "`name` of what surrounds the network, see mfm info"},
	)
}

// configure puts file and settings over config, a pointer.
func (c *configFlags) configure(config any) error {
	if *c.file != "" {
		raw, err := os.ReadFile(*c.file)
		if err != nil {
			return fmt.Errorf("reading the configuration: %w", err)
		}
		if err := experiment.Merge(config, raw); err != nil {
			return fmt.Errorf("%s: %w", *c.file, err)
		}
	}
	return c.settings.apply(config)
}

// line returns the command that makes a run with this configuration again, without what does not bear on its result.
func (c *configFlags) line(more ...string) string {
	words := []string{"go run ./scripts/mfm", c.command, "--preset", *c.preset}
	if *c.file != "" {
		words = append(words, "--config", quote(*c.file))
	}
	for _, s := range c.settings {
		words = append(words, s.String())
	}
	return strings.Join(slices.Concat(words, more), " ")
}

// quote quotes a word for a shell where it has to be.
func quote(word string) string {
	plain := func(r rune) bool {
		return strings.ContainsRune("%+,-./:=@_", r) || '0' <= r && r <= '9' || 'A' <= r && r <= 'Z' || 'a' <= r && r <= 'z'
	}
	if word != "" && strings.IndexFunc(word, func(r rune) bool { return !plain(r) }) < 0 {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}
