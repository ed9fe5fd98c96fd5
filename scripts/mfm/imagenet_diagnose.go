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
	"github.com/gomfm/gomfm/mfm/experiment/report"
	"github.com/gomfm/gomfm/mfm/experiment/run"
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
