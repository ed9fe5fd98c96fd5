package main

import (
	"context"
	"fmt"
	"text/tabwriter"

	"github.com/gomlx/compute"

	"github.com/gomfm/gomfm/mfm/experiment"
)

func steerDigits(ctx context.Context, s *shell, args []string) error {
	f := newSteerFlags("steer digits", 1024, 100)
	f.set = 64 // whose states and draws go through the network together
	checkpoint := f.String("checkpoint", "", "`folder` of the run whose map is steered (required)")
	folder := f.String("data", "", "`folder` of IDX files, the images that the map was trained on (default: those that the run names)")
	judge := f.String("judge", "", "`folder` of the run of a classifier of clean images, which a reward by name is made of (required)")
	second := f.String("second", "", "`folder` of the run of another one, that only judges (required)")
	if _, err := f.parse(s, args); err != nil {
		return err
	}
	for name, value := range map[string]string{"checkpoint": *checkpoint, "judge": *judge, "second": *second} {
		if value == "" {
			return invalidf("--%s is missing: name the folder of a run", name)
		}
	}
	return runSteer(ctx, s, f, func() (compute.Backend, gridProblem[experiment.DigitsSteeringRow], error) {
		var none gridProblem[experiment.DigitsSteeringRow]
		raw, err := imageRewardJSON(*f.reward, *judge)
		if err != nil {
			return nil, none, invalid{err}
		}
		images, _, err := experiment.RunImages(*checkpoint)
		if *folder != "" {
			images, _, err = experiment.LoadImages(*folder)
		}
		if err != nil {
			return nil, none, invalid{err}
		}
		b, err := f.open(s)
		if err != nil {
			return nil, none, err
		}
		config := experiment.DigitsSteeringConfig{Map: *checkpoint, Reward: raw, Judge: *judge, Second: *second}
		steering, err := experiment.NewDigitsSteering(b, config, images)
		if err != nil {
			return b, none, invalid{err}
		}
		return b, gridProblem[experiment.DigitsSteeringRow]{steering.Problem, steering.Check, steering.Run}, nil
	}, printDigitsSteering)
}

func printDigitsSteering(s *shell, rows []experiment.DigitsSteeringRow) error {
	w := tabwriter.NewWriter(s.stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "method\tdynamics\tn\tNFE\tseed\tl2\tfloor\tsecond judge\treward\tdistance\tfloor\tconfident\t")
	for _, r := range rows {
		s.warnRow(r.Method, r.Dynamics, r.N, r.Seed, r.Warnings)
		if r.Diverged {
			fmt.Fprintf(w, "%s\t%s\t%d\t%g\t%d\tdiverged\t\t\t\t\t\t\t\n", r.Method, r.Dynamics, r.N, r.NFE, r.Seed)
			continue
		}
		if r.Lost > 0 {
			s.warnRow(r.Method, r.Dynamics, r.N, r.Seed, []string{fmt.Sprintf("%d of %d samples have no reward, or one of -Inf", r.Lost, r.Samples)})
		}
		fmt.Fprintf(w, "%s\t%s\t%d\t%g\t%d\t%.4f\t%.4f\t%.4f\t%.3f\t%.3f\t%.3f\t%.3f\t\n", r.Method, r.Dynamics, r.N, r.NFE, r.Seed, r.L2, r.L2Floor, r.L2Second, r.Reward, r.Distance, r.DistFloor, r.Confident)
	}
	return w.Flush()
}
