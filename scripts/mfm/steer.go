package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/gomlx/compute"

	"github.com/gomfm/gomfm/mfm/experiment/config"
	"github.com/gomfm/gomfm/mfm/experiment/gaussian"
	"github.com/gomfm/gomfm/mfm/experiment/samplefile"
	"github.com/gomfm/gomfm/mfm/experiment/steering"
	"github.com/gomfm/gomfm/mfm/steer"
)

// steerTask is what a task supplies to the verb steer; R is the result of a run.
type steerTask[R any] struct {
	samples, steps int    // defaults
	particles      int    // of a particle filter by default; 0 means all samples
	reward         string // default of the flag, empty for "paper"
	// open registers the flags of the task and returns a function that opens it, for a reward, with
	// its fingerprint.
	open    func(c *command) func(r steering.NamedReward) (steering.Task[R], string, error)
	common  func(R) steering.Result
	columns []column[R]    // besides those of common
	note    func(R) string // a warning besides those of common, empty for none; nil means none
	// finish is called with all results before they are written; nil means no call.
	finish func(c *command, results []R) error
	// heldOut says that the task has held-out rewards and the flag second-evaluator.
	heldOut bool
	// class returns the number of the class that --class names, once a reward is open; nil means
	// that --class takes the number.
	class func(text string) (int32, error)
	// file checks the path of a file that --out names, once a reward is open, and returns a
	// function that writes the samples of a single run to it; nil means that --out names a folder
	// of results.
	file func(path string) (write func(R) error, err error)
}

// build returns a sweep of settings.
func (t steerTask[R]) build(c *command) prepare {
	c.withOutput()
	reward, kept := c.withReward(cmp.Or(t.reward, "paper"), ""), c.withSweep()
	grid := withSteerGrid(c, t.samples, t.steps, t.particles)
	open := t.open(c)
	return func() (work, error) {
		file := ""
		if t.file != nil && samplefile.IsFile(kept.Dir) {
			file, kept.Dir = kept.Dir, ""
		}
		all, runs, err := grid.runs(c, *reward)
		if err = cmp.Or(kept.parse(t.file == nil), err, t.checkHeldOut(all), checkSamples(file)); err != nil {
			return nil, err
		}
		if err := kept.needFolder(file); err != nil {
			return nil, err
		}
		if n := len(runs); file != "" && n != 1 {
			return nil, fmt.Errorf("--out %s: a file has the samples of one run, these flags give %d: name a folder "+
				"for their results, or give one value of each flag", quote(file), n)
		}
		if all.SecondEvaluator != "" && !c.Flags().Changed(secondEvaluator) {
			if err := c.Flags().Set(secondEvaluator, all.SecondEvaluator); err != nil {
				return nil, err
			}
		}
		var fingerprints []string // of the rewards
		tasks := make(map[string]steering.Task[R])
		for _, r := range all.Rewards {
			task, fingerprint, err := open(r)
			if err != nil && r.Name != "" {
				err = fmt.Errorf("reward %q: %w", r.Name, err)
			}
			if err == nil && tasks[fingerprint] != nil {
				err = fmt.Errorf("reward %q is that of another name: give each reward once", r.Name)
			}
			if err != nil {
				return nil, err
			}
			tasks[fingerprint], fingerprints = task, append(fingerprints, fingerprint)
		}
		var write func(R) error
		if file != "" {
			if write, err = t.file(file); err != nil {
				return nil, fmt.Errorf("--out %s: %w", quote(file), err)
			}
		}
		class, err := parseClass(*grid.class, t.class)
		if err != nil {
			return nil, err
		}
		var settings []steering.Setting
		for _, r := range runs {
			r.Setting.Class = cmp.Or(class, r.Setting.Class)
			r.Setting.Fingerprint = fingerprints[r.Reward]
			if err := tasks[r.Setting.Fingerprint].Check(r.Setting); err != nil {
				return nil, err
			}
			settings = append(settings, r.Setting)
		}
		return func(ctx context.Context, b compute.Backend) error {
			first := true
			do := func(ctx context.Context, s steering.Setting) (R, error) {
				if first {
					fmt.Fprintln(c.ErrOrStderr(), "the first run compiles its graph, up to a minute or two for pictures")
				}
				first = false
				w, done, err := c.watch(kept.Sweep, s)
				if err != nil {
					var none R
					return none, err
				}
				tasks[s.Fingerprint].Follow(w)
				r, err := tasks[s.Fingerprint].Run(ctx, b, s)
				done(err)
				return r, err
			}
			results, err := sweepOrRun(ctx, kept.Sweep, settings, do)
			if err == nil {
				removePools(c, tasks)
			}
			if err == nil && file != "" {
				err = write(results[0])
			}
			if err == nil && t.finish != nil {
				err = t.finish(c, results)
			}
			if err != nil && (kept.Dir != "" || len(results) == 0) { // the folder has them
				return err
			}
			return cmp.Or(err, t.table(*grid.file != "").write(c, results))
		}, nil
	}
}

// table returns the table of the results, with the names of their rewards if they have any.
func (t steerTask[R]) table(named bool) table[R] {
	all, keys := append(columns(func(r R) []any {
		common := t.common(r)
		lambda, renormalization := math.NaN(), "" // of a result that does not have them
		if c := common.Config; c != nil {
			lambda, renormalization = c.Lambda, string(c.Renormalization)
			if c.Renormalization != steer.NoRenormalization {
				renormalization += fmt.Sprintf(" %g", c.Ratio)
			}
		}
		return []any{common.Method, common.Dynamics, common.N, lambda, renormalization, common.NFE, common.Seed}
	}, "method %s", "dynamics %s", "n %d", "λ %g", "renormalization %s", "NFE %g", "seed %d"), t.columns...), 7
	if named {
		name := columns(func(r R) []any { return []any{t.common(r).RewardName} }, "name %s")
		all, keys = append(name, all...), keys+1
	}
	return table[R]{
		columns: all, keys: keys, diverged: func(r R) bool { return t.common(r).Diverged },
		notes: func(r R) (notes []string) {
			common := t.common(r)
			texts := common.Warnings
			if t.note != nil && t.note(r) != "" {
				texts = append(slices.Clone(texts), t.note(r))
			}
			for _, text := range texts {
				name := fmt.Sprintf("%s, %s, n = %d, seed %d", common.Method, common.Dynamics, common.N, common.Seed)
				notes = append(notes, name+": "+text)
			}
			return notes
		},
	}
}

// steerGrid are the flags of a grid of settings.
type steerGrid struct {
	file      *string              // of a [steering.Grid]
	class     *string              // empty for none
	lists     map[string]valueList // values to combine, by their keys and flags
	seeds     *int
	threshold *float64
	particles int              // of a particle filter by default
	base      steering.Setting // with the options of all runs
	config    *settings
}

// withSteerGrid adds the flags of a grid with the given defaults.
func withSteerGrid(c *command, samples, steps, particles int) *steerGrid {
	g := &steerGrid{particles: particles, base: steering.Setting{Config: steer.DefaultConfig()}}
	g.base.Config.Steps = steps
	var names []string
	for _, e := range steer.Methods() {
		names = append(names, e.Name)
	}
	f, s := c.Flags(), &g.base
	g.file = f.String("grid", "", "JSON `file` with rewards and runs, instead of the flags for lists and rewards; other "+
		"flags that are given replace its values; see figures/grids")
	g.lists = map[string]valueList{
		"method":   {text: f.String("method", "mfm-g", "`names`, separated by commas: "+strings.Join(names, ", "))},
		"dynamics": {text: f.String("dynamics", "ode", "`names`, separated by commas: ode, sde")},
		"n": {f.String("n", "1", "`numbers` of posterior samples for an estimate, or of candidates to choose from, "+
			"separated by commas"), true},
		"lambda": {f.String("lambda", "1", "`factors` λ of the reward, separated by commas"), true},
		"renormalization": {text: f.String("renormalization", "none", "`bounds` of the length of the steering, separated "+
			"by commas: none, rescale, clip")},
		"particles": {f.String("particles", "0", "`numbers` of particles of a filter (default: all samples, for images 64) "+
			"or of a search (default: 1), separated by commas"), true},
		"ratio": {f.String("ratio", "1", "`ratios` of steering to base drift for rescale and clip, separated by commas"), true},
	}
	c.complete("method", true, names...)
	c.complete("dynamics", true, string(steer.ODE), string(steer.SDE))
	c.complete("renormalization", true, string(steer.NoRenormalization), string(steer.RescaleLength),
		string(steer.ClipLength))
	g.seeds = f.Int("seeds", 1, "`number` of seeds, from 0")
	f.StringVar((*string)(&s.Baseline), "baseline", "mean", "`baseline` of mfm-gf: mean or denoiser")
	f.BoolVar(&s.Antithetic, "antithetic", false, "draw noise in pairs of opposite sign")
	f.BoolVar(&s.LeaveOneOut, "leave-one-out", false, "remove the estimate's bias of order 1/N by the jackknife")
	f.BoolVar(&s.Shared, "shared", false, "use the same noise for the posterior samples of all particles")
	f.StringVar((*string)(&s.Posterior), "posterior", "",
		"`method` of a map's posterior samples for an estimate: map (default) or ode")
	f.IntVar(&s.PosteriorSteps, "posterior-steps", 0, "`number` of steps of that method (default: 1)")
	f.StringVar((*string)(&s.Resampling), "resampling", "",
		"`scheme` of a particle filter: systematic (default), stratified or multinomial")
	g.threshold = f.Float64("threshold", 0.5,
		"`share` of a particle filter's particles: it resamples if the effective sample size "+
			"is below; 0 never, 1 at each step")
	f.Float64Var(&s.SNR, "snr", 0,
		"`factor` of the signal-to-noise ratio that weighted-diamond gives up by adding noise (default: 20)")
	g.class = c.Flags().String("class", "", "`class` that a map with classes is conditioned on: its number, or its "+
		"name if the run keeps names (default: none)")
	f.Float64Var(&s.Guidance, "guidance", 0, "`scale` of classifier-free guidance toward the class; 0 for none, "+
		"or for that of a map that was trained on classes with one scale alone")
	f.BoolVar(&s.GuidePosterior, "guide-posterior", false, "guide the posterior samples of an estimate, too")
	f.BoolVar(&s.Pool, "pool", false, "keep the rewards of all unsteered samples, for the cost of Best-of-N")
	f.IntVar(&s.Samples, "samples", samples, "`number` of samples of a run")
	g.config = c.withSettings(
		option{name: "steps", path: "steps", usage: fmt.Sprintf("`number` of steps (default: %d)", steps)},
		option{name: "solver", path: "solver", usage: "`solver` of the ODE", values: []string{"euler", "heun"},
			read: name},
		option{name: "power", path: "power",
			usage: "`exponent` of the times of the steps: 1 is uniform, more is finer near noise (default: 1, 2.5 for " +
				"a search)"},
		option{name: "start", path: "start",
			usage: "`t` below which the steering is that at t (default: 0.01, 1e-5 for a search)"},
		option{name: "lambda-power", path: "lambda_power", usage: "`number` k in λ t^k; 0 keeps the target"},
		option{name: "noise", path: "noise", usage: "`factor` of the squared noise of the SDE; 1 is the default noise"},
		option{name: "cap", path: "cap", usage: "`bound` of the steering's factor; 0 for none"},
	)
	return g
}

// runs returns a grid and its runs: those of the file of a grid, or those of the flags, for the
// reward that a flag names.
func (g *steerGrid) runs(c *command, reward string) (all steering.Grid, runs []steering.GridRun, err error) {
	if err := cmp.Or(checkSeeds(*g.seeds), g.config.apply(&g.base.Config)); err != nil {
		return all, nil, err
	}
	if g.base.PosteriorSteps < 0 {
		return all, nil, fmt.Errorf("--posterior-steps = %d: must not be negative", g.base.PosteriorSteps)
	}
	if *g.threshold != 0.5 {
		g.base.Threshold = g.threshold
	}
	if *g.file != "" {
		return g.read(c)
	}
	values := steering.Values{"seeds": numeral(*g.seeds)}
	for _, name := range slices.Sorted(maps.Keys(g.lists)) {
		list, err := g.lists[name].json(name)
		if err != nil {
			return all, nil, err
		}
		values[name] = list
	}
	g.timeGrid(c, values)
	text, err := json.Marshal(reward)
	if err != nil {
		return all, nil, err
	}
	settings, err := values.Settings(g.base, g.particles)
	for _, s := range settings {
		runs = append(runs, steering.GridRun{Setting: s})
	}
	all.Rewards = []steering.NamedReward{{Reward: text}}
	return all, runs, err
}

// read reads the file of a grid. Flags that are given replace its values.
func (g *steerGrid) read(c *command) (all steering.Grid, runs []steering.GridRun, err error) {
	changed := func(name string) bool {
		f := c.Flags().Lookup(strings.ReplaceAll(name, "_", "-"))
		return f != nil && f.Changed
	}
	for _, name := range append(slices.Sorted(maps.Keys(g.lists)), "reward", "pool") {
		if changed(name) {
			return all, nil, fmt.Errorf("--%s and --grid: the file names these values, give one of the two flags", name)
		}
	}
	raw, err := config.ReadFile(*g.file)
	if err != nil {
		return all, nil, fmt.Errorf("--grid %s: %w", *g.file, err)
	}
	if all, err = steering.ParseGrid(raw); err != nil {
		return all, nil, fmt.Errorf("--grid %s: %w", *g.file, err)
	}
	for _, values := range all.Runs {
		maps.DeleteFunc(values, func(name string, _ json.RawMessage) bool { return changed(name) })
		if changed("seeds") {
			values["seeds"] = numeral(*g.seeds)
		}
		g.timeGrid(c, values)
	}
	if runs, err = all.Expand(g.base, g.particles); err != nil {
		return all, nil, fmt.Errorf("--grid %s: %w", *g.file, err)
	}
	return all, runs, nil
}

// timeGrid adds the flags of the time grid that are given to values: without them it depends on the
// method.
func (g *steerGrid) timeGrid(c *command, values steering.Values) {
	for name, v := range map[string]float64{"power": g.base.Config.Power, "start": g.base.Config.Start} {
		if c.Flags().Changed(name) {
			values[name], _ = json.Marshal(v) // a number always encodes
		}
	}
}

func gaussianTask() task {
	return task{name: "gaussian", about: "a Gaussian with closed forms", steer: gaussianSteering().build}
}

// gaussianSteering steers the exact flow map of N(0, I) to a linear reward.
func gaussianSteering() steerTask[gaussian.Result] {
	type result = gaussian.Result
	return steerTask[result]{
		samples: 4096, steps: 100,
		open: func(c *command) func(r steering.NamedReward) (steering.Task[result], string, error) {
			var p gaussian.Problem
			c.Flags().IntVar(&p.Dim, "dim", 2, "`number` of dimensions")
			c.Flags().Float64Var(&p.KL, "kl", 4,
				"divergence of the tilted distribution from the data for λ = 1, in `nats`, instead of a reward")
			_ = c.Flags().MarkHidden("reward") // the flag is there
			return func(r steering.NamedReward) (steering.Task[result], string, error) {
				if r.Text() != "paper" {
					return nil, "", fmt.Errorf("--reward %s: the reward of a Gaussian is linear: use --kl", r.Text())
				}
				t, err := gaussian.New(p)
				if err != nil {
					return nil, "", err
				}
				t.RewardName = r.Name
				return t, t.Fingerprint, nil
			}
		},
		common: func(r result) steering.Result { return r.Result },
		columns: columns(func(r result) []any { return []any{r.Mean, r.Std, r.Reached, r.W2, r.Floor} },
			"mean %.3f", "std %.3f", "reached %.3f", "w2 %.4f", "floor %.4f"),
	}
}
