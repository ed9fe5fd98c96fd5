package main

import (
	"cmp"
	"context"

	"github.com/gomlx/compute"

	"github.com/gomfm/gomfm/data"
	"github.com/gomfm/gomfm/data/stream"
	"github.com/gomfm/gomfm/mfm/experiment/latent"
	"github.com/gomfm/gomfm/mfm/experiment/run"
)

// autoencoderTask is an autoencoder of images, on whose latents a latent map works.
func autoencoderTask() task {
	return task{
		name: "autoencoder", about: "an autoencoder of images", train: trainAutoencoder,
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
