package main

import (
	"context"

	"github.com/gomlx/compute"

	"github.com/gomfm/gomfm/mfm/experiment/image"
	"github.com/gomfm/gomfm/mfm/experiment/run"
)

// stressGradients evaluates estimates of the gradient of the value of a reward on images, by the
// temperature of its classifier.
func stressGradients(c *command) prepare {
	f := c.withStress()
	checkpoint := c.Flags().String("checkpoint", "", "`folder` of the run of a map of images (required)")
	reward := c.withReward("paper", "")
	evaluators := c.withEvaluators("required")
	return func() (work, error) {
		settings, err := readSettings[image.TemperatureSetting](f)
		if settings == nil {
			settings = image.TemperatureGrid()
		}
		if *f.grid || err != nil {
			return c.printSettings(settings), err
		}
		s, err := c.openSteering(evaluators, *checkpoint, *reward)
		if err != nil {
			return nil, err
		}
		for i := range settings {
			settings[i].Fingerprint = s.Fingerprint
		}
		return func(ctx context.Context, b compute.Backend) error {
			return runSettings(ctx, f, settings,
				func(ctx context.Context, setting image.TemperatureSetting, _ run.Options) (image.TemperatureResult, error) {
					return s.TemperedGradients(ctx, b, setting)
				})
		}, nil
	}
}
