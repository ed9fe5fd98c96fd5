package main

import (
	"cmp"
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/gomlx/compute"

	"github.com/gomfm/gomfm/data/tabular"
	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/diagnose"
	"github.com/gomfm/gomfm/mfm/experiment/points"
	"github.com/gomfm/gomfm/mfm/experiment/report"
	"github.com/gomfm/gomfm/mfm/experiment/run"
)

// pointsTask is a map of points, the rows of a table.
func pointsTask() task {
	return task{
		name: "points", about: "a map of points",
		train: trainPoints, sample: samplePoints, eval: evaluatePoints,
		diagnose: diagnoseVerb(diagnose.DefaultConfig(), diagnosePoints),
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

// pointSamples are posterior samples of points, in the units of the data.
type pointSamples struct {
	T       float64     `json:"t"`
	X       []float64   `json:"x,omitempty"`     // the observation
	Noise   []float64   `json:"noise,omitempty"` // its standard deviations
	Class   string      `json:"class,omitempty"`
	Columns []string    `json:"columns"`
	Samples [][]float64 `json:"samples"` // [n][columns]
}

func samplePoints(c *command) prepare {
	f := c.withSampler()
	t := c.Flags().Float64("t", 0, "`time` of the observation, in [0, 1]; 0 for samples of the data")
	at := c.Flags().String("x", "", "the observation of a point, in the units of the data, numbers separated by commas: "+
		"the point with Gaussian noise, (1-t)/t of the standard deviation of each column for the linear interpolant")
	class := c.Flags().String("class", "", "`name` of the class of the samples, for a map with classes (default: any)")
	n := c.Flags().Int("n", 1000, "`number` of samples")
	seed := c.Flags().Int64("seed", 0, "`seed` of the noise")
	out := c.Flags().String("out", "", sampleFormats+"for the samples; figures are of two columns (default: "+
		"CSV on standard output)")
	return func() (work, error) {
		if err := cmp.Or(checkTime(*t), checkCount("n", *n), checkSamples(*out)); err != nil {
			return nil, err
		}
		o := points.Observation{T: *t, Class: *class}
		switch {
		case *t > 0 && *at == "":
			return nil, fmt.Errorf("--t = %g: give the observation with --x", *t)
		case *t == 0 && *at != "":
			return nil, fmt.Errorf("--x: at --t 0 nothing is observed, give a --t above 0")
		case *at != "":
			for _, field := range strings.Split(*at, ",") {
				v, err := strconv.ParseFloat(strings.TrimSpace(field), 64)
				if err != nil || v-v != 0 {
					return nil, fmt.Errorf("--x: %q is not a finite number", field)
				}
				o.X = append(o.X, v)
			}
		}
		e, store, config, err := openMap(f, points.Open)
		if err != nil {
			return nil, err
		}
		if *at != "" && len(o.X) != len(e.Columns) {
			return nil, fmt.Errorf("--x has %d numbers, the points have %d columns: %s", len(o.X), len(e.Columns),
				strings.Join(e.Columns, ", "))
		}
		if *class != "" {
			if _, err := points.ClassIndex(e.Names, *class); err != nil {
				return nil, fmt.Errorf("--class: %w", err)
			}
		}
		if *out != "" {
			if err := e.CheckFile(*out); err != nil {
				return nil, fmt.Errorf("--out %s: %w", quote(*out), err)
			}
		}
		return func(ctx context.Context, b compute.Backend) error {
			sampler, err := mfm.NewSampler(b, e.Model(store), config)
			if err != nil {
				return invalid{err}
			}
			rows, err := e.Sample(ctx, sampler, o, *n, *seed)
			if err != nil {
				return err
			}
			samples := pointSamples{T: *t, X: o.X, Class: *class, Columns: e.Columns, Samples: rows}
			if *t > 0 {
				samples.Noise = e.Noise(*t)
			}
			if *out == "" {
				var text strings.Builder
				err := tabular.WriteCSV(&text, &tabular.Table{Columns: e.Columns, Rows: rows})
				return cmp.Or(err, c.write(samples, text.String()))
			}
			if err := e.WriteSamples(*out, rows); err != nil {
				return err
			}
			return c.write(samples, fmt.Sprintf("%s: %d samples at t = %g of %s\n", *out, *n, *t,
				strings.Join(e.Columns, ", ")))
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
	return func(
		ctx context.Context, b compute.Backend, dir, reward string, o report.Options,
	) (*diagnose.Report, error) {
		if reward != "" || o.Tuned != "" {
			return nil, invalid{fmt.Errorf("--reward and --tuned: points have neither, leave them out")}
		}
		return points.Diagnose(ctx, b, dir, *path, o)
	}
}
