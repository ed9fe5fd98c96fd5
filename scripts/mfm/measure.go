package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/gomlx/compute"
	"github.com/spf13/cobra"

	"github.com/gomfm/gomfm/data"
	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/experiment/config"
	"github.com/gomfm/gomfm/mfm/experiment/image"
	"github.com/gomfm/gomfm/mfm/experiment/latent"
	"github.com/gomfm/gomfm/mfm/experiment/points"
	"github.com/gomfm/gomfm/mfm/experiment/run"
	"github.com/gomfm/gomfm/mfm/experiment/speed"
	"github.com/gomfm/gomfm/mfm/experiment/stress"
	"github.com/gomfm/gomfm/mfm/experiment/sweep"
)

func stressCommand() *cobra.Command {
	return group("stress", "run a stress test",
		leaf("diversity", "posteriors of random mixtures, by modes, dimension and shape",
			stressTest(stress.DiversityGrid)),
		leaf("base", "the effect of an error of the base drift on all that is built on it",
			stressTest(stress.BaseGrid)),
		leaf("manifold", "maps of data near a manifold, by parametrization", stressTest(stress.ManifoldGrid)),
		leaf("precision", "closed forms for data near a manifold in float32, toward t = 1",
			stressTest(stress.PrecisionGrid)),
		leaf("times", "samples of data near a manifold by the exact drift, by time sampling",
			stressTest(stress.TimesGrid)),
		leaf("losses", "every loss for the same time, on mixtures and on digits", stressLosses),
		leaf("gradients", "estimates of the gradient of the value of a reward of digits, by the temperature of its classifier",
			stressGradients),
		leaf("values", "estimates of the values of rewards of pictures, by a map of latents, its drift and its denoiser",
			stressValues),
		leaf("recovery", "held-out pictures from their latents with noise, by steps of a map of latents", stressRecovery),
		leaf("sets", "maps of points from sets whose posteriors are known, as mfm train points makes them",
			stressTest(points.TrialGrid)),
	)
}

// stressFlags are the flags of a stress test: a sweep of settings, each of which is all that its
// result depends on.
type stressFlags struct {
	*sweepFlags
	grid *bool
	file *string
}

func (c *command) withStress() stressFlags {
	c.withOutput()
	c.withRestart()
	c.withTensorBoard()
	return stressFlags{
		sweepFlags: c.withSweep(),
		grid:       c.Flags().Bool("grid", false, "print the settings of the test as JSON and run nothing"),
		file:       c.Flags().String("settings", "", "`file` with settings to run instead, in the format of --grid"),
	}
}

// readSettings checks the flags and reads the file of settings; without a file it returns nil.
func readSettings[S interface{ Validate() error }](f stressFlags) (settings []S, err error) {
	if err := f.parse(!*f.grid); err != nil || *f.file == "" {
		return nil, err
	}
	raw, err := config.ReadFile(*f.file)
	if err == nil {
		err = config.Merge(&settings, raw)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", *f.file, err)
	}
	if len(settings) == 0 {
		return nil, fmt.Errorf("%s has no settings", *f.file)
	}
	for i, s := range settings {
		if err := s.Validate(); err != nil && !*f.grid {
			return nil, fmt.Errorf("setting %d: %w", i+1, err)
		}
	}
	return settings, nil
}

// runSettings runs settings and prints their results as JSON.
func runSettings[S, R any](
	ctx context.Context, f stressFlags, settings []S, do func(ctx context.Context, s S, o run.Options) (R, error),
) error {
	results, err := sweep.Run(ctx, f.Sweep, settings, func(ctx context.Context, s S) (r R, err error) {
		name, err := sweep.Name(s)
		if err != nil {
			return r, err
		}
		return do(ctx, s, f.c.options(filepath.Join(f.Dir, "run-"+name)))
	})
	if err != nil {
		return err
	}
	return f.c.writeJSON(results, "")
}

// printSettings prints settings and runs nothing.
func (c *command) printSettings(settings any) work {
	c.backendName = nil
	return func(context.Context, compute.Backend) error { return c.writeJSON(settings, " ") }
}

// stressTest returns the builder of a test whose settings run by themselves.
func stressTest[S interface {
	Validate() error
	Run(ctx context.Context, b compute.Backend, o run.Options) (R, error)
}, R any](grid func() []S) builder {
	return func(c *command) prepare {
		f := c.withStress()
		return func() (work, error) {
			settings, err := readSettings[S](f)
			if settings == nil {
				settings = grid()
			}
			if *f.grid {
				return c.printSettings(settings), err
			}
			return func(ctx context.Context, b compute.Backend) error {
				return runSettings(ctx, f, settings, func(ctx context.Context, s S, o run.Options) (R, error) {
					return s.Run(ctx, b, o)
				})
			}, err
		}
	}
}

// stressLosses compares losses in equal time.
func stressLosses(c *command) prepare {
	f := c.withStress()
	set := c.withSettings(
		option{name: "mixture", path: "mixture", usage: "`seconds` of a training on a family of mixtures; 0 for none"},
		option{name: "digits", path: "digits", usage: "`seconds` of a training on digits; 0 for none"},
		option{name: "seeds", path: "seeds", usage: "`number` of seeds"},
	)
	checkpoint := c.Flags().String("checkpoint", "",
		"`folder` of a run with the images of the digits (required for digits)")
	evaluator := c.Flags().String("evaluator", "",
		"`folder` of the run of the classifier that evaluates digits (required for digits)")
	noised := c.Flags().String("noised", "",
		"`folder` of the run of a classifier of noised digits (required for digits)")
	ratesFile := c.Flags().String("rates", "", "`file` of steps per second for each loss, which determine its steps; "+
		"missing rates are measured, which needs an idle machine, and added (default: rates.json in --out)")
	return func() (work, error) {
		settings, err := readSettings[stress.LossSetting](f)
		budget := stress.DefaultLossBudget()
		if err = cmp.Or(err, set.apply(&budget)); err == nil {
			err = budget.Validate()
		}
		if err != nil {
			return nil, err
		}
		required := settings == nil && budget.Digits > 0
		if *checkpoint+*evaluator+*noised != "" || required {
			if *checkpoint == "" || *evaluator == "" || *noised == "" {
				return nil, fmt.Errorf("of --checkpoint, --evaluator and --noised one is missing: " +
					"name folders of runs, or give --digits 0 and none of them")
			}
		}
		if *ratesFile == "" {
			if f.Dir == "" && settings == nil {
				return nil, fmt.Errorf("--rates is missing: name a file of rates, or --out")
			}
			*ratesFile = filepath.Join(f.Dir, "rates.json")
		}
		return func(ctx context.Context, b compute.Backend) error {
			bench := &stress.LossBench{}
			if *checkpoint != "" {
				if bench, err = openLossBench(b, *checkpoint, *evaluator, *noised); err != nil {
					return invalid{err}
				}
			}
			if settings == nil {
				if settings, err = c.lossGrid(ctx, b, bench, budget, *ratesFile, *f.grid); err != nil {
					return err
				}
			}
			if *f.grid {
				return c.writeJSON(settings, " ")
			}
			return runSettings(ctx, f, settings,
				func(ctx context.Context, s stress.LossSetting, o run.Options) (stress.LossResult, error) {
					return bench.Run(ctx, b, s, o)
				})
		}, nil
	}
}

// openLossBench opens what trainings on digits are evaluated with.
func openLossBench(b compute.Backend, checkpoint, evaluator, noised string) (*stress.LossBench, error) {
	bench := &stress.LossBench{}
	var err error
	if bench.Images, bench.HeldOut, err = image.OfRun(checkpoint); err != nil {
		return nil, err
	}
	shape := []int{bench.Images.Height, bench.Images.Width, bench.Images.Channels}
	if bench.Evaluator, err = image.OpenClassifier(b, evaluator, shape); err != nil {
		return nil, err
	}
	bench.Noised, err = image.OpenClassifier(b, noised, shape)
	return bench, err
}

// lossGrid returns the settings of a budget with the rates in a file. Unless known is true, it
// measures the rates that are missing and adds them to the file, so that a repeated command has the
// same settings.
func (c *command) lossGrid(
	ctx context.Context, b compute.Backend, bench *stress.LossBench, budget stress.LossBudget, path string, known bool,
) ([]stress.LossSetting, error) {
	rates := map[string]float64{}
	raw, err := config.ReadFile(path)
	if err == nil {
		err = config.Merge(&rates, raw)
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, invalid{fmt.Errorf("%s: %w: delete it to measure again", path, err)}
	}
	if n := len(rates); !known {
		fmt.Fprintln(c.ErrOrStderr(), "measuring the rates of the losses that are not known")
		if err := bench.Rates(ctx, b, budget, rates); err != nil {
			return nil, err
		}
		if len(rates) > n {
			if err := cmp.Or(os.MkdirAll(filepath.Dir(path), 0o755), run.WriteJSON(path, rates)); err != nil {
				return nil, fmt.Errorf("writing the rates: %w", err)
			}
		}
	}
	fingerprint, err := bench.Fingerprint()
	if err != nil {
		return nil, err
	}
	return budget.Grid(rates, fingerprint)
}

// bench measures one case in this process, whose peak memory is therefore that of the case. The
// script scripts/bench runs all cases, and JAX for comparison.
func bench(c *command) prepare {
	c.measuresCompilation = true
	c.withOutput()
	f := c.Flags()
	of := f.String("case", string(speed.MLP), "`name` of the case: training of mlp (the mixture), unet (digits) or dit "+
		"(latents), steer, memory of a gradient, bfloat16, the errors of computing in it, idle, the time that a "+
		"training waits for data, or plan, what a step of MFM-G needs")
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
	f.StringVar(&memory.Network, "network", memory.Network, "`name` of the network: dit, decoder or reward of --case memory, "+
		"dit (data in memory) or autoencoder (picture files) of --case idle")
	f.BoolVar(&memory.Checkpoint, "checkpoint", false, "recompute its activations in the backward pass")
	f.IntVar(&memory.Batch, "batch", memory.Batch, "`number` of latents of its batch")
	pictures := f.String("data", "", "`folder` of pictures of --case idle --network autoencoder (default: emoji as JPEGs)")
	idle := speed.DefaultIdle()
	scale := f.String("scale", "paper", "`name` of the networks of --case plan: paper, those of its experiment on ImageNet, which are "+
		"compiled alone, or small, those of the emoji, which run, too")
	quick := f.Bool("quick", false, "use a small network and few steps in --case bfloat16, to try it")
	c.complete("case", false, string(speed.MLP), string(speed.UNet), string(speed.DiT), string(speed.Steer), "memory",
		"bfloat16", "idle", "plan")
	c.complete("scale", false, "paper", "small")
	c.complete("loss", false, append(losses(), "mfm-g", "mfm-gf", speed.OneStep)...)
	c.complete("network", false, "dit", "decoder", "reward", "autoencoder")
	plan := func() speed.PlanConfig { return speed.PlanConfig{Scale: *scale, Batch: memory.Batch} }
	return func() (work, error) {
		config := mfm.DefaultLoss()
		config.Consistency, steered.Method = mfm.Consistency(*loss), *loss
		sampling := *of == string(speed.DiT) && *loss == speed.OneStep
		if *pictures != "" && (*of != "idle" || memory.Network != "autoencoder") {
			return nil, fmt.Errorf("--data = %s: only --case idle --network autoencoder reads pictures", *pictures)
		}
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
		case "plan":
			err = plan().Validate()
		case "idle":
			if *pictures != "" {
				var train latent.Pictures
				train, _, err = latent.Load(data.Location{Path: *pictures, Height: 64, Width: 64})
				idle.Files = train.Files
			}
			idle.Network = memory.Network
			err = cmp.Or(err, idle.Validate())
		default:
			err = fmt.Errorf("--case = %q is unknown: use mlp, unet, dit, steer, memory, bfloat16, idle or plan", *of)
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
				text := fmt.Sprintf("%s: %.0f MB of temporary buffers, %.0f MB in all\n", r.Network, r.TemporaryMB, r.PeakRSSMB)
				if r.Difference > 0 {
					text += fmt.Sprintf("the gradient differs by %.1e from that without checkpoints\n", r.Difference)
				}
				return c.writeResult(err, r, text)
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
			case *of == "plan":
				r, err := speed.Plan(ctx, b, plan(), duration, time.Now)
				return c.writeResult(err, r, fmt.Sprintf("%.0f MB of weights, %.0f MB of temporary buffers, %.0f GFLOP a picture\n",
					r.WeightsMB, r.TemporaryMB, r.GFLOP))
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
