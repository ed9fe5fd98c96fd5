package main

import (
	"context"
	"fmt"
	"text/tabwriter"

	"github.com/gomfm/gomfm/mfm/experiment"
	"github.com/gomfm/gomfm/mfm/reward"
)

// tuneGMM tunes drifts of a mixture's map, a grid of settings, and judges them.
func tuneGMM(ctx context.Context, s *shell, args []string) error {
	f := newTuneFlags("tune gmm", "`name` paper, a linear-Gaussian reward as JSON, or a file with one", "adapter, copy, low-rank", experiment.DefaultTuneConfig(), 4096, 250)
	if _, err := f.parse(s, args); err != nil {
		return err
	}
	if err := f.check(); err != nil {
		return err
	}
	r, err := linearReward(*f.reward)
	if err != nil {
		return invalid{err}
	}
	configs, err := f.configs(func(method string) experiment.TuneConfig {
		c := experiment.DefaultTuneConfig()
		if method == "adjoint" {
			c.Tune.States.Own, c.Tune.Batch = 1, 51*40 // whole paths
		}
		return c
	})
	if err != nil {
		return invalid{err}
	}
	var cells []experiment.TuneCell
	for _, c := range configs {
		t, err := experiment.NewGMMTuning(*f.checkpoint, r, c)
		if err != nil {
			return invalid{err}
		}
		problem, err := t.Problem()
		if err != nil {
			return err
		}
		if err := f.eval(c).Validate(c); err != nil {
			return invalid{err}
		}
		cells = append(cells, experiment.TuneCell{Problem: problem, Config: c, Eval: f.eval(c)})
	}
	b, err := f.open(s)
	if err != nil {
		return err
	}
	defer b.Finalize()
	return runTuning(ctx, s, f, b, cells, func(ctx context.Context, c experiment.TuneCell, o experiment.RunOptions) (experiment.TuneRow, error) {
		return experiment.RunTuneCell(ctx, b, *f.checkpoint, r, c, *f.out, o)
	}, printTuning)
}

// linearReward returns the paper's reward, or that of a JSON object or file.
func linearReward(text string) (reward.LinearGaussian, error) {
	if text == "paper" {
		return experiment.PaperReward(), nil
	}
	raw, err := rewardJSON(text)
	if err != nil {
		return reward.LinearGaussian{}, err
	}
	return reward.ParseLinearGaussian(raw)
}

func printTuning(s *shell, rows []experiment.TuneRow) error {
	w := tabwriter.NewWriter(s.stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "method\tnetwork\tn\tλ\tseed\tODE: sw2\tfloor\tSDE: sw2\tdrift error\tbase's\treward\tbest\tKL\tbest\tseconds\t")
	for _, r := range rows {
		if r.Diverged != "" {
			fmt.Fprintf(w, "%s\t%s\t%d\t%g\t%d\tdiverged\t\t\t\t\t\t\t\t\t\t\n", r.Method, r.Network, r.N, r.Lambda, r.Seed)
			fmt.Fprintf(s.stderr, "%s, n = %d, λ = %g, seed %d: %s\n", r.Method, r.N, r.Lambda, r.Seed, r.Diverged)
			continue
		}
		if r.Stopped {
			fmt.Fprintf(s.stderr, "%s, n = %d, λ = %g, seed %d: the KL budget ended the training after %d steps\n", r.Method, r.N, r.Lambda, r.Seed, r.Steps)
		}
		if r.Collapsed {
			fmt.Fprintf(s.stderr, "%s, n = %d, λ = %g, seed %d: the samples have collapsed where the reward is largest\n", r.Method, r.N, r.Lambda, r.Seed)
		}
		if r.Overshot {
			fmt.Fprintf(s.stderr, "%s, n = %d, λ = %g, seed %d: the drift went past its target: its KL is %.3g nats, the optimum's %.3g\n", r.Method, r.N, r.Lambda, r.Seed, r.KL, r.KLBest)
		}
		if r.Behind {
			fmt.Fprintf(s.stderr, "%s, n = %d, λ = %g, seed %d: the drift has not come to its target: its KL is %.3g nats, the optimum's %.3g\n", r.Method, r.N, r.Lambda, r.Seed, r.KL, r.KLBest)
		}
		fmt.Fprintf(w, "%s\t%s\t%d\t%g\t%d\t%.4f\t%.4f\t%.4f\t%.4f\t%.4f\t%.3f\t%.3f\t%.3f\t%.3f\t%.0f\t\n", r.Method, r.Network, r.N, r.Lambda, r.Seed, r.ODE.SW2, r.ODE.Floor, r.SDE.SW2, r.DriftError, r.BaseError, r.Reward, r.RewardBest, r.KL, r.KLBest, r.Seconds)
	}
	return w.Flush()
}
