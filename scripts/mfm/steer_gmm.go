package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/gomfm/gomfm/mfm/experiment"
	"github.com/gomfm/gomfm/mfm/gmm"
	"github.com/gomfm/gomfm/mfm/reward"
	"github.com/gomfm/gomfm/mfm/steer"
)

// steerFlags are the flags for a grid of steered runs.
type steerFlags struct {
	*flags
	checkpoint, mixture, reward, methods, dynamics, draws, seeds, baseline, out, shard *string
	samples, particles                                                                 *int
	settings                                                                           settings
}

func newSteerFlags(command string) *steerFlags {
	f := &steerFlags{flags: newFlags(command).withBackend().withJSON()}
	f.checkpoint = f.String("checkpoint", "", "`folder` of the run whose map is steered (default: the mixture's own drift and posteriors, which are exact)")
	f.mixture = f.String("mixture", "", "JSON `file` of the mixture, where there is no checkpoint (default: the paper's mixture)")
	f.reward = f.String("reward", "", "JSON `file` of a linear_gaussian reward (default: the paper's)")
	f.methods = f.String("method", "mfm-g", "`names`, separated by commas: unsteered, exact, mfm-g, mfm-gf, dps, best-of-n, smc-dps, smc-mfm-g, smc-mfm-gf, search-greedy|softmax-renoise|ddpm")
	f.dynamics = f.String("dynamics", "ode", "`names`, separated by commas: ode, sde")
	f.draws = f.String("n", "1", "`numbers` of draws, or of samples to choose from, separated by commas")
	f.seeds = f.String("seeds", "1", "`number` of seeds, from 0")
	f.baseline = f.String("baseline", "mean", "of mfm-gf: `mean` or denoiser")
	f.samples = f.Int("samples", 4096, "`number` of samples a run")
	f.particles = f.Int("particles", 0, "`number` of particles of a filter's set (default: all samples), or of a search")
	f.out = f.String("out", "", "`folder` of the results, one file for each run of the grid, which is never run again (required)")
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
	config.Steps = 1000
	if err := f.settings.apply(&config); err != nil {
		return nil, err
	}
	seeds, err := strconv.Atoi(*f.seeds)
	if err != nil || seeds < 1 {
		return nil, fmt.Errorf("seeds %q: give a positive number", *f.seeds)
	}
	var cells []experiment.SteerCell
	for _, method := range strings.Split(*f.methods, ",") {
		for _, dynamics := range strings.Split(*f.dynamics, ",") {
			for i, text := range strings.Split(*f.draws, ",") {
				n, err := strconv.Atoi(text)
				if err != nil {
					return nil, fmt.Errorf("n %q: give numbers separated by commas", *f.draws)
				}
				if strings.HasSuffix(method, "dps") || method == "exact" || method == "unsteered" { // which draw nothing
					if n = 1; i > 0 {
						continue
					}
				}
				for seed := range seeds {
					c := experiment.SteerCell{Method: method, N: n, Samples: *f.samples, Seed: int64(seed), Config: config}
					c.Config.Dynamics = steer.Dynamics(dynamics)
					switch {
					case strings.HasPrefix(method, "smc-"):
						if c.Particles = *f.particles; c.Particles == 0 {
							c.Particles = c.Samples
						}
					case strings.HasPrefix(method, "search-"):
						c.Particles = max(*f.particles, 1)
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

// steering returns what is steered, and to what.
func (f *steerFlags) steering() (*experiment.Steering, error) {
	law, r := gmm.Paper(), experiment.PaperReward()
	if *f.mixture != "" {
		if *f.checkpoint != "" {
			return nil, fmt.Errorf("--mixture and --checkpoint: the map has a mixture of its own, give one of them")
		}
		var err error
		if law, err = gmm.ReadFile(*f.mixture); err != nil {
			return nil, err
		}
	}
	if *f.reward != "" {
		raw, err := os.ReadFile(*f.reward)
		if err != nil {
			return nil, err
		}
		if _, err := reward.Parse(raw, nil); err != nil {
			return nil, fmt.Errorf("%s: %w", *f.reward, err)
		}
		var spec struct {
			Kind string `json:"kind"`
			reward.LinearGaussian
		}
		d := json.NewDecoder(bytes.NewReader(raw))
		d.DisallowUnknownFields()
		if err := d.Decode(&spec); err != nil || spec.Kind != "linear_gaussian" {
			return nil, fmt.Errorf("%s: kind %q: steering is judged against a closed form here, which linear_gaussian has", *f.reward, spec.Kind)
		}
		r = spec.LinearGaussian
	}
	return experiment.NewSteering(*f.checkpoint, law, r)
}

func steerGMM(ctx context.Context, s *shell, args []string) error {
	f := newSteerFlags("steer gmm")
	if _, err := f.parse(s, args); err != nil {
		return err
	}
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
	steering, err := f.steering()
	if err != nil {
		return invalid{err}
	}
	for i, c := range cells {
		cells[i].Problem = steering.Problem
		if err := steering.Check(c); err != nil {
			return invalid{err}
		}
	}
	b, err := f.open(s)
	if err != nil {
		return err
	}
	defer b.Finalize()
	o := experiment.Cells{Dir: *f.out, Shard: shard, Shards: shards, Done: func(i, n int) { fmt.Fprintf(s.stderr, "%d of %d\n", i, n) }}
	rows, err := experiment.RunCells(ctx, o, cells, func(ctx context.Context, c experiment.SteerCell) (experiment.SteeringRow, error) {
		return steering.Run(ctx, b, c)
	})
	if err != nil {
		return err
	}
	return f.print(s, rows)
}

func steerMerge(_ context.Context, s *shell, args []string) error {
	f := newFlags("steer merge").withJSON()
	dirs := f.String("out", "", "`folders` of results, separated by commas (required)")
	if _, err := f.parse(s, args); err != nil {
		return err
	}
	if *dirs == "" {
		return invalidf("--out is missing: name the folders of the results")
	}
	rows, err := experiment.MergeCells[experiment.SteeringRow](strings.Split(*dirs, ",")...)
	if err != nil {
		return invalid{err}
	}
	return (&steerFlags{flags: f}).print(s, rows)
}

func (f *steerFlags) print(s *shell, rows []experiment.SteeringRow) error {
	if *f.json {
		return writeJSON(s.stdout, rows)
	}
	w := tabwriter.NewWriter(s.stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "method\tdynamics\tn\tNFE\tseed\tsw2\tfloor\tmmd\tweights\t")
	for _, r := range rows {
		fmt.Fprintf(w, "%s\t%s\t%d\t%g\t%d\t%.4f\t%.4f\t%.5f\t%.3f\t\n", r.Method, r.Dynamics, r.N, r.NFE, r.Seed, r.SW2, r.Floor, r.MMD, r.Weights)
	}
	return w.Flush()
}
