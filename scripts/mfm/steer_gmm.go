package main

import (
	"context"
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/gomlx/compute"

	"github.com/gomfm/gomfm/mfm/experiment"
	"github.com/gomfm/gomfm/mfm/gmm"
)

func steerGMM(ctx context.Context, s *shell, args []string) error {
	f := newSteerFlags("steer gmm", 4096, 1000)
	checkpoint := f.String("checkpoint", "", "`folder` of the run whose map is steered (default: the mixture's own drift and posteriors, which are exact)")
	mixture := f.String("mixture", "", "JSON `file` of the mixture, where there is no checkpoint (default: the paper's mixture)")
	if _, err := f.parse(s, args); err != nil {
		return err
	}
	return runSteer(ctx, s, f, func() (compute.Backend, gridProblem[experiment.SteeringRow], error) {
		steering, err := f.steering(*checkpoint, *mixture)
		if err != nil {
			return nil, gridProblem[experiment.SteeringRow]{}, invalid{err}
		}
		return nil, gridProblem[experiment.SteeringRow]{steering.Problem, steering.Check, steering.Run}, nil
	}, printSteering)
}

// steering returns what is steered, and to what.
func (f *steerFlags) steering(checkpoint, mixture string) (*experiment.Steering, error) {
	law := gmm.Paper()
	if mixture != "" {
		if checkpoint != "" {
			return nil, fmt.Errorf("--mixture and --checkpoint: the map has a mixture of its own, give one of them")
		}
		var err error
		if law, err = gmm.ReadFile(mixture); err != nil {
			return nil, err
		}
	}
	if *f.reward == "paper" {
		return experiment.NewSteering(checkpoint, law, experiment.PaperReward())
	}
	raw, err := rewardJSON(*f.reward)
	if err != nil {
		return nil, err
	}
	return experiment.NewRewardSteering(checkpoint, law, raw)
}

// steerMerge puts rows of any kind together and prints them as they are, one a line.
func steerMerge(_ context.Context, s *shell, args []string) error {
	f := newFlags("steer merge")
	from := f.String("from", "", "`folders` of results, or files that this command has printed, separated by commas (required)")
	if _, err := f.parse(s, args); err != nil {
		return err
	}
	if *from == "" {
		return invalidf("--from is missing: name the folders of the results")
	}
	rows, err := experiment.MergeCells(strings.Split(*from, ",")...)
	if err != nil {
		return invalid{err}
	}
	_, err = s.stdout.Write(experiment.JoinRows(rows))
	return err
}

// warn writes what a run says of itself to the error stream.
func (s *shell) warnRow(method, dynamics string, n int, seed int64, warnings []string) {
	for _, text := range warnings {
		fmt.Fprintf(s.stderr, "%s, %s, n = %d, seed %d: %s\n", method, dynamics, n, seed, text)
	}
}

func printSteering(s *shell, rows []experiment.SteeringRow) error {
	w := tabwriter.NewWriter(s.stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "method\tdynamics\tn\tNFE\tseed\tsw2\tfloor\tmmd\tweights\t")
	for _, r := range rows {
		s.warnRow(r.Method, r.Dynamics, r.N, r.Seed, r.Warnings)
		if r.Diverged {
			fmt.Fprintf(w, "%s\t%s\t%d\t%g\t%d\tdiverged\t\t\t\t\n", r.Method, r.Dynamics, r.N, r.NFE, r.Seed)
			continue
		}
		fmt.Fprintf(w, "%s\t%s\t%d\t%g\t%d\t%.4f\t%.4f\t%.5f\t%.3f\t\n", r.Method, r.Dynamics, r.N, r.NFE, r.Seed, r.SW2, r.Floor, r.MMD, r.Weights)
	}
	return w.Flush()
}
