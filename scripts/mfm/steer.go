package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/gomlx/compute"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/experiment/steering"
	"github.com/gomfm/gomfm/mfm/experiment/sweep"
	"github.com/gomfm/gomfm/mfm/steer"
)

// steerTask is what a task supplies to the verb steer; R is the result of a run.
type steerTask[R any] struct {
	samples, steps int // defaults
	particles      int // of a particle filter by default; 0 means all samples
	// open registers the flags of the task and returns a function that opens it with its
	// fingerprint.
	open    func(c *command) func(reward string) (steering.Task[R], string, error)
	common  func(R) steering.Result
	columns []column[R]    // besides those of common
	note    func(R) string // a warning besides those of common, empty for none; nil means none
}

// build returns a sweep of settings.
func (t steerTask[R]) build(c *command) prepare {
	c.withOutput()
	reward, kept := c.withReward(), c.withSweep()
	grid := withSteerGrid(c, t.samples, t.steps, t.particles)
	open := t.open(c)
	return func() (work, error) {
		settings, err := grid.settings()
		if err = cmp.Or(kept.parse(true), err); err != nil {
			return nil, err
		}
		opened, fingerprint, err := open(*reward)
		if err != nil {
			return nil, err
		}
		for i := range settings {
			settings[i].Fingerprint = fingerprint
			if err := opened.Check(settings[i]); err != nil {
				return nil, err
			}
		}
		return func(ctx context.Context, b compute.Backend) error {
			results, err := sweep.Run(ctx, kept.Sweep, settings,
				func(ctx context.Context, s steering.Setting) (R, error) {
					return opened.Run(ctx, b, s)
				})
			if err != nil {
				return err
			}
			return t.table().write(c, results)
		}, nil
	}
}

// table returns the table of the results.
func (t steerTask[R]) table() table[R] {
	return table[R]{
		columns: append(columns(func(r R) []any {
			common := t.common(r)
			return []any{common.Method, common.Dynamics, common.N, common.NFE, common.Seed}
		}, "method %s", "dynamics %s", "n %d", "NFE %g", "seed %d"), t.columns...),
		keys: 5, diverged: func(r R) bool { return t.common(r).Diverged },
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
	methods, dynamics, n *string
	seeds                *int
	threshold            *float64
	particles            int              // of a particle filter by default
	base                 steering.Setting // with the options of all runs
	config               *settings
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
	g.methods = f.String("method", "mfm-g", "`names`, separated by commas: "+strings.Join(names, ", "))
	c.complete("method", true, names...)
	g.dynamics = f.String("dynamics", "ode", "`names`, separated by commas: ode, sde")
	c.complete("dynamics", true, string(steer.ODE), string(steer.SDE))
	g.n = f.String("n", "1",
		"`numbers` of posterior samples for an estimate, or of candidates to choose from, separated by commas")
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
	c.withClass(&s.Class, "`label` that a map with classes is conditioned on (default: none)")
	f.Float64Var(&s.Guidance, "guidance", 0, "`scale` of classifier-free guidance toward the class; 0 for none")
	f.BoolVar(&s.GuidePosterior, "guide-posterior", false, "guide the posterior samples of an estimate, too")
	f.IntVar(&s.Samples, "samples", samples, "`number` of samples of a run")
	f.IntVar(&s.Particles, "particles", 0,
		"`number` of particles of a filter (default: all samples, for images 64) or of a search (default: 1)")
	g.config = c.withSettings(
		option{name: "steps", path: "steps", usage: fmt.Sprintf("`number` of steps (default: %d)", steps)},
		option{name: "solver", path: "solver", usage: "`solver` of the ODE", values: []string{"euler", "heun"},
			read: name},
		option{name: "power", path: "power",
			usage: "`exponent` of the times of the steps: 1 is uniform, more is finer near noise"},
		option{name: "start", path: "start", usage: "`t` below which the steering is that at t"},
		option{name: "lambda", path: "lambda", usage: "`factor` λ of the reward"},
		option{name: "lambda-power", path: "lambda_power", usage: "`number` k in λ t^k; 0 keeps the target"},
		option{name: "renormalization", path: "renormalization", usage: "`bound` of the steering",
			values: []string{"none", "rescale", "clip"}, read: name},
		option{name: "ratio", path: "ratio", usage: "`ratio` of steering to base drift for rescale and clip"},
		option{name: "noise", path: "noise", usage: "`factor` of the squared noise of the SDE; 1 is the default noise"},
		option{name: "cap", path: "cap", usage: "`bound` of the steering's factor; 0 for none"},
	)
	return g
}

// withClass adds the flag of a class, which remains nil without it.
func (c *command) withClass(class **int, usage string) {
	c.Flags().Func("class", usage, func(text string) error {
		k, err := strconv.Atoi(text)
		if err != nil {
			return fmt.Errorf("want a whole number")
		}
		*class = &k
		return nil
	})
}

// settings returns the grid: each method with all dynamics, numbers and seeds that it depends on.
func (g *steerGrid) settings() ([]steering.Setting, error) {
	if err := cmp.Or(checkSeeds(*g.seeds), g.config.apply(&g.base.Config)); err != nil {
		return nil, err
	}
	var all []steering.Setting
	for _, v := range combinations(*g.methods, *g.dynamics, *g.n) {
		entry, err := steer.Lookup(v[0])
		if err != nil {
			return nil, err
		}
		s := g.base
		if s.N, err = strconv.Atoi(v[2]); err != nil {
			return nil, fmt.Errorf("--n %q: give numbers separated by commas", *g.n)
		}
		if s.Particles < 0 || s.PosteriorSteps < 0 {
			return nil, fmt.Errorf("--particles = %d, --posterior-steps = %d: must not be negative",
				s.Particles, s.PosteriorSteps)
		}
		s.Method, s.Config.Dynamics = v[0], steer.Dynamics(v[1])
		g.restrict(&s, entry)
		all = addSeeds(all, s, *g.seeds, func(s *steering.Setting, seed int64) { s.Seed = seed })
	}
	return all, nil
}

// restrict drops the options that the method of a setting does not read, so that equal runs have
// equal settings, and sets defaults.
func (g *steerGrid) restrict(s *steering.Setting, entry steer.Entry) {
	dynamics := strings.Split(*g.dynamics, ",")
	switch {
	case entry.Filter:
		if slices.Contains(dynamics, string(steer.SDE)) {
			s.Config.Dynamics = steer.SDE
		}
		s.Particles = cmp.Or(s.Particles, g.particles, s.Samples)
		if *g.threshold != 0.5 {
			s.Threshold = g.threshold
		}
	case entry.Search:
		s.Config.Dynamics = steer.Dynamics(dynamics[0])
		s.Particles, s.Resampling = max(s.Particles, 1), ""
		if !s.GuidePosterior { // it uses no drift
			s.Guidance = 0
		}
	default:
		s.Particles, s.Resampling = 0, ""
	}
	if !entry.N {
		s.N = 1
	}
	if !entry.Baseline {
		s.Baseline = ""
	}
	if !entry.PosteriorSamples {
		s.Antithetic, s.LeaveOneOut, s.Shared = false, false, false
		s.GuidePosterior = s.GuidePosterior && entry.Search
	}
	// One step of the map is the default, without a name.
	if !entry.PosteriorSamples || s.PosteriorSteps <= 1 && (s.Posterior == "" || s.Posterior == mfm.MapSampling) {
		s.Posterior, s.PosteriorSteps = "", 0
	}
}
