package main

import (
	"context"
	"fmt"

	"github.com/gomlx/compute"

	"github.com/gomfm/gomfm/data"
	"github.com/gomfm/gomfm/mfm/experiment/latent"
	"github.com/gomfm/gomfm/mfm/experiment/latent/alignment"
	"github.com/gomfm/gomfm/mfm/experiment/latent/picture"
	"github.com/gomfm/gomfm/mfm/experiment/run"
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
		"weights get efficientnet-lite0 (default: no comparison but of latents and pixels)")
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
				if hash, err = data.FileSHA256Context(ctx, *evaluator); err == nil {
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
