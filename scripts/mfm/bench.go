package main

import (
	"context"
	"fmt"
	"time"

	"github.com/gomlx/compute"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/experiment/speed"
)

// bench measures one case in this process, whose peak memory is therefore that of the case. The
// script scripts/bench runs all cases, and JAX for comparison.
func bench(c *command) prepare {
	c.withOutput()
	f := c.Flags()
	of := f.String("case", string(speed.MLP),
		"`name` of the case: training of mlp (the mixture) or unet (digits), or steer")
	loss := f.String("loss", string(mfm.Semigroup),
		"`name` of the loss; for --case steer of the method, mfm-g or mfm-gf")
	seconds := f.Float64("seconds", 10,
		"`time` of the measurement; the passes of a training take three quarters of it more")
	steered := speed.DefaultSteering()
	f.IntVar(&steered.Particles, "particles", steered.Particles, "`number` of particles of --case steer")
	f.IntVar(&steered.Samples, "samples", steered.Samples, "`number` of posterior samples for each of them")
	f.IntVar(&steered.Steps, "steps", steered.Steps, "`number` of its steps")
	f.IntVar(&steered.Rows, "rows", steered.Rows, "`number` of rows that the network evaluates at a time")
	c.complete("case", false, string(speed.MLP), string(speed.UNet), string(speed.Steer))
	c.complete("loss", false, append(losses(), "mfm-g", "mfm-gf")...)
	return func() (work, error) {
		config := mfm.DefaultLoss()
		config.Consistency, steered.Method = mfm.Consistency(*loss), *loss
		switch speed.Case(*of) {
		case speed.MLP, speed.UNet:
			if err := config.Validate(); err != nil {
				return nil, err
			}
		case speed.Steer:
			if err := steered.Validate(); err != nil {
				return nil, err
			}
		default:
			return nil, fmt.Errorf("--case = %q is unknown: use mlp, unet or steer", *of)
		}
		if !(*seconds > 0 && *seconds <= 3600) {
			return nil, fmt.Errorf("--seconds = %g: must lie in (0, 3600]", *seconds)
		}
		duration := time.Duration(*seconds * float64(time.Second))
		return func(ctx context.Context, b compute.Backend) error {
			if *of == string(speed.Steer) {
				r, err := speed.Steering(ctx, b, steered, duration, time.Now)
				if err != nil {
					return err
				}
				return c.write(r, speedTable(r.Result))
			}
			r, err := speed.Training(ctx, b, speed.Case(*of), config.Consistency, duration, time.Now)
			if err != nil {
				return err
			}
			return c.write(r, speedTable(r))
		}, nil
	}
}

func speedTable(r speed.Result) string {
	return table[speed.Result]{columns: columns(func(r speed.Result) []any {
		return []any{r.Case, r.Loss, r.StepsPerSecond, r.CompileSeconds, r.ForwardMS, r.JVPMS, r.DoubleReverseMS,
			r.PeakRSSMB}
	}, "case %s", "loss %s", "steps/s %.1f", "compile s %.1f", "forward ms %.2f", "forward+JVP ms %.2f",
		"double reverse ms %.2f", "peak MB %.0f")}.text([]speed.Result{r})
}
