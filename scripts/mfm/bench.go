package main

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/gomlx/compute"

	"github.com/gomfm/gomfm/data"
	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/experiment/latent"
	"github.com/gomfm/gomfm/mfm/experiment/speed"
)

// bench measures one case in this process, whose peak memory is therefore that of the case. The
// script scripts/bench runs all cases, and JAX for comparison.
func bench(c *command) prepare {
	c.withOutput()
	f := c.Flags()
	of := f.String("case", string(speed.MLP), "`name` of the case: training of mlp (the mixture), unet (digits) or dit "+
		"(latents), steer, memory of a gradient, bfloat16, the errors of computing in it, or idle, the time that a "+
		"training waits for data")
	loss := f.String("loss", string(mfm.Semigroup), "`name` of the loss; for --case steer of the method, mfm-g or "+
		"mfm-gf; one-step measures samples of --case dit")
	seconds := f.Float64("seconds", 10,
		"`time` of the measurement; the passes of a training and matrix products take as long again")
	steered := speed.DefaultSteering()
	f.IntVar(&steered.Particles, "particles", steered.Particles, "`number` of particles of --case steer")
	f.IntVar(&steered.Samples, "samples", steered.Samples, "`number` of posterior samples for each of them")
	f.IntVar(&steered.Steps, "steps", steered.Steps, "`number` of its steps")
	f.IntVar(&steered.Rows, "rows", steered.Rows, "`number` of rows that the network evaluates at a time")
	memory := speed.DefaultMemory()
	f.StringVar(&memory.Network, "network", memory.Network, "`name` of the network: dit or decoder of --case memory, "+
		"dit (data in memory) or autoencoder (picture files) of --case idle")
	f.BoolVar(&memory.Checkpoint, "checkpoint", false, "recompute its activations in the backward pass")
	f.IntVar(&memory.Batch, "batch", memory.Batch, "`number` of latents of its batch")
	pictures := f.String("data", "", "`folder` of pictures of --case idle --network autoencoder (default: emoji as JPEGs)")
	idle := speed.DefaultIdle()
	quick := f.Bool("quick", false, "use a small network and few steps in --case bfloat16, to try it")
	c.complete("case", false, string(speed.MLP), string(speed.UNet), string(speed.DiT), string(speed.Steer), "memory",
		"bfloat16", "idle")
	c.complete("loss", false, append(losses(), "mfm-g", "mfm-gf", speed.OneStep)...)
	c.complete("network", false, "dit", "decoder", "autoencoder")
	return func() (work, error) {
		config := mfm.DefaultLoss()
		config.Consistency, steered.Method = mfm.Consistency(*loss), *loss
		sampling := *of == string(speed.DiT) && *loss == speed.OneStep
		var err error
		switch *of {
		case string(speed.MLP), string(speed.UNet), string(speed.DiT):
			if !sampling {
				err = config.Validate()
			}
		case string(speed.Steer):
			err = steered.Validate()
		case "memory":
			err = memory.Validate()
		case "bfloat16":
		case "idle":
			if *pictures != "" {
				var train latent.Pictures
				train, _, err = latent.Load(data.Location{Path: *pictures, Height: 64, Width: 64})
				idle.Files = train.Files
			}
			idle.Network = memory.Network
			err = cmp.Or(err, idle.Validate())
		default:
			err = fmt.Errorf("--case = %q is unknown: use mlp, unet, dit, steer, memory, bfloat16 or idle", *of)
		}
		if err != nil {
			return nil, err
		}
		if !(*seconds > 0 && *seconds <= 3600) {
			return nil, fmt.Errorf("--seconds = %g: must lie in (0, 3600]", *seconds)
		}
		duration := time.Duration(*seconds * float64(time.Second))
		return func(ctx context.Context, b compute.Backend) error {
			switch {
			case *of == "memory":
				r, err := speed.Memory(ctx, b, memory)
				return c.writeResult(err, r, fmt.Sprintf("%s: %.0f MB of temporary buffers, %.0f MB in all\n", r.Network,
					r.TemporaryMB, r.PeakRSSMB))
			case *of == "bfloat16":
				config := speed.DefaultPrecision()
				if *quick {
					config.Network.Width, config.Network.Depth, config.Network.Encoder, config.Steps = 16, 1, 1, 4
				}
				r, err := speed.Precision(ctx, b, config)
				return c.writeResult(err, r, fmt.Sprintf("error of the output %.4f, of the losses %.4f\n", r.Forward, r.Curve))
			case *of == "idle":
				r, err := speed.Idle(ctx, b, idle, duration, time.Now)
				return c.writeResult(err, r, fmt.Sprintf("%s: %.1f ms a step, waiting %.2f %%, outside the step %.2f %%\n",
					r.Network, r.StepMS, 100*r.WaitShare, 100*r.HostShare))
			case *of == string(speed.Steer):
				r, err := speed.Steering(ctx, b, steered, duration, time.Now)
				return c.writeResult(err, r, speedTable(r.Result))
			case sampling:
				r, err := speed.Sampling(ctx, b, speed.DiT, duration, time.Now)
				return c.writeResult(err, r, speedTable(r))
			}
			r, err := speed.Training(ctx, b, speed.Case(*of), config.Consistency, duration, time.Now)
			return c.writeResult(err, r, speedTable(r))
		}, nil
	}
}

// writeResult writes a result unless err, that of the measurement, is not nil.
func (c *command) writeResult(err error, result any, text string) error {
	if err != nil {
		return err
	}
	return c.write(result, text)
}

func speedTable(r speed.Result) string {
	return table[speed.Result]{columns: columns(func(r speed.Result) []any {
		return []any{r.Case, r.Loss, r.StepsPerSecond, r.CompileSeconds, r.ForwardMS, r.JVPMS, r.DoubleReverseMS,
			r.PeakRSSMB, r.MatrixGFLOPS, r.Share}
	}, "case %s", "loss %s", "steps/s %.1f", "compile s %.1f", "forward ms %.2f", "forward+JVP ms %.2f",
		"double reverse ms %.2f", "peak MB %.0f", "matrix GFLOP/s %.0f", "share of it %.2f")}.text([]speed.Result{r})
}
