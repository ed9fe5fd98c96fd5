package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/gomfm/gomfm/mfm/experiment"
	"github.com/gomfm/gomfm/mfm/tune"
)

// tuneDigits tunes drifts of a map of images, a grid of settings, and judges them.
func tuneDigits(ctx context.Context, s *shell, args []string) error {
	f := newTuneFlags("tune digits", "`name` paper or class:K, a JSON object, or a file with one: see mfm info", "copy, low-rank, tilted-copy (of a map with a mixture as its prior)", experiment.DefaultDigitsTuneConfig(), 1024, 50)
	folder := f.String("data", "", "`folder` of IDX files, the images that the map was trained on (default: those that the run names)")
	judge := f.String("judge", "", "`folder` of the run of a classifier of clean images, which a reward by name is made of (required)")
	second := f.String("second", "", "`folder` of the run of another one, that only judges (required)")
	if _, err := f.parse(s, args); err != nil {
		return err
	}
	if err := f.check(); err != nil {
		return err
	}
	for _, v := range []struct{ name, value string }{{"judge", *judge}, {"second", *second}} {
		if v.value == "" {
			return invalidf("--%s is missing: name the folder of a run", v.name)
		}
	}
	raw, err := imageRewardJSON(*f.reward, *judge)
	if err != nil {
		return invalid{err}
	}
	images, _, err := experiment.RunImages(*f.checkpoint)
	if *folder != "" {
		images, _, err = experiment.LoadImages(*folder)
	}
	if err != nil {
		return invalid{err}
	}
	configs, err := f.configs(func(method string) experiment.TuneConfig {
		c := experiment.DefaultDigitsTuneConfig()
		c.Tilted = method != "reward-weighted" // which weighs its data itself
		if method == "adjoint" {
			c.Tune.States.Own, c.Tune.Batch = 1, 2*c.Tune.States.Steps // whole paths
		}
		return c
	})
	if err != nil {
		return invalid{err}
	}
	b, err := f.open(s)
	if err != nil {
		return err
	}
	defer b.Finalize()
	of := experiment.DigitsSteeringConfig{Map: *f.checkpoint, Reward: raw, Judge: *judge, Second: *second}
	var cells []experiment.DigitsTuneCell
	var first *experiment.DigitsTuning
	for i, c := range configs {
		cells = append(cells, experiment.DigitsTuneCell{Config: c, Eval: f.eval(c)})
		if err := cells[i].Validate(); err != nil {
			return invalid{err}
		}
		if i > 0 { // the problem is that of the first
			if err := first.Check(c); err != nil {
				return invalid{err}
			}
			cells[i].Problem = first.Problem
			continue
		}
		if first, err = experiment.NewDigitsTuning(b, of, images, c); err != nil {
			return invalid{err}
		}
		cells[i].Problem = first.Problem
	}
	return runTuning(ctx, s, f, b, cells, func(ctx context.Context, c experiment.DigitsTuneCell, o experiment.RunOptions) (experiment.DigitsTuneRow, error) {
		return experiment.RunDigitsTuneCell(ctx, b, of, images, c, *f.out, o)
	}, printDigitsTuning)
}

// imageRewardJSON returns the reward that a name, a JSON object or a file says, by the classifier in the folder judge.
func imageRewardJSON(text, judge string) (json.RawMessage, error) {
	if text == "paper" {
		return experiment.DigitsReward(judge), nil
	}
	if class, is := strings.CutPrefix(text, "class:"); is {
		k, err := strconv.Atoi(class)
		if err != nil {
			return nil, fmt.Errorf("reward %q: want class:K with a number K", text)
		}
		return experiment.ClassReward(judge, k), nil
	}
	return rewardJSON(text)
}

func printDigitsTuning(s *shell, rows []experiment.DigitsTuneRow) error {
	w := tabwriter.NewWriter(s.stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "method\tnetwork\tn\tλ\tseed\tsteps\tevaluations\tl2\tl2 floor\tsecond judge\treward\ttarget's\tdistance\tdistance floor\tdiversity\tconfident\tKL\t± SE\tseconds\t")
	for _, r := range rows {
		fmt.Fprintf(w, "%s\t%s\t%d\t%g\t%d\t%d\t", r.Method, r.Network, r.N, r.Lambda, r.Seed, r.TuneSteps)
		if r.Diverged {
			fmt.Fprintf(w, "diverged%s\n", strings.Repeat("\t", 13))
			continue
		}
		kl, se := "", ""
		if len(r.Looks) > 0 {
			mean, of := tune.LateKL(r.Looks)
			kl, se = fmt.Sprintf("%.2f", mean), fmt.Sprintf("%.2f", of)
		}
		fmt.Fprintf(w, "%.0f\t%.4f\t%.4f\t%.4f\t%.3f\t%.3f\t%.3f\t%.3f\t%.3f\t%.3f\t%s\t%s\t%.0f\t\n", r.TuneNFE, r.L2, r.L2Floor, r.L2Second, r.Reward, r.RewardTarget, r.Distance, r.DistFloor, r.Diversity, r.Confident, kl, se, r.Train)
		if r.Stopped {
			fmt.Fprintf(s.stderr, "%s of a %s, n = %d, λ = %g, seed %d: the KL budget ended the training after %d steps\n", r.Method, r.Network, r.N, r.Lambda, r.Seed, r.TuneSteps)
		}
		for _, text := range []string{r.Collapse, r.Overshoot, r.Behind} {
			if text != "" {
				fmt.Fprintf(s.stderr, "%s of a %s, n = %d, λ = %g, seed %d: %s\n", r.Method, r.Network, r.N, r.Lambda, r.Seed, text)
			}
		}
	}
	return w.Flush()
}
