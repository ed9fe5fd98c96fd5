package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/gomlx/compute"

	"github.com/gomfm/gomfm/data"
	"github.com/gomfm/gomfm/mfm/diagnose"
	"github.com/gomfm/gomfm/mfm/experiment/latent"
	"github.com/gomfm/gomfm/mfm/experiment/latent/alignment"
	"github.com/gomfm/gomfm/mfm/experiment/latent/picture"
	"github.com/gomfm/gomfm/mfm/experiment/report"
	"github.com/gomfm/gomfm/mfm/experiment/run"
	"github.com/gomfm/gomfm/mfm/pretrained"
)

// withShipped adds the flag of a map of latents, for which [chooseWeights] has a default.
func (c *command) withShipped() *string {
	return c.Flags().String("checkpoint", "", "`folder` of the run, or of released weights, with the autoencoder "+
		"(default: the shipped "+shippedEmoji+")")
}

// stressValues compares estimates of the values of rewards of pictures.
func stressValues(c *command) prepare {
	f, checkpoint := c.withStress(), c.withShipped()
	return func() (work, error) {
		settings, err := readSettings[alignment.ValueSetting](f)
		if settings == nil {
			settings = alignment.ValueGrid()
		}
		if *f.grid || err != nil {
			return c.printSettings(settings), err
		}
		if err := chooseWeights(checkpoint, "emoji"); err != nil {
			return nil, err
		}
		b, err := c.backend()
		if err != nil {
			return nil, err
		}
		m, err := alignment.Open(b, alignment.Config{Map: *checkpoint})
		if err != nil {
			return nil, err
		}
		for i := range settings {
			if settings[i].Fingerprint, err = m.CheckValues(b, settings[i]); err != nil {
				m.Finalize()
				return nil, err
			}
		}
		return func(ctx context.Context, b compute.Backend) error {
			defer m.Finalize()
			return runSettings(ctx, f, settings,
				func(ctx context.Context, s alignment.ValueSetting, _ run.Options) (alignment.ValueResult, error) {
					return m.Values(ctx, b, s)
				})
		}, nil
	}
}

// stressRecovery compares held-out pictures with posterior samples of their latents with noise.
func stressRecovery(c *command) prepare {
	f, checkpoint := c.withStress(), c.withShipped()
	images := c.withImages("(default: what the run names)")
	evaluator := c.Flags().String("evaluator", "", "`file` of the network whose features compare pictures, see mfm "+
		"weights get efficientnet-lite0, or folder of a CLIP (default: no comparison but of latents and pixels)")
	return func() (work, error) {
		settings, err := readSettings[latent.RecoverySetting](f)
		if settings == nil {
			settings = latent.RecoveryGrid()
		}
		if *f.grid || err != nil {
			return c.printSettings(settings), err
		}
		if err := chooseWeights(checkpoint, "emoji"); err != nil {
			return nil, err
		}
		_, released, err := latent.Released(*checkpoint)
		if err != nil {
			return nil, err
		}
		l, err := locate(*checkpoint, released, images)
		if err != nil {
			return nil, err
		}
		train, heldOut, err := latent.Load(l)
		if err != nil {
			return nil, err
		}
		return func(ctx context.Context, b compute.Backend) error {
			var pictures [2]*data.Images
			for i, of := range []latent.Pictures{train, heldOut} {
				if pictures[i], err = of.Random(ctx, []int{maxReference, maxHeldOut}[i]); err != nil {
					return err
				}
				c.warnOf(pictures[i].Bad)
			}
			var e *picture.Evaluator
			var hash string
			if *evaluator != "" {
				var file string
				if file, err = pretrained.CLIPFile(*evaluator); err == nil {
					hash, err = data.FileSHA256Context(ctx, file)
				}
				if err == nil {
					e, err = picture.OpenEvaluator(b, *evaluator)
				}
				if err != nil {
					return invalid{fmt.Errorf("--evaluator: %w", err)}
				}
				defer e.Finalize()
			}
			r, err := latent.NewRecovery(ctx, b, *checkpoint, e, hash, pictures[0], pictures[1])
			if err != nil {
				if ctx.Err() == nil {
					err = invalid{err}
				}
				return err
			}
			defer r.Finalize()
			for i := range settings {
				settings[i].Fingerprint = r.Fingerprint
			}
			return runSettings(ctx, f, settings,
				func(ctx context.Context, s latent.RecoverySetting, _ run.Options) (latent.RecoveryResult, error) {
					return r.Run(ctx, s)
				})
		}, nil
	}
}

// shippedRun sets the folder of a map of latents to the shipped one if none is named.
func shippedRun(_ *command, dir *string) error { return chooseWeights(dir, "emoji") }

// diagnoseImageNet diagnoses a map of latents on held-out pictures.
func diagnoseImageNet(c *command) diagnosis {
	c.Flags().Lookup("checkpoint").Usage = "`folder` of the run, or of released weights, with the autoencoder (default: the shipped " +
		shippedEmoji + ")"
	images := c.withImages("(default: what the run names)")
	return func(
		ctx context.Context, b compute.Backend, dir, reward string, o report.Options,
	) (*diagnose.Report, error) {
		if reward != "" {
			named, err := namedReward(reward)
			if err != nil {
				return nil, invalid{err}
			}
			o.Reward = named.Reward
		}
		heldOut, err := heldOutOf(ctx, dir, images)
		if err != nil {
			return nil, invalid{err}
		}
		pictures, err := heldOut.Random(ctx, o.Contexts)
		if err != nil {
			return nil, err
		}
		c.warnOf(pictures.Bad)
		return alignment.Diagnose(ctx, b, dir, pictures, o)
	}
}

// heldOutOf returns the held-out pictures of the run in dir, or for released weights those of the
// flags for images.
func heldOutOf(ctx context.Context, dir string, images func(data.Location) (data.Location, error)) (
	heldOut latent.Pictures, err error) {
	_, released, err := latent.Released(dir)
	if err != nil {
		return heldOut, err
	}
	from, err := locate(dir, released, images)
	if err != nil {
		return heldOut, err
	}
	if released && from == (data.Location{}) {
		return heldOut, errors.New("--data is missing: name a folder of pictures, which released weights come without")
	}
	if released {
		_, heldOut, err = latent.Load(from)
		return heldOut, err
	}
	m, err := run.ReadManifest(dir, latent.Kind)
	if err != nil {
		return heldOut, err
	}
	if heldOut, err = latent.LoadHeldOut(ctx, m, from); err != nil {
		err = fmt.Errorf("run %s: %w", dir, err)
	}
	return heldOut, err
}
