package main

import (
	"cmp"
	"context"
	"fmt"

	"github.com/gomlx/compute"

	"github.com/gomfm/gomfm/data"
	"github.com/gomfm/gomfm/data/stream"
	"github.com/gomfm/gomfm/mfm/experiment/latent"
	"github.com/gomfm/gomfm/mfm/experiment/run"
	"github.com/gomfm/gomfm/mfm/metric"
)

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
					images, heldOut, err = c.load(from)
				}
				if err != nil {
					return err
				}
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
				decibels, err := a.PSNR(ctx, b, images)
				all = append(all, decibels...)
				return newReconstruction(decibels), err
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
