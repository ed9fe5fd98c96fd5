package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/gomlx/compute"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/experiment"
	"github.com/gomfm/gomfm/mfm/steer"
)

// steerFlags are the flags for a grid of steered runs.
type steerFlags struct {
	*flags
	reward, methods, dynamics, draws, seeds, baseline, out, stored, shard *string
	resampling, posterior                                                 *string
	antithetic, leaveOneOut, shared                                       *bool
	samples, particles, posteriorSteps                                    *int
	threshold                                                             *float64
	steps                                                                 int // where no flag says how many
	set                                                                   int // particles of a filter's set, where no flag says how many; 0: all samples
	settings                                                              settings
}

// newSteerFlags returns the flags with their defaults: so many samples, so many steps.
func newSteerFlags(command string, samples, steps int) *steerFlags {
	f := &steerFlags{flags: newFlags(command).withBackend().withJSON(), steps: steps}
	f.reward = f.String("reward", "paper", "`name` paper or, of digits, class:K; or a JSON object, or a file with one: see mfm info")
	f.methods = f.String("method", "mfm-g", "`names`, separated by commas: unsteered, exact, mfm-g, mfm-gf, dps, best-of-n, smc-dps, smc-mfm-g, smc-mfm-gf, smc-exact, search-greedy|softmax-renoise|ddpm")
	f.dynamics = f.String("dynamics", "ode", "`names`, separated by commas: ode, sde")
	f.draws = f.String("n", "1", "`numbers` of draws, or of samples to choose from, separated by commas")
	f.seeds = f.String("seeds", "1", "`number` of seeds, from 0")
	f.baseline = f.String("baseline", "mean", "of mfm-gf: `mean` or denoiser")
	f.antithetic = f.Bool("antithetic", false, "draw noise in pairs of opposite sign")
	f.leaveOneOut = f.Bool("leave-one-out", false, "take the estimate's bias of order 1/N off by the jackknife")
	f.shared = f.Bool("shared", false, "give all particles the same noise of their draws")
	f.posterior = f.String("posterior", "", "how a map draws an estimate's posterior samples: `map` (default) or ode")
	f.posteriorSteps = f.Int("posterior-steps", 0, "`number` of steps in which it does (default: 1)")
	f.resampling = f.String("resampling", "", "of a filter: `systematic` (default), stratified or multinomial")
	f.threshold = f.Float64("threshold", 0.5, "`share` of a filter's particles below which the effective number of them brings on a resampling: 0 never, 1 at each step")
	f.samples = f.Int("samples", samples, "`number` of samples a run")
	f.particles = f.Int("particles", 0, "`number` of particles of a filter's set (default: all samples, of digits 64), or of a search (default 1)")
	f.out = f.String("out", "", "`folder` of the results, one file for each run of the grid, which is never run again (required)")
	f.stored = f.String("stored", "", "`file` that mfm steer merge has printed: what is in it is not run again either")
	f.shard = f.String("shard", "", "`i/n`: of the grid's runs only each n-th, from the i-th of 0 to n-1")
	f.settings.add(f.flags,
		option{name: "steps", path: "steps", usage: "`number` of steps"},
		option{name: "solver", path: "solver", usage: "of the ODE: `euler` or heun", read: name},
		option{name: "power", path: "power", usage: "of the steps' times, a `number`: 1 is uniform, more is finer near noise"},
		option{name: "start", path: "start", usage: "`t` up to which the steering is that at t"},
		option{name: "lambda", path: "lambda", usage: "`factor` of the reward"},
		option{name: "lambda-power", path: "lambda_power", usage: "k in λ t^k, a `number`; 0 keeps the target"},
		option{name: "renormalization", path: "renormalization", usage: "of the steering: `none`, rescale or clip", read: name},
		option{name: "ratio", path: "ratio", usage: "of steering to base that rescale and clip take, a `number`"},
		option{name: "noise", path: "noise", usage: "of the SDE, as a `share` of the square of the default's"},
		option{name: "cap", path: "cap", usage: "`bound` of the steering's factor, 0 for none"},
	)
	return f
}

// cells returns the grid: every method with all dynamics, numbers and seeds that change anything for it.
func (f *steerFlags) cells() ([]experiment.SteerCell, error) {
	config := steer.DefaultConfig()
	config.Steps = f.steps
	if err := f.settings.apply(&config); err != nil {
		return nil, err
	}
	seeds, err := strconv.Atoi(*f.seeds)
	if err != nil || seeds < 1 {
		return nil, fmt.Errorf("seeds %q: give a positive number", *f.seeds)
	}
	var cells []experiment.SteerCell
	for _, method := range strings.Split(*f.methods, ",") {
		for i, dynamics := range strings.Split(*f.dynamics, ",") {
			switch filter := strings.HasPrefix(method, "smc-"); {
			case filter && dynamics != string(steer.SDE) && strings.Contains(*f.dynamics, string(steer.SDE)), strings.HasPrefix(method, "search-") && i > 0:
				continue // a filter goes by the SDE, to a search dynamics are all one
			}
			for i, text := range strings.Split(*f.draws, ",") {
				n, err := strconv.Atoi(text)
				if err != nil {
					return nil, fmt.Errorf("n %q: give numbers separated by commas", *f.draws)
				}
				if strings.HasSuffix(method, "dps") || strings.HasSuffix(method, "exact") || method == "unsteered" { // which draw nothing
					if n = 1; i > 0 {
						continue
					}
				}
				for seed := range seeds {
					c := experiment.SteerCell{Method: method, N: n, Samples: *f.samples, Seed: int64(seed), Config: config}
					c.Config.Dynamics = steer.Dynamics(dynamics)
					switch {
					case strings.HasPrefix(method, "smc-"):
						c.Particles = cmp.Or(*f.particles, f.set, c.Samples)
						c.Resampling = steer.Resampling(*f.resampling)
						if *f.threshold != 0.5 {
							c.Threshold = f.threshold
						}
					case strings.HasPrefix(method, "search-"):
						c.Particles = max(*f.particles, 1)
					}
					if strings.HasSuffix(method, "mfm-g") || strings.HasSuffix(method, "mfm-gf") {
						c.Antithetic, c.LeaveOneOut, c.Shared = *f.antithetic, *f.leaveOneOut, *f.shared
						if *f.posteriorSteps > 1 || *f.posterior != "" && *f.posterior != string(mfm.MapMethod) { // otherwise it is one step of the map, which needs no name
							c.Posterior, c.PosteriorSteps = mfm.Method(*f.posterior), *f.posteriorSteps
						}
					}
					if strings.HasSuffix(method, "mfm-gf") {
						c.Baseline = steer.Baseline(*f.baseline)
					}
					cells = append(cells, c)
				}
			}
		}
	}
	return cells, nil
}

// runSteer runs a grid of a problem, and prints its rows.
func runSteer[R any](ctx context.Context, s *shell, f *steerFlags, open func() (compute.Backend, gridProblem[R], error), print func(s *shell, rows []R) error) error {
	if *f.out == "" {
		return invalidf("--out is missing: name a folder for the results")
	}
	shard, shards, err := experiment.ParseShard(*f.shard)
	if err != nil {
		return invalid{err}
	}
	cells, err := f.cells()
	if err != nil {
		return invalid{err}
	}
	b, problem, err := open()
	if b != nil {
		defer b.Finalize()
	}
	if err != nil {
		return err
	}
	for i, c := range cells {
		cells[i].Problem = problem.name
		if err := problem.check(c); err != nil {
			return invalid{err}
		}
	}
	if b == nil {
		if b, err = f.open(s); err != nil {
			return err
		}
		defer b.Finalize()
	}
	o := experiment.Cells{Dir: *f.out, Stored: *f.stored, Shard: shard, Shards: shards, Done: func(i, n int) { fmt.Fprintf(s.stderr, "%d of %d\n", i, n) }}
	rows, err := experiment.RunCells(ctx, o, cells, func(ctx context.Context, c experiment.SteerCell) (R, error) { return problem.run(ctx, b, c) })
	if err != nil {
		return err
	}
	if *f.json {
		return writeJSON(s.stdout, rows)
	}
	return print(s, rows)
}

// gridProblem is what the runs of a grid have in common.
type gridProblem[R any] struct {
	name  string
	check func(experiment.SteerCell) error
	run   func(context.Context, compute.Backend, experiment.SteerCell) (R, error)
}

// mixtureRewardJSON is rewardJSON with the paper's reward of a mixture by name.
func mixtureRewardJSON(text string) (json.RawMessage, error) {
	if text != "paper" {
		return rewardJSON(text)
	}
	r := experiment.PaperReward()
	return json.Marshal(map[string]any{"kind": "linear_gaussian", "a": r.A, "y": r.Y, "sigma": r.Sigma})
}

// rewardJSON returns the reward that a flag's text gives as JSON: the object itself, or what is in the file of that name.
func rewardJSON(text string) (json.RawMessage, error) {
	if strings.HasPrefix(strings.TrimSpace(text), "{") {
		return json.RawMessage(text), nil
	}
	raw, err := os.ReadFile(text)
	if err != nil {
		return nil, fmt.Errorf("reward %q is no name of one, no JSON object, and no file: %w", text, err)
	}
	return raw, nil
}
