package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/gomlx/compute"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/data/tabular"
	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/checkpoint"
	"github.com/gomfm/gomfm/mfm/experiment/points"
	"github.com/gomfm/gomfm/mfm/experiment/run"
	"github.com/gomfm/gomfm/mfm/experiment/tuning"
)

// samplerFlags are the flags of commands that draw samples from the map of a run.
type samplerFlags struct {
	c          *command
	checkpoint *string
	at         *int64
	settings   *settings
}

func (c *command) withSampler() samplerFlags {
	c.withOutput()
	f := c.Flags()
	return samplerFlags{
		c:          c,
		checkpoint: f.String("checkpoint", "", "`folder` of the run, finished or not (required)"),
		at:         f.Int64("at", 0, "`step` of the checkpoint to use (default: the end of the run)"),
		settings: c.withSettings(
			option{name: "method", path: "method", usage: "`method` of sampling",
				values: []string{"map", "refine", "ode", "sde"}, read: name},
			option{name: "steps", path: "steps", usage: "`number` of steps (default: one step of the map; for ode and sde 100)"},
			option{name: "solver", path: "solver", usage: "`solver` of the ODE", values: []string{"heun", "euler"},
				read: name},
			option{name: "power", path: "power",
				usage: "`exponent` of the times of the steps: 1 is uniform, more is finer near noise"},
		),
	}
}

// openMap opens the map of the run that the flags name with its weights at the step that they name,
// and returns how it is sampled. It reports damaged checkpoints, instead of which an older one is
// used.
func openMap[E interface{ Model(*model.Store) mfm.Model }](f samplerFlags, open func(dir string) (E, *model.Store, error)) (
	e E, store *model.Store, config mfm.SamplerConfig, err error,
) {
	var dir string
	dir, config, err = f.open()
	if err != nil {
		return e, nil, config, err
	}
	if e, store, err = open(dir); err == nil && *f.at != 0 {
		store, err = run.OpenAt(dir, *f.at, e.Model(store).Shapes)
	}
	return e, store, config, err
}

// open returns the folder of the run that the flags name and how its map is sampled.
func (f samplerFlags) open() (dir string, config mfm.SamplerConfig, err error) {
	config = mfm.DefaultSamplerConfig()
	err = cmp.Or(f.c.require("name the folder of a run", "checkpoint"), f.settings.apply(&config))
	ofDrift := config.Method == mfm.ODESampling || config.Method == mfm.SDESampling
	if ofDrift && !f.c.Flags().Changed("steps") {
		config.Steps = 100 // one step of a solver is no sample
	}
	if err == nil {
		err = config.Validate()
	}
	if err != nil {
		return "", config, err
	}
	_, damaged, _ := checkpoint.Latest(*f.checkpoint) // opening the run reports that there is no checkpoint
	for _, err := range damaged {
		f.c.warn(err)
	}
	return *f.checkpoint, config, nil
}

// numbers reads finite numbers separated by commas.
func numbers(text string) (all []float32, err error) {
	for _, field := range strings.Split(text, ",") {
		v, err := strconv.ParseFloat(strings.TrimSpace(field), 32)
		if err != nil || v-v != 0 {
			return nil, fmt.Errorf("%q is not a finite number", field)
		}
		all = append(all, float32(v))
	}
	return all, nil
}

func checkTime(t float64) error {
	if !(t >= 0 && t <= 1) {
		return fmt.Errorf("--t = %g: a time must lie in [0, 1]", t)
	}
	return nil
}

// checkCount returns an error for a number of samples that is not positive or too large to be
// printed.
func checkCount(flag string, n int) error {
	const most = 1 << 20
	if n < 1 || n > most {
		return fmt.Errorf("--%s = %d: must lie in [1, %d]", flag, n, most)
	}
	return nil
}

// guidance is guidance of samples toward a class.
type guidance struct {
	Scale float64 `json:"scale"`
	From  float64 `json:"from"` // a step is guided if it starts in [From, To)
	To    float64 `json:"to"`
	// By is "network" if the network was trained with the scale and guides in one evaluation, and
	// "classifier-free" if the drifts with and without class are combined, in two.
	By  string `json:"by"`
	NFE int    `json:"nfe"` // evaluations of the network per sample
}

// withGuidance adds the flags of guidance and returns their values.
func (c *command) withGuidance() *guidance {
	f, g := c.Flags(), new(guidance)
	f.Float64Var(&g.Scale, "guidance", 1, "`scale` of guidance toward --class, in one evaluation if the network was "+
		"trained with it, otherwise classifier-free, in two; more --steps follow it better")
	f.Float64Var(&g.From, "guidance-from", 0, "`time` in [0, 1), from noise at 0 to data at 1, from which guidance "+
		"acts: on the steps that start there or later")
	f.Float64Var(&g.To, "guidance-to", 1, "`time` in (0, 1] until which guidance acts: on the steps that start "+
		"before it")
	return g
}

// of returns the guided model, and an error for flags that do not fit it or how it is sampled.
func (g *guidance) of(m mfm.Model, sampling mfm.SamplerConfig) (mfm.Model, error) {
	starts := sampling.Times(0, 1)[:sampling.Steps]
	switch {
	case !(g.From >= 0 && g.From < g.To && g.To <= 1):
		return m, fmt.Errorf("--guidance-from = %g, --guidance-to = %g: the times must increase, and lie in [0, 1]",
			g.From, g.To)
	case g.Scale == 1 && (g.From > 0 || g.To < 1):
		return m, fmt.Errorf("--guidance-from = %g, --guidance-to = %g: give a --guidance other than 1", g.From, g.To)
	case sampling.Method != mfm.SDESampling && !slices.ContainsFunc(starts, func(s float64) bool {
		return float32(s) >= float32(g.From) && float32(s) < float32(g.To)
	}):
		return m, fmt.Errorf("--guidance-from = %g, --guidance-to = %g: no step of %d starts in between: "+
			"use more --steps", g.From, g.To, sampling.Steps)
	}
	guided, err := m.GuidedWithin(g.Scale, g.From, g.To)
	if err != nil {
		return m, fmt.Errorf("--guidance: %w", err)
	}
	g.By, g.NFE = "classifier-free", sampling.NFE()*guided.Map.NFE()
	if slices.Contains(m.Scales, g.Scale) {
		g.By = "network"
	}
	return guided, nil
}

// result returns the guidance, or nil if there is none.
func (g *guidance) result() *guidance {
	if g.Scale == 1 {
		return nil
	}
	return g
}

// String returns a text that follows a description of the samples.
func (g *guidance) String() string {
	if g.Scale == 1 {
		return ""
	}
	within := ""
	if g.From > 0 || g.To < 1 {
		within = fmt.Sprintf(" from s = %g to %g", g.From, g.To)
	}
	return fmt.Sprintf(", guided by %g%s (%s, NFE %d)", g.Scale, within, g.By, g.NFE)
}

// pointSamples are posterior samples of points, in the units of the data.
type pointSamples struct {
	T       float64     `json:"t"`
	X       []float64   `json:"x,omitempty"`     // the observation
	Noise   []float64   `json:"noise,omitempty"` // its standard deviations
	Class   string      `json:"class,omitempty"`
	Classes []string    `json:"classes,omitempty"` // of the samples, if they are of several
	Columns []string    `json:"columns"`
	Samples [][]float64 `json:"samples"` // [n][columns]
}

func samplePoints(c *command) prepare {
	f := c.withSampler()
	t := c.Flags().Float64("t", 0, "`time` of the observation, in [0, 1]; 0 for samples of the data")
	at := c.Flags().String("x", "", "the observation of a point, in the units of the data, numbers separated by commas: "+
		"the point with Gaussian noise, (1-t)/t of the standard deviation of each column for the linear interpolant")
	class := c.Flags().String("class", "", classOfPoints+"of the samples, for a map with classes (default: any)")
	n := c.Flags().Int("n", 1000, "`number` of samples")
	seed := c.Flags().Int64("seed", 0, "`seed` of the noise")
	tuned := c.Flags().String("tuned", "", "`folder` of a drift that mfm tune points tuned from the map: samples of the "+
		"data by --steps Euler steps of its ODE, 100 by default (default: none)")
	path := c.Flags().String("data", "", "`file` of the points that --tuned was tuned with (default: the one that the "+
		"run names)")
	out := c.Flags().String("out", "", sampleFormats+"for the samples, with the class of each as .csv or .json if they are of several; figures are of "+
		"two to six columns (default: CSV on standard output)")
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
		if *path != "" && *tuned == "" {
			return nil, fmt.Errorf("--data %s: samples of the map need no data: give --tuned, or leave it out", quote(*path))
		}
		var e *points.Experiment
		var draw func(ctx context.Context, b compute.Backend) (points.Samples, error)
		var err error
		if *tuned != "" {
			e, draw, err = f.openTunedPoints(*tuned, *path, tuning.EvalConfig{Samples: *n, Steps: 100, Seed: *seed})
		} else {
			e, draw, err = f.openPoints(&o, *n, *seed)
		}
		if err != nil {
			return nil, err
		}
		if *at != "" && len(o.X) != len(e.Columns) {
			return nil, fmt.Errorf("--x has %d numbers, the points have %d columns: %s", len(o.X), len(e.Columns),
				strings.Join(e.Columns, ", "))
		}
		if *class == "" && *t > 0 && len(e.Names) > 0 && e.Config.Train.Loss.Guidance.Dropout == 0 {
			return nil, fmt.Errorf("the map was trained with train.loss.guidance.dropout = 0, so it has no posterior without a " +
				"class: name one with --class, or train it with a dropout")
		}
		if *class != "" {
			k, err := points.ClassIndex(e.Names, *class)
			if err != nil {
				return nil, fmt.Errorf("--class: %w", err)
			}
			o.Class = e.Names[k]
		}
		if *out != "" {
			if err := e.CheckFile(*out); err != nil {
				return nil, fmt.Errorf("--out %s: %w", quote(*out), err)
			}
		}
		far, err := e.Far(o)
		if err != nil {
			return nil, fmt.Errorf("--x: %w", err)
		}
		if far != "" {
			c.warn(errors.New("--x: " + far))
		}
		return func(ctx context.Context, b compute.Backend) error {
			drawn, err := draw(ctx, b)
			if err != nil {
				return err
			}
			samples := pointSamples{T: *t, X: o.X, Class: o.Class, Columns: e.Columns, Samples: drawn.Rows}
			for _, k := range drawn.Classes {
				samples.Classes = append(samples.Classes, e.Names[k])
			}
			if *t > 0 {
				samples.Noise = e.Noise(*t)
			}
			if *out == "" {
				var text strings.Builder
				err := tabular.WriteCSV(&text, e.Table(drawn))
				return cmp.Or(err, c.write(samples, text.String()))
			}
			if err := e.WriteSamples(*out, drawn); err != nil {
				return err
			}
			return c.write(samples, fmt.Sprintf("%s: %d samples at t = %g of %s\n", *out, *n, *t,
				strings.Join(e.Columns, ", ")))
		}, nil
	}
}

// openPoints opens the map of points that the flags name, and returns a function that draws n
// samples given an observation.
func (f samplerFlags) openPoints(o *points.Observation, n int, seed int64) (
	*points.Experiment, func(context.Context, compute.Backend) (points.Samples, error), error,
) {
	e, store, config, err := openMap(f, points.Open)
	return e, func(ctx context.Context, b compute.Backend) (points.Samples, error) {
		sampler, err := mfm.NewSampler(b, e.Model(store), config)
		if err != nil {
			return points.Samples{}, invalid{err}
		}
		return e.Draw(ctx, sampler, *o, n, seed)
	}, err
}

// withTuned returns an error for the first of the named flags that is given beside --tuned.
func (f samplerFlags) withTuned(names ...string) error {
	for _, name := range names {
		if f.c.Flags().Changed(name) {
			return fmt.Errorf("--%s and --tuned: a tuned drift is sampled without a context, in the classes that it was tuned for, "+
				"by Euler steps of its ODE: leave --%[1]s out", name)
		}
	}
	return nil
}

// openTunedPoints opens the drift in dir that was tuned from the map of points that the flags name,
// and returns a function that draws samples of it.
func (f samplerFlags) openTunedPoints(dir, data string, eval tuning.EvalConfig) (
	*points.Experiment, func(context.Context, compute.Backend) (points.Samples, error), error,
) {
	config := mfm.DefaultSamplerConfig()
	config.Steps = eval.Steps
	if err := cmp.Or(f.withTuned("t", "x", "class", "at", "method", "solver", "power"), f.c.require("name the folder of a run", "checkpoint"), f.settings.apply(&config)); err != nil {
		return nil, nil, err
	}
	eval.Steps = config.Steps
	if err := eval.Validate(); err != nil {
		return nil, nil, err
	}
	dir, err := tunedRun(dir)
	if err != nil {
		return nil, nil, err
	}
	t, r, err := points.OpenTuning(dir, *f.checkpoint, data)
	if err != nil {
		return nil, nil, fmt.Errorf("--tuned %s: %w", quote(dir), err)
	}
	return t.Experiment, func(ctx context.Context, b compute.Backend) (points.Samples, error) {
		rows, err := t.Sample(ctx, b, r, eval)
		return points.Samples{Rows: rows, Classes: t.SampleClasses(eval)}, err
	}, nil
}

// parseClass returns the class that --class names, nil if text is empty. of returns its number; nil
// means that the text is the number.
func parseClass(text string, of func(text string) (int32, error)) (*int, error) {
	if text == "" {
		return nil, nil
	}
	if of == nil {
		k, err := strconv.Atoi(text)
		if err != nil {
			err = fmt.Errorf("--class %s: want a whole number", quote(text))
		}
		return &k, err
	}
	k, err := of(text)
	if err != nil {
		return nil, fmt.Errorf("--class: %w", err)
	}
	class := int(k)
	return &class, nil
}
