package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"image/color"
	"slices"
	"strings"

	"github.com/gomlx/compute"
	"github.com/gomlx/gomlx/core/tensors"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/diagnose"
	"github.com/gomfm/gomfm/mfm/experiment/mixture"
	"github.com/gomfm/gomfm/mfm/experiment/report"
	"github.com/gomfm/gomfm/mfm/experiment/run"
	"github.com/gomfm/gomfm/mfm/experiment/samplefile"
	"github.com/gomfm/gomfm/mfm/experiment/steering"
	"github.com/gomfm/gomfm/mfm/experiment/tuning"
	"github.com/gomfm/gomfm/mfm/figure"
	"github.com/gomfm/gomfm/mfm/gmm"
	"github.com/gomfm/gomfm/mfm/reward"
	"github.com/gomfm/gomfm/mfm/train"
	"github.com/gomfm/gomfm/mfm/tune"
)

// mixtureTask is a map of a Gaussian mixture, whose posteriors are closed forms.
func mixtureTask() task {
	return task{
		name: "gmm", about: "a map of a Gaussian mixture",
		train: trainMixture, sample: sampleMixture, eval: evaluateMixture,
		steer: mixtureSteering().build, tune: mixtureTuning().build,
		diagnose: diagnoseVerb(diagnose.DefaultConfig(), namedRun, diagnoseMixture),
		defaults: func(preset string) (map[string]any, error) {
			config, err := mixture.Preset(preset)
			return map[string]any{"gmm": config, "eval_gmm": mixture.DefaultEvalConfig()}, err
		},
	}
}

func trainMixture(c *command) func() (*training, error) {
	f := c.withConfig(mapOptions()...)
	file := c.Flags().String("mixture", "",
		"JSON `file` of the mixture: weights, means, covariances (default: the paper's mixture)")
	c.withVerdict()
	return func() (*training, error) {
		config, err := mixtureConfig(f, *file)
		if err != nil {
			return nil, err
		}
		e, err := mixture.New(config)
		return &training{
			kind: mixture.Kind, config: config, manifest: config, line: f.line("gmm", "mixture"),
			run: func(ctx context.Context, b compute.Backend, o run.Options) error {
				_, err := e.Train(ctx, b, o)
				return err
			},
			verdict: diagnosed(func(ctx context.Context, b compute.Backend, dir string) (*diagnose.Report, error) {
				return mixture.Diagnose(ctx, b, dir, report.Options{Config: diagnose.DefaultConfig().Brief(32)})
			}),
		}, err
	}
}

// mixtureConfig returns the preset with the options that are best for the loss, changed by the
// flags and the file of a mixture. The loss itself is one of the flags, so they are applied twice.
func mixtureConfig(f configFlags, file string) (mixture.Config, error) {
	var flags mixture.Config // with the values of the flags, after the first pass
	for pass := range 2 {
		config, err := mixture.Preset(*f.preset)
		if err != nil {
			return config, err
		}
		if pass > 0 {
			config.Train.Steps = flags.Train.Steps // warm-ups are shares of them
			config.SetLoss(flags.Train.Loss.Consistency, flags.Train.Loss.Distillation)
		}
		err = f.configure(&config)
		if err == nil && file != "" {
			config.Mixture, err = gmm.ReadFile(file)
		}
		if err != nil {
			return config, err
		}
		flags = config
	}
	return flags, nil
}

func sampleMixture(c *command) prepare {
	f := c.withSampler()
	t := c.Flags().Float64("t", 0, "`time` of the context, in [0, 1]")
	at := c.Flags().String("x", "", "the noisy state x_t, which is about t times a point, numbers separated by commas, such as `1.5,-0.5` "+
		"(default: zeros)")
	n := c.Flags().Int("n", 16, "`number` of samples")
	seed := c.Flags().Int64("seed", 0, "`seed` of the noise")
	out := c.Flags().String("out", "", sampleFormats+"for the samples (default: they are printed)")
	return func() (work, error) {
		if err := cmp.Or(checkTime(*t), checkCount("n", *n), checkSamples(*out)); err != nil {
			return nil, err
		}
		e, store, config, err := openMap(f, mixture.Open)
		if err != nil {
			return nil, err
		}
		dim := e.Config.Mixture.Dim()
		x := make([]float32, dim)
		if *at != "" {
			if x, err = numbers(*at); err != nil {
				return nil, fmt.Errorf("--x: %w", err)
			}
			if len(x) != dim {
				return nil, fmt.Errorf("--x has %d numbers, the mixture has %d dimensions", len(x), dim)
			}
		}
		if samplefile.IsFigure(*out) && dim < 2 {
			return nil, fmt.Errorf("--out %s: a figure shows two dimensions, the mixture has %d: name a .csv, .json or .npy "+
				"file", quote(*out), dim)
		}
		return func(ctx context.Context, b compute.Backend) error {
			sampler, err := mfm.NewSampler(b, e.Model(store), config)
			if err != nil {
				return invalid{err}
			}
			flat, err := mfm.Flat(sampler.Posterior(ctx, *seed, *t, tensors.FromFlatDataAndDimensions(x, dim), *n, nil))
			if err != nil {
				return err
			}
			samples, lines := slices.Collect(slices.Chunk(flat, dim)), ""
			if *out != "" {
				err := samplefile.Write(*out, samplefile.Samples{
					Values: flat, Shape: []int{*n, dim}, Index: []string{"sample"}, JSON: samples,
					Figure: func() *figure.Figure {
						fig, p := figure.New(figure.Paper(), 1, 1), figure.Scatter{Name: "samples", Points: mfm.Rows(flat, dim)}
						fig.X, fig.Y = figure.Axis{Label: "first coordinate"}, figure.Axis{Label: "second coordinate"}
						fig.Panel(0, 0).Equal = true
						if *t == 0 {
							fig.Panel(0, 0).Add(p)
							return fig
						}
						p.Name, fig.Title = "posterior samples", fmt.Sprintf("posterior at t = %g", *t)
						fig.Panel(0, 0).Add(p, figure.Scatter{
							Name: "xₜ", Points: [][]float64{{float64(x[0]), float64(x[1])}}, Size: 2.5, Alpha: 1, Color: color.Black,
						})
						return fig
					},
				})
				if err != nil {
					return err
				}
				return c.write(samples, fmt.Sprintf("%s: %d samples at t = %g\n", *out, *n, *t))
			}
			for _, sample := range samples {
				lines += strings.Trim(fmt.Sprint(sample), "[]") + "\n"
			}
			return c.write(samples, lines)
		}, nil
	}
}

func evaluateMixture(c *command) prepare {
	f := c.withSampler()
	set := c.withSettings(
		option{name: "times", path: "times", usage: "`t` of the contexts, numbers in [0, 1) separated by commas",
			read: list},
		option{name: "contexts", path: "contexts", usage: "`number` of random x_t at each t"},
		option{name: "samples", path: "samples", usage: "`number` of samples for each x_t"},
		option{name: "projections", path: "projections", usage: "`number` of directions of the sliced W2"},
		option{name: "seed", path: "seed", usage: "`seed` of contexts and exact samples"},
	)
	return func() (work, error) {
		evaluation := mixture.DefaultEvalConfig()
		if err := set.apply(&evaluation); err != nil {
			return nil, err
		}
		if err := evaluation.Validate(); err != nil {
			return nil, err
		}
		e, store, config, err := openMap(f, mixture.Open)
		return func(ctx context.Context, b compute.Backend) error {
			draw, err := e.Sampler(b, store, train.WeightsScope, config)
			if err != nil {
				return invalid{err}
			}
			return c.evaluatePosteriors(ctx, e, draw, evaluation)
		}, err
	}
}

// evaluatePosteriors evaluates posterior samples of a mixture's map and writes the results.
func (c *command) evaluatePosteriors(
	ctx context.Context, e *mixture.Experiment, draw mixture.Sampler, config mixture.EvalConfig,
) error {
	results, err := e.Evaluate(ctx, draw, config)
	if err != nil {
		return err
	}
	title := fmt.Sprintf("%s, %s, seed %d\n", results[0].Loss, results[0].Distillation, results[0].Seed)
	return c.write(results,
		title+table[mixture.PosteriorResult]{columns: columns(func(r mixture.PosteriorResult) []any {
			return []any{r.T, r.SW2, r.Floor, r.Std, r.Excess.Float(), r.Diversity.Float()}
		}, "t %g", "sw2 %.4f", "floor %.4f", "std %.4f", "excess %.4f", "diversity %.4f")}.text(results))
}

// mixtureRewardJSON is rewardJSON with the paper's reward by name.
func mixtureRewardJSON(text string) (json.RawMessage, error) {
	if text != "paper" {
		return rewardJSON(text)
	}
	r := mixture.PaperReward()
	return json.Marshal(map[string]any{"kind": "linear_gaussian", "a": r.A, "y": r.Y, "sigma": r.Sigma})
}

// mixtureSteering steers a map of a mixture, or the mixture's own drift.
func mixtureSteering() steerTask[mixture.SteeringResult] {
	type result = mixture.SteeringResult
	return steerTask[result]{
		samples: 4096, steps: 1000,
		open: func(c *command) func(r steering.NamedReward) (steering.Task[result], string, error) {
			checkpoint := c.Flags().String("checkpoint", "",
				"`folder` of the run whose map is steered (default: the mixture's own, exact drift and posteriors)")
			file := c.Flags().String("mixture", "",
				"JSON `file` of the mixture if there is no checkpoint (default: the paper's mixture)")
			return func(r steering.NamedReward) (steering.Task[result], string, error) {
				raw, err := mixtureRewardJSON(r.Text())
				if *checkpoint != "" && *file != "" {
					err = fmt.Errorf("--mixture and --checkpoint: the map has a mixture of its own, give one " +
						"of the two")
				}
				m := gmm.Paper()
				if err == nil && *file != "" {
					m, err = gmm.ReadFile(*file)
				}
				if err != nil {
					return nil, "", err
				}
				s, err := mixture.NewRewardSteering(*checkpoint, m, raw)
				if err != nil {
					return nil, "", err
				}
				s.RewardName = r.Name
				return s, s.Fingerprint, nil
			}
		},
		common: func(r result) steering.Result { return r.Result },
		columns: columns(func(r result) []any {
			return []any{r.SW2, r.Floor, r.MMD, r.Weights, r.Reward.Float(), r.LogDensity.Float(), r.TargetKL.Float()}
		}, "sw2 %.4f", "floor %.4f", "mmd %.5f", "weights %.3f", "reward %.3f", "log density %.3f", "target KL %.2f"),
	}
}

// mixtureTuning fine-tunes the drift of a mixture's map to a linear-Gaussian reward.
func mixtureTuning() tuneTask[mixture.TuningResult] {
	type result = mixture.TuningResult
	return tuneTask[result]{
		config: tuning.DefaultConfig(), paths: 51, samples: 4096, steps: 250,
		networks: []tuning.Network{tuning.Adapter, tuning.Copy, tuning.LowRank},
		open: func(c *command) func(dir, reward string) (tunings[result], error) {
			c.Flags().Lookup("reward").Usage = "`name`: paper; or a JSON object of kind linear_gaussian, " +
				"no other has the closed form that tuning is compared with, or a file with one: see mfm info"
			return func(dir, text string) (tunings[result], error) {
				raw, err := mixtureRewardJSON(text)
				if err != nil {
					return nil, err
				}
				return func(config tuning.Config) (tuning.Task[result], string, error) {
					r, err := reward.ParseLinearGaussian(raw)
					if entry, _ := tune.Lookup(config.Method); err != nil && entry.Exact {
						err = fmt.Errorf("method %s: %w", config.Method, err)
					}
					if err != nil {
						return nil, "", err
					}
					t, err := mixture.NewTuning(dir, r, config)
					if err != nil {
						return nil, "", err
					}
					fingerprint, err := t.Fingerprint()
					return t, fingerprint, err
				}, nil
			}
		},
		table: table[result]{
			columns: columns(func(r result) []any {
				return []any{r.Method, r.Network, r.N, r.Lambda, r.Seed, r.ODE.SW2, r.ODE.Floor, r.SDE.SW2,
					r.DriftError, r.BaseError, r.Reward, r.RewardBest, r.KL, r.KLBest, r.Seconds}
			}, "method %s", "network %s", "n %d", "λ %g", "seed %d", "ODE: sw2 %.4f", "floor %.4f", "SDE: sw2 %.4f",
				"drift error %.4f", "base's %.4f", "reward %.3f", "best %.3f", "KL %.3f", "best %.3f", "seconds %.0f"),
			keys: 5, diverged: func(r result) bool { return r.Diverged != "" },
			notes: mixtureTuningNotes,
		},
	}
}

// mixtureTuningNotes returns what a result reports besides its numbers.
func mixtureTuningNotes(r mixture.TuningResult) []string {
	if r.Diverged != "" {
		return tuningNotes(r.Method, r.N, r.Lambda, r.Seed, append(r.Warnings, r.Diverged)...)
	}
	texts := append(r.Warnings, budgetNote(r.Stopped, r.Steps))
	kl := fmt.Sprintf(": its KL is %.3g nats, the optimum's %.3g", r.KL, r.KLBest)
	if r.Collapsed {
		texts = append(texts, "the samples have collapsed to where the reward is largest")
	}
	if r.Overshot {
		texts = append(texts, "the drift went beyond its target"+kl)
	}
	if r.Behind {
		texts = append(texts, "the drift has not reached its target"+kl)
	}
	return tuningNotes(r.Method, r.N, r.Lambda, r.Seed, texts...)
}

// diagnoseMixture diagnoses a map of a mixture.
func diagnoseMixture(*command) diagnosis {
	return func(
		ctx context.Context, b compute.Backend, dir, reward string, o report.Options,
	) (*diagnose.Report, error) {
		if reward != "" {
			var err error
			if o.Reward, err = mixtureRewardJSON(reward); err != nil {
				return nil, invalid{err}
			}
		}
		return mixture.Diagnose(ctx, b, dir, o)
	}
}
