package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/gomlx/compute"
	"github.com/spf13/cobra"

	"github.com/gomfm/gomfm/data/tabular"
	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/diagnose"
	"github.com/gomfm/gomfm/mfm/experiment/points"
	"github.com/gomfm/gomfm/mfm/experiment/points/sets"
	"github.com/gomfm/gomfm/mfm/experiment/report"
	"github.com/gomfm/gomfm/mfm/experiment/run"
	"github.com/gomfm/gomfm/mfm/experiment/steering"
	"github.com/gomfm/gomfm/mfm/experiment/tuning"
)

// pointsTask is a map of points, the rows of a table.
func pointsTask() task {
	return task{
		name: "points", about: "a map of points",
		train: trainPoints, sample: samplePoints, eval: evaluatePoints, steer: pointsSteering().build,
		tune:     pointsTuning().build,
		diagnose: diagnoseVerb(diagnose.DefaultConfig(), namedRun, diagnosePoints),
		defaults: func(preset string) (map[string]any, error) {
			config, err := points.Preset(preset)
			return map[string]any{"points": config, "eval_points": points.DefaultCheck()}, err
		},
	}
}

func trainPoints(c *command) func() (*training, error) {
	f := c.withConfig(mapOptions()...)
	path := c.Flags().String("data", "", "`file` of points, a row each: "+tabular.Formats+" (required)")
	classes := c.Flags().String("classes", "", "`name` of the column with the classes of the points (default: no classes)")
	c.withVerdict()
	return func() (*training, error) {
		config, err := points.Preset(*f.preset)
		if err = cmp.Or(err, f.configure(&config)); err != nil {
			return nil, err
		}
		if *path == "" { // mfm info shows the configuration
			check := func() error { return c.require("name a file "+tabular.Formats, "data") }
			return &training{config: config, check: check}, nil
		}
		column := cmp.Or(*classes, config.Classes)
		data, err := points.Load(*path, column)
		if text, found := errors.AsType[tabular.TextError](err); found {
			err = fmt.Errorf("%w: --classes %s", err, quote(text.Column))
		}
		if err != nil {
			return nil, err
		}
		config.SetClasses(column, len(data.Train.Names))
		manifest := config
		if config.Parametrization != mfm.MixtureName {
			manifest.Prior = nil
		}
		return &training{
			kind: points.Kind, config: config, manifest: manifest, line: f.line("points", "data", "classes"), data: *path,
			run: func(ctx context.Context, b compute.Backend, o run.Options) error {
				o.DataHash, o.HeldOutHash = data.Train.Hash(), data.HeldOut.Hash()
				if err := o.Prepare(ctx, points.Kind, manifest); err != nil {
					return err
				}
				e, err := points.NewRun(ctx, config, data, o)
				if err == nil {
					_, err = e.Train(ctx, b, data, o)
				}
				return err
			},
			verdict: func(ctx context.Context, b compute.Backend, dir string) (any, []string, error) {
				e, store, err := points.Open(dir)
				if err != nil {
					return nil, nil, err
				}
				check, err := e.Check(ctx, b, store, data, points.DefaultCheck())
				if err != nil {
					return nil, nil, err
				}
				return check, strings.Split(strings.TrimSuffix(check.Text(), "\n"), "\n"), nil
			},
		}, config.Validate(len(data.Train.Columns), len(data.Train.Names))
	}
}

// dataPoints writes a table to try the other verbs with.
func dataPoints(c *command) prepare {
	c.withJSON()
	var names []string
	for _, s := range sets.All() {
		names = append(names, s.Name)
	}
	name := c.Flags().String("set", names[0], "`name` of the set: "+strings.Join(names, ", "))
	c.complete("set", false, names...)
	rows := c.Flags().Int("rows", 4000, "`number` of points")
	seed := c.Flags().Uint64("seed", 0, "`seed` of the points")
	out := c.Flags().String("out", "", "`file` to write: "+tabular.Formats+" (required)")
	return func() (work, error) {
		s, err := sets.Lookup(*name)
		if err = cmp.Or(c.require("name a file "+tabular.Formats, "out"), err); err != nil {
			return nil, err
		}
		trial := points.Trial{Set: s.Name, Rows: *rows, Config: points.DefaultConfig(), Eval: points.DefaultEval()}
		if err := trial.Validate(); err != nil {
			return nil, fmt.Errorf("--rows %d: %w", *rows, err)
		}
		if err := tabular.CheckPath(*out); err != nil {
			return nil, fmt.Errorf("--out %w", err)
		}
		return func(context.Context, compute.Backend) error {
			if err := tabular.Write(*out, s.Table(*rows, *seed)); err != nil {
				return err
			}
			text := fmt.Sprintf("%s: %d points of %s; mfm train points --data %s trains on them\n", *out, *rows, *name,
				quote(*out))
			return c.write(map[string]any{"out": *out, "set": *name, "rows": *rows, "columns": s.Dim()}, text)
		}, nil
	}
}

func evaluatePoints(c *command) prepare {
	c.withOutput()
	checkpoint := c.Flags().String("checkpoint", "", "`folder` of the run, finished or not (required)")
	path := c.Flags().String("data", "", "`file` of the points (default: the one that the run names)")
	config := points.DefaultCheck()
	set := c.withSettings(
		option{name: "times", path: "times", usage: "`t` of the observations, numbers in (0, 1) separated by commas",
			read: list},
		option{name: "rows", path: "rows", usage: "largest `number` of held-out points that are observed"},
		option{name: "samples", path: "samples", usage: "`number` of samples given each"},
		option{name: "contexts", path: "contexts", usage: "`number` of points at which one step is compared with the ODE"},
		option{name: "seed", path: "seed", usage: "`seed` of observations and noise"},
	)
	return func() (work, error) {
		err := cmp.Or(c.require("name the folder of a run", "checkpoint"), set.apply(&config))
		if err = cmp.Or(err, config.Validate()); err != nil {
			return nil, err
		}
		e, store, err := points.Open(*checkpoint)
		if err != nil {
			return nil, err
		}
		data, err := points.OfRun(*checkpoint, *path)
		return func(ctx context.Context, b compute.Backend) error {
			check, err := e.Check(ctx, b, store, data, config)
			if err != nil {
				return err
			}
			return c.write(check, check.Text())
		}, err
	}
}

// diagnosePoints diagnoses a map of points.
func diagnosePoints(c *command) diagnosis {
	path := c.Flags().String("data", "", "`file` of the points (default: the one that the run names)")
	others := []string{"reward", "tuned"}
	for _, name := range others {
		c.Flags().Lookup(name).Hidden = true
	}
	c.PreRunE = func(*cobra.Command, []string) error {
		for _, name := range others {
			if c.Flags().Changed(name) {
				return invalid{fmt.Errorf("--%s: mfm diagnose points evaluates neither rewards nor tuned drifts: use mfm steer "+
					"points or mfm tune points", name)}
			}
		}
		return nil
	}
	return func(
		ctx context.Context, b compute.Backend, dir, _ string, o report.Options,
	) (*diagnose.Report, error) {
		return points.Diagnose(ctx, b, dir, *path, o)
	}
}

// withPointsReward adds the flags of a reward of points, and returns a function that opens the
// steering of the map of the run in dir to it. missing says why there are no data, if there are
// none.
func (c *command) withPointsReward() func(dir, text string) (s *points.Steering, missing, err error) {
	reward := c.Flags().Lookup("reward")
	reward.DefValue, reward.Usage = "", "JSON object, or `file` with one, of a reward in the units of the data, such "+
		"as "+pointsReward+"; mfm info lists the kinds: column, measurement, linear, box, ..., sum, scaled (required)"
	path := c.Flags().String("data", "", "`file` of the points, whose weighted rows are compared with the samples "+
		"(default: the one that the run names)")
	return func(dir, text string) (s *points.Steering, missing, err error) {
		if err := c.require("name the folder of a run", "checkpoint"); err != nil {
			return nil, nil, err
		}
		if text == "paper" {
			return nil, nil, fmt.Errorf("--reward is missing: give one in the units of the data, such as %s",
				quote(pointsReward))
		}
		raw, err := rewardJSON(text)
		if err != nil {
			return nil, nil, err
		}
		s, missing, err = points.OpenSteering(dir, *path, raw)
		if missing != nil {
			missing = fmt.Errorf("%w: name it with --data FILE", missing)
		}
		return s, missing, err
	}
}

// pointsReward is an example of a reward of points.
const pointsReward = `{"kind": "column", "column": "y", "target": 0.5, "width": 0.1}`

// pointsRewards are the formulas of the rewards of points.
const pointsRewards = "Rewards are in the units of the data, among them column, r = -((x - target)/width)²/2 of one column x;\n" +
	"measurement, the same of a sum Σ w x with \"weights\": {\"x\": 1, \"y\": -1}; and linear, r = Σ w x. The target is\n" +
	"the distribution of the data times e^{λ r}. mfm info has an example of each kind of reward."

// shownRows is the largest number of rows of the data behind samples in a figure.
const shownRows = 2000

// mostOfN is the largest number of candidates that rivals suggests.
const mostOfN = 256

// rivals suggests other runs to compare one with that is not near to its target: Best-of-N, which
// needs about e^(κ+1) candidates for κ nats, and a particle filter.
func rivals(r points.SteeringResult) string {
	n := 2
	for float64(n) < math.Exp(r.TargetKL.Float()+1) && n <= mostOfN {
		n *= 2
	}
	var all []string
	if n <= mostOfN && !(strings.HasPrefix(r.Method, "best-of-n") && r.N >= n) {
		all = append(all, fmt.Sprintf("--method best-of-n --n %d", n))
	}
	if !strings.HasPrefix(r.Method, "smc") {
		all = append(all, "--method smc-mfm-gf --dynamics sde")
	}
	if all == nil {
		return ""
	}
	return "Compare " + strings.Join(all, ", or ")
}

// classOfPoints begins the usage of a flag for a class.
const classOfPoints = "`name` of the class, or its number from 0 in the order of the names, "

// pointsSteering steers a map of points.
func pointsSteering() steerTask[points.SteeringResult] {
	type result = points.SteeringResult
	var e *points.Experiment
	var s *points.Steering // to the last reward
	return steerTask[result]{
		samples: 1024, steps: 100,
		open: func(c *command) func(r steering.NamedReward) (steering.Task[result], string, error) {
			checkpoint := c.Flags().String("checkpoint", "", "`folder` of the run whose map is steered (required)")
			c.Long = c.Short + "\n\n" +
				"The samples are compared with the rows of the data weighted by e^{λ r}. Of the result, \"reward of\n" +
				"rows\" is the weighted mean; \"sw2\" the sliced Wasserstein distance to the weighted rows in standard\n" +
				"deviations, after and before steering; \"floor\" that of as many rows drawn by weight; \"target KL\" the\n" +
				"divergence of the weighted rows from the data in nats; \"effective rows\" the number of rows that carry\n" +
				"the weight; and each column has mean ± standard deviation, before in brackets.\n\n" + pointsRewards
			open, out := c.withPointsReward(), c.Flags().Lookup("out")
			// Where points lie near a curve one sample is far from unbiased, and the gradient of a narrow
			// reward so large that samples leave the data.
			for name, value := range map[string]string{"n": "16", "method": "mfm-gf"} {
				flag := c.Flags().Lookup(name)
				flag.DefValue = value
				_ = flag.Value.Set(value)
			}
			c.Flags().Lookup("class").Usage = classOfPoints + "of a map with classes (default: none)"
			out.Usage = sampleFormats + "for the samples of a single run, in the units of the data; or a folder of " +
				"the results of a sweep, one file for each run, which is not repeated (default: they are printed)"
			return func(r steering.NamedReward) (steering.Task[result], string, error) {
				opened, missing, err := open(*checkpoint, r.Text())
				if err != nil {
					return nil, "", err
				}
				if missing != nil {
					c.warn(fmt.Errorf("no comparison with rows of the data: %w", missing))
				}
				s, e, opened.RewardName = opened, opened.Experiment, r.Name
				return s, s.Fingerprint, nil
			}
		},
		class:  func(text string) (int32, error) { return points.ClassIndex(e.Names, text) },
		common: func(r result) steering.Result { return r.Result },
		columns: columns(func(r result) []any {
			return []any{r.Reward.Float(), r.RewardQuantiles, r.RewardBefore.Float(), r.RewardTarget.Float(),
				r.SW2.Float(), r.SW2Before.Float(), r.Floor.Float(), r.TargetKL.Float(),
				r.TargetEffective.Float(), r.Text()}
		}, "reward %.4g", "5 to 95 percent %.3g", "reward before %.4g", "reward of rows %.4g", "sw2 %.3f",
			"sw2 before %.3f", "floor %.3f", "target KL %.2f", "effective rows %.0f", "columns [before] %s"),
		note: func(r result) string {
			var texts []string
			if text, near := r.Verdict(); !r.Diverged && r.Method != steering.Unsteered {
				texts = append(texts, text)
				if !near {
					texts = append(texts, rivals(r))
				}
			}
			if r.Lost > 0 && !r.Diverged {
				texts = append(texts, fmt.Sprintf("%d of %d samples have no reward, or one of -Inf", r.Lost, r.RunSettings.Samples))
			}
			return strings.Join(slices.DeleteFunc(texts, func(text string) bool { return text == "" }), ". ")
		},
		file: func(path string) (func(r result) error, error) {
			return func(r result) error {
				if r.Diverged {
					return fmt.Errorf("%s is not written: the samples have diverged", path)
				}
				samples := points.Samples{Rows: r.Samples, Data: s.DataRows(shownRows, r.Class)}
				if r.Class != nil {
					samples.Given.Class = e.Names[*r.Class]
				}
				return e.WriteSamples(path, samples)
			}, e.CheckFile(path)
		},
	}
}

// pointsTuning fine-tunes the drift of a map of points.
func pointsTuning() tuneTask[points.TuningResult] {
	type result = points.TuningResult
	var e *points.Experiment
	return tuneTask[result]{
		config: points.DefaultTuning(), paths: 12, samples: 1024, steps: 100,
		networks: []tuning.Network{tuning.Adapter, tuning.Copy, tuning.LowRank},
		classUsage: classOfPoints + "for which a map with classes is tuned (default: each, to its own tilted " +
			"distribution, so that the shares of the classes stay; mfm steer points tilts all together)",
		class: func(text string) (int32, error) { return points.ClassIndex(e.Names, text) },
		open: func(c *command) func(dir, reward string) (tunings[result], error) {
			open := c.withPointsReward()
			c.Long = c.Short + "\n\n" + pointsRewards
			return func(dir, reward string) (tunings[result], error) {
				s, missing, err := open(dir, reward)
				if missing != nil {
					err = cmp.Or(err, fmt.Errorf("tuning needs the rows of the data: %w", missing))
				}
				if err != nil {
					return nil, err
				}
				e = s.Experiment
				return func(config tuning.Config) (tuning.Task[result], string, error) {
					t, err := points.NewTuning(s, config)
					if err != nil {
						return nil, "", err
					}
					return t, t.Fingerprint, nil
				}, nil
			}
		},
		table: table[result]{
			columns: columns(func(r result) []any {
				return []any{r.Method, r.Network, r.N, r.Lambda, r.Seed, r.Steps, r.Reward.Float(),
					r.RewardBefore.Float(), r.RewardTarget.Float(), r.SW2.Float(), r.SW2Before.Float(), r.Floor.Float(),
					r.KL, r.TargetKL.Float(), r.TargetEffective.Float(), r.Seconds, r.Text()}
			}, "method %s", "network %s", "n %d", "λ %g", "seed %d", "steps %d", "reward %.4g", "reward before %.4g",
				"reward of rows %.4g", "sw2 %.3f", "sw2 before %.3f", "floor %.3f", "KL %.3f", "KL of rows %.3f",
				"effective rows %.0f", "seconds %.0f", "columns [before] %s"),
			keys: 5, diverged: func(r result) bool { return r.Diverged != "" },
			notes: func(r result) []string {
				texts := append(slices.Clone(r.Warnings), r.Diverged)
				if r.Diverged == "" {
					texts = append(texts, budgetNote(r.Stopped, r.Steps), r.Collapse, r.Overshoot, r.Behind)
					text, near := r.Verdict()
					if !near {
						text += ". Train longer, with more samples of a state (--n), or steer instead: mfm steer points"
					}
					texts = append(texts, text)
				}
				return tuningNotes(fmt.Sprintf("%s of %s", r.Method, r.Network), r.N, r.Lambda, r.Seed, texts...)
			},
		},
	}
}
