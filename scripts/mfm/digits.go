package main

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/gomlx/compute"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/data"
	"github.com/gomfm/gomfm/data/stream"
	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/diagnose"
	"github.com/gomfm/gomfm/mfm/experiment/image"
	"github.com/gomfm/gomfm/mfm/experiment/report"
	"github.com/gomfm/gomfm/mfm/experiment/run"
	"github.com/gomfm/gomfm/mfm/experiment/samplefile"
	"github.com/gomfm/gomfm/mfm/figure"
)

// digitsTask is a map of images.
func digitsTask() task {
	return task{
		name: "digits", about: "a map of images",
		train: trainDigits, sample: sampleDigits, eval: evaluateDigits,
		steer: digitsSteering().build, tune: digitsTuning().build,
		diagnose: diagnoseVerb(image.DefaultDiagnosis(), namedRun, diagnoseDigits),
		defaults: func(preset string) (map[string]any, error) {
			config, err := image.Preset(preset)
			return map[string]any{"digits": config, "eval_digits": defaultDigitsEvaluation()}, err
		},
	}
}

func trainDigits(c *command) func() (*training, error) {
	f, location := c.withConfig(mapOptions()...), c.withImages("(default: the 10,000 digits in the package)")
	classes := c.Flags().Bool("classes", false, "condition the map on the labels of the images: those of --labels, or the "+
		"subfolders; mfm sample digits --class NAME then samples one class")
	c.withVerdict()
	return func() (*training, error) {
		config, err := image.Preset(*f.preset)
		if err = cmp.Or(err, f.configure(&config)); err != nil {
			return nil, err
		}
		from, err := location(data.Location{})
		if err != nil {
			return nil, err
		}
		images, heldOut, err := c.load(from)
		if err != nil {
			return nil, err
		}
		if *classes {
			if err := config.SetClasses(images, heldOut); err != nil {
				return nil, fmt.Errorf("--classes: %w", err)
			}
		}
		manifest := config
		if config.Parametrization != mfm.MixtureName {
			manifest.Prior = nil
		}
		return &training{
			kind: image.Kind, config: config, manifest: manifest,
			line: f.line("digits", "data", "labels", "size", "skip", "classes"), data: from.String(),
			run: func(ctx context.Context, b compute.Backend, o run.Options) error {
				o.DataHash, o.HeldOutHash = images.Hash(), heldOut.Hash()
				if err := o.Prepare(ctx, image.Kind, manifest); err != nil {
					return err
				}
				e, err := image.NewRun(ctx, config, images, o) // may fit a mixture
				if err != nil && ctx.Err() == nil {
					return invalid{err}
				}
				if err != nil {
					return err
				}
				_, err = e.Train(ctx, b, o)
				return err
			},
			verdict: diagnosed(func(ctx context.Context, b compute.Backend, dir string) (*diagnose.Report, error) {
				return image.Diagnose(ctx, b, dir, images, heldOut,
					report.Options{Config: image.DefaultDiagnosis().Brief(heldOut.N)})
			}),
		}, config.Validate(images)
	}
}

// withImages adds the flags that name a data set, and returns a function that returns the location
// with their values in place of those of another location.
func (c *command) withImages(otherwise string) func(data.Location) (data.Location, error) {
	f := c.Flags()
	path := f.String("data", "", "`path` of images: "+data.FormatNames()+" "+otherwise)
	labels := f.String("labels", "", "`file` .npy with the labels of a .npy file of images (default: no labels)")
	size := f.String("size", "",
		"`HxW`: height and width to which picture files are cropped and resized (default: their own size)")
	skip := f.String("skip", "",
		"largest `number` of bad picture files to leave out (default: none, the first is an error)")
	return func(l data.Location) (_ data.Location, err error) {
		if *skip != "" {
			if l.Skip, err = strconv.Atoi(*skip); err != nil || l.Skip < 0 {
				return l, fmt.Errorf("--skip = %q: use a number from 0 on", *skip)
			}
		}
		if *path != "" {
			l.Path = filepath.Clean(*path)
		}
		if *labels != "" { // kept with the path, which a run keeps as an absolute one
			if l.Labels, err = filepath.Abs(*labels); err != nil {
				return l, fmt.Errorf("--labels: %w", err)
			}
		}
		if *size != "" {
			l.Height, l.Width, err = data.ParseSize(*size)
		}
		return l, err
	}
}

// load returns the images of a location, and warns of each bad file that is left out.
func (c *command) load(l data.Location) (train, heldOut *data.Images, err error) {
	if train, heldOut, err = data.Load(l); err != nil {
		return nil, nil, err
	}
	c.warnOf(train.Bad)
	return train, heldOut, nil
}

// warnOf warns of bad files that are left out.
func (c *command) warnOf(bad []*stream.BadFile) {
	for _, b := range bad {
		c.warn(fmt.Errorf("left out: %w", b))
	}
}

// withImagesOf adds the flags that name the images of a trained map, and returns a function that
// opens them.
func (c *command) withImagesOf() func(dir string) (train, heldOut *data.Images, err error) {
	location := c.withImages("(default: what the run names, the images that the map was trained on)")
	return func(dir string) (train, heldOut *data.Images, err error) {
		m, err := run.ReadManifest(dir)
		if err != nil {
			return nil, nil, err
		}
		l, err := data.ParseLocation(m.Data)
		if err != nil {
			return nil, nil, fmt.Errorf("run %s: %w", dir, err)
		}
		if l, err = location(l); err != nil {
			return nil, nil, err
		}
		if train, heldOut, err = c.load(l); err != nil {
			return nil, nil, err
		}
		if err := m.CheckData(train.Hash(), heldOut.Hash()); err != nil {
			return nil, nil, fmt.Errorf("run %s: %w", dir, err)
		}
		return train, heldOut, nil
	}
}

// digitsRun is a trained map of images with its weights and the images that it was not trained on.
type digitsRun struct {
	*image.Experiment
	store   *model.Store
	config  mfm.SamplerConfig
	heldOut *data.Images
}

// withDigitsRun adds the flags of a trained map and returns a function that opens it.
func (c *command) withDigitsRun() func() (*digitsRun, error) {
	f, images := c.withSampler(), c.withImagesOf()
	return func() (*digitsRun, error) {
		r := new(digitsRun)
		var err error
		r.Experiment, r.store, r.config, err = openMap(f, func(dir string) (*image.Experiment, *model.Store, error) {
			train, heldOut, err := images(dir)
			if err != nil {
				return nil, nil, err
			}
			r.heldOut = heldOut
			return image.Open(dir, train)
		})
		return r, err
	}
}

// checkClass returns an error for a class, nil for any, with a guidance that the map cannot have.
func (r *digitsRun) checkClass(class *int, guidance float64) error {
	switch n := r.Config.Network.ClassCount(); {
	case !(guidance >= 0):
		return fmt.Errorf("--guidance = %g: must not be negative", guidance)
	case (class == nil || guidance != 1) && n > 0 && r.Config.Train.Loss.Guidance.Dropout == 0:
		return fmt.Errorf("the map was trained with train.loss.guidance.dropout = 0, so it has no samples " +
			"without a class: " +
			"name one with --class, or train it with a dropout")
	case guidance != 1 && class == nil:
		return fmt.Errorf("--guidance = %g: name the class to guide to with --class", guidance)
	}
	return nil
}

// digitSamples are posterior samples of images, each flat, [height, width, channels] with values of
// about [-1, 1].
type digitSamples struct {
	T        float64       `json:"t"`
	Shape    []int         `json:"shape"`
	Contexts [][]float32   `json:"contexts"` // x_t, [contexts][pixels]
	Samples  [][][]float32 `json:"samples"`  // [contexts][samples][pixels]
	Class    string        `json:"class,omitempty"`
	// Guidance is absent if there is none.
	Guidance *guidance `json:"guidance,omitempty"`
}

func sampleDigits(c *command) prepare {
	open := c.withDigitsRun()
	t := c.Flags().Float64("t", 0, "`time` of the contexts, noised held-out images; 0 for samples without a context")
	contexts := c.Flags().Int("contexts", 4, "`number` of contexts, one a row")
	n := c.Flags().Int("n", 12, "`number` of samples for each context")
	seed := c.Flags().Int64("seed", 0, "`seed` of the noise")
	className := c.Flags().String("class", "", "`name` of the class of the samples, or its number from 0, for a map with "+
		"classes (default: any)")
	guidance := c.withGuidance()
	out := c.Flags().String("out", "", sampleFormats+"for the samples or a figure of them")
	return func() (work, error) {
		if *out == "" && !c.json {
			return nil, fmt.Errorf("--out is missing: name a file such as x.png or x.npy, or give --json")
		}
		err := cmp.Or(checkTime(*t), checkCount("contexts", *contexts), checkCount("n", *n), checkSamples(*out))
		if err != nil {
			return nil, err
		}
		run, err := open()
		if err != nil {
			return nil, err
		}
		if channels := run.Data.Channels; samplefile.IsFigure(*out) && channels != 1 && channels != 3 {
			return nil, fmt.Errorf("--out: a figure has images of 1 or 3 channels, these have %d: name a .csv, .json or .npy file",
				channels)
		}
		if *contexts > run.heldOut.N {
			return nil, fmt.Errorf("--contexts = %d: there are %d held-out images", *contexts, run.heldOut.N)
		}
		class, err := parseClass(*className, run.ClassIndex)
		if err = cmp.Or(err, run.checkClass(class, guidance.Scale)); err != nil {
			return nil, err
		}
		m, err := guidance.of(run.Model(run.store), run.config)
		if err != nil {
			return nil, err
		}
		return func(ctx context.Context, b compute.Backend) error {
			sampler, err := mfm.NewSampler(b, m, run.config)
			if err != nil {
				return invalid{err}
			}
			x := run.Contexts(run.heldOut, *t, *contexts, rand.New(rand.NewPCG(uint64(*seed), 0)))
			var labels []int32
			if class != nil {
				labels = slices.Repeat([]int32{int32(*class)}, *contexts)
			}
			flat, err := mfm.Flat(sampler.Posterior(ctx, *seed, *t, run.States(x), *n, labels))
			if err != nil {
				return err
			}
			size := run.Data.Dim()
			samples := digitSamples{T: *t, Shape: run.Shape(), Contexts: slices.Collect(slices.Chunk(x, size)),
				Guidance: guidance.result()}
			if class != nil {
				samples.Class = run.ClassNames()[*class]
			}
			for row := range slices.Chunk(flat, *n*size) {
				samples.Samples = append(samples.Samples, slices.Collect(slices.Chunk(row, size)))
			}
			if *out != "" {
				err := samplefile.Write(*out, samplefile.Samples{
					Values: flat, Shape: append([]int{*contexts, *n}, samples.Shape...),
					Index: []string{"context", "sample"}, JSON: samples, Figure: samples.figure,
				})
				if err != nil {
					return err
				}
			}
			return c.write(samples, fmt.Sprintf("%s: %d rows of %d samples at t = %g%v\n", *out, *contexts, *n, *t,
				guidance))
		}, nil
	}
}

// figure draws a grid with a row for each context: x_t and its samples, or samples alone at t = 0,
// where x_t has no information. The title has the time and the class.
func (d digitSamples) figure() *figure.Figure {
	images := figure.Images{N: len(d.Samples), H: d.Shape[0], W: d.Shape[1], C: d.Shape[2], Cols: len(d.Samples[0])}
	fig := figure.New(figure.Paper(), 1, 1)
	if d.T > 0 {
		images.Cols++
		images.Gaps, images.ColTitles = []int{0}, []string{"xₜ", "posterior samples"}
		fig.Title = fmt.Sprintf("t = %g", d.T)
	}
	if d.Class != "" {
		fig.Title = strings.TrimPrefix(fig.Title+", "+d.Class, ", ")
	}
	for i, row := range d.Samples {
		if d.T > 0 {
			images.Pixels = append(images.Pixels, d.Contexts[i]...)
		}
		images.Pixels = append(images.Pixels, slices.Concat(row...)...)
	}
	images.N *= images.Cols
	fig.Panel(0, 0).Add(images)
	return fig
}
