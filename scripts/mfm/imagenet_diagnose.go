package main

import (
	"context"

	"github.com/gomlx/compute"

	"github.com/gomfm/gomfm/mfm/diagnose"
	"github.com/gomfm/gomfm/mfm/experiment/latent"
	"github.com/gomfm/gomfm/mfm/experiment/latent/alignment"
	"github.com/gomfm/gomfm/mfm/experiment/report"
)

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
		_, released, err := latent.Released(dir)
		if err != nil {
			return nil, invalid{err}
		}
		from, err := locate(dir, released, images)
		if err != nil {
			return nil, invalid{err}
		}
		_, heldOut, err := latent.Load(from)
		if err != nil {
			return nil, invalid{err}
		}
		return alignment.Diagnose(ctx, b, dir, heldOut, o)
	}
}
