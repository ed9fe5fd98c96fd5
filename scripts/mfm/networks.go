package main

import (
	"cmp"
	"context"
	"fmt"

	"github.com/gomlx/compute"

	"github.com/gomfm/gomfm/data"
	"github.com/gomfm/gomfm/data/stream"
	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/experiment/image"
	"github.com/gomfm/gomfm/mfm/experiment/latent"
	"github.com/gomfm/gomfm/mfm/experiment/run"
	"github.com/gomfm/gomfm/mfm/metric"
)

// classifierTask is a classifier of images, with which maps of images are evaluated.
func classifierTask() task {
	return task{
		name: "classifier", about: "a classifier of images", train: trainClassifier,
		defaults: func(preset string) (map[string]any, error) {
			clean, err := image.ClassifierPreset(preset, false)
			if err != nil {
				return nil, err
			}
			noised, err := image.ClassifierPreset(preset, true)
			return map[string]any{"classifier": clean, "classifier_noised": noised}, err
		},
	}
}

func trainClassifier(c *command) func() (*training, error) {
	f, location := c.withConfig(trainOptions()...), c.withImages("(default: the 10,000 digits in the package)")
	noised := c.Flags().Bool("noised", false, "classify noised images x_t, with t as an input")
	return func() (*training, error) {
		config, err := image.ClassifierPreset(*f.preset, *noised)
		if err = cmp.Or(err, f.configure(&config)); err != nil {
			return nil, err
		}
		from, err := location(data.Location{})
		if err != nil {
			return nil, err
		}
		var images, heldOut *data.Images
		return &training{
			kind: image.KindClassifier, config: config, manifest: config,
			line: f.line("classifier", "noised", "data", "labels", "size", "skip"), data: from.String(),
			check: func() (err error) {
				if images, heldOut, err = c.load(from); err != nil {
					return err
				}
				return config.CheckLabels(images)
			},
			run: func(ctx context.Context, b compute.Backend, o run.Options) error {
				o.HeldOutHash = heldOut.Hash()
				_, err := image.TrainClassifier(ctx, b, config, images, o)
				return err
			},
		}, config.Validate()
	}
}

// digitsQuality is the quality of a map of images by its classifiers.
type digitsQuality struct {
	// Accuracy is that of the classifier of clean images on held-out images.
	Accuracy   float64                `json:"classifier_accuracy"`
	Generation image.GenerationResult `json:"generation"`
	Posterior  []image.ClassResult    `json:"posterior"`
}

// digitsEvaluation says how a map of images is evaluated.
type digitsEvaluation struct {
	Times    []float64 `json:"times"`    // of contexts
	Contexts int       `json:"contexts"` // held-out images at each time
	Samples  int       `json:"samples"`  // for each context
	Generate int       `json:"generate"` // samples at t = 0
	Seed     int64     `json:"seed"`
}

func defaultDigitsEvaluation() digitsEvaluation {
	return digitsEvaluation{Times: []float64{0.2, 0.3, 0.4, 0.6}, Contexts: 100, Samples: 256, Generate: 2000, Seed: 1}
}

func (c digitsEvaluation) validate(heldOut int) error {
	for _, t := range c.Times {
		if !(t >= 0 && t <= 1) {
			return fmt.Errorf("evaluation at time %g: must lie in [0, 1]", t)
		}
	}
	if c.Contexts < 1 || c.Contexts > heldOut {
		return fmt.Errorf("evaluation with contexts = %d: must lie in [1, %d], the number of held-out images",
			c.Contexts, heldOut)
	}
	if c.Samples < 2 || c.Generate < 1 {
		return fmt.Errorf("evaluation with samples = %d, generate = %d: must be at least 2 and 1", c.Samples,
			c.Generate)
	}
	return nil
}

func evaluateDigits(c *command) prepare {
	open := c.withDigitsRun()
	cleanRun := c.Flags().String("evaluator", "",
		"`folder` of the run of the evaluator, a classifier of clean images (required)")
	noisedRun := c.Flags().String("noised", "", "`folder` of the run of a classifier of noised images (required)")
	set := c.withSettings(
		option{name: "times", path: "times", usage: "`t` of the contexts, numbers separated by commas", read: list},
		option{name: "contexts", path: "contexts", usage: "`number` of held-out images that are noised at each t"},
		option{name: "samples", path: "samples", usage: "`number` of samples for each of them"},
		option{name: "generate", path: "generate", usage: "`number` of samples at t = 0"},
		option{name: "seed", path: "seed", usage: "`seed` of all noise"},
	)
	return func() (work, error) {
		if *cleanRun == "" || *noisedRun == "" {
			return nil, fmt.Errorf("--evaluator and --noised are both required: name two runs of mfm train " +
				"classifier, the second with --noised")
		}
		evaluation := defaultDigitsEvaluation()
		if err := set.apply(&evaluation); err != nil {
			return nil, err
		}
		run, err := open()
		if err != nil {
			return nil, err
		}
		if run.Data.Labels == nil || run.heldOut.Labels == nil {
			return nil, fmt.Errorf("run %s: its images have no labels, which the evaluation compares with: "+
				"evaluate a map of images with labels", c.Flags().Lookup("checkpoint").Value)
		}
		return func(ctx context.Context, b compute.Backend) error {
			sampler, err := mfm.NewSampler(b, run.Model(run.store), run.config)
			if err != nil {
				return invalid{err}
			}
			clean, err := openClassifier(b, *cleanRun, run, false)
			if err != nil {
				return invalid{err}
			}
			noised, err := openClassifier(b, *noisedRun, run, true)
			if err != nil {
				return invalid{err}
			}
			quality, err := evaluation.run(ctx, run, sampler, clean, noised)
			if err != nil {
				return err
			}
			return c.write(quality, quality.text())
		}, cmp.Or(evaluation.validate(run.heldOut.N), run.checkClass(nil, 1))
	}
}

func openClassifier(b compute.Backend, dir string, run *digitsRun, noised bool) (*image.Classifier, error) {
	c, err := image.OpenClassifier(b, dir, run.Shape())
	if err == nil && c.Config.Noised != noised {
		err = fmt.Errorf("run %s is a classifier with noised = %t, want %t", dir, c.Config.Noised, noised)
	}
	return c, err
}

func (c digitsEvaluation) run(
	ctx context.Context, run *digitsRun, sampler *mfm.Sampler, clean, noised *image.Classifier,
) (q digitsQuality, err error) {
	if q.Accuracy, err = clean.Accuracy(run.heldOut); err != nil {
		return q, err
	}
	if q.Generation, err = run.Generation(ctx, sampler, clean, run.heldOut, c.Generate, c.Seed); err != nil {
		return q, err
	}
	for _, t := range c.Times {
		result, err := run.Classes(ctx, sampler, clean, noised, run.heldOut, t, c.Contexts, c.Samples, c.Seed)
		if err != nil {
			return q, err
		}
		q.Posterior = append(q.Posterior, result)
	}
	return q, nil
}

func (q digitsQuality) text() string {
	g := q.Generation
	return fmt.Sprintf("classifier: accuracy %.4f on held-out images\n", q.Accuracy) +
		fmt.Sprintf("t = 0, %d samples of %s: %.3f ± %.3f confident, largest gap of a class %.3f\n",
			g.Samples, count(int64(g.Steps), "step"), g.Confident, g.ConfidentSE, g.LargestGap) +
		fmt.Sprintf("nearest training image: %.3f from samples, %.3f from held-out images\n", g.NearestSamples,
			g.NearestHeldOut) +
		table[image.ClassResult]{columns: columns(func(r image.ClassResult) []any {
			return []any{r.T, r.TotalVariation, r.StandardError, r.Floor, r.TrainingSet, r.Std}
		}, "t %g", "total variation %.4f", "± %.4f", "floor %.4f", "training set %.4f", "std %.4f")}.text(q.Posterior)
}

// autoencoderTask is an autoencoder of images, on whose latents a latent map works.
func autoencoderTask() task {
	return task{
		name: "autoencoder", about: "an autoencoder of images", train: trainAutoencoder, eval: evaluateAutoencoder,
		defaults: func(preset string) (map[string]any, error) {
			config, err := latent.AutoencoderPreset(preset)
			return map[string]any{"autoencoder": config}, err
		},
	}
}

func trainAutoencoder(c *command) func() (*training, error) {
	f, location := c.withConfig(trainOptions()...), c.withImages("(default: the 1,906 emoji in the package)")
	return func() (*training, error) {
		config, err := latent.AutoencoderPreset(*f.preset)
		if err = cmp.Or(err, f.configure(&config)); err != nil {
			return nil, err
		}
		from, err := location(data.Location{})
		if err != nil {
			return nil, err
		}
		var images, heldOut *data.Images
		var files, rest latent.Pictures // if images are streamed
		return &training{
			kind: latent.KindAutoencoder, config: config, manifest: config,
			line: f.line("autoencoder", "data", "labels", "size", "skip"), data: from.String(),
			check: func() (err error) {
				if from.Height != 0 {
					if files, rest, err = latent.Load(from); err != nil {
						return err
					}
					if files.Images == nil && config.Streamed(files.Len()+rest.Len(), from.Height, from.Width) {
						return config.CheckFiles(files.Files)
					}
				}
				if from == (data.Location{}) {
					images, heldOut, err = data.Emoji()
				} else {
					images, heldOut, err = latent.LoadImages(from)
				}
				if err != nil {
					return err
				}
				c.warnOf(images.Bad)
				return config.CheckImages(images)
			},
			run: func(ctx context.Context, b compute.Backend, o run.Options) (err error) {
				if images != nil {
					o.HeldOutHash = heldOut.Hash()
					_, err = latent.TrainAutoencoder(ctx, b, config, images, o)
					return err
				}
				if o.HeldOutHash, err = rest.Hash(ctx); err != nil {
					return err
				}
				files.OnBad = func(bad *stream.BadFile) { c.warnOf([]*stream.BadFile{bad}) }
				_, err = latent.TrainAutoencoderFiles(ctx, b, config, files.Files, o)
				return err
			},
		}, config.Validate()
	}
}

// reconstruction is the quality of pictures after a round trip through an autoencoder.
type reconstruction struct {
	Pictures int `json:"pictures"`
	// PSNR is the mean peak signal-to-noise ratio in decibels, PSNRSE its standard error.
	PSNR   float64 `json:"psnr"`
	PSNRSE float64 `json:"psnr_se"`
}

func newReconstruction(decibels []float64) reconstruction {
	mean, se := metric.MeanSE(decibels)
	return reconstruction{len(decibels), mean, se}
}

// autoencoderEvaluation is the quality of an autoencoder on training pictures, on held-out pictures
// and on both.
type autoencoderEvaluation struct {
	Training reconstruction `json:"training"`
	HeldOut  reconstruction `json:"held_out"`
	All      reconstruction `json:"all"`
}

func evaluateAutoencoder(c *command) prepare {
	c.withOutput()
	path := c.Flags().String("checkpoint", "", "`path` of the autoencoder: the folder of a run, one in the form of "+
		"diffusers, or a file of mfm weights convert (required)")
	location := c.withImages("(default: the 1,906 emoji in the package)")
	return func() (work, error) {
		if err := c.require("name an autoencoder", "checkpoint"); err != nil {
			return nil, err
		}
		from, err := location(data.Location{})
		if err != nil {
			return nil, err
		}
		a, err := latent.OpenAutoencoder(*path)
		if err != nil {
			return nil, fmt.Errorf("--checkpoint: %w", err)
		}
		train, heldOut, err := latent.Load(from)
		return func(ctx context.Context, b compute.Backend) error {
			var all []float64
			evaluate := func(pictures latent.Pictures, most int) (reconstruction, error) {
				images, err := pictures.Random(ctx, most)
				if err != nil {
					return reconstruction{}, err
				}
				c.warnOf(images.Bad)
				if err := a.CheckImages(images); err != nil {
					return reconstruction{}, invalid{err}
				}
				pixels, err := a.Reconstruct(ctx, b, images)
				if err != nil {
					return reconstruction{}, err
				}
				decibels := latent.PSNR(pixels, images)
				all = append(all, decibels...)
				return newReconstruction(decibels), nil
			}
			training, err := evaluate(train, maxReference)
			if err != nil {
				return err
			}
			rest, err := evaluate(heldOut, maxHeldOut)
			if err != nil {
				return err
			}
			line := func(name string, r reconstruction) string {
				return fmt.Sprintf("PSNR of %d %s images: %.2f ± %.2f dB\n", r.Pictures, name, r.PSNR, r.PSNRSE)
			}
			return c.write(autoencoderEvaluation{training, rest, newReconstruction(all)},
				line("training", training)+line("held-out", rest))
		}, err
	}
}
