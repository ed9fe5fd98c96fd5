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
	measure := func() (experiment.BenchRow, error) {
		if *name == "steer" {
			return experiment.BenchSteering(ctx, b, *loss, duration)
		}
		return experiment.Bench(ctx, b, *name, config.Consistency, duration)
	}
	row, err := measure()
	if err != nil {
		return err
	}
	if *f.json {
		return writeJSON(s.stdout, row)
	}
	w := tabwriter.NewWriter(s.stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "case\tloss\tsteps/s\tcompile s\tforward ms\tforward+JVP ms\tdouble reverse ms\tpeak MB\t")
	fmt.Fprintf(w, "%s\t%s\t%.1f\t%.1f\t%.2f\t%.2f\t%.2f\t%.0f\t\n", row.Case, row.Loss, row.StepsPerSecond, row.CompileSeconds, row.ForwardMS, row.JVPMS, row.DoubleReverseMS, row.PeakRSSMB)
	return w.Flush()
}
