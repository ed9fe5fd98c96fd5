package main

import (
	"context"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/experiment"
)

// bench measures one case in this process, so that the peak of its memory is the case's own; scripts/bench runs them all, beside JAX.
func bench(ctx context.Context, s *shell, args []string) error {
	f := newFlags("bench").withBackend().withJSON()
	name := f.String("case", "mlp", "`name` of the case: mlp (the mixture) or unet (digits), which are trained, or steer")
	loss := f.String("loss", string(mfm.Semigroup), "`name` of the loss: semigroup, meanflow, eulerian, lagrangian or diagonal; of --case steer, the method: mfm-g or mfm-gf")
	seconds := f.Float64("seconds", 10, "`time` to measure for; the passes of a training take three quarters of it more")
	steered := experiment.DefaultSteerBench()
	f.IntVar(&steered.Particles, "particles", steered.Particles, "`number` of particles of --case steer")
	f.IntVar(&steered.Draws, "draws", steered.Draws, "`number` of draws for each of them")
	f.IntVar(&steered.Steps, "steps", steered.Steps, "`number` of its steps")
	f.IntVar(&steered.Rows, "rows", steered.Rows, "`number` of rows that the network sees at a time")
	if _, err := f.parse(s, args); err != nil {
		return err
	}
	config := mfm.DefaultLoss()
	config.Consistency = mfm.Consistency(*loss)
	switch *name {
	case "mlp", "unet":
		if err := config.Validate(); err != nil {
			return invalid{err}
		}
	case "steer":
		if *loss != "mfm-g" && *loss != "mfm-gf" {
			return invalidf("--loss = %q of --case steer: use mfm-g or mfm-gf", *loss)
		}
	default:
		return invalidf("--case = %q is unknown: use mlp, unet or steer", *name)
	}
	if !(*seconds > 0 && *seconds <= 3600) {
		return invalidf("--seconds = %g: must lie in (0, 3600]", *seconds)
	}
	b, err := f.open(s)
	if err != nil {
		return err
	}
	defer b.Finalize()
	duration := time.Duration(*seconds * float64(time.Second))
	var row experiment.BenchRow
	var all any
	if *name == "steer" {
		steered.Method = *loss
		measured, err := experiment.BenchSteering(ctx, b, steered, duration)
		if err != nil {
			return err
		}
		row, all = measured.BenchRow, measured
	} else {
		if row, err = experiment.Bench(ctx, b, *name, config.Consistency, duration); err != nil {
			return err
		}
		all = row
	}
	if *f.json {
		return writeJSON(s.stdout, all)
	}
	w := tabwriter.NewWriter(s.stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "case\tloss\tsteps/s\tcompile s\tforward ms\tforward+JVP ms\tdouble reverse ms\tpeak MB\t")
	fmt.Fprintf(w, "%s\t%s\t%.1f\t%.1f\t%.2f\t%.2f\t%.2f\t%.0f\t\n", row.Case, row.Loss, row.StepsPerSecond, row.CompileSeconds, row.ForwardMS, row.JVPMS, row.DoubleReverseMS, row.PeakRSSMB)
	return w.Flush()
}
