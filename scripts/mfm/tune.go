package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/gomlx/compute"

	"github.com/gomfm/gomfm/mfm/experiment"
	"github.com/gomfm/gomfm/mfm/progress"
)

// tuneFlags are the flags for a grid of tuned drifts.
type tuneFlags struct {
	*flags
	checkpoint, reward, methods, networks, draws, lambdas, seeds, out, stored, shard *string
	samples, steps                                                                   *int
	settings                                                                         settings
}

// newTuneFlags returns the flags with the defaults of a configuration, and those of the samples that judge.
func newTuneFlags(command, rewards, networks string, c experiment.TuneConfig, samples, steps int) *tuneFlags {
	f := &tuneFlags{flags: newFlags(command).withBackend().withJSON()}
	f.checkpoint = f.String("checkpoint", "", "`folder` of the run whose map's drift is tuned (required)")
	f.reward = f.String("reward", "paper", rewards)
	f.methods = f.String("method", c.Method, "`names`, separated by commas: mfm-ft, mfm-ft-gf, plug-in-mfm-g, plug-in-mfm-gf, reward-weighted, adjoint, of mixtures plug-in-exact")
	f.networks = f.String("network", c.Network, "`names` of what is tuned, separated by commas: "+networks)
	f.draws = f.String("n", strconv.Itoa(c.N), "`numbers` of draws for a state, separated by commas")
	f.lambdas = f.String("lambda", fmt.Sprint(c.Tune.Lambda), "`factors` of the reward, separated by commas")
	f.seeds = f.String("seeds", "1", "`number` of seeds, from 0")
	f.samples = f.Int("samples", samples, "`number` of samples that judge")
	f.steps = f.Int("sampler-steps", steps, "`number` of steps of the samplers that draw them")
	f.out = f.String("out", "", "`folder` of the results, one file for each run of the grid, which is never run again, and of the runs themselves (required)")
	f.stored = f.String("stored", "", "`file` that mfm steer merge has printed: what is in it is not run again either")
	f.shard = f.String("shard", "", "`i/n`: of the grid's runs only each n-th, from the i-th of 0 to n-1")
	f.settings.add(f.flags,
		option{name: "steps", path: "tune.steps", usage: "`number` of training steps"},
		option{name: "batch", path: "tune.batch", usage: "rows a step, a `number`"},
		option{name: "rate", path: "tune.optimizer.rate", usage: "learning `rate`"},
		option{name: "kl", path: "budget.kl", usage: "`nats` that the tuned paths may be from the base's, 0 for any number"},
	)
	f.settings.addSet(f.flags, "tune.states.own=0.5")
	return f
}

// check returns an error for a folder that is missing.
func (f *tuneFlags) check() error {
	for _, v := range []struct{ name, value string }{{"checkpoint", *f.checkpoint}, {"out", *f.out}} {
		if v.value == "" {
			return invalidf("--%s is missing: name a folder", v.name)
		}
	}
	return nil
}

// configs returns the configurations of the grid, each made by defaults and changed as the flags say.
func (f *tuneFlags) configs(defaults func(method string) experiment.TuneConfig) ([]experiment.TuneConfig, error) {
	count, err := strconv.Atoi(*f.seeds)
	if err != nil || count < 1 {
		return nil, fmt.Errorf("seeds %q: give a positive number", *f.seeds)
	}
	var configs []experiment.TuneConfig
	for _, method := range strings.Split(*f.methods, ",") {
		for _, network := range strings.Split(*f.networks, ",") {
			for i, n := range strings.Split(*f.draws, ",") {
				if i > 0 && (method == "reward-weighted" || method == "adjoint" || method == "plug-in-exact") { // which draw nothing
					continue
				}
				for _, lambda := range strings.Split(*f.lambdas, ",") {
					for seed := range count {
						c := defaults(method)
						if err := f.settings.apply(&c); err != nil {
							return nil, err
						}
						c.Method, c.Network, c.Tune.Seed = method, network, int64(seed)
						if c.N, err = strconv.Atoi(n); err != nil {
							return nil, fmt.Errorf("n %q: give numbers separated by commas", *f.draws)
						}
						if c.Tune.Lambda, err = strconv.ParseFloat(lambda, 64); err != nil {
							return nil, fmt.Errorf("lambda %q: give numbers separated by commas", *f.lambdas)
						}
						configs = append(configs, c)
					}
				}
			}
		}
	}
	return configs, nil
}

// eval returns how a tuned drift of a configuration is judged.
func (f *tuneFlags) eval(c experiment.TuneConfig) experiment.EvalConfig {
	return experiment.EvalConfig{Samples: *f.samples, Steps: *f.steps, Seed: c.Tune.Seed}
}

// runTuning runs a grid and prints its rows.
func runTuning[C, R any](ctx context.Context, s *shell, f *tuneFlags, b compute.Backend, cells []C, run func(ctx context.Context, c C, o experiment.RunOptions) (R, error), print func(s *shell, rows []R) error) error {
	shard, shards, err := experiment.ParseShard(*f.shard)
	if err != nil {
		return invalid{err}
	}
	o := experiment.Cells{Dir: *f.out, Stored: *f.stored, Shard: shard, Shards: shards, Done: func(i, n int) { fmt.Fprintf(s.stderr, "%d of %d\n", i, n) }}
	rows, err := experiment.RunCells(ctx, o, cells, func(ctx context.Context, c C) (R, error) {
		return run(ctx, c, experiment.RunOptions{Sink: progress.Auto(s.stderr), Problem: s.warn})
	})
	if err != nil {
		return err
	}
	if *f.json {
		return writeJSON(s.stdout, rows)
	}
	return print(s, rows)
}
