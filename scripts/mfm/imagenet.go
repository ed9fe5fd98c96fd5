package main

import (
	"cmp"
	"context"
	"fmt"
	"path/filepath"

	"github.com/gomlx/compute"

	"github.com/gomfm/gomfm/data"
	"github.com/gomfm/gomfm/mfm/experiment/latent"
	"github.com/gomfm/gomfm/mfm/experiment/run"
)

// imagenetTask is a map of the latents of images.
func imagenetTask() task {
	return task{
		name: "imagenet", about: "a map of latents of images", train: trainImageNet, sample: sampleImageNet,
		eval: evaluateImageNet,
		defaults: func(string) (map[string]any, error) {
			all := make(map[string]any)
			for _, name := range latent.Presets() {
				config, err := latent.Preset(name)
				if err != nil {
					return nil, err
				}
				all["imagenet_"+name] = config
			}
			return all, nil
		},
	}
}

// defaultAutoencoder is the run with the autoencoder of the emoji.
const defaultAutoencoder = "data/weights/emoji"

func trainImageNet(c *command) func() (*training, error) {
	f := c.withConfigOf(latent.Presets(), mapOptions()...)
	location := c.withImages("(default: the 1,906 emoji in the package)")
	codec := c.Flags().String("autoencoder", defaultAutoencoder,
		"`folder` of the autoencoder: of a run, or in the form of diffusers, such as sd-vae-ft-mse")
	cache := c.Flags().String("latents", "", "`folder` that keeps the latents (default: they are computed anew)")
	return func() (*training, error) {
		config, err := latent.Preset(*f.preset)
		if err = cmp.Or(err, f.configure(&config)); err != nil {
			return nil, err
		}
		from, err := location(data.Location{})
		if err != nil {
			return nil, err
		}
		if *f.preset != "emoji" && from == (data.Location{}) {
			return nil, fmt.Errorf("--data is missing: preset %s is for the images of ImageNet, which cannot be "+
				"distributed: name their folder, with --size 256", *f.preset)
		}
		var images, heldOut *data.Images
		return &training{
			kind: latent.Kind, config: config, manifest: config,
			line: f.line("imagenet", "data", "labels", "size", "autoencoder"), data: from.String(),
			check: func() (err error) {
				images, heldOut, err = latent.Load(from)
				return err
			},
			run: func(ctx context.Context, b compute.Backend, o run.Options) error {
				o.HeldOutHash = heldOut.Hash()
				codec, l, err := encode(ctx, b, *codec, *cache, images)
				if err != nil {
					return err
				}
				codec.Finalize()
				e, err := latent.New(config, l)
				if err != nil {
					return invalid{err}
				}
				_, err = e.Train(ctx, b, filepath.Clean(codec.Dir), o)
				return err
			},
		}, config.Validate()
	}
}

// encode opens the autoencoder in a folder and returns the latents of images.
func encode(ctx context.Context, b compute.Backend, dir, cache string, images *data.Images) (
	*latent.Codec, *latent.Latents, error) {
	codec, err := latent.OpenCodec(b, dir)
	if err != nil {
		return nil, nil, invalid{fmt.Errorf("--autoencoder: %w", err)}
	}
	if err := codec.CheckImages(images); err != nil {
		return nil, nil, invalid{err}
	}
	l, err := codec.Cached(ctx, cache, images)
	return codec, l, err
}

// imagenetEvaluation is the quality of a map of latents and of its autoencoder.
type imagenetEvaluation struct {
	// PSNR is the mean peak signal-to-noise ratio of held-out images after a round trip through the
	// autoencoder, in decibels.
	PSNR      float64                  `json:"psnr"`
	Posterior []latent.PosteriorResult `json:"posterior"`
}

func evaluateImageNet(c *command) prepare {
	f, images := c.withSampler(), c.withImages("(default: the 1,906 emoji in the package)")
	cache := c.Flags().String("latents", "", "`folder` that keeps the latents (default: they are computed anew)")
	set := c.withSettings(
		option{name: "times", path: "times", usage: "`t` of the contexts, numbers separated by commas", read: list},
		option{name: "contexts", path: "contexts", usage: "`number` of contexts at each t"},
		option{name: "samples", path: "samples", usage: "`number` of samples for each of them"},
		option{name: "seed", path: "seed", usage: "`seed` of all noise"},
	)
	return func() (work, error) {
		config := latent.DefaultEvalConfig()
		from, err := images(data.Location{})
		if err = cmp.Or(err, set.apply(&config)); err == nil {
			err = config.Validate()
		}
		if err != nil {
			return nil, err
		}
		dir, sampling, err := f.open()
		if err != nil {
			return nil, err
		}
		if _, _, err := latent.OpenModel(dir); err != nil {
			return nil, err
		}
		train, heldOut, err := latent.Load(from)
		if err != nil {
			return nil, err
		}
		return func(ctx context.Context, b compute.Backend) error {
			codec, l, err := encode(ctx, b, dir, *cache, train)
			if err != nil {
				return err
			}
			defer codec.Finalize()
			e, store, err := latent.Open(dir, l)
			if err != nil {
				return invalid{err}
			}
			decibels, _, err := codec.PSNR(ctx, heldOut)
			if err != nil {
				return err
			}
			var out imagenetEvaluation
			for _, v := range decibels {
				out.PSNR += v / float64(len(decibels))
			}
			if out.Posterior, err = e.Posteriors(ctx, b, store, sampling, config); err != nil {
				return err
			}
			text := fmt.Sprintf("PSNR of the autoencoder on %d held-out images: %.2f dB\n", heldOut.N, out.PSNR)
			for _, r := range out.Posterior {
				text += fmt.Sprintf("t = %g: sliced W2 %.4f (floor %.4f), posterior std %.4f, excess %.3f, of the data's std %.3f, "+
					"diversity %.3f\n", r.T, r.SW2, r.Floor, r.Std, r.Excess, r.DataExcess, r.Diversity)
			}
			return c.write(out, text)
		}, nil
	}
}
