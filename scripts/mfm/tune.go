package main

import (
	"cmp"
	"context"
	"fmt"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/gomlx/compute"

	"github.com/gomfm/gomfm/mfm/experiment/mixture"
	"github.com/gomfm/gomfm/mfm/experiment/run"
	"github.com/gomfm/gomfm/mfm/experiment/sweep"
	"github.com/gomfm/gomfm/mfm/experiment/tuning"
	"github.com/gomfm/gomfm/mfm/steer"
	"github.com/gomfm/gomfm/mfm/tune"
)

// tuneTask is what a task supplies to the verb tune; R is the result of a run.
type tuneTask[R any] struct {
	config         tuning.Config // default
	paths          int           // on-policy paths of a batch, for methods that need whole paths
	samples, steps int           // of the evaluation by default
	networks       []tuning.Network
	options        []option // of the configuration, besides those of all tasks
	presets        []tunePreset
	// class returns the number of the class that the flag --class names, once a map is open, and
	// classUsage is the flag's usage. Nil means no such flag.
	class      func(text string) (int32, error)
	classUsage string
	// reward is the default of the flag, empty for "paper", and rewardUsage its usage, empty for that
	// of other tasks.
	reward, rewardUsage string
	// ownCheckpoint says that open adds the flag --checkpoint.
	ownCheckpoint bool
	// open registers the flags of the task and returns a function that opens the map of a run, to
	// be tuned to a reward.
	open  func(c *command) func(dir, reward string) (tunings[R], error)
	table table[R]
	// finish is called with all results before they are written; nil means no call.
	finish func(c *command, results []R) error
}

// tunePreset is a configuration other than the default with the factors λ of its sweep.
type tunePreset struct {
	name    string
	config  tuning.Config
	lambdas []float64
}

// defaultTunePreset is the name of the default configuration.
const defaultTunePreset = "small"

// tunings returns the tuning of a map with a configuration, and its fingerprint.
type tunings[R any] func(tuning.Config) (tuning.Task[R], string, error)

// build returns a sweep of settings.
func (t tuneTask[R]) build(c *command) prepare {
	c.withOutput()
	checkpoint, preset := new(string), new(string)
	if !t.ownCheckpoint {
		checkpoint = c.Flags().String("checkpoint", "", "`folder` of the run whose map's drift is tuned (required)")
	}
	if t.presets != nil {
		names := []string{defaultTunePreset}
		for _, p := range t.presets {
			names = append(names, p.name)
		}
		preset = c.Flags().String("preset", defaultTunePreset, "`name` of the defaults of other flags: "+strings.Join(names, ", "))
		c.complete("preset", false, names...)
	}
	reward, kept := c.withReward(cmp.Or(t.reward, "paper"), t.rewardUsage), c.withSweep()
	c.withRestart()
	c.withTensorBoard()
	grid := withTuneGrid(c, t.config, t.networks, t.options)
	class := new(string)
	if t.class != nil {
		class = c.Flags().String("class", "", t.classUsage)
	}
	samples := c.Flags().Int("samples", t.samples, "`number` of samples of the evaluation")
	steps := c.Flags().Int("sampler-steps", t.steps, "`number` of steps in which they are drawn")
	open := t.open(c)
	return func() (work, error) {
		t, err := t.with(c, grid, *preset)
		if err != nil {
			return nil, err
		}
		configs, err := t.configs(grid)
		if !t.ownCheckpoint {
			err = cmp.Or(c.require("name the folder of a run", "checkpoint"), err)
		}
		if err = cmp.Or(kept.parse(true), err); err != nil {
			return nil, err
		}
		of, err := open(*checkpoint, *reward)
		if err != nil {
			return nil, err
		}
		k, err := parseClass(*class, t.class)
		if err != nil {
			return nil, err
		}
		var settings []tuning.Setting
		for _, config := range configs {
			config.Class = cmp.Or(k, config.Class)
			one, fingerprint, err := of(config)
			if err != nil {
				return nil, err
			}
			eval := tuning.EvalConfig{Samples: *samples, Steps: *steps, Seed: config.Tune.Seed}
			s := tuning.Setting{Fingerprint: fingerprint, Config: config, Eval: eval}
			if err := one.Check(s); err != nil {
				return nil, err
			}
			settings = append(settings, s)
		}
		return func(ctx context.Context, b compute.Backend) error {
			results, err := sweep.Run(ctx, kept.Sweep, settings,
				func(ctx context.Context, s tuning.Setting) (r R, err error) {
					one, _, err := of(s.Config)
					if err != nil {
						return r, err
					}
					return tuning.Run(ctx, b, one, s, kept.Dir, c.options(""))
				})
			if err == nil && t.finish != nil {
				err = t.finish(c, results)
			}
			if err != nil {
				return err
			}
			return t.table.write(c, results)
		}, nil
	}
}

// tuneGrid are the flags of a grid of configurations.
type tuneGrid struct {
	methods, networks, n, lambdas *string
	seeds                         *int
	config                        *settings
}

// withTuneGrid adds the flags of a grid with the defaults of a configuration.
func withTuneGrid(c *command, defaults tuning.Config, networks []tuning.Network, options []option) tuneGrid {
	var methods, names []string
	for _, e := range tune.Objectives() {
		methods = append(methods, e.Name)
	}
	for _, n := range networks {
		names = append(names, string(n))
	}
	f := c.Flags()
	g := tuneGrid{
		methods: f.String("method", defaults.Method, "`names`, separated by commas: "+strings.Join(methods, ", ")),
		networks: f.String("network", string(defaults.Network), "`names` of what is tuned, separated by commas: "+
			strings.Join(names, ", ")),
		n: f.String("n", strconv.Itoa(defaults.N),
			"`numbers` of posterior samples for each state, separated by commas"),
		lambdas: f.String("lambda", fmt.Sprint(defaults.Tune.Lambda),
			"`factors` λ of the reward, separated by commas"),
		seeds: f.Int("seeds", 1, "`number` of seeds, from 0"),
		config: c.withSettings(append(options,
			option{name: "steps", path: "tune.steps", usage: "`number` of training steps"},
			option{name: "batch", path: "tune.batch", usage: "`number` of rows in a batch"},
			option{name: "rate", path: "tune.optimizer.rate", usage: "learning `rate`"},
			option{name: "kl", path: "budget.kl",
				usage: "`bound` in nats of the divergence of the tuned paths from the base's; 0 for none"},
		)...),
	}
	g.config.withSet(c, "tune.states.own=0.5")
	c.complete("method", true, methods...)
	c.complete("network", true, names...)
	return g
}

// with returns the task with the defaults of a preset, and sets the flags of the grid that are not
// given.
func (t tuneTask[R]) with(c *command, g tuneGrid, preset string) (tuneTask[R], error) {
	if preset == "" || preset == defaultTunePreset {
		return t, nil
	}
	for _, p := range t.presets {
		if p.name != preset {
			continue
		}
		var lambdas []string
		for _, v := range p.lambdas {
			lambdas = append(lambdas, strconv.FormatFloat(v, 'g', -1, 64))
		}
		for flag, of := range map[string]struct {
			to   *string
			text string
		}{
			"method": {g.methods, p.config.Method}, "network": {g.networks, string(p.config.Network)},
			"n": {g.n, strconv.Itoa(p.config.N)}, "lambda": {g.lambdas, strings.Join(lambdas, ",")},
		} {
			if !c.Flags().Changed(flag) {
				*of.to = of.text
			}
		}
		t.config = p.config
		return t, nil
	}
	return t, fmt.Errorf("--preset %s is unknown: -h lists the presets", preset)
}

// configs returns the grid: each method with all networks, numbers, factors and seeds that it
// depends on.
func (t tuneTask[R]) configs(g tuneGrid) ([]tuning.Config, error) {
	if err := checkSeeds(*g.seeds); err != nil {
		return nil, err
	}
	var all []tuning.Config
	for _, v := range combinations(*g.methods, *g.networks, *g.n, *g.lambdas) {
		c, entry, err := t.defaults(v[0])
		if err = cmp.Or(err, g.config.apply(&c)); err != nil {
			return nil, err
		}
		if !entry.N {
			v[2], _, _ = strings.Cut(*g.n, ",")
		}
		if c.N, err = strconv.Atoi(v[2]); err != nil {
			return nil, fmt.Errorf("--n %q: give numbers separated by commas", *g.n)
		}
		if c.Tune.Lambda, err = strconv.ParseFloat(v[3], 64); err != nil {
			return nil, fmt.Errorf("--lambda %q: give numbers separated by commas", *g.lambdas)
		}
		c.Method, c.Network, c.Tune.Seed = v[0], tuning.Network(v[1]), 0
		all = addSeeds(all, c, *g.seeds, func(c *tuning.Config, seed int64) { c.Tune.Seed = seed })
	}
	return all, nil
}

// defaults returns the default configuration of a method.
func (t tuneTask[R]) defaults(method string) (tuning.Config, tune.Entry, error) {
	c := t.config
	c.Method = method
	entry, err := tune.Lookup(method)
	if err != nil {
		return c, entry, err
	}
	m, err := c.Objective(&steer.Exact{})
	if err != nil {
		return c, entry, err
	}
	if m.Needs().Data {
		c.Tilted = false // it weights its data itself
	}
	if m.Needs().Paths {
		c.Tune.States.OnPolicy, c.Tune.Batch = 1, t.paths*c.Tune.States.Steps
	}
	return c, entry, nil
}

// tuningNotes returns texts about a run, each with its name.
func tuningNotes(name string, n int, lambda float64, seed int64, texts ...string) []string {
	var notes []string
	for _, text := range texts {
		if text != "" {
			notes = append(notes, fmt.Sprintf("%s, n = %d, λ = %g, seed %d: %s", name, n, lambda, seed, text))
		}
	}
	return notes
}

// budgetNote says that the budget ended a training, empty if it did not.
func budgetNote(stopped bool, steps int64) string {
	if !stopped {
		return ""
	}
	return "the KL budget ended the training after " + count(steps, "step")
}

// tuneDistill distills a tuned drift of a mixture into a map, which the other commands take as a
// checkpoint.
func tuneDistill(c *command) prepare {
	c.withOutput()
	checkpoint := c.Flags().String("checkpoint", "", "`folder` of the tuned run (required)")
	base := c.Flags().String("base", "", "`folder` of the run whose map it was tuned from (required)")
	out := c.Flags().String("out", "", "`folder` of the map's run, in which an interrupted run resumes (required)")
	set := c.withSettings(
		option{name: "samples", path: "samples",
			usage: "`number` of samples of the tuned flow from which the map learns"},
		option{name: "sampler-steps", path: "sampler_steps", usage: "`number` of steps in which they are drawn"},
		option{name: "steps", path: "map.train.steps", usage: "`number` of training steps"},
		option{name: "batch", path: "map.train.batch", usage: "`number` of rows in a batch"},
	)
	set.withSet(c, "map.network.width=128")
	c.withRestart()
	c.withTensorBoard()
	return func() (work, error) {
		config := mixture.DefaultDistillConfig()
		err := cmp.Or(c.require("name a folder", "checkpoint", "base", "out"), checkFolder(*out), set.apply(&config))
		if err != nil {
			return nil, err
		}
		c.dir = *out
		t, tuned, err := mixture.OpenTuning(*checkpoint, *base)
		return func(ctx context.Context, b compute.Backend) error {
			e, draw, err := t.Distill(ctx, b, tuned, config, c.options(*out))
			if err != nil {
				return err
			}
			return c.evaluatePosteriors(ctx, e, draw, mixture.DefaultEvalConfig())
		}, err
	}
}

// combinations returns all combinations of the values in lists, which are separated by commas. The
// last list varies fastest.
func combinations(lists ...string) [][]string {
	all := [][]string{nil}
	for _, list := range lists {
		var longer [][]string
		for _, head := range all {
			for _, value := range strings.Split(list, ",") {
				longer = append(longer, append(slices.Clone(head), value))
			}
		}
		all = longer
	}
	return all
}

// addSeeds appends a configuration, whose seed is 0, with all seeds to a grid, unless the grid has
// it.
func addSeeds[C any](grid []C, c C, seeds int, set func(c *C, seed int64)) []C {
	if slices.ContainsFunc(grid, func(other C) bool { return reflect.DeepEqual(other, c) }) {
		return grid
	}
	for seed := range seeds {
		set(&c, int64(seed))
		grid = append(grid, c)
	}
	return grid
}

func checkSeeds(n int) error {
	if n < 1 || n > 10_000 {
		return fmt.Errorf("--seeds = %d: must be positive and at most 10000", n)
	}
	return nil
}

// tunedRun returns the folder of a tuned run that dir names: dir itself or, if that is the folder
// of the results of mfm tune, the one run in it.
func tunedRun(dir string) (string, error) {
	if _, err := run.ReadManifest(dir); err == nil {
		return dir, nil
	}
	runs, err := filepath.Glob(filepath.Join(dir, "run-*", "config.json"))
	if err != nil || len(runs) == 0 {
		return dir, nil // opening it says what is wrong
	}
	if len(runs) > 1 {
		return "", fmt.Errorf("--tuned %s has %d tuned runs: name one of its folders run-*", quote(dir), len(runs))
	}
	return filepath.Dir(runs[0]), nil
}
