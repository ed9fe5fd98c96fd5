package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/gomfm/gomfm/mfm/experiment"
	"github.com/gomfm/gomfm/mfm/progress"
	"github.com/gomfm/gomfm/mfm/reward"
)

// tuneGMM tunes drifts of a mixture's map, a grid of settings, and judges them.
func tuneGMM(ctx context.Context, s *shell, args []string) error {
	f := newFlags("tune gmm").withBackend().withJSON()
	checkpoint := f.String("checkpoint", "", "`folder` of the run whose map's drift is tuned (required)")
	rewardText := f.String("reward", "paper", "`name` paper, a linear-Gaussian reward as JSON, or a file with one")
	methods := f.String("method", "mfm-ft", "`names`, separated by commas: mfm-ft, plug-in-mfm-g, plug-in-mfm-gf, reward-weighted, adjoint")
	networks := f.String("network", "adapter", "`names` of what is tuned, separated by commas: adapter, copy, low-rank")
	draws := f.String("n", "8", "`numbers` of draws for a state, separated by commas")
	lambdas := f.String("lambda", "1", "`factors` of the reward, separated by commas")
	seeds := f.String("seeds", "1", "`number` of seeds, from 0")
	samples := f.Int("samples", 4096, "`number` of samples that judge")
	evalSteps := f.Int("sampler-steps", 250, "`number` of steps of the samplers that draw them")
	out := f.String("out", "", "`folder` of the results, one file for each run of the grid, which is never run again, and of the runs themselves (required)")
	stored := f.String("stored", "", "`file` that mfm steer merge has printed: what is in it is not run again either")
	shardText := f.String("shard", "", "`i/n`: of the grid's runs only each n-th, from the i-th of 0 to n-1")
	var values settings
	values.add(f,
		option{name: "steps", path: "tune.steps", usage: "`number` of training steps"},
		option{name: "batch", path: "tune.batch", usage: "rows a step, a `number`"},
		option{name: "rate", path: "tune.optimizer.rate", usage: "learning `rate`"},
		option{name: "kl", path: "budget.kl", usage: "`nats` that the tuned paths may be from the base's, 0 for any number"},
	)
	f.Func("set", "any value of the configuration, as `path=value`, such as tune.states.own=0.5; may be given several times", func(text string) error {
		path, value, found := strings.Cut(text, "=")
		if !found || path == "" {
			return fmt.Errorf("want path=value")
		}
		values = append(values, setting{"set", path, value})
		return nil
	})
	if _, err := f.parse(s, args); err != nil {
		return err
	}
	for name, value := range map[string]string{"checkpoint": *checkpoint, "out": *out} {
		if value == "" {
			return invalidf("--%s is missing: name a folder", name)
		}
	}
	r, err := linearReward(*rewardText)
	if err != nil {
		return invalid{err}
	}
	shard, shards, err := experiment.ParseShard(*shardText)
	if err != nil {
		return invalid{err}
	}
	cells, err := tuneCells(values, *methods, *networks, *draws, *lambdas, *seeds)
	if err != nil {
		return invalid{err}
	}
	for i := range cells {
		cells[i].Eval = experiment.EvalConfig{Samples: *samples, Steps: *evalSteps, Seed: cells[i].Config.Tune.Seed}
		t, err := experiment.NewGMMTuning(*checkpoint, r, cells[i].Config)
		if err != nil {
			return invalid{err}
		}
		if cells[i].Problem, err = t.Problem(); err != nil {
			return err
		}
	}
	b, err := f.open(s)
	if err != nil {
		return err
	}
	defer b.Finalize()
	o := experiment.Cells{Dir: *out, Stored: *stored, Shard: shard, Shards: shards, Done: func(i, n int) { fmt.Fprintf(s.stderr, "%d of %d\n", i, n) }}
	rows, err := experiment.RunCells(ctx, o, cells, func(ctx context.Context, c experiment.TuneCell) (experiment.TuneRow, error) {
		return experiment.RunTuneCell(ctx, b, *checkpoint, r, c, *out, experiment.RunOptions{Sink: progress.Auto(s.stderr), Problem: s.warn})
	})
	if err != nil {
		return err
	}
	if *f.json {
		return writeJSON(s.stdout, rows)
	}
	return printTuning(s, rows)
}

// linearReward returns the paper's reward, or that of a JSON object or file.
func linearReward(text string) (reward.LinearGaussian, error) {
	if text == "paper" {
		return experiment.PaperReward(), nil
	}
	raw := json.RawMessage(text)
	if !strings.HasPrefix(strings.TrimSpace(text), "{") {
		file, err := os.ReadFile(text)
		if err != nil {
			return reward.LinearGaussian{}, fmt.Errorf("reward %q is no name of one, no JSON object, and no file: %w", text, err)
		}
		raw = file
	}
	return reward.ParseLinearGaussian(raw)
}

// tuneCells returns the grid.
func tuneCells(values settings, methods, networks, draws, lambdas, seeds string) ([]experiment.TuneCell, error) {
	count, err := strconv.Atoi(seeds)
	if err != nil || count < 1 {
		return nil, fmt.Errorf("seeds %q: give a positive number", seeds)
	}
	var cells []experiment.TuneCell
	for _, method := range strings.Split(methods, ",") {
		for _, network := range strings.Split(networks, ",") {
			for i, n := range strings.Split(draws, ",") {
				if i > 0 && (method == "reward-weighted" || method == "adjoint") { // which draw nothing
					continue
				}
				for _, lambda := range strings.Split(lambdas, ",") {
					for seed := range count {
						c := experiment.TuneCell{Config: experiment.DefaultTuneConfig()}
						if method == "adjoint" {
							c.Config.Tune.States.Own, c.Config.Tune.Batch = 1, 51*40 // whole paths
						}
						if err := values.apply(&c.Config); err != nil {
							return nil, err
						}
						c.Config.Method, c.Config.Network, c.Config.Tune.Seed = method, network, int64(seed)
						if c.Config.N, err = strconv.Atoi(n); err != nil {
							return nil, fmt.Errorf("n %q: give numbers separated by commas", draws)
						}
						if c.Config.Tune.Lambda, err = strconv.ParseFloat(lambda, 64); err != nil {
							return nil, fmt.Errorf("lambda %q: give numbers separated by commas", lambdas)
						}
						cells = append(cells, c)
					}
				}
			}
		}
	}
	return cells, nil
}

func printTuning(s *shell, rows []experiment.TuneRow) error {
	w := tabwriter.NewWriter(s.stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "method\tnetwork\tn\tλ\tseed\tODE: sw2\tfloor\tSDE: sw2\tdrift error\tbase's\treward\tbest\tKL\tbest\tseconds\t")
	for _, r := range rows {
		fmt.Fprintf(w, "%s\t%s\t%d\t%g\t%d\t%.4f\t%.4f\t%.4f\t%.4f\t%.4f\t%.3f\t%.3f\t%.3f\t%.3f\t%.0f\t\n", r.Method, r.Network, r.N, r.Lambda, r.Seed, r.ODE.SW2, r.ODE.Floor, r.SDE.SW2, r.DriftError, r.BaseError, r.Reward, r.RewardBest, r.KL, r.KLBest, r.Seconds)
	}
	return w.Flush()
}
