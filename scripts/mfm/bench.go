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
	name := f.String("case", "mlp", "`name` of the case: mlp (the mixture) or unet (digits)")
	loss := f.String("loss", string(mfm.Semigroup), "`name` of the loss: semigroup, meanflow, eulerian, lagrangian or diagonal")
	seconds := f.Float64("seconds", 10, "`time` to measure the training step for; the passes take three quarters of it more")
	if _, err := f.parse(s, args); err != nil {
		return err
	}
	if *name != "mlp" && *name != "unet" {
		return invalidf("--case = %q is unknown: use mlp or unet", *name)
	}
	config := mfm.DefaultLoss()
	config.Consistency = mfm.Consistency(*loss)
	if err := config.Validate(); err != nil {
		return invalid{err}
	}
	if !(*seconds > 0 && *seconds <= 3600) {
		return invalidf("--seconds = %g: must lie in (0, 3600]", *seconds)
	}
	b, err := f.open(s)
	if err != nil {
		return err
	}
	defer b.Finalize()
	row, err := experiment.Bench(ctx, b, *name, config.Consistency, time.Duration(*seconds*float64(time.Second)))
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
